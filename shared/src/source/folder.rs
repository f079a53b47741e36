//! Attribution lists and resources in a folder of FHIR files, all of it held in memory: for trials and for tests.
//!
//! The files are read once. A folder has no history, so what it holds is held to have been so at any time; `as_of`
//! changes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::files::{self, BadLine, Found};
use super::meta::Meta;
use super::{Changed, Deleted, ListHead, Listed, ResourceSource, Stored, Version};
use crate::clock::Clock;
use crate::export::{JobId, Slice};
use crate::fault::{Fault, FaultKind};
use crate::fhir::search::{Query, value_at};
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
    /// The ordinals of the members whose entity is a Patient.
    patients: HashMap<ResourceId, Vec<usize>>,
    named: BTreeMap<ResourceType, ById<Attribution>>,
}

/// The number of the version that a folder holds of a resource.
const ONLY_VERSION: u64 = 1;

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

    /// A source of these resources, each given as the JSON text of one; as by [`FolderSource::open`] otherwise. Fails with
    /// `Invalid` when a text cannot be read as a resource.
    pub fn holding(texts: &[String], own: &OwnBases, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let opened = clock.now().floor_to_millis();
        let mut folder = Self { clock, resources: BTreeMap::new(), lists: BTreeMap::new() };
        for (number, text) in texts.iter().enumerate() {
            let resource = Resource::read(&Bytes::copy_from_slice(text.as_bytes())).map_err(|error| {
                Fault::new(FaultKind::Invalid, format!("failed to read resource {number}")).because(error)
            })?;
            folder.put(resource, own, opened)?;
        }
        Ok(folder)
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
        let last_updated = Meta::of(&resource.body).last_updated.filter(|at| *at <= opened).unwrap_or(opened);
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
        let mut patients: HashMap<ResourceId, Vec<usize>> = HashMap::new();
        for (ordinal, member) in opened.members.iter().enumerate() {
            let member = Member::read(member).map_err(|error| unreadable(&json::reason(&error)))?;
            for (way, reference) in &member.references {
                let Ok(Target::Local(key)) = reference.target(own) else { continue };
                if *way == Attribution::Entity && key.resource_type == ResourceType::PATIENT {
                    patients.entry(key.id.clone()).or_default().push(ordinal);
                }
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
        Ok(Self { head, members, patients, named })
    }

    fn names(&self, key: &ResourceKey) -> bool {
        self.named.get(&key.resource_type).is_some_and(|ids| ids.contains_key(&key.id))
    }
}

impl std::fmt::Debug for FolderSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FolderSource").field("lists", &self.lists.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl ResourceSource for FolderSource {
    fn of_job(self: Arc<Self>, _: JobId) -> Arc<dyn ResourceSource> {
        self
    }

    async fn is_repeatable(&self) -> Result<bool, Fault> {
        Ok(true)
    }

    async fn hold(&self, _: &ResourceId, _: Instant, _: Option<Instant>) -> Result<bool, Fault> {
        Ok(true)
    }

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
        let named = &self.list_named(list)?.named;
        Ok(named.iter().flat_map(|(resource_type, ids)| slices(*resource_type, ids, size)).collect())
    }

    async fn listed(&self, list: &ResourceId, slice: &Slice, _: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        let list = self.list_named(list)?;
        let page = list.named.get(&slice.resource_type).into_iter().flat_map(|ids| range(ids, slice));
        let listed = page.take(limit as usize).map(|(id, named_by)| Listed {
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
    ) -> Result<HashMap<ResourceKey, Instant>, Fault> {
        let list = self.list_named(list)?;
        Ok(keys.iter().filter(|key| list.names(key)).map(|key| (key.clone(), list.head.last_updated)).collect())
    }

    async fn fetch(&self, _: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        let mut seen = HashSet::new();
        Ok(keys.iter().filter(|key| seen.insert(*key)).filter_map(|key| self.stored(key)).cloned().collect())
    }

    async fn listed_between(
        &self,
        list: &ResourceId,
        _: Instant,
        _: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        let Some(list) = self.lists.get(list) else { return Ok(HashSet::new()) };
        Ok(keys.iter().filter(|key| list.names(key)).cloned().collect())
    }

    async fn members_of(
        &self,
        list: &ResourceId,
        _: Instant,
        patients: &[ResourceId],
    ) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
        let list = self.list_named(list)?;
        let distinct: HashSet<&ResourceId> = patients.iter().collect();
        let of = |patient| list.patients.get(patient).into_iter().flatten().map(move |ordinal| (*ordinal, patient));
        let mut found: Vec<(usize, &ResourceId)> = distinct.into_iter().flat_map(of).collect();
        found.sort_unstable();
        let member = |(ordinal, patient): (usize, &ResourceId)| (patient.clone(), list.members[ordinal].clone());
        Ok(found.into_iter().map(member).collect())
    }

    async fn cut_all(&self, types: &[ResourceType], _: Instant, _: Changed, size: u64) -> Result<Vec<Slice>, Fault> {
        let of_type = |resource_type| Some(slices(resource_type, self.resources.get(&resource_type)?, size));
        Ok(types.iter().copied().filter_map(of_type).flatten().collect())
    }

    async fn scan(&self, slice: &Slice, _: Instant, limit: u32) -> Result<Vec<Stored>, Fault> {
        let page = self.resources.get(&slice.resource_type).into_iter().flat_map(|of_type| range(of_type, slice));
        Ok(page.take(limit as usize).map(|(_, stored)| stored.clone()).collect())
    }

    async fn deleted(
        &self,
        _: &[ResourceType],
        _: Instant,
        _: Instant,
        _: Option<&Deleted>,
        _: u32,
    ) -> Result<Vec<Deleted>, Fault> {
        Ok(Vec::new())
    }

    async fn deleted_among(&self, _: Instant, _: Instant, _: &[ResourceKey]) -> Result<Vec<Deleted>, Fault> {
        Ok(Vec::new())
    }

    async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault> {
        let is_asked_for = limit > 0 && before.is_none_or(|before| before > ONLY_VERSION);
        Ok(self.stored(key).filter(|_| is_asked_for).map(version).into_iter().collect())
    }

    async fn find_lists(&self, query: &Query, after: Option<&ResourceId>, limit: u32) -> Result<Vec<Version>, Fault> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let groups = self.resources.get(&ResourceType::GROUP).into_iter();
        let groups = groups.flat_map(|groups| groups.range::<ResourceId, _>((after, Bound::Unbounded)));
        let is_found = |group: &&Stored| {
            let text = std::str::from_utf8(&group.resource.body).ok();
            text.and_then(|text| value_at(text, group.last_updated)).is_some_and(|group| query.matches_value(&group))
        };
        Ok(groups.map(|(_, group)| group).filter(is_found).take(limit as usize).map(version).collect())
    }

    async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
        let has_one = |list: &List| patients.iter().any(|patient| list.patients.contains_key(patient));
        let ids = self.lists.iter().filter(|(_, list)| has_one(list)).map(|(id, _)| id.clone());
        Ok(ids.filter_map(|id| self.stored(&ResourceKey::new(ResourceType::GROUP, id))).map(version).collect())
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// Cuts ids of one type into slices of at most `size`.
fn slices<T>(resource_type: ResourceType, ids: &ById<T>, size: u64) -> Vec<Slice> {
    let size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
    let ids: Vec<&ResourceId> = ids.keys().collect();
    let mut after = None;
    let mut slice = |run: &[&ResourceId]| {
        let through = (*run.last().expect("a chunk is never empty")).clone();
        Slice { resource_type, after: after.replace(through.clone()), through, ids: run.len() as u64 }
    };
    ids.chunks(size).map(&mut slice).collect()
}

/// What is in a slice, in its order.
fn range<'a, T>(ids: &'a ById<T>, slice: &Slice) -> impl Iterator<Item = (&'a ResourceId, &'a T)> + use<'a, T> {
    // A range that ends before it begins panics.
    let is_some_left = slice.after.as_ref().is_none_or(|after| *after < slice.through);
    let after = slice.after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let range = is_some_left.then(|| ids.range::<ResourceId, _>((after, Bound::Included(&slice.through))));
    range.into_iter().flatten()
}

fn version(stored: &Stored) -> Version {
    Version { number: ONLY_VERSION, from: stored.last_updated, to: None, resource: stored.resource.clone() }
}
