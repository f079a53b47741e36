//! What was deleted in a time, by the history of a type, and by the histories of the resources that it names.
//!
//! A server that keeps no history of a type cannot say, and nothing of that type counts as deleted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::bundle::Entry;
use super::pages::Took;
use super::past::{LATEST, Past};
use super::server::Server;
use super::trouble::Trouble;
use super::upstream::Ask;
use crate::fault::Fault;
use crate::fhir::{Instant, Resource, ResourceKey, ResourceType};
use crate::source::Deleted;

/// How many changes of a type are asked for at a time.
const CHANGES: u32 = 500;

/// How many questions are remembered.
const REMEMBERED: usize = 8;

/// What is asked for: types, and the time after the one and up to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of these types.
    pub types: Vec<ResourceType>,
    /// Later than this.
    pub since: Instant,
    /// Not later than this.
    pub as_of: Instant,
}

/// Deletions and when they happened, in the order of both. What was deleted may have come back.
type Candidates = Arc<BTreeSet<(Instant, ResourceKey)>>;

/// The answers to the questions that were asked last: they are asked page by page.
#[derive(Default)]
pub struct Deletions(Mutex<Vec<(Asked, Candidates)>>);

impl Deletions {
    /// The first resources behind one that were deleted in the time and are not there at its end; none only at the end.
    pub async fn page(
        &self,
        server: &Server,
        asked: &Asked,
        after: Option<(Instant, ResourceKey)>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Fault> {
        let candidates = self.candidates(server, asked).await?;
        let mut rest =
            candidates.iter().filter(|deletion| after.as_ref().is_none_or(|after| *deletion > after)).cloned();
        loop {
            let page: BTreeMap<ResourceKey, Instant> =
                rest.by_ref().take(limit as usize).map(|(at, key)| (key, at)).collect();
            let keys: Vec<ResourceKey> = page.keys().cloned().collect();
            let mut deleted = server.deleted(&keys, asked.since, asked.as_of).await?;
            // In the order of the candidates, by their times: the two histories need not say the same.
            for deleted in &mut deleted {
                deleted.at = page[&deleted.resource.key];
            }
            deleted.sort_by(|one, other| (one.at, &one.resource.key).cmp(&(other.at, &other.resource.key)));
            if !deleted.is_empty() || keys.is_empty() {
                return Ok(deleted);
            }
        }
    }

    async fn candidates(&self, server: &Server, asked: &Asked) -> Result<Candidates, Fault> {
        let remembered = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = remembered().iter().find(|(of, _)| of == asked) {
            return Ok(Arc::clone(known));
        }
        let statement = server.statement().await?;
        let mut candidates = BTreeSet::new();
        for resource_type in asked.types.iter().copied() {
            if !statement.has_type_history(resource_type) || !statement.has_history(resource_type) {
                continue;
            }
            let mut last: BTreeMap<ResourceKey, Instant> = BTreeMap::new();
            for (key, at) in server.deletions(resource_type, asked.since).await? {
                let at = at.unwrap_or(asked.as_of);
                if asked.since < at && at <= asked.as_of {
                    let last = last.entry(key).or_insert(at);
                    *last = at.max(*last);
                }
            }
            candidates.extend(last.into_iter().map(|(key, at)| (at, key)));
        }
        let candidates = Arc::new(candidates);
        let mut known = remembered();
        known.push((asked.clone(), Arc::clone(&candidates)));
        if known.len() > REMEMBERED {
            known.remove(0);
        }
        Ok(candidates)
    }
}

impl Server {
    /// Those of some resources that were deleted in a time and are not there at its end, with what was known of them last.
    pub async fn deleted(&self, keys: &[ResourceKey], since: Instant, as_of: Instant) -> Result<Vec<Deleted>, Fault> {
        let statement = self.statement().await?;
        let keys: Vec<ResourceKey> =
            keys.iter().filter(|key| statement.has_history(key.resource_type)).cloned().collect();
        let past = self.each(keys.clone(), |key| self.past(key, as_of)).await?;
        let deleted = |(key, past)| match past {
            Past::Deleted(at, found) if at > since => {
                let resource = found.map_or_else(|| known_by_name(key), |found| found.resource);
                Some(Deleted { resource, at })
            }
            _ => None,
        };
        Ok(keys.into_iter().zip(past).filter_map(deleted).collect())
    }

    /// The deletions of resources of a type since a time, each with its own time if the server tells it.
    pub async fn deletions(
        &self,
        resource_type: ResourceType,
        since: Instant,
    ) -> Result<BTreeSet<(ResourceKey, Option<Instant>)>, Fault> {
        let what = format!("what has happened to {resource_type}s");
        let below = format!("{resource_type}/_history?_since={since}&_count={CHANGES}");
        let ask = Ask::get(self.upstream.url(&below)?, what.clone());
        let mut deletions = BTreeSet::new();
        // What has been told of the earliest time so far: many may have changed at one time, and fill many pages.
        let (mut earliest, mut told) = (LATEST, HashSet::new());
        let paged = self
            .pages(ask, resource_type, |page| {
                let mut took = Took::Nothing;
                for Entry { resource, deletion, .. } in page.entries {
                    let (key, at, is_deletion) = match (resource, deletion) {
                        (_, Some((key, at))) => (key, at, true),
                        (Some(found), None) => (Some(found.resource.key), found.meta.last_updated, false),
                        (None, None) => continue,
                    };
                    let Some(key) = key else { continue };
                    let placed = at.unwrap_or(earliest);
                    if placed < earliest {
                        earliest = placed;
                        told.clear();
                    }
                    if placed == earliest && told.insert(key.clone()) {
                        took = Took::New;
                    }
                    if is_deletion {
                        deletions.insert((key, at));
                    }
                }
                took
            })
            .await;
        match paged {
            // A server that does not have the type has nothing of it.
            Ok(()) | Err(Trouble::Missing) => Ok(deletions),
            Err(trouble) => Err(trouble.into_fault(&what)),
        }
    }
}

/// A deleted resource of which the server has kept nothing else.
fn known_by_name(key: ResourceKey) -> Resource {
    let ResourceKey { resource_type, id } = &key;
    let body = Bytes::from(format!(r#"{{"resourceType":"{resource_type}","id":"{id}"}}"#));
    Resource { key, body }
}
