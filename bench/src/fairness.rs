//! How long an export of ten members takes while large ones run.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde_json::json;
use tokio::try_join;

use crate::arguments::FairnessArguments;
use crate::data::Loaded;
use crate::figures::{Figures, grouped, table};
use crate::job::{self, Job};
use crate::spread::Spread;
use crate::system::{Ground, Setup, System};

/// A small list takes some hundredths of a second.
const POLL_SMALL: Duration = Duration::from_millis(10);
const POLL_LARGE: Duration = Duration::from_millis(100);

/// How often the small list is exported alone, at most.
const ALONE: u64 = 20;

/// Seconds of the small exports, each alone and each beside large ones, and of the large ones.
struct Watched {
    alone: Spread,
    beside: Spread,
    large_seconds: f64,
}

/// Exports the small list again and again: first alone, then while large ones are exported.
pub async fn measure(ground: &Ground<'_>, arguments: &FairnessArguments) -> anyhow::Result<Figures> {
    let setup = Setup::of(arguments.workers, ground.data);
    let watched = System::during(ground, &setup, async |system| watch(system, arguments, ground.data).await).await?;
    let Watched { alone, beside, large_seconds } = watched;
    let row = |name: &str, spread: &Spread| {
        let seconds = |share| format!("{:.2} s", spread.quantile(share));
        vec![name.to_owned(), spread.count().to_string(), seconds(0.5), seconds(0.95), seconds(1.0)]
    };
    let rows = [row("alone", &alone), row("while large ones run", &beside)];
    let json = json!({
        "members": ground.common.members,
        "large": arguments.large,
        "largeSeconds": large_seconds,
        "aloneSeconds": alone.json(),
        "besideSeconds": beside.json(),
    });
    let head = ["export of ten members", "how many", "median", "95 %", "longest"];
    let table = format!(
        "{}\nLarge exports, {} of {} members, took {large_seconds:.1} s.\n",
        table(&head, &rows),
        arguments.large,
        grouped(ground.common.members)
    );
    Ok(Figures { table, json, wrong: None })
}

async fn watch(system: &System, arguments: &FairnessArguments, data: &Loaded) -> anyhow::Result<Watched> {
    let client = job::client()?;
    let small = async || {
        let job = Job::kick_off(&client, &system.base, &data.small_list, "").await?;
        let seconds = job.ended(POLL_SMALL).await?.as_secs_f64();
        job.delete().await?;
        anyhow::Ok(seconds)
    };
    let most = u64::from(arguments.small);
    eprintln!("exporting the small list alone");
    let mut alone = Vec::new();
    for _ in 0..most.min(ALONE) {
        alone.push(small().await?);
    }
    eprintln!("exporting it beside large ones");
    let began = Instant::now();
    let kick_offs = (0..arguments.large).map(|_| Job::kick_off(&client, &system.base, &data.list, ""));
    let large = try_join_all(kick_offs).await?;
    let is_over = Cell::new(false);
    let large_ends = async {
        try_join_all(large.iter().map(|job| job.ended(POLL_LARGE))).await?;
        is_over.set(true);
        anyhow::Ok(began.elapsed().as_secs_f64())
    };
    // What begins beside large ones counts to its end: it may be the one that waits longest.
    let small_ones = async {
        let mut beside = Vec::new();
        while (beside.len() as u64) < most && !is_over.get() {
            beside.push(small().await?);
        }
        Ok(beside)
    };
    let (large_seconds, beside) = try_join!(large_ends, small_ones)?;
    try_join_all(large.into_iter().map(Job::delete)).await?;
    Ok(Watched { alone: Spread::of(alone), beside: Spread::of(beside), large_seconds })
}
