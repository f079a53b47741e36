//! The first task of a job: fixes the transaction time and cuts the list.

use shared::export::{ExportRequest, TaskKind, TaskRef};
use shared::jobs::Plan;
use tracing::info;

use crate::Worker;
use crate::execute::TaskError;

/// Plans a job and publishes the first tasks of it. An attempt that is interrupted leaves nothing behind: the plan is
/// stored whole, with its transaction time, and the first one that is stored wins.
pub async fn plan(worker: &Worker, task: TaskRef, request: &ExportRequest) -> Result<(), TaskError> {
    let source = &worker.platform.source;
    let list = request.list();
    let transaction_time = source.transaction_time().await?;
    let Some(head) = source.list(list, transaction_time).await? else {
        return Err(TaskError::GiveUp(format!("the attribution list Group/{list} is no longer there")));
    };
    let slices = source.cut(list, transaction_time, worker.limits.slice_ids).await?;
    let tasks: Vec<TaskKind> =
        std::iter::once(TaskKind::List).chain(slices.into_iter().map(TaskKind::Listed)).collect();
    info!(job.id = %task.job, list = %list, members = head.members, tasks = tasks.len(), "planned job {}", task.job);
    let plan = Plan { transaction_time, tasks, window: worker.limits.window };
    let due = worker.now() + worker.limits.unpublished_due;
    let first = worker.platform.jobs.plan(task.job, &plan, due).await?;
    worker.publish_all(task.job, &first).await;
    Ok(())
}
