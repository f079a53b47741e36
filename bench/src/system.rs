//! The system that is measured: a store, an API and workers as processes of their own, in a namespace of their own.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::StatusCode;
use shared::export::Lane;
use shared::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use shared::settings::Settings;
use shared::shutdown::Shutdown;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::arguments::{Common, Workers};
use crate::data::Loaded;
use crate::roles::{ACCESS_KEY, BUCKET, SECRET_KEY, STORE_FOLDER, STORE_LISTEN};

/// How long a part may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// What every measurement stands on.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// What is exported, and where.
    pub common: &'a Common,
    /// The list.
    pub data: &'a Loaded,
    /// Whether somebody wishes to stop.
    pub shutdown: &'a Shutdown,
}

/// What of a system differs from one measurement to another.
pub struct Setup {
    /// How many workers.
    pub workers: u16,
    /// How many tasks each works on at a time on the bulk lane.
    pub permits: u16,
    /// Where the list is.
    pub source_url: String,
    /// Further settings of all parts, by their variables.
    pub settings: Vec<(&'static str, String)>,
}

impl Setup {
    /// These workers on the list as it was loaded.
    pub fn of(workers: Workers, data: &Loaded) -> Self {
        let Workers { workers, permits } = workers;
        Self { workers, permits, source_url: data.source_url.clone(), settings: Vec::new() }
    }
}

/// A part of the system.
struct Part {
    /// What it is called in the table.
    role: &'static str,
    process: Child,
    /// Where its metrics and its health are; the store has none.
    admin: Option<String>,
}

/// A running system.
pub struct System {
    parts: Vec<Part>,
    /// The FHIR base.
    pub base: String,
    /// The settings of its parts.
    pub settings: Settings,
    /// How many workers it has.
    pub workers: u16,
}

impl System {
    /// Starts a system, has it measured, and stops it, whatever becomes of either.
    pub async fn during<T>(
        ground: &Ground<'_>,
        setup: &Setup,
        measure: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let variables = variables(ground.common, setup)?;
        let named = variables.iter().filter(|(name, _)| name.starts_with("ATR_"));
        let settings = Settings::from_variables(named.map(|(name, value)| ((*name).to_owned(), value.clone())))?;
        let base = settings.public_base()?.as_str().trim_end_matches('/').to_owned();
        let mut system = Self { parts: Vec::new(), base, settings, workers: setup.workers };
        let measured = tokio::select! {
            measured = async {
                system.start(&variables).await?;
                measure(&system).await
            } => measured,
            () = ground.shutdown.wished() => Err(anyhow!("interrupted")),
        };
        let stopped = system.stop().await;
        // What went wrong first is what matters.
        let measured = measured?;
        stopped.context("failed to remove what the run has left in Redis and RabbitMQ")?;
        Ok(measured)
    }

    async fn start(&mut self, variables: &[(&str, String)]) -> anyhow::Result<()> {
        let workers = (0..self.workers).map(|_| "worker");
        for role in ["store", "api"].into_iter().chain(workers) {
            self.parts.push(part(role, variables)?);
        }
        for part in &mut self.parts {
            ready(part).await?;
        }
        Ok(())
    }

    /// The processes, by the names of their parts. One that has ended is not among them.
    pub fn processes(&self) -> Vec<(&'static str, u32)> {
        self.parts.iter().filter_map(|part| Some((part.role, part.process.id()?))).collect()
    }

    /// What all workers have counted so far in a metric, whatever its labels.
    pub async fn counted(&self, metric: &str) -> anyhow::Result<u64> {
        let mut sum = 0.0;
        for admin in self.parts.iter().filter(|part| part.role == "worker").filter_map(|part| part.admin.as_ref()) {
            let text = reqwest::get(format!("{admin}/metrics")).await?.text().await?;
            let lines = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
            sum += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it counts")]
        Ok(sum as u64)
    }

    /// Stops all parts, and removes what they have left in the servers; goes on to the end, and answers what failed first.
    async fn stop(&mut self) -> anyhow::Result<()> {
        let mut stopped = Ok(());
        for part in self.parts.iter_mut().rev() {
            stopped = stopped.and(end(part).await);
        }
        for lane in Lane::ALL {
            stopped = stopped.and(self.delete_queue(lane).await);
        }
        stopped.and(self.delete_keys().await)
    }

    async fn delete_queue(&self, lane: Lane) -> anyhow::Result<()> {
        let queue = RabbitSettings {
            url: self.settings.queue_url.clone(),
            namespace: self.settings.namespace.clone(),
            lane,
            confirm_timeout: PATIENCE,
            connect_timeout: PATIENCE,
            heartbeat_seconds: 30,
        };
        Ok(RabbitQueue::connect(&queue)?.delete().await?)
    }

    async fn delete_keys(&self) -> anyhow::Result<()> {
        let client = redis::Client::open(self.settings.jobs_url.as_str())?;
        let mut redis = client.get_multiplexed_async_connection().await?;
        let (pattern, mut cursor) = (format!("{}:*", self.settings.namespace), 0_u64);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(10_000);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut redis).await?;
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).exec_async(&mut redis).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

/// What the parts are told.
fn variables<'a>(common: &'a Common, setup: &'a Setup) -> anyhow::Result<Vec<(&'a str, String)>> {
    let (store_port, api_port) = (free_port()?, free_port()?);
    let mut variables = vec![
        ("ATR_NAMESPACE", format!("bench{}", uuid::Uuid::new_v4().simple())),
        ("ATR_JOBS_URL", common.redis.clone()),
        ("ATR_QUEUE_URL", common.amqp.clone()),
        ("ATR_SOURCE_URL", setup.source_url.clone()),
        (
            "ATR_OUTPUTS_URL",
            format!("s3://{BUCKET}?endpoint=http://127.0.0.1:{store_port}&region=us-east-1&path_style=true"),
        ),
        ("ATR_LISTEN", format!("127.0.0.1:{api_port}")),
        ("ATR_PERMITS", setup.permits.to_string()),
        ("ATR_ACCESS", "open-to-everybody".to_owned()),
        ("ATR_AUDIT", "none".to_owned()),
        // The benchmark is one client, with more jobs than one should have, and polls as fast as it can tell a difference.
        ("ATR_JOBS_PER_CLIENT", "1000000".to_owned()),
        ("ATR_POLLS_PER_MINUTE", "1000000".to_owned()),
        ("ATR_POLL_BURST", "1000000".to_owned()),
        ("ATR_LOG", common.log.clone()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        (STORE_LISTEN, format!("127.0.0.1:{store_port}")),
    ];
    if let Some(folder) = &common.store {
        variables.push((STORE_FOLDER, folder.to_string_lossy().into_owned()));
    }
    variables.extend(setup.settings.iter().cloned());
    variables.extend(common.set.iter().map(|(name, value)| (name.as_str(), value.clone())));
    Ok(variables)
}

fn part(role: &'static str, variables: &[(&str, String)]) -> anyhow::Result<Part> {
    let admin_port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ATR_") {
            command.env_remove(name);
        }
    }
    let process = command
        .args(["role", role])
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .env("ATR_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start the {role}"))?;
    let admin = (role != "store").then(|| format!("http://127.0.0.1:{admin_port}"));
    Ok(Part { role, process, admin })
}

/// Waits until a part says that it can work.
async fn ready(part: &mut Part) -> anyhow::Result<()> {
    let Some(admin) = &part.admin else { return Ok(()) };
    let (role, url) = (part.role, format!("{admin}/health/ready"));
    let mut said = "it does not answer".to_owned();
    let asking = async {
        loop {
            if let Ok(response) = reqwest::get(&url).await {
                if response.status() == StatusCode::OK {
                    return Ok(());
                }
                said = response.text().await?;
            }
            if let Some(status) = part.process.try_wait()? {
                bail!("the {role} ended with {status} before it was ready; --log info shows why");
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(PATIENCE, asking).await {
        Ok(ready) => ready,
        Err(_) => bail!("the {role} is not ready; --redis, --amqp and --postgres say where its servers are: {said}"),
    }
}

/// Ends a part in good order, or not.
async fn end(part: &mut Part) -> anyhow::Result<()> {
    let Some(process) = part.process.id() else { return Ok(()) };
    let stopped = Command::new("kill").args(["-TERM", &process.to_string()]).status().await?;
    if !stopped.success() || timeout(PATIENCE, part.process.wait()).await.is_err() {
        eprintln!("bench: the {} does not stop and is killed", part.role);
        part.process.kill().await?;
    }
    Ok(())
}

/// A port on which nobody listened a moment ago.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
