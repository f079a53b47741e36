//! Publishing a task: on the queue first, then in the job store, which knows when somebody must look again.

use std::time::Duration;

use crate::export::{JobId, OpenTask, TaskMessage, TaskRef};
use crate::platform::Platform;

/// Publishes a task that the job store has as due in its lane, and pushes its due time to `published_due` from now. `trace` is the
/// `traceparent` of the job's kick-off. Answers whether the queue has it.
///
/// A failure is nobody's: the task stays due, and the janitor publishes it (design §4.5).
pub async fn publish(
    platform: &Platform,
    job: JobId,
    open: OpenTask,
    trace: Option<String>,
    published_due: Duration,
) -> bool {
    let task = TaskRef { job, task: open.no };
    if let Err(fault) = platform.lanes.of(open.lane).publish(&TaskMessage::new(task, trace)).await {
        tracing::warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot publish the task now; it stays due");
        return false;
    }
    if let Err(fault) = platform.jobs.published(task, platform.clock.now() + published_due).await {
        tracing::warn!(job.id = %task.job, task.no = %task.task, %fault, "cannot note that the task was published; it stays due");
    }
    true
}
