//! One export through the HTTP interface, and what it took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reqwest::header::CONTENT_LOCATION;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use crate::data::Loaded;
use crate::system::System;
use crate::usage::{self, CpuSeconds};

/// How often the job is asked after: often enough to see when it ends, rarely enough to leave the API in peace.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// An export that has come to its end.
#[derive(Debug)]
pub struct Exported {
    /// The files of the manifest.
    pub files: Vec<File>,
    /// Lines in the error files.
    pub problems: u64,
    /// How many members' Patients were written, as the manifest accounts for them.
    pub members_written: u64,
    /// From kick-off to manifest.
    pub seconds: f64,
    /// From kick-off to the first poll that shows a file.
    pub first_file_seconds: f64,
    /// What our processes and the servers have used meanwhile.
    pub cpu_seconds: CpuSeconds,
    /// The most memory that each of our processes had resident, the largest of one name.
    pub peak_memory_bytes: BTreeMap<String, u64>,
    /// How often Redis has read something from a connection meanwhile, for our polls too: a call of a script, or commands
    /// that were sent in one go.
    pub redis_calls: u64,
    /// Attempts at tasks. Each is a publish with its confirm, a delivery and an ack.
    pub attempts: u64,
}

/// A file of a manifest.
#[derive(Clone, Debug, Deserialize)]
pub struct File {
    /// The type of its resources.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Where it is.
    pub url: String,
    /// Its lines.
    pub count: u64,
    extension: BTreeMap<String, Length>,
}

#[derive(Clone, Debug, Deserialize)]
struct Length {
    bytes: u64,
}

impl File {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.extension.values().map(|length| length.bytes).sum()
    }
}

#[derive(Deserialize)]
struct Manifest {
    output: Vec<File>,
    error: Vec<File>,
    #[serde(default)]
    link: Vec<Next>,
    #[serde(default)]
    extension: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Next {
    url: String,
}

impl Exported {
    /// Resources in all files.
    pub fn resources(&self) -> u64 {
        self.files.iter().map(|file| file.count).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(File::bytes).sum()
    }
}

/// Exports the list.
pub async fn run(system: &System, data: &Loaded) -> anyhow::Result<Exported> {
    let client = Client::builder().build()?;
    let calls = redis_calls(&system.redis).await?;
    let attempts = attempts(&client, system).await?;
    let cpu = usage::cpu_reading(&system.processes());

    let began = Instant::now();
    // A manifest that can be had while the job runs tells when the first file is there.
    let url = format!("{}/Group/{}/$davinci-data-export?allowPartialManifests=true", system.base, data.list);
    let request = client.get(&url).header("Accept", "application/fhir+json").header("Prefer", "respond-async");
    let response = request.send().await?;
    ensure!(response.status() == StatusCode::ACCEPTED, "the kick-off was answered with {}", response.status());
    let location = response.headers().get(CONTENT_LOCATION).and_then(|value| value.to_str().ok());
    let polling = location.context("the kick-off has no Content-Location")?.to_owned();
    let mut first_file = None;
    let first_page = loop {
        let response = client.get(&polling).header("Accept", "application/json").send().await?;
        let status = response.status();
        let text = response.text().await?;
        let manifest = if text.is_empty() { None } else { serde_json::from_str::<Manifest>(&text).ok() };
        if first_file.is_none() && manifest.as_ref().is_some_and(|manifest| !manifest.output.is_empty()) {
            first_file = Some(began.elapsed());
        }
        match (status, manifest) {
            (StatusCode::OK, Some(manifest)) => break manifest,
            (StatusCode::ACCEPTED, _) => sleep(POLL_EVERY).await,
            _ => bail!("the export was answered with {status}: {text}"),
        }
    };
    let seconds = began.elapsed().as_secs_f64();

    let cpu_seconds = usage::between(&cpu, &usage::cpu_reading(&system.processes()));
    let mut peak_memory_bytes = BTreeMap::new();
    for (name, process) in system.processes() {
        let peak: &mut u64 = peak_memory_bytes.entry(name.to_owned()).or_default();
        *peak = usage::peak_memory_bytes(process).max(*peak);
    }
    let mut exported = Exported {
        files: Vec::new(),
        problems: 0,
        members_written: 0,
        seconds,
        first_file_seconds: first_file.map_or(seconds, |first| first.as_secs_f64()),
        cpu_seconds,
        peak_memory_bytes,
        redis_calls: redis_calls(&system.redis).await? - calls,
        attempts: self::attempts(&client, system).await? - attempts,
    };
    let mut page = first_page;
    loop {
        exported.files.append(&mut page.output);
        exported.problems += page.error.iter().map(|file| file.count).sum::<u64>();
        let written = page.extension.values().find_map(|account| account["written"].as_u64());
        exported.members_written += written.unwrap_or(0);
        let Some(next) = page.link.pop() else { return Ok(exported) };
        page = client.get(&next.url).send().await?.error_for_status()?.json().await?;
    }
}

async fn redis_calls(url: &str) -> anyhow::Result<u64> {
    let mut redis = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let stats: String = redis::cmd("INFO").arg("stats").query_async(&mut redis).await?;
    let calls = stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
    calls.and_then(|calls| calls.trim().parse().ok()).context("Redis does not say how often it was called")
}

/// Attempts at tasks by all workers so far.
async fn attempts(client: &Client, system: &System) -> anyhow::Result<u64> {
    let mut sum = 0.0;
    for part in system.parts.iter().filter(|part| part.name == "worker") {
        let admin = part.metrics.as_ref().context("a worker has metrics")?;
        let text = client.get(format!("{admin}/metrics")).send().await?.text().await?;
        let lines = text.lines().filter(|line| line.starts_with("atr_task_attempts_total{"));
        sum += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it counts")]
    Ok(sum as u64)
}
