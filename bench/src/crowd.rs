//! Whether many jobs that begin at the same moment go on side by side.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use reqwest::header::HeaderMap;
use serde_json::json;
use tokio::time::sleep;

use crate::arguments::CrowdArguments;
use crate::data::Loaded;
use crate::figures::{Figures, a_second, table};
use crate::job::{self, Job, WITH_PARTIAL_MANIFESTS};
use crate::spread::Spread;
use crate::system::{Ground, Setup, System};

const POLL_EVERY: Duration = Duration::from_millis(200);

/// What was seen of one job.
#[derive(Default)]
struct Seen {
    /// Seconds from its kick-off to the first poll that showed a file.
    first_file_seconds: Option<f64>,
    /// Seconds from its kick-off to its manifest.
    end_seconds: Option<f64>,
    /// How far it was when the first of all jobs ended: the share of its tasks that were done, in percent.
    percent_at_first_end: Option<f64>,
}

/// All that was seen.
struct Watched {
    seen: Vec<Seen>,
    lines: u64,
    seconds: f64,
}

/// Kicks off as many jobs of the list as it is told and watches them.
pub async fn measure(ground: &Ground<'_>, arguments: &CrowdArguments) -> anyhow::Result<Figures> {
    let setup = Setup::of(arguments.workers, ground.data);
    let watched = System::during(ground, &setup, async |system| watch(system, arguments, ground.data).await).await?;
    let Watched { seen, lines, seconds } = watched;
    let spread = |value: fn(&Seen) -> Option<f64>| Spread::of(seen.iter().filter_map(value).collect());
    let first = spread(|seen| seen.first_file_seconds);
    let end = spread(|seen| seen.end_seconds);
    let percent = spread(|seen| seen.percent_at_first_end);
    let row = |name: &str, spread: &Spread, unit: &str| {
        let value = |share| format!("{:.1} {unit}", spread.quantile(share));
        vec![name.to_owned(), value(0.0), value(0.5), value(1.0)]
    };
    let rows = [
        row("kick-off to first file", &first, "s"),
        row("kick-off to manifest", &end, "s"),
        row("tasks done when the first ended", &percent, "%"),
    ];
    let json = json!({
        "members": ground.common.members,
        "jobs": arguments.jobs,
        "seconds": seconds,
        "lines": lines,
        "firstFileSeconds": first.json(),
        "endSeconds": end.json(),
        "percentAtFirstEnd": percent.json(),
    });
    let rate = a_second(lines, seconds);
    let table = format!(
        "{}\n{} jobs in {seconds:.1} s, {rate} resources/s.\n",
        table(&["job", "least", "median", "most"], &rows),
        arguments.jobs
    );
    Ok(Figures { table, json, wrong: None })
}

async fn watch(system: &System, arguments: &CrowdArguments, data: &Loaded) -> anyhow::Result<Watched> {
    let client = job::client()?;
    let began = Instant::now();
    let kick_off = |_| Job::kick_off(&client, &system.base, &data.list, WITH_PARTIAL_MANIFESTS);
    let jobs = try_join_all((0..arguments.jobs).map(kick_off)).await?;
    let mut seen: Vec<Seen> = jobs.iter().map(|_| Seen::default()).collect();
    loop {
        let mut percents = Vec::new();
        for (job, seen) in jobs.iter().zip(&mut seen) {
            percents.push(look(job, seen).await?);
        }
        if seen.iter().any(|seen| seen.end_seconds.is_some()) {
            for (seen, percent) in seen.iter_mut().zip(percents) {
                seen.percent_at_first_end.get_or_insert(percent);
            }
        }
        if seen.iter().all(|seen| seen.end_seconds.is_some()) {
            break;
        }
        sleep(POLL_EVERY).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let lines = system.counted("atr_lines_written_total").await?;
    try_join_all(jobs.into_iter().map(Job::delete)).await?;
    Ok(Watched { seen, lines, seconds })
}

/// Polls a job that has not ended, notes what is new, and answers how far it is in percent.
async fn look(job: &Job, seen: &mut Seen) -> anyhow::Result<f64> {
    if seen.end_seconds.is_some() {
        return Ok(100.0);
    }
    let (has_ended, response) = job.poll().await?;
    let percent = if has_ended { 100.0 } else { percent(response.headers())? };
    // A job that runs shows a manifest as soon as it has a file.
    let has_file = has_ended || !response.bytes().await?.is_empty();
    let seconds = job.began.elapsed().as_secs_f64();
    if has_file {
        seen.first_file_seconds.get_or_insert(seconds);
    }
    if has_ended {
        seen.end_seconds = Some(seconds);
    }
    Ok(percent)
}

/// How many of its tasks are done, the plan left out: from `12%: 3 of 25 tasks done, …`; none as long as no worker has it.
fn percent(headers: &HeaderMap) -> anyhow::Result<f64> {
    let progress = headers.get("X-Progress").and_then(|value| value.to_str().ok());
    let words: Vec<&str> = progress.context("a poll has no X-Progress")?.split(' ').collect();
    let [_, done, "of", tasks, "tasks", ..] = words[..] else { return Ok(0.0) };
    let (done, tasks): (f64, f64) = (done.parse()?, tasks.parse()?);
    Ok(100.0 * (done - 1.0) / (tasks - 1.0).max(1.0))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn progress_is_read_without_the_plan() {
        let percent = |text: &'static str| {
            percent(&HeaderMap::from_iter([("x-progress".parse().expect("a name"), HeaderValue::from_static(text))]))
        };
        for (text, expected) in [
            ("waiting for a worker", 0.0),
            ("4%: 1 of 25 tasks done, 0 resources written", 0.0),
            ("52%: 13 of 25 tasks done, 7 resources written", 50.0),
            ("100%: 25 of 25 tasks done, 9 resources written", 100.0),
        ] {
            let found = percent(text).expect("it is progress");
            assert!((found - expected).abs() < f64::EPSILON, "{text}: {found}");
        }
        assert!(super::percent(&HeaderMap::new()).is_err());
    }
}
