//! One export through the HTTP interface, and what it took.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use crate::job::{self, Job, WITH_PARTIAL_MANIFESTS};
use crate::system::System;
use crate::usage::{self, CpuSeconds};

/// How long to wait before the job is asked after again: often enough to see within a fiftieth when it ended, rarely enough
/// to leave the API in peace.
fn pause(running: Duration) -> Duration {
    (running / 50).clamp(Duration::from_millis(2), Duration::from_millis(20))
}

/// The metric of attempts at tasks.
const ATTEMPTS: &str = "atr_task_attempts_total";

/// An export that has come to its end.
pub struct Exported {
    /// The job; `None` once it is deleted.
    job: Option<Job>,
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
    /// Attempts at tasks.
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

    /// Deletes the job, so that its files do not fill the store; the figures stay.
    pub async fn delete(&mut self) -> anyhow::Result<()> {
        match self.job.take() {
            Some(job) => job.delete().await,
            None => Ok(()),
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(File::bytes).sum()
    }
}

/// Exports a list.
pub async fn run(system: &System, list: &str) -> anyhow::Result<Exported> {
    let client = job::client()?;
    let calls = redis_calls(&system.settings.jobs_url).await?;
    let attempts = system.counted(ATTEMPTS).await?;
    let cpu = usage::cpu_reading(&system.processes());

    let job = Job::kick_off(&client, &system.base, list, WITH_PARTIAL_MANIFESTS).await?;
    let mut first_file = None;
    let first_page = loop {
        let (has_ended, response) = job.poll().await?;
        let text = response.text().await?;
        let manifest = if text.is_empty() { None } else { Some(serde_json::from_str::<Manifest>(&text)?) };
        if first_file.is_none() && manifest.as_ref().is_some_and(|manifest| !manifest.output.is_empty()) {
            first_file = Some(job.began.elapsed());
        }
        match manifest {
            Some(manifest) if has_ended => break manifest,
            _ => sleep(pause(job.began.elapsed())).await,
        }
    };
    let seconds = job.began.elapsed().as_secs_f64();

    let cpu_seconds = usage::between(&cpu, &usage::cpu_reading(&system.processes()));
    let mut peak_memory_bytes = BTreeMap::new();
    for (name, process) in system.processes() {
        let peak: &mut u64 = peak_memory_bytes.entry(name.to_owned()).or_default();
        *peak = usage::peak_memory_bytes(process).max(*peak);
    }
    let mut exported = Exported {
        job: Some(job),
        files: Vec::new(),
        problems: 0,
        members_written: 0,
        seconds,
        first_file_seconds: first_file.map_or(seconds, |first| first.as_secs_f64()),
        cpu_seconds,
        peak_memory_bytes,
        redis_calls: more(redis_calls(&system.settings.jobs_url).await?, calls, "Redis")?,
        attempts: more(system.counted(ATTEMPTS).await?, attempts, "a worker")?,
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

/// How many more there are now. A counter that went back has begun anew, and so has whoever counts.
fn more(now: u64, before: u64, counting: &str) -> anyhow::Result<u64> {
    now.checked_sub(before).with_context(|| format!("{counting} was started anew during the export"))
}
