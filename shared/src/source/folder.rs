//! Attribution lists and resources in a folder of FHIR files, all of it held in memory: for trials and for tests.
//!
//! The files are read once. A folder has no history, so what it holds is held to have been so at any time; `as_of`
//! changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;

use super::files::{self, BadLine, Found};
use super::{ListHead, Listed, ResourceSource, Stored};
use crate::clock::Clock;
use crate::export::Slice;
use crate::fault::{Fault, FaultKind};
use crate::fhir::{
    Attribution, Instant, Member, OwnBases, Resource, ResourceId, ResourceKey, ResourceType, Target, json,
};

/// Ids in byte order, so that a slice is a range.
type ById<T> = BTreeMap<ResourceId, T>;

/// The adapter of [`ResourceSource`] over a folder.
pub struct FolderSource {
    clock: Arc<dyn Clock>,
    resources: BTreeMap<ResourceType, ById<Stored>>,
    lists: ById<List>,
}

struct List {
    head: ListHead,
    members: Vec<Bytes>,
    named: BTreeMap<ResourceType, ById<Attribution>>,
}

impl FolderSource {
    /// Reads all the files of a folder, or one file; what could not be read comes back beside the source. The last
    /// resource of an id wins.
    ///
    /// `last_updated` is `meta.lastUpdated`, or the time of opening where that is missing, no instant or in the future.
    /// What a list names, it has named since its own `last_updated`. `own` are the URLs under which this server is known.
    /// Fails with `Invalid` when the path cannot be read.
    pub async fn open(path: &Path, own: OwnBases, clock: Arc<dyn Clock>) -> Result<(Self, Vec<BadLine>), Fault> {
        let path = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || Self::read(&path, &own, clock));
        reading.await.map_err(|stopped| {
            Fault::new(FaultKind::Unavailable, "failed to read the folder of resources").because(stopped)
        })?
    }

    /// The list with the most members, the first of them by id; `None` when there is no list.
    #[must_use]
    pub fn largest_list(&self) -> Option<ResourceId> {
        let by_members = |(_, list): &(&ResourceId, &List)| list.members.len();
        self.lists.iter().rev().max_by_key(by_members).map(|(id, _)| id.clone())
    }

    fn read(path: &Path, own: &OwnBases, clock: Arc<dyn Clock>) -> Result<(Self, Vec<BadLine>), Fault> {
        // A transaction time is in whole milliseconds: what is there must not be later than the first one.
        let opened = clock.now().floor_to_millis();
        let (mut folder, mut bad_lines) =
            (Self { clock, resources: BTreeMap::new(), lists: BTreeMap::new() }, Vec::new());
        for found in files::read(&[path.to_owned()])? {
            match found? {
                Found::Resource(resource) => folder.put(resource, own, opened)?,
                Found::Bad(bad) => bad_lines.push(bad),
            }
        }
        Ok((folder, bad_lines))
    }

    fn put(&mut self, mut resource: Resource, own: &OwnBases, opened: Instant) -> Result<(), Fault> {
        let last_updated = last_updated(&resource.body).filter(|at| *at <= opened).unwrap_or(opened);
        if resource.key.resource_type == ResourceType::GROUP {
            let list = List::read(&resource, own, last_updated)?;
            resource.body = [list.head.before.as_ref(), list.head.after.as_ref()].concat().into();
            self.lists.insert(resource.key.id.clone(), list);
        }
        let of_type = self.resources.entry(resource.key.resource_type).or_default();
        of_type.insert(resource.key.id.clone(), Stored { resource, last_updated });
        Ok(())
    }

    fn list_named(&self, list: &ResourceId) -> Result<&List, Fault> {
        self.lists.get(list).ok_or_else(|| {
            Fault::new(FaultKind::NotFound, format!("failed to read list {list}")).because("there is no such list")
        })
    }

    fn stored(&self, key: &ResourceKey) -> Option<&Stored> {
        self.resources.get(&key.resource_type)?.get(&key.id)
    }
}

impl List {
    fn read(group: &Resource, own: &OwnBases, last_updated: Instant) -> Result<Self, Fault> {
        let unreadable =
            |why: &str| Fault::new(FaultKind::Corrupt, format!("failed to read list {}", group.key.id)).because(why);
        let text = std::str::from_utf8(&group.body).map_err(|_| unreadable("it is not UTF-8 text"))?;
        let opened = json::open_group(text).map_err(|error| unreadable(&json::reason(&error)))?;
        let mut named: BTreeMap<ResourceType, ById<Attribution>> = BTreeMap::new();
        for member in &opened.members {
            let member = Member::read(member).map_err(|error| unreadable(&json::reason(&error)))?;
            for (way, reference) in &member.references {
                let Ok(Target::Local(key)) = reference.target(own) else { continue };
                if key != group.key {
                    let named_by = named.entry(key.resource_type).or_default().entry(key.id).or_insert(*way);
                    *named_by = (*named_by).min(*way);
                }
            }
        }
        let part = |part: &str| group.body.slice_ref(part.as_bytes());
        let members: Vec<Bytes> = opened.members.iter().map(|member| part(member)).collect();
        let head = ListHead {
            last_updated,
            before: part(opened.before),
            // An empty text need not be a part of the body.
            after: if opened.after.is_empty() { Bytes::new() } else { part(opened.after) },
            members: members.len() as u64,
        };
        Ok(Self { head, members, named })
    }
}

impl std::fmt::Debug for FolderSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FolderSource").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl ResourceSource for FolderSource {
    async fn transaction_time(&self) -> Result<Instant, Fault> {
        Ok(self.clock.now().floor_to_millis())
    }

    async fn list(&self, list: &ResourceId, _: Instant) -> Result<Option<ListHead>, Fault> {
        Ok(self.lists.get(list).map(|list| list.head.clone()))
    }

    async fn members(&self, list: &ResourceId, _: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        let members = &self.list_named(list)?.members;
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(members.iter().skip(from).take(limit as usize).cloned().collect())
    }

    async fn cut(&self, list: &ResourceId, _: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        let size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
        let mut slices = Vec::new();
        for (resource_type, ids) in &self.list_named(list)?.named {
            let ids: Vec<&ResourceId> = ids.keys().collect();
            let mut after = None;
            for run in ids.chunks(size) {
                let through = (*run.last().expect("a chunk is never empty")).clone();
                let (resource_type, ids) = (*resource_type, run.len() as u64);
                slices.push(Slice { resource_type, after: after.replace(through.clone()), through, ids });
            }
        }
        Ok(slices)
    }

    async fn listed(&self, list: &ResourceId, slice: &Slice, _: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        let list = self.list_named(list)?;
        let (Some(ids), true) =
            (list.named.get(&slice.resource_type), slice.after.as_ref().is_none_or(|after| *after < slice.through))
        else {
            return Ok(Vec::new());
        };
        let after = slice.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = ids.range::<ResourceId, _>((after, Bound::Included(&slice.through))).take(limit as usize);
        let listed = page.map(|(id, named_by)| Listed {
            id: id.clone(),
            named_by: *named_by,
            listed_since: list.head.last_updated,
            stored: self.stored(&ResourceKey::new(slice.resource_type, id.clone())).cloned(),
        });
        Ok(listed.collect())
    }

    async fn listed_among(
        &self,
        list: &ResourceId,
        _: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        let named = &self.list_named(list)?.named;
        let is_named = |key: &&ResourceKey| named.get(&key.resource_type).is_some_and(|ids| ids.contains_key(&key.id));
        Ok(keys.iter().filter(is_named).cloned().collect())
    }

    async fn fetch(&self, _: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        let distinct: HashSet<&ResourceKey> = keys.iter().collect();
        Ok(distinct.into_iter().filter_map(|key| self.stored(key)).cloned().collect())
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// `meta.lastUpdated` of a resource, when it is there and an instant.
fn last_updated(body: &[u8]) -> Option<Instant> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        #[serde(default)]
        last_updated: Option<String>,
    }
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        meta: Option<Meta>,
    }
    let head: Head = serde_json::from_slice(body).ok()?;
    head.meta?.last_updated?.parse().ok()
}
