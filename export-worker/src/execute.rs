//! One attempt at a task: started in the job store, kept alive while it works, and brought to one of its ends.

use std::time::Duration;

use shared::export::{Anchor, Failure, JobState, TaskKind, TaskRef, Written};
use shared::fault::{Fault, FaultKind};
use shared::fhir::ResourceType;
use shared::jobs::{Completion, Opening, Start, StartToken, Work};
use shared::shutdown::Shutdown;
use shared::telemetry::trace;
use tokio::time::sleep;
use tracing::{error, info, warn};

use crate::Worker;
use crate::frame::{Frame, TaskError};
use crate::publish::Silent;
use crate::{blocks, chosen, deleted, list, listed, notices, plan, scan};

/// How often a task is tried while a part of the system cannot be reached: with waits of up to a minute, for an hour.
const OUTAGE_ATTEMPTS: u32 = 65;

/// How long a worker keeps a task that it leaves to one of another version: as long as there are some of both, the message
/// finds one soon, and it must not go to and fro as fast as the queue can.
const OTHER_VERSION_PAUSE: Duration = Duration::from_secs(1);

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

/// Makes one attempt at a task and tells what is to become of its delivery.
pub async fn execute(worker: &Worker, task: TaskRef, hurry: &Shutdown) -> Settlement {
    trace::note("job.id", task.job.to_string());
    trace::note("task.no", i64::from(task.task.0));
    match start(worker, task, hurry).await {
        Some(Start::Work(work)) => attempt(worker, task, &work, hurry).await,
        Some(Start::Nothing) => Settlement::Done,
        Some(Start::OtherVersion) => {
            info!(job.id = %task.job, task.no = %task.task, "task {task} is for a worker of another version");
            Settlement::HandBack { after: OTHER_VERSION_PAUSE }
        }
        Some(Start::Exhausted { attempts }) => {
            error!(job.id = %task.job, task.no = %task.task, attempts, "task {task} kills its workers");
            fail(worker, task, format!("task {} was started {attempts} times and never came to an end", task.task))
                .await
        }
        None => Settlement::HandBack { after: Duration::ZERO },
    }
}

/// Starts a task, however long the job store is away: nobody else could start it either. All tries are one start, so that
/// answers that are lost on the way do not count as attempts. `None` when the worker has to stop first.
async fn start(worker: &Worker, task: TaskRef, hurry: &Shutdown) -> Option<Start> {
    let token = StartToken::random();
    let mut said = false;
    loop {
        let now = worker.now();
        let due = now + worker.limits.working_due;
        match worker.platform.jobs.start(task, token, worker.limits.attempts, now, due).await {
            Ok(start) => return Some(start),
            // To ask again at once would help nobody and cost a permit; the task is due again in a while.
            Err(fault) if !fault.is_transient() => {
                error!(job.id = %task.job, task.no = %task.task, %fault, "cannot start the task");
                return Some(Start::Nothing);
            }
            Err(fault) if !said => {
                warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot start the task, trying again");
                said = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            biased;
            () = hurry.wished() => return None,
            () = sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn attempt(worker: &Worker, task: TaskRef, work: &Work, hurry: &Shutdown) -> Settlement {
    let kind = work.kind.name();
    let began = std::time::Instant::now();
    trace::note("task.kind", kind);
    trace::note("attempt", i64::from(work.attempt.0));
    worker.metrics.working.inc();
    let ended = Shutdown::new();
    let result = tokio::select! {
        // What is done at the last moment is done.
        biased;
        result = run(worker, task, work, &ended, hurry) => result,
        never = keep(worker, task, &ended) => match never {},
        // What hangs in a call of a port does not come to its next page in time.
        () = overdue(hurry) => Err(TaskError::Hurried),
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
        Err(TaskError::Fault(fault)) => failed(worker, task, work, &fault).await,
        Err(TaskError::GiveUp(reason)) => ("buried", fail(worker, task, reason).await),
    };
    worker.metrics.attempts.with_label_values(&[kind, outcome]).inc();
    trace::note("outcome", outcome);
    if matches!(outcome, "retried" | "buried") {
        trace::failed(outcome);
    }
    settlement
}

/// Decides whether a task is tried again after a fault. One that may pass is waited for as long as an outage may take and
/// does not count; any other counts, because it may be this worker's own (a wrong password) and another may do better.
async fn failed(worker: &Worker, task: TaskRef, work: &Work, fault: &Fault) -> (&'static str, Settlement) {
    let (tries, most) = if fault.is_transient() {
        (work.attempt.0 - work.counted + 1, OUTAGE_ATTEMPTS)
    } else {
        (work.counted, worker.limits.attempts)
    };
    let kind = work.kind.name();
    if tries >= most {
        error!(job.id = %task.job, task.no = %task.task, task.kind = kind, attempt = %work.attempt, %fault, "task {task} failed for good");
        let reason = format!("task {} failed {tries} times, the last time because {}", task.task, cause(fault.kind()));
        return ("buried", fail(worker, task, reason).await);
    }
    let after = back_off(task, tries, fault.kind());
    warn!(job.id = %task.job, task.no = %task.task, task.kind = kind, attempt = %work.attempt, %fault, "task {task} failed and is tried again in {after:?}");
    ("retried", retry(worker, task, after, fault.is_transient()).await)
}

/// What a client is told of a fault. The fault itself names hosts, accounts and objects and stays in the log.
fn cause(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Unavailable => "a part of the server could not be reached",
        FaultKind::Busy => "a part of the server has no room or too much to do; its operator has to look",
        FaultKind::Invalid => "a part of the server refused what it was asked; its operator has to look",
        FaultKind::Corrupt => "data of the list cannot be read; its operator has to look",
        FaultKind::NotFound | FaultKind::Conflict => "something that the export needs was taken away",
    }
}

/// Comes a little after the wish to hurry.
async fn overdue(hurry: &Shutdown) {
    hurry.wished().await;
    sleep(Duration::from_secs(2)).await;
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
    let frame = Frame::new(worker, task, work, as_of, ended, hurry);
    let written = match (&work.kind, &work.request.anchor) {
        (TaskKind::Notices, _) => notices::notices(&frame).await?,
        (TaskKind::Deleted, _) => deleted::deleted(&frame).await?,
        (TaskKind::Scan(slice), _) => scan::scan(&frame, slice).await?,
        (TaskKind::List { .. }, Anchor::Group(id)) => list::list(&frame, id).await?,
        (TaskKind::Listed(slice), Anchor::Group(id))
            if work.request.delivery.organized_by_patient && slice.resource_type == ResourceType::PATIENT =>
        {
            blocks::blocks(&frame, id, slice).await?
        }
        (TaskKind::Listed(slice), Anchor::Group(id)) => listed::listed(&frame, id, slice).await?,
        (TaskKind::Chosen { .. }, Anchor::Group(id)) => chosen::chosen(&frame, id).await?,
        // A plan fixes the time, so it is never worked on with one; no plan makes a task of a list without a list.
        (TaskKind::Plan | TaskKind::List { .. } | TaskKind::Listed(_) | TaskKind::Chosen { .. }, _) => {
            return Err(TaskError::Stopped);
        }
    };
    complete(&frame, &written).await
}

async fn complete(frame: &Frame<'_>, written: &Written) -> Result<u64, TaskError> {
    let Frame { worker, task, attempt, .. } = *frame;
    let jobs = &worker.platform.jobs;
    let outputs = &written.outputs;
    let window = worker.window(frame.lane).await;
    let now = worker.now();
    let opening = Opening { window, due: now + worker.limits.unpublished_due };
    match jobs.complete(task, attempt, written, opening, now, now + worker.limits.retention).await? {
        Completion::Won { next, last } => {
            for output in outputs {
                let name = output.key.resource_type.name();
                worker.metrics.lines.with_label_values(&[name]).inc_by(output.lines);
                worker.metrics.bytes.with_label_values(&[name]).inc_by(output.bytes);
            }
            worker.publish(task.job, &next, trace::origin(), &mut Silent::default()).await;
            if last {
                worker.metrics.jobs_ended.with_label_values(&[JobState::Completed.name()]).inc();
                info!(job.id = %task.job, "completed job {}", task.job);
            }
            Ok(outputs.iter().map(|output| output.lines).sum())
        }
        Completion::Lost => {
            let names: Vec<_> = outputs.iter().map(|output| output.key.clone()).collect();
            if let Err(fault) = worker.platform.outputs.remove(&names).await {
                info!(job.id = %task.job, task.no = %task.task, %fault, "files of an attempt that came second stay; the janitor removes them");
            }
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

/// Doubles from 1 second to a minute; the task's number spreads tasks that failed together. Of a refusal there are few tries,
/// and it may be that a password is being changed or a policy being mended: they wait from 20 seconds on, five minutes in all.
fn back_off(task: TaskRef, tries: u32, kind: FaultKind) -> Duration {
    let doubled = 1_u64 << (tries.clamp(1, 7) - 1);
    let seconds = if kind == FaultKind::Invalid { (20 * doubled).min(160) } else { doubled.min(60) };
    Duration::from_secs(seconds) + Duration::from_millis(u64::from(task.task.0) % 10 * 50)
}

async fn retry(worker: &Worker, task: TaskRef, after: Duration, uncounted: bool) -> Settlement {
    match worker.platform.jobs.give_back(task, worker.now() + after, uncounted).await {
        Ok(()) => Settlement::Done,
        Err(fault) => {
            warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot put the task off, handing it back");
            Settlement::HandBack { after }
        }
    }
}

/// The message goes back to the queue and is as good as published, so the janitor need not publish another.
async fn hand_back(worker: &Worker, task: TaskRef) -> Settlement {
    let due = worker.now() + worker.limits.published_due;
    if let Err(fault) = worker.platform.jobs.give_back(task, due, true).await {
        warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot give the task back; it is due when its worker has been silent long enough");
    }
    Settlement::HandBack { after: Duration::ZERO }
}

async fn fail(worker: &Worker, task: TaskRef, reason: String) -> Settlement {
    let now = worker.now();
    let failure = Failure { reason };
    match worker.platform.jobs.fail(task, &failure, now, now + worker.limits.retention).await {
        Ok(true) => {
            error!(job.id = %task.job, task.no = %task.task, reason = failure.reason, "job {} failed", task.job);
            worker.metrics.jobs_ended.with_label_values(&[JobState::Failed.name()]).inc();
            Settlement::Bury
        }
        // The task was done or the job had ended before: what became of a late attempt concerns nobody.
        Ok(false) => Settlement::Done,
        Err(fault) => {
            warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot record that the job failed");
            Settlement::HandBack { after: Duration::from_secs(1) }
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::export::{JobId, TaskNo};

    use super::*;

    #[test]
    fn the_wait_before_a_retry_doubles_and_is_bounded() {
        let task = TaskRef { job: JobId::random(), task: TaskNo(0) };
        let waits = |kind| (1..=8).map(|tries| back_off(task, tries, kind).as_secs()).collect::<Vec<u64>>();
        assert_eq!(waits(FaultKind::Busy), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(waits(FaultKind::Invalid), [20, 40, 80, 160, 160, 160, 160, 160]);
    }
}
