//! One attempt at a task: started in the job store, kept alive while it works, and brought to one of its ends.

use std::time::Duration;

use shared::export::{Attempt, ExportRequest, Failure, JobState, Output, TaskKind, TaskNo, TaskRef};
use shared::fault::Fault;
use shared::fhir::Instant;
use shared::jobs::{Completion, Start, Work};
use shared::shutdown::Shutdown;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::Worker;
use crate::{list, listed, plan};

/// What is to become of the delivery of a task.
#[derive(Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The message has served: the task is done, is nobody's business any more, or is due again at its time.
    Done,
    /// Somebody else may take it, after a while.
    HandBack {
        /// How long to wait first.
        after: Duration,
    },
    /// It has failed for good.
    Bury,
}

/// Why an attempt ended before its task was done.
#[derive(Debug)]
pub enum TaskError {
    /// It may work another time.
    Retry(Fault),
    /// It will never work; the sentence is for the client.
    GiveUp(String),
    /// The job has ended meanwhile, or another attempt was first.
    Stopped,
    /// The worker has to stop.
    Hurried,
}

impl From<Fault> for TaskError {
    fn from(fault: Fault) -> Self {
        if fault.is_transient() { Self::Retry(fault) } else { Self::GiveUp(fault.to_string()) }
    }
}

/// What an attempt knows about itself.
pub struct Frame<'a> {
    pub worker: &'a Worker,
    pub task: TaskRef,
    pub attempt: Attempt,
    pub request: &'a ExportRequest,
    /// The job's transaction time.
    pub as_of: Instant,
    ended: &'a Shutdown,
    hurry: &'a Shutdown,
}

impl Frame<'_> {
    /// Asked between pages: whether to go on. It asks the job store, so that a cancelled job costs a page more at most;
    /// a store that cannot be asked stops nobody here.
    pub async fn check(&self) -> Result<(), TaskError> {
        let Self { worker, task, .. } = *self;
        let due = worker.now() + worker.limits.working_due;
        if self.ended.is_wished() || matches!(worker.platform.jobs.keep(task, due).await, Ok(false)) {
            return Err(TaskError::Stopped);
        }
        if self.hurry.is_wished() { Err(TaskError::Hurried) } else { Ok(()) }
    }
}

/// Makes one attempt at a task and tells what is to become of its delivery.
pub async fn execute(worker: &Worker, task: TaskRef, hurry: &Shutdown) -> Settlement {
    let due = worker.now() + worker.limits.working_due;
    match worker.platform.jobs.start(task, worker.limits.attempts, due).await {
        Ok(Start::Work(work)) => attempt(worker, task, &work, hurry).await,
        Ok(Start::Nothing) => Settlement::Done,
        Ok(Start::Exhausted { attempts }) => {
            let reason = format!("task {} was started {attempts} times and never came to an end", task.task);
            fail(worker, task, reason).await
        }
        Err(fault) => {
            warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot start the task");
            Settlement::HandBack { after: Duration::from_secs(1) }
        }
    }
}

async fn attempt(worker: &Worker, task: TaskRef, work: &Work, hurry: &Shutdown) -> Settlement {
    let kind = work.kind.name();
    let began = std::time::Instant::now();
    worker.metrics.working.inc();
    let ended = Shutdown::new();
    let result = {
        let working = run(worker, task, work, &ended, hurry);
        tokio::pin!(working);
        tokio::select! {
            result = &mut working => result,
            never = keep(worker, task, &ended) => match never {},
        }
    };
    worker.metrics.working.dec();
    worker.metrics.attempt_seconds.with_label_values(&[kind]).observe(began.elapsed().as_secs_f64());
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (outcome, settlement) = match result {
        Ok(lines) => {
            info!(job.id = %task.job, task.no = %task.task, task.kind = kind, attempt = %work.attempt, lines, milliseconds, "completed task {task}");
            ("completed", Settlement::Done)
        }
        Err(TaskError::Stopped) => {
            info!(job.id = %task.job, task.no = %task.task, task.kind = kind, attempt = %work.attempt, milliseconds, "task {task} is no longer wanted");
            ("stopped", Settlement::Done)
        }
        Err(TaskError::Hurried) => ("handed_back", hand_back(worker, task).await),
        Err(TaskError::Retry(fault)) if work.attempt.0 < worker.limits.attempts => {
            let after = back_off(task, work.attempt);
            warn!(job.id = %task.job, task.no = %task.task, task.kind = kind, attempt = %work.attempt, %fault, "task {task} failed and is tried again in {after:?}");
            ("retried", retry(worker, task, after).await)
        }
        Err(TaskError::Retry(fault)) => {
            let reason = format!("task {} failed {} times, the last time so: {fault}", task.task, work.attempt);
            ("buried", fail(worker, task, reason).await)
        }
        Err(TaskError::GiveUp(reason)) => ("buried", fail(worker, task, reason).await),
    };
    worker.metrics.attempts.with_label_values(&[kind, outcome]).inc();
    settlement
}

/// Does the work and completes the task. Answers the lines written.
async fn run(
    worker: &Worker,
    task: TaskRef,
    work: &Work,
    ended: &Shutdown,
    hurry: &Shutdown,
) -> Result<u64, TaskError> {
    let Some(as_of) = work.transaction_time else {
        return plan::plan(worker, task, &work.request).await.map(|()| 0);
    };
    let frame = Frame { worker, task, attempt: work.attempt, request: &work.request, as_of, ended, hurry };
    let outputs = match &work.kind {
        TaskKind::Plan => return Err(TaskError::Stopped),
        TaskKind::List => list::list(&frame).await?,
        TaskKind::Listed(slice) => listed::listed(&frame, slice).await?,
    };
    complete(&frame, &outputs).await
}

async fn complete(frame: &Frame<'_>, outputs: &[Output]) -> Result<u64, TaskError> {
    let Frame { worker, task, attempt, .. } = *frame;
    let jobs = &worker.platform.jobs;
    let now = worker.now();
    let (due, expires) = (now + worker.limits.unpublished_due, now + worker.limits.retention);
    match jobs.complete(task, attempt, outputs, now, due, expires).await? {
        Completion::Won { next, last } => {
            for output in outputs {
                let name = output.key.resource_type.name();
                worker.metrics.lines.with_label_values(&[name]).inc_by(output.lines);
                worker.metrics.bytes.with_label_values(&[name]).inc_by(output.bytes);
            }
            if let Some(next) = next {
                worker.publish(TaskRef { job: task.job, task: next }).await;
            }
            if last {
                worker.metrics.jobs_ended.with_label_values(&[JobState::Completed.name()]).inc();
                info!(job.id = %task.job, "completed job {}", task.job);
            }
            Ok(outputs.iter().map(|output| output.lines).sum())
        }
        Completion::Lost => {
            let names: Vec<_> = outputs.iter().map(|output| output.key.clone()).collect();
            worker.platform.outputs.remove(&names).await?;
            Err(TaskError::Stopped)
        }
    }
}

/// Pushes the due time of a task as long as it is polled; raises `ended` when nobody wants the task any more.
async fn keep(worker: &Worker, task: TaskRef, ended: &Shutdown) -> std::convert::Infallible {
    let every = worker.limits.working_due / 3;
    loop {
        sleep(every).await;
        match worker.platform.jobs.keep(task, worker.now() + worker.limits.working_due).await {
            Ok(true) => {}
            Ok(false) => {
                ended.stop();
                std::future::pending::<()>().await;
            }
            // The work itself will meet the store again; until then another worker may take the task up as well.
            Err(fault) => {
                warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot tell that the task is worked on");
            }
        }
    }
}

/// Doubles from 1 second to 32; the task's number spreads tasks that failed together.
fn back_off(task: TaskRef, attempt: Attempt) -> Duration {
    let seconds = 1_u64 << (attempt.0.clamp(1, 6) - 1);
    Duration::from_secs(seconds) + Duration::from_millis(u64::from(task.task.0) % 10 * 50)
}

async fn retry(worker: &Worker, task: TaskRef, after: Duration) -> Settlement {
    match worker.platform.jobs.give_back(task, worker.now() + after, false).await {
        Ok(()) => Settlement::Done,
        Err(fault) => {
            warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot put the task off, handing it back");
            Settlement::HandBack { after }
        }
    }
}

async fn hand_back(worker: &Worker, task: TaskRef) -> Settlement {
    if let Err(fault) = worker.platform.jobs.give_back(task, worker.now(), true).await {
        warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot give the task back; it is due when its worker has been silent long enough");
    }
    Settlement::HandBack { after: Duration::ZERO }
}

async fn fail(worker: &Worker, task: TaskRef, reason: String) -> Settlement {
    error!(job.id = %task.job, task.no = %task.task, reason, "job {} fails", task.job);
    let now = worker.now();
    match worker.platform.jobs.fail(task.job, &Failure { reason }, now, now + worker.limits.retention).await {
        Ok(true) => {
            worker.metrics.jobs_ended.with_label_values(&[JobState::Failed.name()]).inc();
            Settlement::Bury
        }
        // The job had ended before: what became of a late attempt at it concerns nobody.
        Ok(false) => Settlement::Done,
        Err(fault) => {
            warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot record that the job failed");
            Settlement::HandBack { after: Duration::from_secs(1) }
        }
    }
}

impl Worker {
    /// Publishes a task and says so in the store. A failure is left to the janitor: the task stays due.
    pub async fn publish(&self, task: TaskRef) {
        let message = shared::export::TaskMessage::new(task);
        let published = match self.platform.queue.publish(&message).await {
            Ok(()) => self.platform.jobs.published(task, self.now() + self.limits.published_due).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = published {
            warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot publish the task now; it stays due");
        }
    }

    /// Publishes several tasks of a job.
    pub async fn publish_all(&self, job: shared::export::JobId, tasks: &[TaskNo]) {
        for task in tasks {
            self.publish(TaskRef { job, task: *task }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::export::JobId;

    use super::*;

    #[test]
    fn the_wait_before_a_retry_doubles_and_is_bounded() {
        let task = TaskRef { job: JobId::random(), task: TaskNo(0) };
        let waits: Vec<u64> = (1..=8).map(|attempt| back_off(task, Attempt(attempt)).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
    }
}
