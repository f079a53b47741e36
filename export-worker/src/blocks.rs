//! Files organized by patient (`organizeOutputBy=Patient`, Bulk Data STU3): the task of a slice of Patients writes a block
//! for each: a header, the Patient, its Coverages and its RelatedPersons.
//!
//! **Which block.** A Coverage is in the block of its beneficiary when a member of the list who is that patient names it; a
//! RelatedPerson is in the block of its `patient` when such a Coverage refers to it. Both are read off the list alone, so
//! that every task can tell what is in a block without asking the one that writes it: what is in none goes to a file of its
//! own type as ever, and nothing is written twice. The Group, which refers to every patient, is one of those.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use shared::export::{Slice, Written};
use shared::fhir::{
    Attribution, Instant, Member, Reference, Resource, ResourceId, ResourceKey, ResourceType, Target, compartment,
    references,
};
use shared::source::{Listed, Stored};

use crate::frame::{Frame, TaskError};
use crate::listed::{Fate, account_for, read};
use crate::parts::Parts;
use crate::problems::missing;
use crate::select::verdict;

/// What belongs to a patient besides the Patient.
#[derive(Default)]
struct Block {
    coverages: Vec<Stored>,
    persons: Vec<Stored>,
}

/// Writes the blocks of a slice of Patients.
pub async fn blocks(frame: &Frame<'_>, list: &ResourceId, slice: &Slice) -> Result<Written, TaskError> {
    let mut parts = Parts::new(frame);
    let walked = walk(frame, list, slice, &mut parts).await;
    parts.close(walked).await
}

async fn walk(frame: &Frame<'_>, list: &ResourceId, slice: &Slice, parts: &mut Parts<'_>) -> Result<(), TaskError> {
    let mut rest = slice.clone();
    loop {
        let page = read(frame, list, rest.clone()).await?;
        let Some(end) = page.last() else { return Ok(()) };
        frame.check().await?;
        rest.after = Some(end.id.clone());
        let patients: Vec<ResourceId> = page.iter().map(|listed| listed.id.clone()).collect();
        let mut blocks = load(frame, list, &patients).await?;
        let contents = blocks.values().flat_map(|block| block.coverages.iter().chain(&block.persons));
        let keys: Vec<ResourceKey> = contents.map(|stored| stored.resource.key.clone()).collect();
        let listed_since = frame.source.listed_among(list, frame.as_of, &keys).await?;
        for listed in page {
            let block = blocks.remove(&listed.id).unwrap_or_default();
            write(frame, listed, &block, &listed_since, parts).await?;
        }
    }
}

async fn write(
    frame: &Frame<'_>,
    Listed { id, named_by, listed_since, stored }: Listed,
    block: &Block,
    contents_since: &HashMap<ResourceKey, Instant>,
    parts: &mut Parts<'_>,
) -> Result<(), TaskError> {
    let selection = &frame.request.selection;
    let own = &frame.worker.own_bases;
    let key = ResourceKey::new(ResourceType::PATIENT, id);
    let is_member = named_by == Attribution::Entity;
    let Some(stored) = stored else {
        if is_member {
            account_for(&mut parts.tally, Fate::Missing);
        }
        return parts.missing(named_by.path(), &missing(frame, named_by.path(), &key)).await;
    };
    let after_since = |at: Instant| selection.since.is_some() && selection.is_new(at);
    // What else is in the block is written though the Patient cannot be: the client learns of both.
    let patient = stored.as_line().map(|stored| (verdict(selection, own, &stored, after_since(listed_since)), stored));
    if is_member {
        let fate = patient.as_ref().map_or(Fate::Unreadable, |(verdict, _)| Fate::Met(*verdict));
        account_for(&mut parts.tally, fate);
    }
    let mut lines: Vec<&Stored> = Vec::new();
    match &patient {
        Ok((verdict, stored)) => lines.extend(verdict.is_ok().then_some(stored)),
        Err(why) => parts.unsound(&key, why).await?,
    }
    // What a new or changed Coverage leads to may be new to the client, too.
    let mut led_to: HashSet<ResourceKey> = HashSet::new();
    let is_newly_listed =
        |stored: &Stored| contents_since.get(&stored.resource.key).is_some_and(|since| after_since(*since));
    for coverage in &block.coverages {
        let joined = is_newly_listed(coverage);
        if joined || after_since(coverage.last_updated) {
            led_to.extend(persons_of(frame, coverage));
        }
        lines.extend(verdict(selection, own, coverage, joined).is_ok().then_some(coverage));
    }
    for person in &block.persons {
        let joined = led_to.contains(&person.resource.key) || is_newly_listed(person);
        lines.extend(verdict(selection, own, person, joined).is_ok().then_some(person));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let header = format!(
        r#"{{"resourceType":"Parameters","parameter":[{{"name":"header","valueReference":{{"reference":"{key}"}}}}]}}"#
    );
    parts.line_in_block(header.as_bytes()).await?;
    for stored in lines {
        parts.resource_in_block(&stored.resource).await?;
    }
    parts.end_block().await
}

/// Those of some resources that are in a block, and so in no file of their type.
pub async fn in_blocks(
    frame: &Frame<'_>,
    list: &ResourceId,
    resources: &[Stored],
) -> Result<HashSet<ResourceKey>, TaskError> {
    let owned: Vec<(&ResourceKey, ResourceId)> =
        resources.iter().filter_map(|stored| Some((&stored.resource.key, owner(frame, stored)?))).collect();
    let owners: BTreeSet<&ResourceId> = owned.iter().map(|(_, owner)| owner).collect();
    if owners.is_empty() {
        return Ok(HashSet::new());
    }
    // A patient who is on no server has no block.
    let keys: Vec<ResourceKey> =
        owners.iter().map(|id| ResourceKey::new(ResourceType::PATIENT, (*id).clone())).collect();
    let source = &frame.source;
    let there: Vec<ResourceId> =
        source.fetch(frame.as_of, &keys).await?.into_iter().map(|stored| stored.resource.key.id).collect();
    let blocks = load(frame, list, &there).await?;
    let holds = |owner: &ResourceId, key: &ResourceKey| {
        let block = blocks.get(owner);
        block
            .is_some_and(|block| block.coverages.iter().chain(&block.persons).any(|stored| stored.resource.key == *key))
    };
    Ok(owned.into_iter().filter(|(key, owner)| holds(owner, key)).map(|(key, _)| key.clone()).collect())
}

/// The blocks of some patients of the list, without the Patients; none for a patient who is no member.
async fn load(
    frame: &Frame<'_>,
    list: &ResourceId,
    patients: &[ResourceId],
) -> Result<BTreeMap<ResourceId, Block>, TaskError> {
    let source = &frame.source;
    let mut named: BTreeMap<ResourceId, BTreeSet<ResourceKey>> = BTreeMap::new();
    for (patient, member) in source.members_of(list, frame.as_of, patients).await? {
        // A source that found it by its patient has read it.
        let Some(member) = std::str::from_utf8(&member).ok().and_then(|text| Member::read(text).ok()) else { continue };
        let coverages = member.references.iter().filter_map(|(_, reference)| local(frame, reference));
        let coverages = coverages.filter(|key| key.resource_type == ResourceType::COVERAGE);
        named.entry(patient).or_default().extend(coverages);
    }
    let coverages = fetch(frame, named.values().flatten().cloned()).await?;
    let persons = fetch(frame, coverages.values().flat_map(|coverage| persons_of(frame, coverage))).await?;
    let block = |(patient, keys): (ResourceId, BTreeSet<ResourceKey>)| {
        let is_mine = |stored: &&Stored| owner(frame, stored).as_ref() == Some(&patient);
        let coverages: Vec<Stored> =
            keys.iter().filter_map(|key| coverages.get(key)).filter(is_mine).cloned().collect();
        let keys: BTreeSet<ResourceKey> = coverages.iter().flat_map(|coverage| persons_of(frame, coverage)).collect();
        let persons = keys.iter().filter_map(|key| persons.get(key)).filter(is_mine).cloned().collect();
        (patient, Block { coverages, persons })
    };
    Ok(named.into_iter().map(block).collect())
}

async fn fetch(
    frame: &Frame<'_>,
    keys: impl Iterator<Item = ResourceKey>,
) -> Result<HashMap<ResourceKey, Stored>, TaskError> {
    let keys: BTreeSet<ResourceKey> = keys.collect();
    let keys: Vec<ResourceKey> = keys.into_iter().collect();
    let mut found = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(frame.worker.limits.page_ids as usize) {
        let page = frame.source.fetch(frame.as_of, keys).await?;
        // What cannot be read is in no block; the task that would write it to a file of its type tells of it.
        let sound = page.into_iter().filter_map(|stored| stored.as_line().ok());
        found.extend(sound.map(|stored| (stored.resource.key.clone(), stored)));
    }
    Ok(found)
}

/// The patient in whose block a Coverage or RelatedPerson may be.
fn owner(frame: &Frame<'_>, stored: &Stored) -> Option<ResourceId> {
    let Resource { key, body } = &stored.resource;
    let text = std::str::from_utf8(body).ok()?;
    match key.resource_type {
        ResourceType::RELATED_PERSON => {
            compartment::patients(key.resource_type, text, &frame.worker.own_bases).ok()?.pop()
        }
        ResourceType::COVERAGE => {
            let found = references(key.resource_type, text).ok()?;
            let (_, beneficiary) = found.iter().find(|(path, _)| *path == "Coverage.beneficiary")?;
            local(frame, beneficiary).filter(|key| key.resource_type == ResourceType::PATIENT).map(|key| key.id)
        }
        _ => None,
    }
}

/// The RelatedPersons that a Coverage refers to.
fn persons_of(frame: &Frame<'_>, coverage: &Stored) -> Vec<ResourceKey> {
    let text = std::str::from_utf8(&coverage.resource.body).ok();
    let found = text.and_then(|text| references(ResourceType::COVERAGE, text).ok()).unwrap_or_default();
    let keys = found.iter().filter_map(|(_, reference)| local(frame, reference));
    keys.filter(|key| key.resource_type == ResourceType::RELATED_PERSON).collect()
}

fn local(frame: &Frame<'_>, reference: &Reference<'_>) -> Option<ResourceKey> {
    match reference.target(&frame.worker.own_bases) {
        Ok(Target::Local(key)) => Some(key),
        Ok(Target::Contained) | Err(_) => None,
    }
}
