//! The task of the Group itself: one line, and the account of its members.

use shared::export::Written;
use shared::fhir::{Issue, IssueCode, Member, ResourceId, ResourceKey, ResourceType, Target, json};
use shared::source::ListHead;

use crate::closure::{Closure, Elsewhere, Referrer};
use crate::frame::{Frame, TaskError};
use crate::group::{self, GroupLine};
use crate::parts::Parts;
use crate::problems::{contained, unresolvable};
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
    let group = group::stored(id, &head);
    let joined = selection.since.is_some() && selection.is_new(head.last_updated);
    let is_written = verdict(selection, &frame.worker.own_bases, &group, false).is_ok();
    let mut line = if is_written { GroupLine::whole(frame, id, &head) } else { None };
    match &line {
        Some(line) => line.begin(parts).await?,
        None if is_written => parts.uncut(&group.resource).await?,
        None => {}
    }
    let mut closure = Closure::new(frame, Elsewhere::List(id));
    let (mut from, mut page) = (0, group::members(frame, id, &head, 0).await?);
    while !page.is_empty() {
        let rest = from + page.len() as u64;
        let write = async {
            let mut absolute = Vec::new();
            for (number, member) in (from..).zip(&page) {
                if let Some(line) = &mut line {
                    line.member(member, parts).await?;
                }
                examine(frame, number, member, &mut absolute, parts).await?;
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
    closure.follow(vec![Referrer { joined, stored: group }], parts).await
}

/// The head of the list; the job fails when the list is gone.
pub async fn head(frame: &Frame<'_>, id: &ResourceId) -> Result<ListHead, TaskError> {
    let head = frame.worker.platform.source.list(id, frame.as_of).await?;
    head.ok_or_else(|| TaskError::GiveUp(format!("the attribution list Group/{id} is no longer there")))
}

/// A member that names nobody is in no slice, so this is where it is accounted for.
async fn examine(
    frame: &Frame<'_>,
    number: u64,
    member: &[u8],
    absolute: &mut Vec<(&'static str, ResourceKey)>,
    parts: &mut Parts<'_>,
) -> Result<(), TaskError> {
    let anchor = &frame.request.anchor;
    parts.tally.entries += 1;
    let read = std::str::from_utf8(member).map_err(|error| error.to_string());
    let member = match read.and_then(|text| Member::read(text).map_err(|error| json::reason(&error))) {
        Ok(member) => member,
        Err(reason) => {
            parts.tally.without_patient += 1;
            let issue =
                Issue::warning(IssueCode::Structure, format!("{anchor}: member[{number}] cannot be read: {reason}"));
            return parts.problem(&issue.at(format!("Group.member[{number}]"))).await;
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
    Ok(())
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
    let listed = frame.worker.platform.source.listed_among(list, frame.as_of, &keys).await?;
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
