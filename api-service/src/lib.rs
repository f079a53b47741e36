//! The HTTP service: discovery, reads and searches; kick-off, polling, manifest, delete.
//!
//! `routes` is the table of contents: each route has a file of its own name.

mod accept;
mod answer;
mod audit;
mod bundle;
mod caller;
mod definitions;
mod error;
mod explain;
mod files;
pub mod fuzzing;
mod headers;
mod kick_off;
mod limits;
mod links;
mod manifest;
mod metadata;
mod pages;
mod parameters;
mod patients;
mod prefer;
mod progress;
mod read;
mod rights;
pub mod routes;
mod search;
mod smart_configuration;
mod start;
mod status;
mod text;
mod tls;
mod token;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use async_trait::async_trait;
use rustls::sign::CertifiedKey;
use shared::access::Authorizer;
use shared::admin::{self, Readiness, Starting};
use shared::export::JobId;
use shared::fault::Fault;
use shared::fhir::{Instant, OwnBases};
use shared::gauges;
use shared::measured::Port;
use shared::metrics::{Metrics, Program};
use shared::platform::{self, Platform};
use shared::settings::{Access, Links, Settings, WrongSetting};
use shared::shutdown::Shutdown;
use shared::telemetry;
use shared::watched::Watched;
use url::Url;

use crate::audit::Trail;
use crate::limits::PollLimit;

/// The program: reads the settings of the process and serves until SIGTERM or SIGINT.
pub async fn run() -> anyhow::Result<()> {
    let settings = Settings::read()?;
    let telemetry = telemetry::init("api-service", &settings)?;
    let shutdown = Shutdown::on_signals()?;
    let admin_listener = admin::bind("admin_listen", &settings.admin_listen)?;
    let (metrics, starting) = (Metrics::of(&[Program::Api]), Arc::new(Starting::default()));
    let tls = tls::certificate(&settings, &metrics).await?;
    let admin = admin::serve(admin_listener, metrics.clone(), Arc::clone(&starting) as Arc<dyn Readiness>)?;
    let (admin_handle, admin) = (admin.handle(), tokio::spawn(admin));

    let connecting = async {
        // First who may call: a wrong register is told before the queue and the source are waited for.
        let access = platform::open_access(&settings, &metrics).await?;
        Ok::<_, WrongSetting>((access, platform::connect(&settings, None, &metrics).await?))
    };
    let (access, platform) = tokio::select! {
        connected = connecting => connected?,
        () = shutdown.wished() => return Ok(()),
    };
    starting.started(Arc::new(ApiReadiness(platform.clone())));
    // Not before it can answer: a client that cannot connect tries another replica.
    let listener = admin::bind("listen", &settings.listen)?;
    let api = Api::new(platform, access, metrics, &settings)?.serve(listener, tls)?;
    tracing::info!(listen = %settings.listen, public = %settings.public_base()?, "serving");

    if settings.access == Some(Access::OpenToEverybody) {
        tracing::warn!("access is open to everybody: no token is asked for, and every list may be exported");
    }

    let api_handle = api.handle();
    let stopping = async {
        shutdown.wished().await;
        tracing::info!("stopping: finishing the requests under way");
        api_handle.stop(true).await;
        admin_handle.stop(false).await;
    };
    let (api, ()) = tokio::join!(api, stopping);
    telemetry.stop().await;
    api?;
    Ok(admin.await??)
}

/// The API: the ports it works on and the settings it works by.
pub struct Api {
    platform: Platform,
    access: Arc<dyn Authorizer>,
    trail: Trail,
    metrics: Metrics,
    polls: PollLimit,
    public_base: Url,
    own_bases: OwnBases,
    require_headers: bool,
    jobs_per_client: u64,
    links: Links,
    link_lifetime: Duration,
    unpublished_due: Duration,
    published_due: Duration,
    cancelled_lifetime: Duration,
    retention: Duration,
    /// How much longer files stay than clients are told.
    linger: Duration,
    body_bytes: usize,
    grace_seconds: u64,
    token_endpoint: Option<Url>,
    started_at: Instant,
}

impl Api {
    /// An API on these ports. Fails when a setting that it needs is wrong, or its audit trail cannot be written.
    pub fn new(
        platform: Platform,
        access: Arc<dyn Authorizer>,
        metrics: Metrics,
        settings: &Settings,
    ) -> Result<Self, WrongSetting> {
        let started_at = platform.clock.now();
        let trail = Trail::open(settings, metrics.clone())?;
        Ok(Self {
            platform,
            access,
            trail,
            metrics,
            polls: PollLimit::new(settings.polls_per_minute, settings.poll_burst),
            public_base: settings.public_base()?,
            own_bases: settings.own_bases()?,
            require_headers: settings.require_headers,
            jobs_per_client: settings.jobs_per_client,
            links: settings.link_mode(),
            link_lifetime: Duration::from_secs(settings.link_seconds),
            unpublished_due: Duration::from_secs(settings.unpublished_due_seconds),
            published_due: Duration::from_secs(settings.published_due_seconds),
            retention: Duration::from_secs(settings.retention_seconds),
            linger: Duration::from_secs(settings.linger_seconds),
            // Long enough for every worker to have noticed, so that the last removal of objects finds them all.
            cancelled_lifetime: Duration::from_secs(settings.working_due_seconds * 10),
            body_bytes: settings.body_bytes,
            grace_seconds: settings.grace_seconds,
            token_endpoint: settings.token_endpoint()?,
            started_at,
        })
    }

    /// Serves the API on a bound socket until the server is stopped; stopping finishes the requests under way. With a
    /// certificate it speaks TLS.
    pub fn serve(self, listener: TcpListener, tls: Option<Watched<CertifiedKey>>) -> std::io::Result<Server> {
        let grace_seconds = self.grace_seconds;
        let api = web::Data::new(self);
        let server = HttpServer::new(move || app(&api));
        let server = server.disable_signals().shutdown_timeout(grace_seconds);
        let server = match tls {
            Some(certificate) => server.listen_rustls_0_23(listener, tls::server_config(certificate))?,
            None => server.listen(listener)?,
        };
        Ok(server.run())
    }

    fn now(&self) -> Instant {
        self.platform.clock.now()
    }

    /// The FHIR base as clients see it, without a slash at the end.
    fn base(&self) -> &str {
        self.public_base.as_str().trim_end_matches('/')
    }

    /// The polling location of a job.
    fn polling_url(&self, job: JobId) -> String {
        format!("{}/{}/{job}", self.base(), routes::JOBS)
    }
}

/// All that answers requests to an API: what each thread of [`Api::serve`] runs, and what can be called without a socket.
pub fn app(
    api: &web::Data<Api>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody + use<>>,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    App::new()
        .app_data(api.clone())
        .app_data(web::PayloadConfig::new(api.body_bytes))
        .wrap(from_fn(explain::in_time))
        .wrap(from_fn(explain::explain))
        .wrap(from_fn(routes::measure))
        .configure(|app| routes::configure(app, api.public_base.path()))
}

/// What the API needs to answer: the job store to record in and the source to know a Group by. A broker that is down is
/// no reason to turn clients away: their jobs are recorded and published later.
pub struct ApiReadiness(pub Platform);

#[async_trait]
impl Readiness for ApiReadiness {
    async fn ready(&self) -> Vec<(Port, Result<(), Fault>)> {
        gauges::readiness(&self.0, &[Port::Jobs, Port::Source]).await
    }

    /// The API tells of the whole system: it is there when no worker is.
    async fn measure(&self, metrics: &Metrics) {
        let ports = [Port::Jobs, Port::Queue, Port::Source];
        tokio::join!(gauges::measure_ports(&self.0, &ports, metrics), gauges::measure_system(&self.0, metrics));
    }
}
