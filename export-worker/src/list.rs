//! The task of the Group itself: one line, streamed member by member, however long.

use shared::export::{Output, OutputKind};
use shared::fhir::{Issue, IssueCode, Member, Resource, ResourceKey, ResourceType, Target, json};
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
    let joined = request.since.is_some() && request.is_new(head.last_updated);
    let mut closure = Closure::new(frame);
    members(frame, &head, Members { written, joined }, &mut closure, parts).await?;
    if written {
        parts.write(OutputKind::Output, ResourceType::GROUP, &head.after).await?;
        parts.end_line(OutputKind::Output, ResourceType::GROUP).await?;
    }
    let body = [&head.before[..], &head.after[..]].concat().into();
    let resource = Resource { key: ResourceKey::new(ResourceType::GROUP, id.clone()), body };
    let referrer = Referrer { joined, stored: Stored { resource, last_updated: head.last_updated } };
    closure.follow(vec![referrer], parts).await
}

/// What becomes of the members.
#[derive(Clone, Copy)]
struct Members {
    /// Whether the Group is written.
    written: bool,
    /// Whether the Group has changed after `_since`.
    joined: bool,
}

async fn members(
    frame: &Frame<'_>,
    head: &ListHead,
    Members { written, joined }: Members,
    closure: &mut Closure<'_>,
    parts: &mut Parts<'_>,
) -> Result<(), TaskError> {
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
            examine(frame, number, member, joined, closure, parts).await?;
        }
        closure.follow(Vec::new(), parts).await?;
        from += page.len() as u64;
    }
    Ok(())
}

/// A member that names nobody is in no slice, so this is where it is accounted for.
async fn examine(
    frame: &Frame<'_>,
    number: u64,
    member: &[u8],
    joined: bool,
    closure: &mut Closure<'_>,
    parts: &mut Parts<'_>,
) -> Result<(), TaskError> {
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
        let place = format!("member[{number}], {}", way.path());
        let issue = match reference.target(&frame.worker.own_bases) {
            // Whoever loaded the list may not have known this URL for the server's own, and then it is in no slice.
            Ok(Target::Local(_)) if reference.is_absolute() => {
                closure.want(way.path(), reference, joined);
                continue;
            }
            Ok(Target::Local(_)) => continue,
            Ok(Target::Contained) => {
                let text = format!(
                    "Group/{list}: {place} -> {}: it is contained in the Group and stays there",
                    reference.text()
                );
                Issue::information(IssueCode::Informational, text)
            }
            Err(why) => unresolvable(frame, &place, reference.text(), why),
        };
        parts.problem(&issue.at(format!("Group.member[{number}]"))).await?;
    }
    Ok(())
}
