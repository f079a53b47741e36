//! How long a job waits for a part of the system that refuses it or has no room, and that it does not wait for ever. Under a
//! paused clock, because that is minutes and an hour.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use export_worker::Worker;
use futures_util::stream::BoxStream;
use shared::export::{Anchor, ClientId, Encoding, ExportRequest, JobId, JobState, Operation, OutputKey};
use shared::fault::{Fault, FaultKind};
use shared::fhir::OwnBases;
use shared::jobs::memory::MemoryJobs;
use shared::jobs::{JobStore, NewJob};
use shared::metrics::Metrics;
use shared::outputs::{Link, LinkMethod, OutputStore, OutputWriter};
use shared::platform::Platform;
use shared::queue::Lanes;
use shared::queue::memory::MemoryQueue;
use shared::settings::Settings;
use shared::shutdown::Shutdown;
use shared::source::folder::FolderSource;

use crate::harness::memory_outputs::MemoryOutputs;
use crate::harness::paused_clock::PausedClock;
use crate::stories::small_list;

/// Objects that cannot be begun before a time.
struct Closed {
    inner: MemoryOutputs,
    kind: FaultKind,
    until: tokio::time::Instant,
}

#[async_trait]
impl OutputStore for Closed {
    async fn create(&self, key: &OutputKey, encoding: Encoding) -> Result<Box<dyn OutputWriter>, Fault> {
        if tokio::time::Instant::now() < self.until {
            return Err(Fault::new(self.kind, "failed to upload").because("secret account"));
        }
        self.inner.create(key, encoding).await
    }

    async fn link(&self, key: &OutputKey, method: LinkMethod, valid: Duration) -> Result<Link, Fault> {
        self.inner.link(key, method, valid).await
    }

    async fn list(&self, job: JobId) -> Result<Vec<OutputKey>, Fault> {
        self.inner.list(job).await
    }

    async fn remove(&self, keys: &[OutputKey]) -> Result<(), Fault> {
        self.inner.remove(keys).await
    }

    async fn keep(&self, job: JobId, name: &str) -> Result<Box<dyn OutputWriter>, Fault> {
        self.inner.keep(job, name).await
    }

    async fn kept(&self, job: JobId, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, Fault>>>, Fault> {
        self.inner.kept(job, name).await
    }

    async fn kept_names(&self, job: JobId) -> Result<Vec<String>, Fault> {
        self.inner.kept_names(job).await
    }

    async fn drop_kept(&self, job: JobId) -> Result<(), Fault> {
        self.inner.drop_kept(job).await
    }

    async fn remove_job(&self, job: JobId) -> Result<(), Fault> {
        self.inner.remove_job(job).await
    }

    async fn abandon_uploads(&self, job: JobId) -> Result<(), Fault> {
        self.inner.abandon_uploads(job).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// What becomes of a small job whose object store fails so for so long; when it ends, and what it says.
async fn export(kind: FaultKind, closed: Duration) -> (JobState, Duration, String) {
    let clock = PausedClock::start();
    let source =
        FolderSource::holding(&small_list(), &OwnBases::default(), Arc::clone(&clock)).expect("it can be read");
    let jobs: Arc<dyn JobStore> = Arc::new(MemoryJobs::new());
    let until = tokio::time::Instant::now() + closed;
    let platform = Platform {
        jobs: Arc::clone(&jobs),
        lanes: Lanes { express: Arc::new(MemoryQueue::new()), bulk: Arc::new(MemoryQueue::new()) },
        source: Arc::new(source),
        outputs: Arc::new(Closed { inner: MemoryOutputs::new(Arc::clone(&clock), 8 << 20), kind, until }),
        clock: Arc::clone(&clock),
    };
    let id = JobId::random();
    let list = "g".parse().expect("it is an id");
    let request = ExportRequest::new(Anchor::Group(list), Operation::Export, String::new());
    let job = NewJob { id, client: ClientId("c".to_owned()), request, created_at: clock.now(), trace: None };
    jobs.create(&job, clock.now()).await.expect("memory takes it");
    let worker = Worker::new(platform, Metrics::new(), &Settings::default()).expect("the settings are valid");
    let working = tokio::spawn(worker.run(Shutdown::new()));
    let ended = loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let job = jobs.job(id).await.expect("memory answers").expect("it was recorded");
        if !job.state.is_alive() {
            break job;
        }
        assert!(clock.now().since(job.created_at) < Duration::from_hours(24), "it waits for ever");
    };
    working.abort();
    let took = ended.ended_at.expect("it has ended").since(ended.created_at);
    (ended.state, took, ended.failure.map(|failure| failure.reason).unwrap_or_default())
}

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test(start_paused = true)]
async fn a_key_that_is_refused_while_it_is_changed_fails_no_job() {
    let (state, took, _) = export(FaultKind::Invalid, 4 * MINUTE).await;
    assert_eq!(state, JobState::Completed);
    assert!(took >= 4 * MINUTE, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_stays_refused_fails_the_job_within_minutes_and_says_no_secret() {
    let (state, took, reason) = export(FaultKind::Invalid, Duration::from_hours(24 * 7)).await;
    assert_eq!(state, JobState::Failed);
    assert!((5 * MINUTE..10 * MINUTE).contains(&took), "{took:?}");
    assert!(reason.contains("failed 5 times") && reason.contains("refused what it was asked"), "{reason}");
    assert!(!reason.contains("secret"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_store_without_room_is_waited_for() {
    let (state, _, _) = export(FaultKind::Busy, 45 * MINUTE).await;
    assert_eq!(state, JobState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_has_room_fails_the_job_in_the_end() {
    let (state, took, reason) = export(FaultKind::Busy, Duration::from_hours(24 * 7)).await;
    assert_eq!(state, JobState::Failed);
    assert!((60 * MINUTE..120 * MINUTE).contains(&took), "{took:?}");
    assert!(reason.contains("failed 65 times") && reason.contains("no room"), "{reason}");
}
