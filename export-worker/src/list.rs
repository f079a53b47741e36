//! The task of the Group itself: one line, streamed member by member, however long.

use shared::export::{Output, OutputKind};
use shared::fhir::{Issue, IssueCode, Member, Resource, ResourceKey, ResourceType, json};
use shared::source::{ListHead, Stored};

use crate::closure::{Closure, Referrer, unresolvable};
use crate::execute::{Frame, TaskError};
use crate::parts::Parts;

/// Writes the Group, reports the members that name nobody, and follows what its head refers to (T1, T5, T7).
pub async fn list(frame: &Frame<'_>) -> Result<Vec<Output>, TaskError> {
    let mut parts = Parts::new(frame);
    let walked = walk(frame, &mut parts).await;
    parts.close(walked).await
}

async fn walk(frame: &Frame<'_>, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let request = frame.request;
    let id = request.list();
    let Some(head) = frame.worker.platform.source.list(id, frame.as_of).await? else {
        return Err(TaskError::GiveUp(format!("the attribution list Group/{id} is no longer there")));
    };
    let written = request.writes(ResourceType::GROUP) && request.is_new(head.last_updated);
    if written {
        parts.write(OutputKind::Output, ResourceType::GROUP, &head.before).await?;
    }
    members(frame, &head, written, parts).await?;
    if written {
        parts.write(OutputKind::Output, ResourceType::GROUP, &head.after).await?;
        parts.end_line(OutputKind::Output, ResourceType::GROUP).await?;
    }
    let body = [&head.before[..], &head.after[..]].concat().into();
    let resource = Resource { key: ResourceKey::new(ResourceType::GROUP, id.clone()), body };
    let joined = request.since.is_some() && request.is_new(head.last_updated);
    let referrer = Referrer { joined, stored: Stored { resource, last_updated: head.last_updated } };
    Closure::new(frame).follow(vec![referrer], parts).await
}

async fn members(frame: &Frame<'_>, head: &ListHead, written: bool, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let id = frame.request.list();
    let mut from = 0;
    while from < head.members {
        frame.check().await?;
        let page = frame.worker.platform.source.members(id, frame.as_of, from, frame.worker.limits.page_ids).await?;
        if page.is_empty() {
            return Err(TaskError::GiveUp(format!(
                "the attribution list Group/{id} has {} members, but only {from} can be read",
                head.members
            )));
        }
        for (number, member) in (from..).zip(&page) {
            if written {
                if number > 0 {
                    parts.write(OutputKind::Output, ResourceType::GROUP, b",").await?;
                }
                parts.write(OutputKind::Output, ResourceType::GROUP, member).await?;
            }
            examine(frame, number, member, parts).await?;
        }
        from += page.len() as u64;
    }
    Ok(())
}

/// A member that names nobody is in no slice, so this is where it is accounted for.
async fn examine(frame: &Frame<'_>, number: u64, member: &[u8], parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let list = frame.request.list();
    let read = std::str::from_utf8(member).map_err(|error| error.to_string());
    let member = match read.and_then(|text| Member::read(text).map_err(|error| json::reason(&error))) {
        Ok(member) => member,
        Err(reason) => {
            let issue = Issue::warning(
                IssueCode::Structure,
                format!("Group/{list}: member[{number}] cannot be read: {reason}"),
            );
            return parts.problem(&issue.at(format!("Group.member[{number}]"))).await;
        }
    };
    if !member.has_entity() {
        let issue = Issue::warning(
            IssueCode::Required,
            format!("Group/{list}: member[{number}] has no entity, so it names nobody"),
        );
        parts.problem(&issue.at(format!("Group.member[{number}].entity"))).await?;
    }
    for (way, reference) in &member.references {
        if let Err(why) = reference.target(&frame.worker.own_bases) {
            let issue = unresolvable(frame, way.path(), reference.text(), why);
            parts.problem(&issue.at(format!("Group.member[{number}]"))).await?;
        }
    }
    Ok(())
}
