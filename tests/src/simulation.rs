//! Nothing is lost: whatever the lists, however they are cut, whatever fails, repeats, comes late or dies on the way, each
//! job ends as its client was told, its files together are what its list reaches, each resource once, and nothing is left
//! behind.
//!
//! The whole system, API and workers, runs on the memory adapters under a paused clock on one thread, with mischief in front
//! of every port (`harness::mischief`); the adapters pass the contract suites that the real ones pass. A seed decides it all:
//! `world` is the system, `trouble` what happens to it, `front` the API as `client` calls it, `check` what has to be so.
//!
//! A failing seed is printed with the file that its trace is in, and replays exactly: `SIMULATION_SEED=n` runs just that one.
//! `SIMULATION_SEEDS=n` sets how many are tried, from `SIMULATION_FROM=n` on. A million take half an hour of two cores in a
//! release build:
//!
//! ```text
//! SIMULATION_SEEDS=1000000 cargo nextest run --release -p system-tests simulation::files
//! ```

mod check;
mod client;
mod front;
mod slow_system;
mod trouble;
mod world;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use shared::metrics::Metrics;
use shared::shutdown::Shutdown;
use tokio::time::sleep;

use self::client::{Client, Seen, Wish};
use self::trouble::Trouble;
use self::world::World;
use crate::harness::random::{OWN_BASE, Random, lists};
use crate::harness::trace::Trace;
use crate::oracle::{self, Reached, by_key};

/// How many seeds are tried when nobody says.
const SEEDS: u64 = 10_000;

/// The lists that there are.
const LISTS: [&str; 2] = ["g", "h"];

#[test]
fn files_equal_the_closure_whatever_fails_repeats_or_dies() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a seed is a number"));
    let (first, count) = number("SIMULATION_SEED").map_or_else(
        || (number("SIMULATION_FROM").unwrap_or(0), number("SIMULATION_SEEDS").unwrap_or(SEEDS)),
        |seed| (seed, 1),
    );
    let seeds: Vec<u64> = (first..first + count).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let metrics = Metrics::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
            let (trace, outcome) = run(*seed, &metrics);
            if let Err(why) = outcome {
                // The other threads end with the seed that they are at.
                next.store(seeds.len(), Ordering::SeqCst);
                return Err(report(*seed, &trace, &why));
            }
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().expect("the seed that panicked is named above").err())
            .collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Writes the trace of a seed that failed to a file, and says where.
fn report(seed: u64, trace: &Trace, why: &str) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-{seed}.trace"));
    std::fs::write(&file, format!("{trace}\n{why}\n")).expect("cargo has made the folder");
    format!("run it again with SIMULATION_SEED={seed}; what happened is in {}\n{why}", file.display())
}

#[test]
fn a_seed_replays_exactly() {
    let metrics = Metrics::new();
    for seed in 0..20 {
        let ((first, _), (second, _)) = (run(seed, &metrics), run(seed, &metrics));
        let differs = first.events.iter().zip(&second.events).position(|(first, second)| first != second);
        let differs = differs.or((first.events.len() != second.events.len()).then_some(0));
        if let Some(at) = differs {
            let around = at.saturating_sub(5)..at + 2;
            let show = |trace: &Trace| {
                let lines = trace.events.iter().skip(around.start).take(around.len());
                lines.map(ToString::to_string).collect::<Vec<_>>().join("\n")
            };
            let (one, other) = (show(&first), show(&second));
            panic!("seed {seed} went another way at event {at}:\n{one}and\n{other}");
        }
    }
}

/// Says which seed it is when something panics.
struct Announced(u64);

impl Drop for Announced {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("run it again with SIMULATION_SEED={}", self.0);
        }
    }
}

/// Runs a seed; what happened, and whether all is as it has to be.
fn run(seed: u64, metrics: &Metrics) -> (Trace, Result<(), String>) {
    let _announced = Announced(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be had").block_on(async {
        let mut random = Random::new(seed);
        let trouble = Trouble::draw(&mut random);
        let data = lists(random.next(), &LISTS);
        let wishes: Vec<Wish> =
            (0..*random.pick(&[1, 1, 1, 2, 3])).map(|number| Wish::draw(&mut random, number, &LISTS)).collect();
        let world = World::new(&mut random, trouble.clone(), &data, metrics);
        let outcome = simulate(&world, &wishes, data).await;
        let trace = world.mischief.trace().clone();
        (trace, outcome.map_err(|why| format!("{why}\nwith {trouble:?}\nand {wishes:#?}")))
    })
}

async fn simulate(world: &World, wishes: &[Wish], data: Vec<String>) -> Result<(), String> {
    let over = Shutdown::new();
    let clients = async {
        let seen = all_end(world, wishes).await?;
        // The janitor, too, gets its share.
        sleep(Duration::from_millis(world.draw(30_000))).await;
        world.troubles_end().await;
        check::comes_to_rest(world, &seen).await?;
        over.stop();
        Ok(seen)
    };
    let (seen, (), ()) = tokio::try_join!(clients, world.worker(1, &over), world.worker(2, &over))?;

    check::no_message_is_left(world).await?;
    let (data, mut expected) = (by_key(data), BTreeMap::<_, Reached>::new());
    for seen in &seen {
        check::has_ended(world, seen).await?;
        let Some(manifest) = seen.manifest.as_ref().filter(|_| !seen.deleted) else { continue };
        let Wish { list, since, .. } = seen.wish;
        let expected = expected.entry((list, since)).or_insert_with(|| {
            if since {
                oracle::written_since(&data, list, &[OWN_BASE])
            } else {
                oracle::reached(&data, list, &[OWN_BASE])
            }
        });
        check::files_equal_the_closure(&world.store, manifest, expected)
            .map_err(|why| format!("of {}: {why}", seen.job))?;
    }
    check::all_goes_when_it_expires(world).await?;
    for seen in &seen {
        Client::new(world, seen.wish.clone()).sees_nothing(seen.job).await?;
    }
    Ok(())
}

/// Lets every client do what it wants, then waits for the jobs that were recorded though nobody was told of them.
async fn all_end(world: &World, wishes: &[Wish]) -> Result<Vec<Seen>, String> {
    let clients = wishes.iter().map(|wish| Client::new(world, wish.clone()).run());
    let mut seen = try_join_all(clients).await?;
    let recorded = world.mischief.trace().jobs.clone();
    for id in recorded {
        if seen.iter().any(|seen| seen.job == id) {
            continue;
        }
        if let Some(job) = world.platform.jobs.job(id).await.map_err(|fault| fault.to_string())? {
            let of = |wish: &&Wish| wish.client() == job.client.0;
            let wish = wishes.iter().find(of).ok_or("a job is nobody's")?;
            seen.push(Client::new(world, wish.clone()).see_through(id).await?);
        }
    }
    Ok(seen)
}
