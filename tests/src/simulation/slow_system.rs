//! What cannot be seen when everything is over at once: a worker on a source that takes its time, under a paused clock.

use std::sync::Arc;
use std::time::Duration;

use shared::export::{Anchor, ClientId, ExportRequest, Job, JobId, JobState, Operation};
use shared::fhir::OwnBases;
use shared::jobs::NewJob;
use shared::jobs::memory::MemoryJobs;
use shared::metrics::Metrics;
use shared::outputs::OutputStore;
use shared::platform::Platform;
use shared::queue::Lanes;
use shared::queue::memory::MemoryQueue;
use shared::settings::Settings;
use shared::shutdown::Shutdown;
use shared::source::ResourceSource;
use shared::source::folder::FolderSource;
use tokio::task::JoinHandle;

use crate::harness::faulty::Faulty;
use crate::harness::memory_outputs::MemoryOutputs;
use crate::harness::mischief::{Mischief, Mix, Process};
use crate::harness::paused_clock::PausedClock;
use crate::harness::trace::Who;

/// A system in memory with a list of so many patients, on a source that takes up to a second for each answer.
struct SlowSystem {
    platform: Platform,
    store: MemoryOutputs,
    source: Mischief,
}

impl SlowSystem {
    fn with(patients: u32) -> Self {
        let members: Vec<String> =
            (0..patients).map(|id| format!(r#"{{"entity":{{"reference":"Patient/{id}"}}}}"#)).collect();
        let mut lines = vec![format!(r#"{{"resourceType":"Group","id":"g","member":[{}]}}"#, members.join(","))];
        lines.extend((0..patients).map(|id| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)));
        let clock = PausedClock::start();
        let held = FolderSource::holding(&lines, &OwnBases::default(), Arc::clone(&clock)).expect("it can be read");
        let held: Arc<dyn ResourceSource> = Arc::new(held);
        let source = Mischief::new(0, Mix { dawdle: Duration::from_secs(2), ..Mix::default() });
        let process = Process::immortal(Who { kind: "worker", number: 1, life: 1 }, &source);
        let store = MemoryOutputs::new(Arc::clone(&clock), 8 << 20);
        let platform = Platform {
            jobs: Arc::new(MemoryJobs::new()),
            lanes: Lanes { express: Arc::new(MemoryQueue::new()), bulk: Arc::new(MemoryQueue::new()) },
            source: Arc::new(Faulty::new(held, &process)),
            outputs: Arc::new(store.clone()),
            clock,
        };
        Self { platform, store, source }
    }

    /// Records a job of the list; the janitor publishes it.
    async fn kick_off(&self) -> JobId {
        let (id, now) = (JobId::random(), self.platform.clock.now());
        let request =
            ExportRequest::new(Anchor::Group("g".parse().expect("it is an id")), Operation::Export, String::new());
        let job = NewJob { id, client: ClientId("c".to_owned()), request, created_at: now, trace: None };
        self.platform.jobs.create(&job, now).await.expect("the store takes it");
        id
    }

    async fn job(&self, id: JobId) -> Option<Job> {
        self.platform.jobs.job(id).await.expect("the store answers")
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_costs_a_page_more_at_most_and_its_files_go() {
    let system = SlowSystem::with(200);
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
    let system = SlowSystem::with(60);
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

#[tokio::test(start_paused = true)]
async fn an_object_store_that_does_not_answer_keeps_no_due_task_waiting() {
    let mut system = SlowSystem::with(2);
    let dawdling = Mischief::new(0, Mix { dawdle: Duration::from_hours(10), ..Mix::default() });
    let process = Process::immortal(Who { kind: "worker", number: 1, life: 1 }, &dawdling);
    let outputs: Arc<dyn OutputStore> = Arc::new(system.store.clone());
    system.platform.outputs = Arc::new(Faulty::new(outputs, &process));
    let (shutdown, worker) = start(&system.platform, &Settings::default());
    let mut ended = Vec::new();
    for _ in 0..20 {
        let id = system.kick_off().await;
        let now = system.platform.clock.now();
        system.platform.jobs.cancel(id, now, now + Duration::from_mins(5)).await.expect("the store answers");
        ended.push(id);
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let id = system.kick_off().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(system.job(id).await.map(|job| job.state), Some(JobState::Running), "its plan was published and done");
    assert!(system.job(ended[0]).await.is_some(), "the others are still being cleaned up after");
    shutdown.stop();
    worker.await.expect("no worker panics");
}

fn start(platform: &Platform, settings: &Settings) -> (Shutdown, JoinHandle<()>) {
    let worker =
        export_worker::Worker::new(platform.clone(), Metrics::new(), settings).expect("the settings are valid");
    let shutdown = Shutdown::new();
    (shutdown.clone(), tokio::spawn(worker.run(shutdown)))
}
