//! Resources as of a time: with the help of their histories where the server has them (R4 `http.html#history`).
//!
//! Where it has none, what there is now stands for what there was: a resource that changed after the time comes as it has
//! become, one that was deleted since does not come at all. So a client may be told of something earlier than the
//! transaction time says, and never too late.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::ControlFlow;

use super::bundle::{Entry, Found, Page};
use super::by_id::has_path;
use super::pages::Took;
use super::server::Server;
use super::trouble::Trouble;
use super::upstream::Ask;
use crate::fault::Fault;
use crate::fhir::{Instant, ResourceId, ResourceKey, ResourceType};
use crate::source::{Stored, Version};

/// How many versions are asked for at a time.
const VERSIONS: u32 = 20;

/// Later than everything.
pub const LATEST: Instant = Instant::from_unix_micros(i64::MAX);

/// Something that happened to a resource.
#[derive(Clone, Debug)]
struct Event {
    /// `None` of a deletion of which the server does not say when it was.
    at: Option<Instant>,
    /// The version that came to be; `None` when it was deleted.
    found: Option<Found>,
}

/// What a resource was at a time.
pub enum Past {
    /// This version of it was there, since then.
    There(Found, Instant),
    /// It had been deleted, at this time; and what it was before.
    Deleted(Instant, Option<Found>),
    /// It had not come to be.
    NotYet,
}

impl Server {
    /// Those of some resources of a type that there were at a time.
    pub async fn as_of(
        &self,
        resource_type: ResourceType,
        ids: &[ResourceId],
        as_of: Instant,
    ) -> Result<HashMap<ResourceId, Stored>, Fault> {
        let now = self.by_ids(resource_type, ids).await?;
        let has_history = self.statement().await?.has_history(resource_type);
        let mut there: HashMap<ResourceId, Stored> = HashMap::with_capacity(now.len());
        for (id, Found { resource, meta }) in now {
            let last_updated = meta.last_updated.unwrap_or(as_of);
            if last_updated <= as_of || !has_history {
                there.insert(id, Stored { resource, last_updated });
            }
        }
        if has_history {
            let others: Vec<ResourceId> = ids.iter().filter(|id| !there.contains_key(id)).cloned().collect();
            for past in self.each(others, |id| self.past(ResourceKey::new(resource_type, id), as_of)).await? {
                if let Past::There(Found { resource, .. }, last_updated) = past {
                    there.insert(resource.key.id.clone(), Stored { resource, last_updated });
                }
            }
        }
        Ok(there)
    }

    /// What a resource was at a time.
    pub async fn past(&self, key: ResourceKey, as_of: Instant) -> Result<Past, Fault> {
        let mut deleted = None;
        let mut past = None;
        self.events(&key, |Event { at, found }| {
            // A deletion without a time has happened: it is told rather than the resource that is no longer there.
            let at = at.unwrap_or(as_of);
            match (found, deleted) {
                _ if at > as_of => return ControlFlow::Continue(()),
                (Some(found), None) => past = Some(Past::There(found, at)),
                (Some(found), Some(at)) => past = Some(Past::Deleted(at, Some(found))),
                (None, Some(_)) => return ControlFlow::Continue(()),
                (None, None) => {
                    deleted = Some(at);
                    return ControlFlow::Continue(());
                }
            }
            ControlFlow::Break(())
        })
        .await?;
        Ok(match (past, deleted) {
            (Some(past), _) => past,
            (None, Some(at)) => Past::Deleted(at, None),
            (None, None) => Past::NotYet,
        })
    }

    /// The versions of a resource, the newest first, as far as `limit` of them below `before` need them.
    pub async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault> {
        if !self.statement().await?.has_history(key.resource_type) {
            let only = self.read(key.clone()).await?.map(only_version);
            let only = only.filter(|only| limit > 0 && before.is_none_or(|before| only.number < before));
            return Ok(only.into_iter().collect());
        }
        let (mut versions, mut until, mut has_numbers) = (Vec::new(), None, true);
        let mut wanted = 0;
        self.events(key, |Event { at, found }| {
            if let Some(Found { resource, meta }) = found {
                let number = number(meta.version.as_deref());
                has_numbers &= number.is_some();
                wanted += u32::from(number.is_some_and(|number| before.is_none_or(|before| number < before)));
                let from = at.or(until).unwrap_or(LATEST);
                versions.push(Version { number: number.unwrap_or(0), from, to: until, resource });
            }
            until = at.or(until).or(Some(LATEST));
            // Versions without numbers get theirs by counting all of them.
            if has_numbers && wanted >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .await?;
        if !has_numbers {
            for (number, version) in (1..).zip(versions.iter_mut().rev()) {
                version.number = number;
            }
        }
        versions.retain(|version| before.is_none_or(|before| version.number < before));
        versions.truncate(limit as usize);
        Ok(versions)
    }

    /// What has happened to a resource, the latest first. Nothing when there never was one.
    async fn events(&self, key: &ResourceKey, mut take: impl FnMut(Event) -> ControlFlow<()>) -> Result<(), Fault> {
        if !has_path(&key.id) {
            return Ok(());
        }
        let what = format!("the versions of one {}", key.resource_type);
        let ask = Ask::get(self.upstream.url(&format!("{key}/_history?_count={VERSIONS}"))?, what.clone());
        let mut oldest = LATEST;
        let paged = self
            .pages(ask, key.resource_type, |page| {
                let before = oldest;
                for event in events_of(page, key) {
                    oldest = oldest.min(event.at.unwrap_or(oldest));
                    if take(event).is_break() {
                        return Took::Enough;
                    }
                }
                if oldest < before { Took::New } else { Took::Nothing }
            })
            .await;
        match paged {
            Ok(()) | Err(Trouble::Missing) => Ok(()),
            Err(trouble) => Err(trouble.into_fault(&what)),
        }
    }
}

/// What a page of a history tells of a resource, the latest first.
fn events_of(page: Page, key: &ResourceKey) -> Vec<Event> {
    let event = |Entry { resource, deletion, .. }: Entry| match (resource, deletion) {
        (_, Some((_, at))) => Some(Event { at, found: None }),
        (Some(found), None) if found.resource.key == *key => {
            Some(Event { at: found.meta.last_updated, found: Some(found) })
        }
        _ => None,
    };
    let mut events: Vec<Event> = page.entries.into_iter().filter_map(event).collect();
    // Where one has no time, the server's order is all there is.
    if events.iter().all(|event| event.at.is_some()) {
        events.sort_by_key(|event| Reverse(event.at));
    }
    events
}

/// A version id that is a number, as most servers count.
pub fn number(version: Option<&str>) -> Option<u64> {
    version?.parse().ok()
}

/// A resource as it is now.
pub fn only_version(Found { resource, meta }: Found) -> Version {
    Version {
        number: number(meta.version.as_deref()).unwrap_or(1),
        from: meta.last_updated.unwrap_or(Instant::from_unix_micros(0)),
        to: None,
        resource,
    }
}
