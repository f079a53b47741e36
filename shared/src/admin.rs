//! The admin port of both services: `/metrics`, `/health/live`, `/health/ready`.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};
use async_trait::async_trait;

use crate::fault::{Fault, FaultKind};
use crate::measured::Port;
use crate::metrics::Metrics;
use crate::settings::WrongSetting;

/// Where Prometheus asks.
pub const METRICS: &str = "/metrics";
/// Answers 200 as long as the process serves.
pub const LIVE: &str = "/health/live";
/// Answers 200 when the service can do its work, else 503, with a line for each part.
pub const READY: &str = "/health/ready";

/// Tells whether a service can do its work.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// What the service needs, and whether each can be used now; none is waited for long.
    async fn ready(&self) -> Vec<(Port, Result<(), Fault>)>;

    /// Brings the gauges that it answers for up to date before the metrics are read; takes no longer than a scrape waits.
    async fn measure(&self, metrics: &Metrics);
}

/// A service that has not connected yet: alive, and not ready. [`Starting::started`] puts the real one in its place.
#[derive(Default)]
pub struct Starting(OnceLock<Arc<dyn Readiness>>);

impl Starting {
    /// The service is there now.
    pub fn started(&self, service: Arc<dyn Readiness>) {
        // A service starts once; a second one would have nobody to tell.
        let _ = self.0.set(service);
    }
}

#[async_trait]
impl Readiness for Starting {
    async fn ready(&self) -> Vec<(Port, Result<(), Fault>)> {
        match self.0.get() {
            Some(service) => service.ready().await,
            None => vec![(Port::Jobs, Err(Fault::new(FaultKind::Unavailable, "waiting for the job store")))],
        }
    }

    async fn measure(&self, metrics: &Metrics) {
        match self.0.get() {
            Some(service) => service.measure(metrics).await,
            None => metrics.port_ready.with_label_values(&[Port::Jobs.name()]).set(0),
        }
    }
}

/// Takes the address of the setting `name`.
pub fn bind(name: &str, address: &str) -> Result<TcpListener, WrongSetting> {
    TcpListener::bind(address).map_err(|error| WrongSetting::of(name, format!("cannot listen on {address}: {error}")))
}

/// Serves the admin endpoints on a bound socket until the server is stopped.
pub fn serve(listener: TcpListener, metrics: Metrics, readiness: Arc<dyn Readiness>) -> std::io::Result<Server> {
    let readiness = web::Data::from(readiness);
    let metrics = web::Data::new(metrics);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(readiness.clone())
            .app_data(metrics.clone())
            .route(METRICS, web::get().to(read_metrics))
            .route(LIVE, web::get().to(|| async { HttpResponse::Ok().body("alive\n") }))
            .route(READY, web::get().to(read_readiness))
    });
    Ok(server.workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run())
}

async fn read_metrics(metrics: web::Data<Metrics>, readiness: web::Data<dyn Readiness>) -> HttpResponse {
    readiness.measure(&metrics).await;
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(metrics.text())
}

async fn read_readiness(readiness: web::Data<dyn Readiness>) -> HttpResponse {
    let parts = readiness.ready().await;
    let all = parts.iter().all(|(_, ready)| ready.is_ok());
    let line = |(port, ready): &(Port, Result<(), Fault>)| match ready {
        Ok(()) => format!("{}: ready\n", port.name()),
        Err(fault) => format!("{}: {fault}\n", port.name()),
    };
    let body: String = parts.iter().map(line).collect();
    if all { HttpResponse::Ok().body(body) } else { HttpResponse::ServiceUnavailable().body(body) }
}
