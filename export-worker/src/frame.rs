//! What an attempt at a task knows about itself, and how it learns that it is to stop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::export::{Attempt, ExportRequest, Lane, TaskRef};
use shared::fault::Fault;
use shared::fhir::Instant;
use shared::jobs::Work;
use shared::shutdown::Shutdown;
use shared::source::ResourceSource;

use crate::Worker;

/// How long the job store's word that a task is wanted holds: a walk in small pages must not ask at each of them.
const WANTED_FOR: Duration = Duration::from_millis(100);

/// Why an attempt ended before its task was done.
#[derive(Debug)]
pub enum TaskError {
    /// A part of the system failed.
    Fault(Fault),
    /// It will never work; the sentence is for the client.
    GiveUp(String),
    /// The job has ended meanwhile, or another attempt was first.
    Stopped,
    /// The worker has to stop.
    Hurried,
}

impl From<Fault> for TaskError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What an attempt knows about itself.
pub struct Frame<'a> {
    pub worker: &'a Worker,
    pub task: TaskRef,
    pub attempt: Attempt,
    /// The lane of its task.
    pub lane: Lane,
    pub request: &'a ExportRequest,
    /// The job's transaction time.
    pub as_of: Instant,
    /// The source, as the tasks of the job ask it.
    pub source: Arc<dyn ResourceSource>,
    ended: &'a Shutdown,
    hurry: &'a Shutdown,
    /// When the job store was last asked whether the task is still wanted.
    asked: Mutex<tokio::time::Instant>,
}

impl<'a> Frame<'a> {
    /// Of an attempt that has just been started. `ended` and `hurry` are raised when nobody wants the task any more, and when
    /// the worker has to stop.
    pub fn new(
        worker: &'a Worker,
        task: TaskRef,
        work: &'a Work,
        as_of: Instant,
        ended: &'a Shutdown,
        hurry: &'a Shutdown,
    ) -> Self {
        let asked = Mutex::new(tokio::time::Instant::now());
        let lane = work.kind.lane();
        let source = Arc::clone(&worker.platform.source).of_job(task.job);
        Self { worker, task, attempt: work.attempt, lane, request: &work.request, as_of, source, ended, hurry, asked }
    }

    /// Asked between pages: whether to go on. It asks the job store, so that a cancelled job costs a page more at most, or a
    /// tenth of a second; a store that cannot be asked stops nobody here.
    pub async fn check(&self) -> Result<(), TaskError> {
        let Self { worker, task, .. } = *self;
        if self.asks_now() {
            let due = worker.now() + worker.limits.working_due;
            if matches!(worker.platform.jobs.keep(task, due).await, Ok(false)) {
                self.ended.stop();
            }
        }
        if self.ended.is_wished() {
            return Err(TaskError::Stopped);
        }
        if self.hurry.is_wished() { Err(TaskError::Hurried) } else { Ok(()) }
    }

    /// Whether the last word is too old; then this call is the one that asks.
    fn asks_now(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = asked.elapsed() >= WANTED_FOR;
        if is_old {
            *asked = tokio::time::Instant::now();
        }
        is_old
    }
}
