//! What clients that poll once a second cost the API: jobs that no worker has yet, so that nothing else goes on.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::arguments::PollingArguments;
use crate::data::Loaded;
use crate::figures::{Figures, as_float, table};
use crate::job::{self, Job};
use crate::spread::Spread;
use crate::system::{Ground, Setup, System};
use crate::usage::{self, CpuSeconds};

/// Kick-offs under way at a time.
const KICK_OFFS: usize = 16;

/// Has each client poll its job once a second, and looks at what it waits for and what the API uses.
pub async fn measure(ground: &Ground<'_>, arguments: &PollingArguments) -> anyhow::Result<Figures> {
    let source_url = ground.data.source_url.clone();
    let setup = Setup { workers: 0, permits: 1, source_url, settings: Vec::new() };
    let polled = System::during(ground, &setup, async |system| poll(system, arguments, ground.data).await).await?;
    let (spread, seconds, cpu) = polled;
    let milliseconds = |share| 1_000.0 * spread.quantile(share);
    let api_cores = cpu.get("api").copied().unwrap_or(f64::NAN) / seconds;
    let redis_cores = cpu.get("redis").copied().unwrap_or(f64::NAN) / seconds;
    let polls = spread.count();
    let rows = [
        ["clients, each once a second".to_owned(), arguments.clients.to_string()],
        ["polls".to_owned(), format!("{polls}, {:.0} a second", as_float(polls) / seconds)],
        ["answer, median".to_owned(), format!("{:.2} ms", milliseconds(0.5))],
        ["answer, 99 %".to_owned(), format!("{:.2} ms", milliseconds(0.99))],
        ["answer, longest".to_owned(), format!("{:.2} ms", milliseconds(1.0))],
        ["API".to_owned(), format!("{api_cores:.2} cores")],
        ["Redis".to_owned(), format!("{redis_cores:.2} cores")],
    ];
    let json = json!({
        "clients": arguments.clients,
        "polls": polls,
        "seconds": seconds,
        "answerSeconds": spread.json(),
        "apiCores": api_cores,
        "redisCores": redis_cores,
    });
    Ok(Figures { table: table(&["figure", "value"], &rows.map(Vec::from)), json, wrong: None })
}

async fn poll(
    system: &System,
    arguments: &PollingArguments,
    data: &Loaded,
) -> anyhow::Result<(Spread, f64, CpuSeconds)> {
    let client = job::client()?;
    eprintln!("kicking off {} jobs", arguments.clients);
    let kick_offs = (0..arguments.clients).map(|_| Job::kick_off(&client, &system.base, &data.small_list, ""));
    let jobs: Vec<Job> = stream::iter(kick_offs).buffer_unordered(KICK_OFFS).try_collect().await?;
    eprintln!("polling them for {} s", arguments.polls);
    let processes = system.processes();
    let before = usage::cpu_reading(&processes);
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (number, job) in (0..).zip(jobs) {
        // The clients do not poll in step.
        let offset = Duration::from_secs(1) * number / arguments.clients;
        clients.spawn(once_a_second(job, offset, arguments.polls));
    }
    let mut waited = Vec::new();
    while let Some(ended) = clients.join_next().await {
        waited.extend(ended??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = usage::between(&before, &usage::cpu_reading(&processes));
    Ok((Spread::of(waited), seconds, cpu))
}

/// The seconds that each poll waited for its answer. A poll that is held up puts off the next one.
async fn once_a_second(job: Job, offset: Duration, times: u32) -> anyhow::Result<Vec<f64>> {
    let mut ticks = interval_at(tokio::time::Instant::now() + offset, Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waited = Vec::new();
    for _ in 0..times {
        ticks.tick().await;
        let asked = Instant::now();
        ensure!(!job.poll().await?.0, "a job has ended without a worker");
        waited.push(asked.elapsed().as_secs_f64());
    }
    Ok(waited)
}
