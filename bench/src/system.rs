//! The system that is measured: a store, an API and workers as processes of their own, in a namespace of their own.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::StatusCode;
use shared::export::Lane;
use shared::queue::rabbitmq::{RabbitQueue, RabbitSettings};
use shared::settings::Settings;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::arguments::Arguments;
use crate::data::{self, Loaded};
use crate::roles::{ACCESS_KEY, BUCKET, SECRET_KEY, STORE_LISTEN};

/// How long a part may take to start or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// A part of the system.
pub struct Part {
    /// What it is called in the report.
    pub name: &'static str,
    process: Child,
    /// Where its metrics are; the store has none.
    pub metrics: Option<String>,
}

impl Part {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }
}

/// A running system.
pub struct System {
    /// All parts.
    pub parts: Vec<Part>,
    /// The FHIR base.
    pub base: String,
    /// What a program that reads the same source and writes to the same store needs to know.
    pub settings: Settings,
    /// How many tasks are worked on at a time.
    pub concurrency: usize,
    /// Redis.
    pub redis: String,
    amqp: String,
    fresh: Option<(String, String, std::path::PathBuf)>,
}

impl System {
    /// Starts a system on loaded data.
    pub async fn start(arguments: &Arguments, data: &Loaded) -> anyhow::Result<Self> {
        let namespace = format!("bench{}", uuid::Uuid::new_v4().simple());
        let (store_port, api_port) = (free_port()?, free_port()?);
        let outputs_url =
            format!("s3://{BUCKET}?endpoint=http://127.0.0.1:{store_port}&region=us-east-1&path_style=true");
        let variables = [
            ("ATR_NAMESPACE", namespace.clone()),
            ("ATR_JOBS_URL", arguments.redis.clone()),
            ("ATR_QUEUE_URL", arguments.amqp.clone()),
            ("ATR_SOURCE_URL", data.source_url.clone()),
            ("ATR_OUTPUTS_URL", outputs_url.clone()),
            ("ATR_LISTEN", format!("127.0.0.1:{api_port}")),
            ("ATR_PERMITS", arguments.permits.to_string()),
            ("ATR_ACCESS", "open-to-everybody".to_owned()),
            ("ATR_AUDIT", "none".to_owned()),
            // The benchmark polls as fast as it can tell a difference.
            ("ATR_POLLS_PER_MINUTE", "1000000".to_owned()),
            ("ATR_POLL_BURST", "1000000".to_owned()),
            ("ATR_LOG", "warn".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            (STORE_LISTEN, format!("127.0.0.1:{store_port}")),
        ];
        let mut system = Self {
            parts: Vec::new(),
            base: format!("http://127.0.0.1:{api_port}/fhir"),
            settings: Settings { namespace, source_url: data.source_url.clone(), outputs_url, ..Settings::default() },
            concurrency: usize::from(arguments.workers) * usize::from(arguments.permits),
            redis: arguments.redis.clone(),
            amqp: arguments.amqp.clone(),
            fresh: arguments.fresh.then(|| (arguments.postgres.clone(), data.schema.clone(), data.folder.clone())),
        };
        // The pipe has as many connections to the source as all workers together.
        system.settings.source_connections *= usize::from(arguments.workers);
        let workers = (0..arguments.workers).map(|_| ("worker", "worker"));
        for (name, role) in [("store", "store"), ("api", "api")].into_iter().chain(workers) {
            system.parts.push(part(name, role, &variables)?);
        }
        for part in &system.parts {
            ready(part).await?;
        }
        Ok(system)
    }

    /// The processes, by the names of their parts.
    pub fn processes(&self) -> Vec<(&str, u32)> {
        self.parts.iter().map(|part| (part.name, part.id())).collect()
    }

    /// Stops all parts, and removes what they have left in the servers.
    pub async fn stop(self) -> anyhow::Result<()> {
        for mut part in self.parts.into_iter().rev() {
            let stopped = Command::new("kill").args(["-TERM", &part.id().to_string()]).status().await?;
            if !stopped.success() || timeout(PATIENCE, part.process.wait()).await.is_err() {
                eprintln!("bench: the {} does not stop and is killed", part.name);
                part.process.kill().await?;
            }
        }
        let namespace = &self.settings.namespace;
        for lane in Lane::ALL {
            let queue = RabbitSettings {
                url: self.amqp.clone(),
                namespace: namespace.clone(),
                lane,
                confirm_timeout: PATIENCE,
                connect_timeout: PATIENCE,
                heartbeat_seconds: 30,
            };
            RabbitQueue::connect(&queue)?.delete().await?;
        }
        let mut redis = redis::Client::open(self.redis)?.get_multiplexed_async_connection().await?;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{namespace}:*")).arg("COUNT").arg(10_000);
            let (next, keys): (u64, Vec<String>) = scan.query_async(&mut redis).await?;
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).exec_async(&mut redis).await?;
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        if let Some((postgres, schema, folder)) = self.fresh {
            data::drop_schema(&postgres, &schema).await?;
            tokio::fs::remove_dir_all(folder).await?;
        }
        Ok(())
    }
}

fn part(name: &'static str, role: &str, variables: &[(&str, String)]) -> anyhow::Result<Part> {
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
        .with_context(|| format!("cannot start the {name}"))?;
    let metrics = (role != "store").then(|| format!("http://127.0.0.1:{admin_port}"));
    Ok(Part { name, process, metrics })
}

/// Waits until a part says that it can work.
async fn ready(part: &Part) -> anyhow::Result<()> {
    let Some(admin) = &part.metrics else { return Ok(()) };
    let url = format!("{admin}/health/ready");
    let asking = async {
        while !reqwest::get(&url).await.is_ok_and(|response| response.status() == StatusCode::OK) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(PATIENCE, asking).await.is_err() {
        bail!("the {} is not ready; are Redis and RabbitMQ where --redis and --amqp say?", part.name);
    }
    Ok(())
}

/// A port on which nobody listened a moment ago.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
