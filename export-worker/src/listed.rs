//! The task of a slice: the listed resources of one type, page by page, and what they refer to beyond the list.

use shared::export::{Output, Slice};
use shared::fhir::{Issue, IssueCode, ResourceKey, ResourceType};
use shared::source::Listed;

use crate::closure::{Closure, Referrer};
use crate::execute::{Frame, TaskError};
use crate::parts::Parts;

/// Writes a slice.
pub async fn listed(frame: &Frame<'_>, slice: &Slice) -> Result<Vec<Output>, TaskError> {
    let mut parts = Parts::new(frame);
    let walked = walk(frame, slice, &mut parts).await;
    parts.close(walked).await
}

async fn walk(frame: &Frame<'_>, slice: &Slice, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let mut closure = Closure::new(frame);
    let mut page = read(frame, slice.clone()).await?;
    while let Some(last) = page.last() {
        frame.check().await?;
        let rest = Slice { after: Some(last.id.clone()), ..slice.clone() };
        // The next page comes while this one is written: the source and the store work at the same time.
        let (next, ()) =
            tokio::try_join!(read(frame, rest), write(frame, slice.resource_type, page, &mut closure, parts))?;
        page = next;
    }
    Ok(())
}

async fn read(frame: &Frame<'_>, slice: Slice) -> Result<Vec<Listed>, TaskError> {
    if slice.after.as_ref() == Some(&slice.through) {
        return Ok(Vec::new());
    }
    let worker = frame.worker;
    Ok(worker.platform.source.listed(frame.request.list(), &slice, frame.as_of, worker.limits.page_ids).await?)
}

async fn write(
    frame: &Frame<'_>,
    resource_type: ResourceType,
    page: Vec<Listed>,
    closure: &mut Closure<'_>,
    parts: &mut Parts<'_>,
) -> Result<(), TaskError> {
    let request = frame.request;
    let mut referrers = Vec::new();
    for Listed { id, named_by, listed_since, stored } in page {
        let key = ResourceKey::new(resource_type, id);
        if resource_type == ResourceType::GROUP {
            parts.problem(&nested_list(frame, named_by.path(), &key)).await?;
            continue;
        }
        let Some(stored) = stored else {
            parts.problem(&missing(frame, named_by.path(), &key)).await?;
            continue;
        };
        // Who has joined since the last export has never been told of, however old the resource is (standards §5.29).
        let joined = request.since.is_some() && request.is_new(listed_since);
        if request.writes(resource_type) && (joined || request.is_new(stored.last_updated)) {
            parts.line(resource_type, &stored.resource.body).await?;
        }
        if Closure::leads_further(resource_type) {
            // What has changed may lead to something that the client has never been told of, too.
            let joined = joined || (request.since.is_some() && request.is_new(stored.last_updated));
            referrers.push(Referrer { joined, stored });
        }
    }
    closure.follow(referrers, parts).await
}

/// The line for a resource that is not there: which list, which path, which target (standards §5.14).
pub fn missing(frame: &Frame<'_>, path: &str, target: &ResourceKey) -> Issue {
    let list = frame.request.list();
    Issue::warning(
        IssueCode::NotFound,
        format!("Group/{list}: {path} -> {target}: there is no such resource as of {}", frame.as_of),
    )
    .at(path)
}

/// The line for a list inside a list. The profile has only Patients as entities; a list is exported by its own id.
pub fn nested_list(frame: &Frame<'_>, path: &str, target: &ResourceKey) -> Issue {
    let list = frame.request.list();
    Issue::information(
        IssueCode::NotSupported,
        format!("Group/{list}: {path} -> {target}: another Group is not exported with this one"),
    )
    .at(path)
}
