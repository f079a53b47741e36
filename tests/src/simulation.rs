//! Properties of the cut and the claims: whatever the list, however it is cut, whatever fails, repeats or dies on the way,
//! the files together are what the list reaches, each resource once.
//!
//! The whole worker runs on the memory adapters under a paused clock on one thread, with mischief in front of every port
//! and a worker that is killed now and then. A failing seed is printed; `SIMULATION_SEED=n` runs just that one, and
//! `SIMULATION_SEEDS=n` sets how many are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use shared::export::{Anchor, ClientId, ExportRequest, Job, JobId, JobState, Operation, OutputKey, OutputKind, Tally};
use shared::fhir::{Instant, OwnBases};
use shared::jobs::memory::MemoryJobs;
use shared::jobs::{JobStore, NewJob};
use shared::metrics::Metrics;
use shared::outputs::OutputStore;
use shared::platform::Platform;
use shared::queue::memory::MemoryQueue;
use shared::queue::{Lanes, TaskQueue};
use shared::settings::Settings;
use shared::shutdown::Shutdown;
use shared::source::ResourceSource;
use shared::source::folder::FolderSource;
use tokio::task::JoinHandle;

use crate::harness::faulty::{Faulty, Mischief};
use crate::harness::memory_outputs::MemoryOutputs;
use crate::harness::random::{OWN_BASE, Random, SINCE, list};
use crate::oracle::{self, Reached, by_key, key_of};

/// The clock that `tokio::time` moves, so that due times and sleeps agree.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> Instant {
        Instant::from_unix_millis(1_800_000_000_000) + self.0.elapsed()
    }
}

/// How a block begins in a file that is organized by patient, up to the patient.
const HEADER: &str = r#"{"resourceType":"Parameters","parameter":[{"name":"header","valueReference":{"reference":""#;

/// Seeds beyond the usual ones that have found something.
const FAILED_ONCE: [u64; 1] = [1103];

/// What happens to the workers while they work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// They are killed in the middle. A task may be started any number of times.
    Kills,
    /// They are stopped in good order, and calls of every port fail for a while: no reason to lose one of the five tries.
    StopsAndFaults,
}

#[test]
fn files_equal_the_closure_whatever_fails_repeats_or_dies() {
    for_each_seed(Trouble::Kills);
}

#[test]
fn stops_and_faults_never_fail_a_job() {
    for_each_seed(Trouble::StopsAndFaults);
}

fn for_each_seed(trouble: Trouble) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a seed is a number"));
    let seeds: Vec<u64> = match number("SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => FAILED_ONCE.into_iter().chain(0..number("SIMULATION_SEEDS").unwrap_or(200)).collect(),
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime can be had");
        let outcome = runtime.block_on(simulate(seed, trouble));
        assert_eq!(outcome, Ok(()), "run it again with SIMULATION_SEED={seed}");
    }
}

async fn simulate(seed: u64, trouble: Trouble) -> Result<(), String> {
    let mut random = Random::new(seed);
    let lines = list(random.next());
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    std::fs::write(folder.path().join("all.ndjson"), lines.join("\n")).expect("it can be written to");

    let clock: Arc<dyn Clock> = Arc::new(PausedClock(tokio::time::Instant::now()));
    let opened = FolderSource::open(folder.path(), OwnBases::new([OWN_BASE]), Arc::clone(&clock))
        .await
        .map_err(|fault| fault.to_string())?;
    let jobs: Arc<dyn JobStore> = Arc::new(MemoryJobs::new());
    let source: Arc<dyn ResourceSource> = Arc::new(opened.0);
    let store = MemoryOutputs::default();
    let outputs: Arc<dyn OutputStore> = Arc::new(store.clone());
    let mischief = Mischief::new(random.next(), 30);
    let queue = || -> Arc<dyn TaskQueue> {
        Arc::new(Faulty::new(Arc::new(MemoryQueue::new()) as Arc<dyn TaskQueue>, &mischief))
    };
    let platform = Platform {
        jobs: Arc::new(Faulty::new(Arc::clone(&jobs), &mischief)),
        lanes: Lanes { express: queue(), bulk: queue() },
        source: Arc::new(Faulty::new(source, &mischief)),
        outputs: Arc::new(Faulty::new(outputs, &mischief)),
        clock: Arc::clone(&clock),
    };
    let settings = Settings {
        own_urls: OWN_BASE.to_owned(),
        slice_ids: 1 + random.below(6),
        page_ids: u32::try_from(1 + random.below(4)).expect("it is small"),
        file_bytes: 100 + random.below(2_000),
        window: u32::try_from(1 + random.below(4)).expect("it is small"),
        permits: 2,
        task_attempts: if trouble == Trouble::Kills { 100_000 } else { 5 },
        ..Settings::default()
    };

    let id = JobId::random();
    let mut request =
        ExportRequest::new(Anchor::Group("g".parse().expect("it is an id")), Operation::Export, String::new());
    request.selection.since = random.once_in(2).then(|| SINCE.parse().expect("it is an instant"));
    request.delivery.organized_by_patient = Random::new(!seed).once_in(3);
    let has_since = request.selection.since.is_some();
    let job = NewJob { id, client: ClientId("c".to_owned()), request, created_at: clock.now() };
    jobs.create(&job, clock.now()).await.map_err(|fault| fault.to_string())?;

    let mut workers = [start(&platform, &settings), start(&platform, &settings)];
    let state = loop {
        tokio::time::sleep(Duration::from_millis(random.below(4_000))).await;
        let job = jobs.job(id).await.map_err(|fault| fault.to_string())?.ok_or("the job is gone")?;
        if !job.state.is_alive() {
            break job.state;
        }
        if clock.now().since(job.created_at) > Duration::from_secs(100_000) {
            return Err(format!("the job has not ended: {job:?}"));
        }
        let old = usize::from(random.once_in(2));
        match trouble {
            Trouble::Kills => workers[old].1.abort(),
            Trouble::StopsAndFaults => workers[old].0.stop(),
        }
        workers[old] = start(&platform, &settings);
    };
    if state != JobState::Completed {
        return Err(format!("the job ended as {state:?}"));
    }
    no_litter(&jobs, &store, id).await?;
    for (_, worker) in workers {
        worker.abort();
    }
    let written = read(&jobs, &store, id).await?;
    let expected = if has_since {
        oracle::written_since(&by_key(lines), "g", &[OWN_BASE])
    } else {
        oracle::reached(&by_key(lines), "g", &[OWN_BASE])
    };
    if written == expected { Ok(()) } else { Err(format!("written {written:#?}\nexpected {expected:#?}")) }
}

/// A system in memory with a list of so many patients, on a source that takes up to a second for each answer.
struct SlowSystem {
    platform: Platform,
    store: MemoryOutputs,
    source: Mischief,
    _folder: tempfile::TempDir,
}

impl SlowSystem {
    async fn with(patients: u32) -> Self {
        let members: Vec<String> =
            (0..patients).map(|id| format!(r#"{{"entity":{{"reference":"Patient/{id}"}}}}"#)).collect();
        let mut lines = vec![format!(r#"{{"resourceType":"Group","id":"g","member":[{}]}}"#, members.join(","))];
        lines.extend((0..patients).map(|id| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)));
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        std::fs::write(folder.path().join("all.ndjson"), lines.join("\n")).expect("it can be written to");

        let clock: Arc<dyn Clock> = Arc::new(PausedClock(tokio::time::Instant::now()));
        let (opened, _) =
            FolderSource::open(folder.path(), OwnBases::default(), Arc::clone(&clock)).await.expect("it can be read");
        let opened: Arc<dyn ResourceSource> = Arc::new(opened);
        let source = Mischief::slow(Duration::from_secs(1));
        let store = MemoryOutputs::default();
        let platform = Platform {
            jobs: Arc::new(MemoryJobs::new()),
            lanes: Lanes { express: Arc::new(MemoryQueue::new()), bulk: Arc::new(MemoryQueue::new()) },
            source: Arc::new(Faulty::new(opened, &source)),
            outputs: Arc::new(store.clone()),
            clock,
        };
        Self { platform, store, source, _folder: folder }
    }

    /// Records a job of the list; the janitor publishes it.
    async fn kick_off(&self) -> JobId {
        let (id, now) = (JobId::random(), self.platform.clock.now());
        let request =
            ExportRequest::new(Anchor::Group("g".parse().expect("it is an id")), Operation::Export, String::new());
        let job = NewJob { id, client: ClientId("c".to_owned()), request, created_at: now };
        self.platform.jobs.create(&job, now).await.expect("the store takes it");
        id
    }

    async fn job(&self, id: JobId) -> Option<Job> {
        self.platform.jobs.job(id).await.expect("the store answers")
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_costs_a_page_more_at_most_and_its_files_go() {
    let system = SlowSystem::with(200).await;
    let settings = Settings { page_ids: 1, permits: 2, file_bytes: 40, ..Settings::default() };
    let id = system.kick_off().await;
    let (shutdown, worker) = start(&system.platform, &settings);
    tokio::time::sleep(Duration::from_mins(1)).await;
    let before = system.source.calls();
    assert!(before > 20 && !system.store.names().is_empty(), "it is in the middle: {before} pages");

    let now = system.platform.clock.now();
    assert!(system.platform.jobs.cancel(id, now, now + Duration::from_mins(5)).await.expect("the store answers"));
    tokio::time::sleep(Duration::from_mins(10)).await;
    let pages = system.source.calls() - before;
    // Two tasks are at work, and each reads the next page while it writes the one before.
    assert!(pages <= 4, "{pages} pages were read after the cancel");
    assert_eq!(system.store.names(), []);
    assert_eq!(system.job(id).await, None);
    shutdown.stop();
    worker.await.expect("no worker panics");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_comes_later_takes_turns_with_the_one_before() {
    let system = SlowSystem::with(60).await;
    let settings = Settings { slice_ids: 1, express_permits: 1, ..Settings::default() };
    let first = system.kick_off().await;
    let (shutdown, worker) = start(&system.platform, &settings);
    while system.job(first).await.is_some_and(|job| job.progress.done < 5) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let second = system.kick_off().await;
    while system.job(first).await.is_some_and(|job| job.state == JobState::Running) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let ahead = system.job(second).await.map(|job| job.progress.tasks - job.progress.done);
    // The first one had five tasks done and as many open as a plan opens; from then on each has its turn.
    assert!(ahead.is_some_and(|ahead| ahead <= 16), "the second job is {ahead:?} tasks behind");
    shutdown.stop();
    worker.await.expect("no worker panics");
}

fn start(platform: &Platform, settings: &Settings) -> (Shutdown, JoinHandle<()>) {
    let worker =
        export_worker::Worker::new(platform.clone(), Metrics::new(), settings).expect("the settings are valid");
    let shutdown = Shutdown::new();
    (shutdown.clone(), tokio::spawn(worker.run(shutdown)))
}

/// Waits for the janitor to remove what no manifest names.
async fn no_litter(jobs: &Arc<dyn JobStore>, store: &MemoryOutputs, job: JobId) -> Result<(), String> {
    let written = jobs.written(job).await.map_err(|fault| fault.to_string())?;
    let named: BTreeSet<OutputKey> =
        written.into_iter().flat_map(|written| written.outputs).map(|output| output.key).collect();
    for _ in 0..1_000 {
        if store.names().into_iter().collect::<BTreeSet<_>>() == named {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(format!("{} objects are left and {} are named", store.names().len(), named.len()))
}

/// What the files say. Fails when a line stands twice or a file does not have the lines that it is said to have.
async fn read(jobs: &Arc<dyn JobStore>, store: &MemoryOutputs, job: JobId) -> Result<Reached, String> {
    let mut reached = Reached { lines: BTreeMap::new(), missing: BTreeSet::new(), unresolvable: BTreeSet::new() };
    let written = jobs.written(job).await.map_err(|fault| fault.to_string())?;
    let mut tally = Tally::default();
    for written in &written {
        tally += &written.tally;
    }
    if tally.patients != tally.written + tally.left_out.values().sum::<u64>() + tally.missing {
        return Err(format!("not every member is accounted for: {tally:?}"));
    }
    for output in written.into_iter().flat_map(|written| written.outputs) {
        let content = String::from_utf8(store.read(&output.key)).map_err(|error| error.to_string())?;
        if content.lines().count() as u64 != output.lines
            || content.len() as u64 != output.bytes
            || !content.ends_with('\n')
        {
            return Err(format!("{} is not as long as the job says", output.key));
        }
        let mut block = None;
        for line in content.lines() {
            match output.kind {
                OutputKind::Output if line.starts_with(HEADER) => {
                    block = Some(line[HEADER.len()..].trim_end_matches(['"', '}', ']']).to_owned());
                }
                OutputKind::Output => {
                    let key = key_of(line);
                    if let Some(patient) = &block {
                        if key != *patient && !line.contains(&format!("{patient}\"")) {
                            return Err(format!("{key} stands in the block of {patient} and does not refer to it"));
                        }
                    } else if oracle::type_of(&key) != output.key.resource_type.name() {
                        return Err(format!("{key} stands in a file of another type"));
                    }
                    if reached.lines.insert(key.clone(), line.to_owned()).is_some() {
                        return Err(format!("{key} stands twice"));
                    }
                }
                OutputKind::Deleted => return Err(format!("{line} is told to be deleted by a folder")),
                OutputKind::Error => crate::harness::errors::read(line, &mut reached)?,
            }
        }
    }
    Ok(reached)
}
