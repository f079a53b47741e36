//! The task of what was deleted since `_since`: transaction Bundles that tell a client what to delete (Bulk Data,
//! "Response - Output Manifest", `deleted`).
//!
//! Of a list, a deleted Patient, Coverage or RelatedPerson is told when the list named it, or a patient in whose
//! compartment it was, at any time since `_since`. Practitioners, roles, organizations and locations say nothing about a
//! person, and what once led to them may be gone too: every deleted one is told (decision 0011). A member who left the list
//! was not deleted (standards §5.30).
//!
//! That leaves out what the list leads to without naming it or its patient: a subscriber who is no member, for one. When it
//! is gone and something still refers to it, the task that finds it missing tells it.

use std::collections::HashSet;

use serde_json::json;
use shared::export::{Anchor, OutputKind, Written};
use shared::fhir::{Instant, ResourceId, ResourceKey, ResourceType, compartment};
use shared::source::{Deleted, Stored};

use crate::frame::{Frame, TaskError};
use crate::parts::Parts;
use crate::select::verdict;

/// The most deletions that one line tells.
const ENTRIES: usize = 100;

/// Writes the deletions.
pub async fn deleted(frame: &Frame<'_>) -> Result<Written, TaskError> {
    let mut parts = Parts::new(frame);
    let walked = walk(frame, &mut parts).await;
    parts.close(walked).await
}

async fn walk(frame: &Frame<'_>, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let selection = &frame.request.selection;
    let Some(since) = selection.since else { return Ok(()) };
    // Of a list, another one is not exported with it, and this one is there; a Group is about more than a few patients.
    let without_groups = matches!(frame.request.anchor, Anchor::Group(_)) || selection.patients.is_some();
    let types: Vec<ResourceType> = ResourceType::ATTRIBUTION
        .into_iter()
        .filter(|resource_type| selection.writes(*resource_type))
        .filter(|resource_type| !without_groups || *resource_type != ResourceType::GROUP)
        .collect();
    let worker = frame.worker;
    let mut last: Option<Deleted> = None;
    loop {
        frame.check().await?;
        let page = frame.source.deleted(&types, since, frame.as_of, last.as_ref(), worker.limits.page_ids).await?;
        tell(&told(frame, since, &page).await?, parts).await?;
        match page.into_iter().next_back() {
            Some(deleted) => last = Some(deleted),
            None => return Ok(()),
        }
    }
}

/// Tells, of the resources that this task has found missing, those that were deleted since `_since` and that no other task
/// tells. Each must be given once in a job.
pub async fn missing(frame: &Frame<'_>, missing: &[ResourceKey], parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let Some(since) = frame.request.selection.since else { return Ok(()) };
    // Another list is not exported with this one.
    let missing: Vec<ResourceKey> =
        missing.iter().filter(|key| key.resource_type != ResourceType::GROUP).cloned().collect();
    // At the other levels every deletion is told.
    if missing.is_empty() || !matches!(frame.request.anchor, Anchor::Group(_)) {
        return Ok(());
    }
    let gone = frame.source.deleted_among(since, frame.as_of, &missing).await?;
    let told: HashSet<&ResourceKey> = told(frame, since, &gone).await?.into_iter().collect();
    let elsewhere = |key: &ResourceKey| key.resource_type.is_attribution() && told.contains(key);
    let mine: Vec<&ResourceKey> =
        selected(frame, &gone).map(|deleted| &deleted.resource.key).filter(|key| !elsewhere(key)).collect();
    tell(&mine, parts).await
}

async fn tell(keys: &[&ResourceKey], parts: &mut Parts<'_>) -> Result<(), TaskError> {
    for keys in keys.chunks(ENTRIES) {
        parts.line(OutputKind::Deleted, ResourceType::BUNDLE, bundle(keys).as_bytes()).await?;
    }
    Ok(())
}

/// Those of a page that the parameters of the export let through.
fn selected<'a>(frame: &Frame<'_>, page: &'a [Deleted]) -> impl Iterator<Item = &'a Deleted> {
    let (selection, own) = (&frame.request.selection, &frame.worker.own_bases);
    page.iter().filter(|deleted| {
        let stored = Stored { resource: deleted.resource.clone(), last_updated: deleted.at };
        verdict(selection, own, &stored, false).is_ok()
    })
}

/// Those of a page that the client is told of, whatever leads to them.
async fn told<'a>(frame: &Frame<'_>, since: Instant, page: &'a [Deleted]) -> Result<Vec<&'a ResourceKey>, TaskError> {
    let selected: Vec<&Deleted> = selected(frame, page).collect();
    let Anchor::Group(list) = &frame.request.anchor else {
        return Ok(selected.into_iter().map(|deleted| &deleted.resource.key).collect());
    };
    let whose: Vec<Vec<ResourceKey>> = selected.iter().map(|deleted| whose(frame, deleted)).collect();
    let keys: Vec<ResourceKey> = whose.iter().flatten().cloned().collect();
    let listed: HashSet<ResourceKey> = if keys.is_empty() {
        HashSet::new()
    } else {
        // Whom the list named when it was somebody else's is not for this client to know.
        let since = frame.request.grounds.held_since.map_or(since, |held_since| since.max(held_since));
        frame.source.listed_between(list, since, frame.as_of, &keys).await?
    };
    let known = |keys: &[ResourceKey]| keys.is_empty() || keys.iter().any(|key| listed.contains(key));
    let told = selected.into_iter().zip(&whose).filter(|(_, keys)| known(keys));
    Ok(told.map(|(deleted, _)| &deleted.resource.key).collect())
}

/// What a list must have named for a client of it to be told of this deletion: nothing for what is about nobody.
fn whose(frame: &Frame<'_>, deleted: &Deleted) -> Vec<ResourceKey> {
    let key = &deleted.resource.key;
    if !matches!(key.resource_type, ResourceType::PATIENT | ResourceType::COVERAGE | ResourceType::RELATED_PERSON) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&deleted.resource.body);
    let patients: Vec<ResourceId> =
        compartment::patients(key.resource_type, &text, &frame.worker.own_bases).unwrap_or_default();
    let patients = patients.into_iter().map(|patient| ResourceKey::new(ResourceType::PATIENT, patient));
    std::iter::once(key.clone()).chain(patients).collect()
}

/// One line: a transaction that deletes these.
fn bundle(keys: &[&ResourceKey]) -> String {
    let entries: Vec<_> =
        keys.iter().map(|key| json!({"request": {"method": "DELETE", "url": key.to_string()}})).collect();
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}).to_string()
}
