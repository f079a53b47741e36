//! The task of a slice: the listed resources of one type, page by page, and what they refer to beyond the list.

use std::collections::HashSet;

use shared::export::{Slice, Tally, Written};
use shared::fhir::{Attribution, ResourceId, ResourceKey, ResourceType};
use shared::source::{Listed, Stored};

use crate::blocks::in_blocks;
use crate::closure::{Closure, Elsewhere, Referrer};
use crate::deleted;
use crate::frame::{Frame, TaskError};
use crate::parts::Parts;
use crate::problems::{missing, nested_list};
use crate::select::{LeftOut, verdict};

/// Writes a slice of a list.
pub async fn listed(frame: &Frame<'_>, list: &ResourceId, slice: &Slice) -> Result<Written, TaskError> {
    let mut parts = Parts::new(frame);
    let walked = walk(frame, list, slice, &mut parts).await;
    parts.close(walked).await
}

async fn walk(frame: &Frame<'_>, list: &ResourceId, slice: &Slice, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let mut closure = Closure::begin(frame, Elsewhere::List(list)).await?;
    let mut page = read(frame, list, slice.clone()).await?;
    while let Some(last) = page.last() {
        frame.check().await?;
        let rest = Slice { after: Some(last.id.clone()), ..slice.clone() };
        // The next page comes while this one is written: the source and the store work at the same time.
        let (next, ()) = tokio::try_join!(
            read(frame, list, rest),
            write(frame, list, slice.resource_type, page, &mut closure, parts)
        )?;
        page = next;
    }
    closure.follow(Vec::new(), parts).await
}

/// The first page of a slice, empty at its end.
pub async fn read(frame: &Frame<'_>, list: &ResourceId, slice: Slice) -> Result<Vec<Listed>, TaskError> {
    if slice.after.as_ref() == Some(&slice.through) {
        return Ok(Vec::new());
    }
    Ok(frame.source.listed(list, &slice, frame.as_of, frame.worker.limits.page_ids).await?)
}

/// What of a page is written with its patient, in an export that is organized so.
async fn written_in_blocks(
    frame: &Frame<'_>,
    list: &ResourceId,
    resource_type: ResourceType,
    page: &[Listed],
) -> Result<HashSet<ResourceKey>, TaskError> {
    let may_be = matches!(resource_type, ResourceType::COVERAGE | ResourceType::RELATED_PERSON);
    if !may_be || !frame.request.delivery.organized_by_patient {
        return Ok(HashSet::new());
    }
    let stored: Vec<Stored> = page.iter().filter_map(|listed| listed.stored.clone()).collect();
    in_blocks(frame, list, &stored).await
}

async fn write(
    frame: &Frame<'_>,
    list: &ResourceId,
    resource_type: ResourceType,
    page: Vec<Listed>,
    closure: &mut Closure<'_>,
    parts: &mut Parts<'_>,
) -> Result<(), TaskError> {
    let selection = &frame.request.selection;
    let in_blocks = written_in_blocks(frame, list, resource_type, &page).await?;
    let mut referrers = Vec::new();
    let gone = page.iter().filter(|listed| listed.stored.is_none());
    let gone: Vec<ResourceKey> = gone.map(|listed| ResourceKey::new(resource_type, listed.id.clone())).collect();
    deleted::missing(frame, &gone, parts).await?;
    for Listed { id, named_by, listed_since, stored } in page {
        let key = ResourceKey::new(resource_type, id);
        let is_member = resource_type == ResourceType::PATIENT && named_by == Attribution::Entity;
        if resource_type == ResourceType::GROUP {
            parts.problem(&nested_list(frame, named_by.path(), &key)).await?;
            continue;
        }
        let Some(stored) = stored else {
            if is_member {
                account_for(&mut parts.tally, Fate::Missing);
            }
            parts.missing(named_by.path(), &missing(frame, named_by.path(), &key)).await?;
            continue;
        };
        let stored = match stored.as_line() {
            Ok(stored) => stored,
            Err(why) => {
                if is_member {
                    account_for(&mut parts.tally, Fate::Unreadable);
                }
                parts.unsound(&key, &why).await?;
                continue;
            }
        };
        // Who has joined since the last export has never been told of, however old the resource is (standards §5.29).
        let joined = selection.since.is_some() && selection.is_new(listed_since);
        let verdict = verdict(selection, &frame.worker.own_bases, &stored, joined);
        if is_member {
            account_for(&mut parts.tally, Fate::Met(verdict));
        }
        if verdict.is_ok() && !in_blocks.contains(&key) {
            parts.resource(&stored.resource).await?;
        }
        if Closure::leads_further(resource_type) {
            // What has changed may lead to something that the client has never been told of, too.
            let joined = joined || (selection.since.is_some() && selection.is_new(stored.last_updated));
            referrers.push(Referrer { joined, stored });
        }
    }
    closure.follow(referrers, parts).await
}

/// What became of a member's Patient.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// There is none.
    Missing,
    /// What there is cannot be read.
    Unreadable,
    /// It was written, or left out.
    Met(Result<(), LeftOut>),
}

/// Counts what became of a member's Patient.
pub fn account_for(tally: &mut Tally, fate: Fate) {
    tally.patients += 1;
    match fate {
        Fate::Missing => tally.missing += 1,
        Fate::Unreadable => tally.unreadable += 1,
        Fate::Met(Ok(())) => tally.written += 1,
        Fate::Met(Err(left_out)) => *tally.left_out.entry(left_out.name().to_owned()).or_default() += 1,
    }
}
