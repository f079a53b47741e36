//! Chooses the adapters behind the ports, by the scheme of their URLs. The only file that names adapters.

mod fhir_server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use self::fhir_server::OutputShelf;
use crate::access::Authorizer;
use crate::access::clients::Clients;
use crate::access::external::External;
use crate::access::key_cache::{HttpKeys, KeyCache};
use crate::access::open::Open;
use crate::access::smart::Smart;
use crate::access::tokens::redis::RedisTokens;
use crate::clock::{Clock, SystemClock};
use crate::export::Lane;
use crate::fault::Fault;
use crate::fhir::ResourceId;
use crate::jobs::JobStore;
use crate::jobs::redis::RedisJobs;
use crate::measured::{Measured, Port};
use crate::metrics::Metrics;
use crate::outputs::OutputStore;
use crate::outputs::s3::{Credentials as S3Credentials, S3Address, S3Outputs, S3Settings};
use crate::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use crate::queue::{Lanes, TaskQueue};
use crate::redis_connection::{RedisConnection, RedisSettings};
use crate::settings::{Access, Settings, WrongSetting};
use crate::source::ResourceSource;
use crate::source::fhir_rest::pace::SharedPause;
use crate::source::fhir_rest::pace::redis::RedisPause;
use crate::source::files::BadLine;
use crate::source::folder::FolderSource;
use crate::source::postgres::{PostgresSettings, PostgresSource};
use crate::watched::{Files, Watched};

/// How often a service that starts tries again to reach its job store.
const RETRY: Duration = Duration::from_secs(1);

/// One of each port that both services stand on.
#[derive(Clone)]
pub struct Platform {
    /// What there is to do and what is done.
    pub jobs: Arc<dyn JobStore>,
    /// Who is told to look.
    pub lanes: Lanes,
    /// Where the payer's data is.
    pub source: Arc<dyn ResourceSource>,
    /// Where files go.
    pub outputs: Arc<dyn OutputStore>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Platform {
    /// The same ports, with their calls measured.
    #[must_use]
    pub fn measured(self, metrics: &Metrics) -> Self {
        let lane = |queue| Arc::new(Measured::new(queue, Port::Queue, metrics)) as Arc<dyn TaskQueue>;
        Self {
            jobs: Arc::new(Measured::new(self.jobs, Port::Jobs, metrics)),
            lanes: Lanes { express: lane(self.lanes.express), bulk: lane(self.lanes.bulk) },
            source: Arc::new(Measured::new(self.source, Port::Source, metrics)),
            outputs: Arc::new(Measured::new(self.outputs, Port::Outputs, metrics)),
            clock: self.clock,
        }
    }
}

/// The platform of a service: parts that several processes share, measured. Waits for a job store that is not there yet.
///
/// `keys` are the access and secret key of the object store; without them, the ones that AWS programs find.
pub async fn connect(
    settings: &Settings,
    keys: Option<(&str, &str)>,
    metrics: &Metrics,
) -> Result<Platform, WrongSetting> {
    let lanes = open_lanes(settings)?;
    let outputs = open_outputs(settings, keys, metrics).await?;
    let redis = open_redis(settings).await?;
    let pause = Arc::new(RedisPause::new(redis.clone()));
    let source = open_source(settings, &outputs, Some(pause), metrics).await?;
    for bad in &source.bad_lines {
        tracing::warn!("left out {bad}");
    }
    let jobs = Arc::new(RedisJobs::new(redis));
    let platform = Platform { jobs, lanes, source: source.source, outputs, clock: Arc::new(SystemClock) };
    Ok(platform.measured(metrics))
}

/// Who may call the API. There is no default: to let everybody in has to be said. With `smart`, waits for Redis.
pub async fn open_access(settings: &Settings, metrics: &Metrics) -> Result<Arc<dyn Authorizer>, WrongSetting> {
    let clock = Arc::new(SystemClock);
    match settings.access {
        Some(Access::OpenToEverybody) => Ok(Arc::new(Open)),
        Some(Access::Smart) => {
            let (clients, keys) = (open_clients(settings, metrics).await?, open_keys(settings, clock.clone()).await?);
            if clients.now().counts().0 == 0 {
                tracing::warn!("no client of this server is registered, so that nobody can get a token");
            }
            // A token endpoint may have a name for the outside besides the one below the base.
            let mut endpoints = vec![settings.own_token_endpoint()?.to_string()];
            endpoints.extend(settings.token_endpoint()?.map(String::from));
            endpoints.dedup();
            let tokens = Arc::new(RedisTokens::new(open_redis(settings).await?));
            Ok(Arc::new(Smart::new(clients, keys, tokens, clock, endpoints)))
        }
        Some(Access::External) => {
            let (clients, keys) = (open_clients(settings, metrics).await?, open_keys(settings, clock.clone()).await?);
            if clients.now().counts().1 == 0 {
                tracing::warn!("no client of any issuer is registered, so that nobody can come in");
            }
            Ok(Arc::new(External::new(
                clients,
                keys,
                clock,
                settings.public_base()?.as_str().trim_end_matches('/').to_owned(),
            )))
        }
        None => Err(WrongSetting::of(
            "access",
            "it is not set; choose smart, external, or open-to-everybody, which lets in whoever can reach the API",
        )),
    }
}

async fn open_clients(settings: &Settings, metrics: &Metrics) -> Result<Watched<Clients>, WrongSetting> {
    let name = "clients_file";
    let file = &settings.clients_file;
    if file.as_os_str().is_empty() {
        return Err(WrongSetting::of(name, "it is not set; `atr client add` makes one"));
    }
    let read = |contents: &[Vec<u8>]| {
        let text = std::str::from_utf8(&contents[0]).map_err(|_| "it is not UTF-8 text".to_owned())?;
        Clients::read(text).map_err(|error| error.to_string())
    };
    let files = Files {
        paths: vec![file.clone()],
        every: Duration::from_secs(settings.reload_seconds),
        failing: metrics.reload_failing.with_label_values(&["clients"]),
    };
    let clients = Watched::files(files, read).await.map_err(|why| WrongSetting::of(name, why))?;
    let (own, of_issuers) = clients.now().counts();
    tracing::info!(own, of_issuers, "the register of clients is read");
    Ok(clients)
}

async fn open_keys(settings: &Settings, clock: Arc<dyn Clock>) -> Result<KeyCache, WrongSetting> {
    let authorities = fhir_server::authorities(settings).await?;
    let source = HttpKeys::new(Duration::from_secs(settings.fetch_keys_seconds), authorities);
    let source = source.map_err(|fault| WrongSetting::of("authorities_file", fault))?;
    Ok(KeyCache::new(Arc::new(source), clock))
}

/// The scheme of a setting that must have one, without its colon.
fn scheme<'a>(name: &str, url: &'a str, example: &str) -> Result<&'a str, WrongSetting> {
    if url.is_empty() {
        return Err(WrongSetting::of(name, format!("it is not set; for example {example}")));
    }
    Ok(url.split(':').next().unwrap_or_default())
}

/// The refusal of a scheme, with the reason where there is one that is worth knowing.
fn refuse(name: &str, scheme: &str, takes: &str) -> WrongSetting {
    if scheme == "memory" {
        let what = format!("memory: lives within one process and the services are several; it takes {takes}");
        return WrongSetting::of(name, what);
    }
    WrongSetting::of(name, format!("it takes {takes}"))
}

/// The way to the server of the job store, once it is there.
async fn open_redis(settings: &Settings) -> Result<RedisConnection, WrongSetting> {
    let name = "jobs_url";
    let scheme = scheme(name, &settings.jobs_url, "redis://127.0.0.1:6379")?;
    if !matches!(scheme, "redis" | "rediss") {
        return Err(refuse(name, scheme, "redis://… or rediss://…"));
    }
    let call = Duration::from_secs(settings.call_seconds);
    let timeouts = RedisSettings { command_timeout: call, connect_timeout: call };
    let mut said = false;
    loop {
        match RedisConnection::connect(&settings.jobs_url, &settings.namespace, timeouts).await {
            Ok(link) => return Ok(link),
            Err(fault) if fault.is_transient() => {
                if !said {
                    tracing::warn!(%fault, "waiting for the job store");
                    said = true;
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(fault) => return Err(WrongSetting::of(name, fault)),
        }
    }
}

fn open_lanes(settings: &Settings) -> Result<Lanes, WrongSetting> {
    let name = "queue_url";
    let scheme = scheme(name, &settings.queue_url, "amqp://guest:guest@127.0.0.1:5672/%2f")?;
    if !matches!(scheme, "amqp" | "amqps") {
        return Err(refuse(name, scheme, "amqp://… or amqps://…"));
    }
    let call = Duration::from_secs(settings.call_seconds);
    let open = |lane: Lane| {
        let rabbit = RabbitSettings {
            url: settings.queue_url.clone(),
            namespace: settings.namespace.clone(),
            lane,
            confirm_timeout: call,
            connect_timeout: call,
            heartbeat_seconds: 10,
        };
        RabbitQueue::connect(&rabbit).map_err(|fault| WrongSetting::of(name, fault))
    };
    Ok(Lanes { express: Arc::new(open(Lane::Express)?), bulk: Arc::new(open(Lane::Bulk)?) })
}

/// A source, and what is known of it once it is open.
pub struct OpenedSource {
    /// The source.
    pub source: Arc<dyn ResourceSource>,
    /// What of a folder could not be read.
    pub bad_lines: Vec<BadLine>,
    /// The list with the most members, or of a FHIR server any; `None` when there is no list, a fault when the source cannot say now.
    pub largest_list: Result<Option<ResourceId>, Fault>,
}

/// Opens the source of the settings: `postgres://…`, `https://…/fhir` or `file:FOLDER`.
///
/// A FHIR server has lists of jobs held in `outputs`, and asks all processes for patience where they see `pause`.
pub async fn open_source(
    settings: &Settings,
    outputs: &Arc<dyn OutputStore>,
    pause: Option<Arc<dyn SharedPause>>,
    metrics: &Metrics,
) -> Result<OpenedSource, WrongSetting> {
    let name = "source_url";
    let url = &settings.source_url;
    match scheme(name, url, "postgres://user:password@127.0.0.1:5432/payer")? {
        "postgres" | "postgresql" => {
            let call = Duration::from_secs(settings.call_seconds);
            let postgres = PostgresSettings {
                connections: settings.source_connections,
                connect_timeout: call,
                // Reading a page of a cold table is the slowest call that there is.
                statement_timeout: call * 6,
            };
            let source = PostgresSource::connect(url, postgres).map_err(|fault| WrongSetting::of(name, fault))?;
            let largest_list = source.largest_list().await;
            Ok(OpenedSource { source: Arc::new(source), bad_lines: Vec::new(), largest_list })
        }
        "file" => {
            let folder = url.trim_start_matches("file:");
            let folder = folder.strip_prefix("//").unwrap_or(folder);
            let opened = FolderSource::open(Path::new(folder), settings.own_bases()?, Arc::new(SystemClock)).await;
            let (source, bad_lines) = opened.map_err(|fault| WrongSetting::of(name, fault))?;
            let largest_list = Ok(source.largest_list());
            Ok(OpenedSource { source: Arc::new(source), bad_lines, largest_list })
        }
        "http" | "https" => {
            let source = fhir_server::open(settings, outputs, pause, metrics).await?;
            let largest_list = source.first_list().await;
            Ok(OpenedSource { source: Arc::new(source), bad_lines: Vec::new(), largest_list })
        }
        _ => Err(WrongSetting::of(name, "it takes postgres://…, https://…/fhir or file:FOLDER")),
    }
}

/// Opens the object store of the settings, with keys as in [`connect`].
pub async fn open_outputs(
    settings: &Settings,
    keys: Option<(&str, &str)>,
    metrics: &Metrics,
) -> Result<Arc<dyn OutputStore>, WrongSetting> {
    let name = "outputs_url";
    scheme(name, &settings.outputs_url, "s3://bucket/prefix?region=us-east-1")?;
    let address = S3Address::parse(&settings.outputs_url).map_err(|error| WrongSetting::of(name, error))?;
    let credentials = keys.map_or(S3Credentials::Usual, |(access_key, secret_key)| S3Credentials::Static {
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
    });
    let attempt_timeout = Duration::from_secs(settings.upload_seconds);
    let s3 = S3Settings {
        part_bytes: settings.part_bytes,
        attempt_timeout,
        operation_timeout: attempt_timeout * 3,
        part_seconds: Some(metrics.part_seconds.clone()),
        ..S3Settings::default()
    };
    let outputs = S3Outputs::connect(&address, &settings.namespace, credentials, &s3).await;
    Ok(Arc::new(outputs.map_err(|fault| WrongSetting::of(name, fault))?))
}
