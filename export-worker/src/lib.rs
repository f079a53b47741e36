//! The worker: takes tasks from the queue, walks the attribution list, writes the files, keeps the house clean.
//!
//! Reading order: `consume` takes deliveries, `execute` makes one attempt in its `frame`, `plan` cuts the job, `publish` says
//! how many of its tasks are on the queues. Of a list, `list` writes the Group, `listed` a slice of what it names, `blocks`
//! the same patient by patient, `chosen` a few patients of it; `scan` writes a slice of all that there is of a type, `deleted`
//! what is no longer there, `notices` what the kick-off passed over. They follow references by `closure`, ask `select` what
//! is to be written, and write through `group` and `parts` into each `file`. The `janitor` publishes what is due and removes
//! what has expired.

mod blocks;
mod chosen;
mod closure;
mod consume;
mod deleted;
mod execute;
mod file;
mod frame;
mod group;
mod janitor;
mod list;
mod listed;
mod notes;
mod notices;
mod parts;
mod plan;
mod problems;
mod publish;
mod scan;
mod select;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use shared::admin::{self, Readiness, Starting};
use shared::export::Lane;
use shared::fault::Fault;
use shared::fhir::{Instant, OwnBases};
use shared::gauges;
use shared::measured::Port;
use shared::metrics::{Metrics, Program};
use shared::platform::{self, Platform};
use shared::settings::{Settings, WrongSetting};
use shared::shutdown::Shutdown;
use shared::telemetry;

/// The program: reads the settings of the process and works until SIGTERM or SIGINT.
pub async fn run() -> anyhow::Result<()> {
    let settings = Settings::read()?;
    let telemetry = telemetry::init("export-worker", &settings)?;
    let shutdown = Shutdown::on_signals()?;
    let admin_listener = admin::bind("admin_listen", &settings.admin_listen)?;
    let (metrics, starting) = (Metrics::of(&[Program::Worker]), Arc::new(Starting::default()));
    let admin = admin::serve(admin_listener, metrics.clone(), Arc::clone(&starting) as Arc<dyn Readiness>)?;
    let (admin_handle, admin) = (admin.handle(), tokio::spawn(admin));

    let platform = tokio::select! {
        platform = platform::connect(&settings, None, &metrics) => platform?,
        () = shutdown.wished() => return Ok(()),
    };
    let worker = Worker::new(platform, metrics, &settings)?;
    starting.started(Arc::clone(&worker) as Arc<dyn Readiness>);
    tracing::info!(permits = settings.permits, "working");
    worker.run(shutdown).await;
    admin_handle.stop(false).await;
    telemetry.stop().await;
    Ok(admin.await??)
}

/// A worker: the ports it works on and the numbers it works by.
pub struct Worker {
    platform: Platform,
    metrics: Metrics,
    limits: Limits,
    own_bases: OwnBases,
    room: publish::Room,
}

/// The settings that a worker works by.
#[derive(Clone, Debug)]
struct Limits {
    permits: u16,
    express_permits: u16,
    window: u32,
    slice_ids: u64,
    page_ids: u32,
    file_bytes: u64,
    attempts: u32,
    unpublished_due: Duration,
    published_due: Duration,
    working_due: Duration,
    janitor: Duration,
    retention: Duration,
    grace: Duration,
}

impl Worker {
    /// A worker on these ports. Fails when a setting that it needs is wrong.
    pub fn new(platform: Platform, metrics: Metrics, settings: &Settings) -> Result<Arc<Self>, WrongSetting> {
        let limits = Limits {
            permits: settings.permits,
            express_permits: settings.express_permits,
            window: settings.window,
            slice_ids: settings.slice_ids,
            page_ids: settings.page_ids,
            file_bytes: settings.file_bytes,
            attempts: settings.task_attempts,
            unpublished_due: Duration::from_secs(settings.unpublished_due_seconds),
            published_due: Duration::from_secs(settings.published_due_seconds),
            working_due: Duration::from_secs(settings.working_due_seconds),
            janitor: Duration::from_secs(settings.janitor_seconds),
            retention: Duration::from_secs(settings.retention_seconds.saturating_add(settings.linger_seconds)),
            grace: Duration::from_secs(settings.grace_seconds),
        };
        Ok(Arc::new(Self {
            platform,
            metrics,
            limits,
            own_bases: settings.own_bases()?,
            room: publish::Room::default(),
        }))
    }

    /// Works until somebody wishes to stop, then finishes or hands back what it has begun.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        tokio::join!(
            consume::consume(&self, Lane::Express, &shutdown),
            consume::consume(&self, Lane::Bulk, &shutdown),
            janitor::keep_house(&self, &shutdown),
        );
    }

    fn now(&self) -> Instant {
        self.platform.clock.now()
    }
}

#[async_trait]
impl Readiness for Worker {
    async fn ready(&self) -> Vec<(Port, Result<(), Fault>)> {
        gauges::readiness(&self.platform, &Port::ALL).await
    }

    async fn measure(&self, metrics: &Metrics) {
        gauges::measure_ports(&self.platform, &Port::ALL, metrics).await;
    }
}
