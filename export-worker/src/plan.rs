//! The first task of a job: fixes the transaction time and cuts the job into tasks.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use shared::export::{Anchor, ExportRequest, Grounds, Slice, TaskKind, TaskRef};
use shared::fhir::{Instant, ResourceId, ResourceType};
use shared::jobs::Plan;
use shared::source::{Changed, ListHead, ResourceSource};
use shared::telemetry::trace;
use tracing::info;

use crate::Worker;
use crate::frame::TaskError;
use crate::publish::Silent;
use crate::scan::IN_COMPARTMENTS;

/// Plans a job and publishes the first tasks of it. An attempt that is interrupted leaves nothing behind: the plan is
/// stored whole, with its transaction time, and the first one that is stored wins.
pub async fn plan(worker: &Worker, task: TaskRef, request: &ExportRequest) -> Result<(), TaskError> {
    let source = &*Arc::clone(&worker.platform.source).of_job(task.job);
    let transaction_time = source.transaction_time().await?;
    let mut tasks = match (&request.anchor, &request.selection.patients) {
        (Anchor::Group(list), chosen) => {
            if !source.hold(list, transaction_time, request.selection.since).await? {
                return Err(no_longer_there(list));
            }
            let head = check_list(source, list, &request.grounds, transaction_time).await?;
            match chosen {
                None => of_list(worker, source, list, &head, transaction_time).await?,
                Some(patients) => vec![TaskKind::Chosen { patients: patients.len() as u64 }],
            }
        }
        (Anchor::Patient, Some(patients)) => of_patients(worker, source, patients, transaction_time).await?,
        (Anchor::Patient | Anchor::System, _) => of_all(worker, source, request, transaction_time).await?,
    };
    if request.selection.since.is_some() {
        tasks.push(TaskKind::Deleted);
    }
    // A job has at least one task, also on a server that holds nothing.
    if !request.notices.is_empty() || tasks.is_empty() {
        tasks.push(TaskKind::Notices);
    }
    info!(job.id = %task.job, anchor = %request.anchor, tasks = tasks.len(), "planned job {}", task.job);
    let plan = Plan { transaction_time, tasks, window: worker.first_window().await };
    let due = worker.now() + worker.limits.unpublished_due;
    let first = worker.platform.jobs.plan(task.job, &plan, due).await?;
    worker.publish(task.job, &first, trace::origin(), &mut Silent::default()).await;
    Ok(())
}

/// Checks that the list is there still, and the client's: between the kick-off and now it may have changed hands.
async fn check_list(
    source: &dyn ResourceSource,
    list: &ResourceId,
    grounds: &Grounds,
    as_of: Instant,
) -> Result<ListHead, TaskError> {
    let Some(head) = source.list(list, as_of).await? else {
        return Err(no_longer_there(list));
    };
    let identifiers = head.identifiers();
    let is_the_clients =
        grounds.identifiers.is_empty() || grounds.identifiers.iter().any(|own| identifiers.contains(own));
    if is_the_clients {
        return Ok(head);
    }
    let reason =
        format!("the identifiers of the attribution list Group/{list} have changed since the kick-off; start again");
    Err(TaskError::GiveUp(reason))
}

fn no_longer_there(list: &ResourceId) -> TaskError {
    TaskError::GiveUp(format!("the attribution list Group/{list} is no longer there"))
}

/// How long the slices of a list are: at most `longest`, and short enough that a small list, too, is work for several
/// workers, as long as a slice is worth a task.
fn slice_ids(members: u64, longest: u64) -> u64 {
    const SLICES: u64 = 8;
    const WORTH_A_TASK: u64 = 6_000;
    (members / SLICES).max(WORTH_A_TASK).min(longest)
}

/// The Group, then what it names.
async fn of_list(
    worker: &Worker,
    source: &dyn ResourceSource,
    list: &ResourceId,
    head: &ListHead,
    as_of: Instant,
) -> Result<Vec<TaskKind>, TaskError> {
    let size = slice_ids(head.members, worker.limits.slice_ids);
    let slices = source.cut(list, as_of, size).await?;
    // The line of the Group begins at once, because it cannot be cut.
    let itself = TaskKind::List { members: head.members };
    Ok(std::iter::once(itself).chain(in_turn(slices).into_iter().map(TaskKind::Listed)).collect())
}

/// All that there is of the types that are written.
async fn of_all(
    worker: &Worker,
    source: &dyn ResourceSource,
    request: &ExportRequest,
    as_of: Instant,
) -> Result<Vec<TaskKind>, TaskError> {
    let types: Vec<ResourceType> = ResourceType::ATTRIBUTION
        .into_iter()
        .filter(|resource_type| request.selection.writes(*resource_type))
        .collect();
    // Every type has slices of its own, so nothing hangs on what is left out.
    let changed = Changed { after: request.selection.since, until: request.selection.until };
    let slices = source.cut_all(&types, as_of, changed, worker.limits.slice_ids).await?;
    Ok(slices.into_iter().map(TaskKind::Scan).collect())
}

/// What is in the compartments of some patients. There is no index by patient: their Coverages and RelatedPersons are
/// found by reading all of them, whatever types are written, because something may hang on them.
async fn of_patients(
    worker: &Worker,
    source: &dyn ResourceSource,
    patients: &BTreeSet<ResourceId>,
    as_of: Instant,
) -> Result<Vec<TaskKind>, TaskError> {
    let Some(last) = patients.last() else { return Ok(Vec::new()) };
    let themselves =
        Slice { resource_type: ResourceType::PATIENT, after: None, through: last.clone(), ids: patients.len() as u64 };
    let others: Vec<ResourceType> =
        IN_COMPARTMENTS.iter().copied().filter(|resource_type| *resource_type != ResourceType::PATIENT).collect();
    let slices = source.cut_all(&others, as_of, Changed::default(), worker.limits.slice_ids).await?;
    Ok(std::iter::once(themselves).chain(slices).map(TaskKind::Scan).collect())
}

/// Slices in the order in which they are worked on: the shortest few, so that the client soon sees its first files and the
/// job soon grows; then the longest first, so that the last ones to end are short.
fn in_turn(mut slices: Vec<Slice>) -> Vec<Slice> {
    const FEW: usize = 3;
    slices.sort_by_key(|slice| slice.ids);
    let mut rest = slices.split_off(FEW.min(slices.len()));
    rest.sort_by_key(|slice| Reverse(slice.ids));
    slices.append(&mut rest);
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_short_slices_come_first_and_then_the_longest() {
        let slice = |ids| Slice {
            resource_type: ResourceType::PATIENT,
            after: None,
            through: "z".parse().expect("an id"),
            ids,
        };
        for (cut, expected) in
            [(&[][..], &[][..]), (&[9, 2], &[2, 9]), (&[9, 9, 4, 1, 9, 3, 2], &[1, 2, 3, 9, 9, 9, 4])]
        {
            let turns: Vec<u64> =
                in_turn(cut.iter().copied().map(slice).collect()).iter().map(|slice| slice.ids).collect();
            assert_eq!(turns, expected);
        }
    }

    #[test]
    fn slices_grow_with_the_list_within_their_limits() {
        for (members, longest, expected) in [
            (10, 50_000, 6_000),
            (10_000, 50_000, 6_000),
            (100_000, 50_000, 12_500),
            (5_000_000, 50_000, 50_000),
            (5_000_000, 100_000, 100_000),
            (1_000_000, 5, 5),
        ] {
            assert_eq!(slice_ids(members, longest), expected, "{members} members, at most {longest}");
        }
    }
}
