//! The admin port of both services: `/metrics`, `/health/live`, `/health/ready`.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};
use async_trait::async_trait;

use crate::fault::{Fault, FaultKind};
use crate::metrics::Metrics;
use crate::settings::WrongSetting;

/// How long a probe or a scrape waits for the parts of the system.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells whether a service can do its work.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// What the service needs, by name, and whether each can be used now.
    async fn ready(&self) -> Vec<(&'static str, Result<(), Fault>)>;

    /// Brings gauges up to date before the metrics are read.
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
    async fn ready(&self) -> Vec<(&'static str, Result<(), Fault>)> {
        match self.0.get() {
            Some(service) => service.ready().await,
            None => vec![("jobs", Err(Fault::new(FaultKind::Unavailable, "waiting for the job store")))],
        }
    }

    async fn measure(&self, metrics: &Metrics) {
        if let Some(service) = self.0.get() {
            service.measure(metrics).await;
        }
    }
}

/// Takes the address of the setting `name`.
pub fn bind(name: &str, address: &str) -> Result<TcpListener, WrongSetting> {
    TcpListener::bind(address).map_err(|error| WrongSetting::of(name, format!("cannot listen on {address}: {error}")))
}

/// Serves the admin endpoints on a bound socket until the server is stopped.
///
/// `/health/live` answers 200 while the process serves; `/health/ready` 200 or 503 with a line for each part.
pub fn serve(listener: TcpListener, metrics: Metrics, readiness: Arc<dyn Readiness>) -> std::io::Result<Server> {
    let readiness = web::Data::from(readiness);
    let metrics = web::Data::new(metrics);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(readiness.clone())
            .app_data(metrics.clone())
            .route("/metrics", web::get().to(read_metrics))
            .route("/health/live", web::get().to(|| async { HttpResponse::Ok().body("alive\n") }))
            .route("/health/ready", web::get().to(read_readiness))
    });
    Ok(server.workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run())
}

async fn read_metrics(metrics: web::Data<Metrics>, readiness: web::Data<dyn Readiness>) -> HttpResponse {
    // A store that hangs must not take the other metrics along: they are what tells of it.
    let measured = tokio::time::timeout(PATIENCE, readiness.measure(&metrics)).await;
    if measured.is_err() {
        tracing::warn!("the gauges of queue and jobs are old: their servers did not answer in time");
    }
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(metrics.text())
}

async fn read_readiness(readiness: web::Data<dyn Readiness>) -> HttpResponse {
    let Ok(parts) = tokio::time::timeout(PATIENCE, readiness.ready()).await else {
        let text = format!("a part did not answer within {} seconds\n", PATIENCE.as_secs());
        return HttpResponse::ServiceUnavailable().body(text);
    };
    let all = parts.iter().all(|(_, ready)| ready.is_ok());
    let line = |(name, ready): &(&str, Result<(), Fault>)| match ready {
        Ok(()) => format!("{name}: ready\n"),
        Err(fault) => format!("{name}: {fault}\n"),
    };
    let body: String = parts.iter().map(line).collect();
    if all { HttpResponse::Ok().body(body) } else { HttpResponse::ServiceUnavailable().body(body) }
}
