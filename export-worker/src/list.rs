//! The task of the Group itself: one line, and the account of its members.

use std::borrow::Cow;

use bytes::Bytes;
use shared::export::Written;
use shared::fhir::{Issue, IssueCode, Member, ResourceId, ResourceKey, ResourceType, Target};
use shared::source::{ListHead, Stored};

use crate::closure::{Closure, Elsewhere, Referrer};
use crate::frame::{Frame, TaskError};
use crate::group::{self, GroupLine, ReadMember};
use crate::parts::Parts;
use crate::problems::{contained, unreadable_member, unresolvable};
use crate::select::verdict;

/// Writes the Group, reports the members that name nobody, and follows what its head refers to (T1, T5, T7).
pub async fn list(frame: &Frame<'_>, id: &ResourceId) -> Result<Written, TaskError> {
    let mut parts = Parts::new(frame);
    let walked = walk(frame, id, &mut parts).await;
    parts.close(walked).await
}

async fn walk(frame: &Frame<'_>, id: &ResourceId, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let selection = &frame.request.selection;
    let head = head(frame, id).await?;
    let joined = selection.since.is_some() && selection.is_new(head.last_updated);
    // A Group whose own text is broken takes none of its members along.
    let (group, mut line) = match group::sound(id, head.clone()) {
        Ok((head, group)) => {
            let line = begin(frame, id, &head, &group, parts).await?;
            (Some(group), line)
        }
        Err(why) => {
            parts.unsound(&ResourceKey::new(ResourceType::GROUP, id.clone()), &why).await?;
            (None, None)
        }
    };
    let mut closure = Closure::begin(frame, Elsewhere::List(id)).await?;
    let (mut from, mut page) = (0, group::members(frame, id, &head, 0).await?);
    while !page.is_empty() {
        let rest = from + page.len() as u64;
        let write = async {
            let mut absolute = Vec::new();
            for (number, member) in (from..).zip(&page) {
                let Some(member) = examine(frame, number, member, &mut absolute, parts).await? else { continue };
                if let Some(line) = &mut line {
                    line.member(&member, parts).await?;
                }
            }
            want_unlisted(frame, id, absolute, joined, &mut closure).await?;
            closure.follow(Vec::new(), parts).await
        };
        // The next page comes while this one is written: the Group is one line, so no other worker can take a part of it.
        let (next, ()) = tokio::try_join!(group::members(frame, id, &head, rest), write)?;
        (from, page) = (rest, next);
    }
    if let Some(line) = line {
        line.end(parts).await?;
    }
    if head.members == 0 {
        let text = format!("Group/{id}: the list has no members, so nobody else is exported");
        parts.problem(&Issue::information(IssueCode::Informational, text).at("Group.member")).await?;
    }
    closure.follow(group.into_iter().map(|stored| Referrer { joined, stored }).collect(), parts).await
}

/// Begins the line of the Group, if it is written.
async fn begin(
    frame: &Frame<'_>,
    id: &ResourceId,
    head: &ListHead,
    group: &Stored,
    parts: &mut Parts<'_>,
) -> Result<Option<GroupLine>, TaskError> {
    if verdict(&frame.request.selection, &frame.worker.own_bases, group, false).is_err() {
        return Ok(None);
    }
    let line = GroupLine::whole(frame, id, head);
    match &line {
        Some(line) => line.begin(parts).await?,
        None => parts.uncut(&group.resource).await?,
    }
    Ok(line)
}

/// The head of the list; the job fails when the list is gone.
pub async fn head(frame: &Frame<'_>, id: &ResourceId) -> Result<ListHead, TaskError> {
    let head = frame.source.list(id, frame.as_of).await?;
    head.ok_or_else(|| TaskError::GiveUp(format!("the attribution list Group/{id} is no longer there")))
}

/// A member that names nobody is in no slice, so this is where it is accounted for. Answers its text for the line of the
/// Group; nothing when it cannot be read.
async fn examine<'a>(
    frame: &Frame<'_>,
    number: u64,
    member: &'a Bytes,
    absolute: &mut Vec<(&'static str, ResourceKey)>,
    parts: &mut Parts<'_>,
) -> Result<Option<Cow<'a, [u8]>>, TaskError> {
    let anchor = &frame.request.anchor;
    parts.tally.entries += 1;
    let ReadMember { line, says: member } = match group::member(member) {
        Ok(member) => member,
        Err(why) => {
            parts.tally.without_patient += 1;
            parts.problem(&unreadable_member(frame, &format!("member[{number}]"), &why)).await?;
            return Ok(None);
        }
    };
    parts.tally.inactive += u64::from(member.inactive);
    parts.tally.without_patient += u64::from(!names_a_patient(frame, &member));
    if !member.has_entity() {
        let issue = Issue::warning(
            IssueCode::Required,
            format!("{anchor}: member[{number}] has no entity, so it names nobody"),
        );
        parts.problem(&issue.at(format!("Group.member[{number}].entity"))).await?;
    }
    for (way, reference) in &member.references {
        let place = format!("member[{number}], {}", way.path());
        let element = format!("Group.member[{number}]");
        match reference.target(&frame.worker.own_bases) {
            Ok(Target::Local(key)) if reference.is_absolute() => absolute.push((way.path(), key)),
            Ok(Target::Local(_)) => {}
            Ok(Target::Contained) => {
                parts.problem(&contained(frame, &place, reference.text()).at(element)).await?;
            }
            Err(why) => {
                let issue = unresolvable(frame, &place, reference.text(), why).at(element);
                parts.missing(way.path(), &issue).await?;
            }
        }
    }
    Ok(Some(line))
}

/// Whoever loaded the list may not have known an absolute URL for the server's own; then what it names is in no slice, and
/// is wanted here.
async fn want_unlisted(
    frame: &Frame<'_>,
    list: &ResourceId,
    absolute: Vec<(&'static str, ResourceKey)>,
    joined: bool,
    closure: &mut Closure<'_>,
) -> Result<(), TaskError> {
    if absolute.is_empty() {
        return Ok(());
    }
    let keys: Vec<ResourceKey> = absolute.iter().map(|(_, key)| key.clone()).collect();
    let listed = frame.source.listed_among(list, frame.as_of, &keys).await?;
    for (path, key) in absolute.into_iter().filter(|(_, key)| !listed.contains_key(key)) {
        closure.want_key(path, key, joined);
    }
    Ok(())
}

/// Whether the entity of a member leads to a Patient of this server, be it there or not.
fn names_a_patient(frame: &Frame<'_>, member: &Member<'_>) -> bool {
    let Some((_, entity)) = member.references.first().filter(|_| member.has_entity()) else { return false };
    match entity.target(&frame.worker.own_bases) {
        Ok(Target::Local(key)) => key.resource_type == ResourceType::PATIENT,
        Ok(Target::Contained) | Err(_) => false,
    }
}
