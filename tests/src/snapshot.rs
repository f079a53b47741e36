//! Exports are snapshots: while writers change, delete and bring back resources and members, each export is the state at its
//! `transactionTime`, and a chain of exports with `_since` = the last `transactionTime` rebuilds the last state exactly.
//!
//! In the style of Jepsen: clients of a real system record what they did and saw (`history`), and when all is quiet a pure
//! checker looks for what cannot be (`checker`), with the state at a time read straight from the tables (`past`). `draws`
//! has what the writers do, from a seed; timing is real, so a seed may fail once in a while only. A failing seed is printed with
//! the file that has its history; `SNAPSHOT_SEED=n` runs just that one, and `SNAPSHOT_SEEDS=n` sets how many are tried.

mod checker;
mod clients;
mod draws;
mod history;
mod past;
mod writers;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;

use self::checker::check;
use self::clients::Since;
use self::draws::work;
use self::history::History;
use self::past::Past;
use crate::harness::system::{System, with_settings};

#[tokio::test]
async fn exports_are_snapshots_and_chains_of_them_rebuild_the_state() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a seed is a number"));
    let seeds: Vec<u64> = match number("SNAPSHOT_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SNAPSHOT_SEEDS").unwrap_or(4)).collect(),
    };
    for seed in seeds {
        run(seed).await;
    }
}

/// Runs a seed. Panics with the place of its history when something is wrong with it.
async fn run(seed: u64) {
    let history = Arc::new(History::default());
    let work = work(seed);
    let world = work.world.clone();
    // Many tasks and pages, so that an export is at work for a while after its time was fixed.
    let small = |settings: &mut shared::settings::Settings| {
        settings.slice_ids = 2;
        settings.page_ids = 2;
    };
    let story = |system: Arc<System>| story(system, work, Arc::clone(&history));
    let ran = AssertUnwindSafe(with_settings(&world, small, story)).catch_unwind().await;
    // Of a run that broke off the past was not read.
    let wrong = if ran.is_ok() { check(&history.events()) } else { Vec::new() };
    if ran.is_err() || !wrong.is_empty() {
        let (path, count) = (history.save(seed), wrong.len());
        let first: Vec<_> = wrong.iter().take(8).collect();
        let how = if ran.is_ok() { "ran to its end" } else { "broke off, see above" };
        panic!("SNAPSHOT_SEED={seed} {how}, {count} violations; its history is in {}: {first:#?}", path.display());
    }
}

/// Has everybody at work at once, then reads what the database has kept.
async fn story(system: Arc<System>, work: draws::Work, history: Arc<History>) {
    let (namespace, history, is_quiet) = (system.settings.namespace.as_str(), &*history, AtomicBool::new(false));
    let first = writers::world(&work.world, history);
    history.events().writes.push(first);
    let [full, chain, slow_chain, edge] = work.pauses;
    let export = |who, asks, pause| clients::export(who, asks, pause, &system, history, &is_quiet);
    let writing = async {
        let loads = work.loads.into_iter().enumerate();
        let loads = join_all(loads.map(|(n, steps)| writers::load(format!("loader-{n}"), namespace, steps, history)));
        tokio::join!(loads, writers::write_late(namespace, work.late, history), writers::block(namespace, work.blocks));
        is_quiet.store(true, Ordering::SeqCst);
    };
    tokio::join!(
        writing,
        export("full", Since::Never, full),
        export("chain", Since::LastExport, chain),
        export("slow chain", Since::LastExport, slow_chain),
        export("edge", Since::LastStamp, edge),
    );
    let client = writers::connect(namespace).await;
    history.events().past = Past::read(&client).await.expect("PostgreSQL is there");
}
