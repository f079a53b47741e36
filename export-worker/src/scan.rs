//! The task of a slice of all that the server holds of a type, for exports of all patients or of the whole system.

use std::collections::BTreeSet;

use shared::export::{Slice, Written};
use shared::fhir::{ResourceId, ResourceKey, ResourceType};
use shared::source::Stored;

use crate::closure::{Closure, Elsewhere, Referrer};
use crate::frame::{Frame, TaskError};
use crate::group::{self, GroupLine};
use crate::parts::Parts;
use crate::problems::unreadable_member;
use crate::select::{belongs, verdict};

/// The types that are in compartments of patients and have slices of their own in an export of some patients. Groups are
/// left out of one: they are in the compartments of other patients as well.
pub const IN_COMPARTMENTS: &[ResourceType] =
    &[ResourceType::PATIENT, ResourceType::COVERAGE, ResourceType::RELATED_PERSON];

/// Writes a slice of a type; in an export of some patients, what of it is theirs, and what that refers to.
pub async fn scan(frame: &Frame<'_>, slice: &Slice) -> Result<Written, TaskError> {
    let mut parts = Parts::new(frame);
    let walked = walk(frame, slice, &mut parts).await;
    parts.close(walked).await
}

async fn walk(frame: &Frame<'_>, slice: &Slice, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let mut closure = Closure::begin(frame, Elsewhere::Types(IN_COMPARTMENTS)).await?;
    if let (ResourceType::PATIENT, Some(patients)) = (slice.resource_type, &frame.request.selection.patients) {
        let keys: Vec<ResourceKey> =
            patients.iter().map(|id| ResourceKey::new(ResourceType::PATIENT, id.clone())).collect();
        for keys in keys.chunks(frame.worker.limits.page_ids as usize) {
            frame.check().await?;
            let page = frame.source.fetch(frame.as_of, keys).await?;
            write(frame, page, &mut closure, parts).await?;
        }
        return Ok(());
    }
    let mut page = read(frame, slice.clone()).await?;
    while let Some(last) = page.last() {
        frame.check().await?;
        let rest = Slice { after: Some(last.resource.key.id.clone()), ..slice.clone() };
        // The next page comes while this one is written: the source and the store work at the same time.
        let (next, ()) = tokio::try_join!(read(frame, rest), write(frame, page, &mut closure, parts))?;
        page = next;
    }
    closure.follow(Vec::new(), parts).await
}

async fn read(frame: &Frame<'_>, slice: Slice) -> Result<Vec<Stored>, TaskError> {
    if slice.after.as_ref() == Some(&slice.through) {
        return Ok(Vec::new());
    }
    Ok(frame.source.scan(&slice, frame.as_of, frame.worker.limits.page_ids).await?)
}

async fn write(
    frame: &Frame<'_>,
    page: Vec<Stored>,
    closure: &mut Closure<'_>,
    parts: &mut Parts<'_>,
) -> Result<(), TaskError> {
    let selection = &frame.request.selection;
    let mut referrers = Vec::new();
    for stored in page {
        let key = stored.resource.key.clone();
        let stored = match stored.as_line() {
            Ok(stored) => stored,
            // Whose it is cannot be read; of others than the chosen patients not even an id may be told.
            Err(why) => {
                let is_chosen = |chosen: &BTreeSet<ResourceId>| {
                    key.resource_type == ResourceType::PATIENT && chosen.contains(&key.id)
                };
                if selection.patients.as_ref().is_none_or(is_chosen) {
                    parts.unsound(&key, &why).await?;
                }
                continue;
            }
        };
        let ResourceKey { resource_type, id } = &key;
        if verdict(selection, &frame.worker.own_bases, &stored, false).is_ok() {
            if *resource_type == ResourceType::GROUP {
                write_group(frame, id, parts).await?;
            } else {
                parts.resource(&stored.resource).await?;
            }
        }
        // Without `patient` every type has slices of its own, and nothing has to be followed.
        if selection.patients.is_some()
            && Closure::leads_further(*resource_type)
            && belongs(selection, &frame.worker.own_bases, &stored.resource)
        {
            let joined = selection.since.is_some() && selection.is_new(stored.last_updated);
            referrers.push(Referrer { joined, stored });
        }
    }
    closure.follow(referrers, parts).await
}

async fn write_group(frame: &Frame<'_>, id: &ResourceId, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let Some(head) = frame.source.list(id, frame.as_of).await? else { return Ok(()) };
    let (head, group) = match group::sound(id, head) {
        Ok(sound) => sound,
        Err(why) => return parts.unsound(&ResourceKey::new(ResourceType::GROUP, id.clone()), &why).await,
    };
    let Some(mut line) = GroupLine::whole(frame, id, &head) else { return parts.uncut(&group.resource).await };
    line.begin(parts).await?;
    let mut from = 0;
    while from < head.members {
        let page = group::members(frame, id, &head, from).await?;
        for (number, member) in (from..).zip(&page) {
            match group::member(member) {
                Ok(member) => line.member(&member.line, parts).await?,
                Err(why) => parts.problem(&unreadable_member(frame, &format!("member[{number}]"), &why)).await?,
            }
        }
        from += page.len() as u64;
    }
    line.end(parts).await
}
