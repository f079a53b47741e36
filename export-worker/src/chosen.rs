//! The task of a few patients of a list (`patient`): the Group cut down to their members, what these name, and what that
//! refers to. Few enough come with a request for one task to write them all, so nothing is left to others.

use std::collections::HashMap;

use bytes::Bytes;
use shared::export::Written;
use shared::fhir::{Instant, ResourceId, ResourceKey, ResourceType, Target};

use crate::closure::{Closure, Elsewhere, Referrer};
use crate::frame::{Frame, TaskError};
use crate::group::{self, GroupLine};
use crate::list::head;
use crate::parts::Parts;
use crate::problems::{unreadable_member, unresolvable};
use crate::select::verdict;

/// Writes the chosen patients of a list.
pub async fn chosen(frame: &Frame<'_>, list: &ResourceId) -> Result<Written, TaskError> {
    let mut parts = Parts::new(frame);
    let walked = walk(frame, list, &mut parts).await;
    parts.close(walked).await
}

async fn walk(frame: &Frame<'_>, list: &ResourceId, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let selection = &frame.request.selection;
    let head = head(frame, list).await?;
    let last_updated = head.last_updated;
    let sound = group::sound(list, head);
    let members = members(frame, list).await?;
    let mut closure = Closure::begin(frame, Elsewhere::Nothing).await?;
    // All of them before anything is followed: a Coverage may lead to a patient whose own member comes later.
    want(frame, list, &members, &mut closure, parts).await?;
    closure.follow(Vec::new(), parts).await?;
    let joined = selection.since.is_some() && selection.is_new(last_updated);
    let (head, group) = match sound {
        Ok(sound) => sound,
        Err(why) => return parts.unsound(&ResourceKey::new(ResourceType::GROUP, list.clone()), &why).await,
    };
    if verdict(selection, &frame.worker.own_bases, &group, false).is_ok() {
        // Those that cannot be read were told of when it was noted what they name.
        let readable: Vec<_> = members.iter().filter_map(|member| group::member(member).ok()).collect();
        match GroupLine::subsetted(frame, list, &head, readable.is_empty()) {
            Some(line) => write(line, &readable, parts).await?,
            None => parts.uncut(&group.resource).await?,
        }
    }
    closure.follow(vec![Referrer { joined, stored: group }], parts).await
}

async fn write(mut line: GroupLine, members: &[group::ReadMember<'_>], parts: &mut Parts<'_>) -> Result<(), TaskError> {
    line.begin(parts).await?;
    for member in members {
        line.member(&member.line, parts).await?;
    }
    line.end(parts).await
}

/// The members of the list that are the chosen patients.
async fn members(frame: &Frame<'_>, list: &ResourceId) -> Result<Vec<Bytes>, TaskError> {
    let patients: Vec<ResourceId> = frame.request.selection.patients.iter().flatten().cloned().collect();
    let members = frame.source.members_of(list, frame.as_of, &patients).await?;
    Ok(members.into_iter().map(|(_, member)| member).collect())
}

/// Notes what some members name, each with whether it was put on the list after `_since`.
async fn want(
    frame: &Frame<'_>,
    list: &ResourceId,
    members: &[Bytes],
    closure: &mut Closure<'_>,
    parts: &mut Parts<'_>,
) -> Result<(), TaskError> {
    let selection = &frame.request.selection;
    let mut named: Vec<(&'static str, ResourceKey)> = Vec::new();
    for member in members {
        parts.tally.entries += 1;
        let member = match group::member(member) {
            Ok(member) => member.says,
            Err(why) => {
                parts.tally.without_patient += 1;
                parts.problem(&unreadable_member(frame, "member", &why)).await?;
                continue;
            }
        };
        parts.tally.inactive += u64::from(member.inactive);
        for (way, reference) in &member.references {
            match reference.target(&frame.worker.own_bases) {
                Ok(Target::Local(key)) => named.push((way.path(), key)),
                Ok(Target::Contained) => {}
                Err(why) => {
                    let issue = unresolvable(frame, way.path(), reference.text(), why).at(way.path());
                    parts.missing(way.path(), &issue).await?;
                }
            }
        }
    }
    let keys: Vec<ResourceKey> = named.iter().map(|(_, key)| key.clone()).collect();
    let listed: HashMap<ResourceKey, Instant> = frame.source.listed_among(list, frame.as_of, &keys).await?;
    for (path, key) in named {
        let joined = selection.since.is_some() && listed.get(&key).is_some_and(|since| selection.is_new(*since));
        closure.want_settled(path, key, joined);
    }
    Ok(())
}
