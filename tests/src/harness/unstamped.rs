//! A source whose resources lose the stamps that `devfhir` has put on them, so that a test can compare what comes out with
//! what it has put in, as with a database that leaves resources as they were written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use devfhir::without_stamp;
use shared::export::{JobId, Slice};
use shared::fault::Fault;
use shared::fhir::search::Query;
use shared::fhir::{Instant, Resource, ResourceId, ResourceKey, ResourceType};
use shared::source::{Changed, Deleted, ListHead, Listed, ResourceSource, Stored, Version};

/// The source behind it.
pub struct Unstamped(pub Arc<dyn ResourceSource>);

fn bare(resource: Resource) -> Resource {
    let text = std::str::from_utf8(&resource.body).expect("a test's resources are text");
    Resource { key: resource.key, body: Bytes::from(without_stamp(text)) }
}

fn bare_stored(stored: Stored) -> Stored {
    Stored { resource: bare(stored.resource), ..stored }
}

fn bare_version(version: Version) -> Version {
    Version { resource: bare(version.resource), ..version }
}

fn bare_deleted(deleted: Deleted) -> Deleted {
    Deleted { resource: bare(deleted.resource), ..deleted }
}

/// The stamp stands in one of the two parts.
fn bare_head(head: &ListHead) -> ListHead {
    let whole = [&head.before[..], &head.after[..]].concat();
    let whole = without_stamp(std::str::from_utf8(&whole).expect("a test's resources are text"));
    let (before, after) = if whole.as_bytes().ends_with(&head.after) {
        whole.split_at(whole.len() - head.after.len())
    } else {
        whole.split_at(head.before.len())
    };
    let part = |part: &str| Bytes::copy_from_slice(part.as_bytes());
    ListHead { before: part(before), after: part(after), ..head.clone() }
}

#[async_trait]
impl ResourceSource for Unstamped {
    fn of_job(self: Arc<Self>, job: JobId) -> Arc<dyn ResourceSource> {
        Arc::new(Self(Arc::clone(&self.0).of_job(job)))
    }
    async fn is_repeatable(&self) -> Result<bool, Fault> {
        self.0.is_repeatable().await
    }
    async fn hold(&self, list: &ResourceId, as_of: Instant, since: Option<Instant>) -> Result<bool, Fault> {
        self.0.hold(list, as_of, since).await
    }
    async fn transaction_time(&self) -> Result<Instant, Fault> {
        self.0.transaction_time().await
    }
    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault> {
        Ok(self.0.list(list, as_of).await?.as_ref().map(bare_head))
    }
    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        self.0.members(list, as_of, from, limit).await
    }
    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        self.0.cut(list, as_of, size).await
    }
    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        let page = self.0.listed(list, slice, as_of, limit).await?;
        Ok(page.into_iter().map(|listed| Listed { stored: listed.stored.map(bare_stored), ..listed }).collect())
    }
    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashMap<ResourceKey, Instant>, Fault> {
        self.0.listed_among(list, as_of, keys).await
    }
    async fn listed_between(
        &self,
        list: &ResourceId,
        since: Instant,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        self.0.listed_between(list, since, as_of, keys).await
    }
    async fn members_of(
        &self,
        list: &ResourceId,
        as_of: Instant,
        patients: &[ResourceId],
    ) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
        self.0.members_of(list, as_of, patients).await
    }
    async fn cut_all(
        &self,
        types: &[ResourceType],
        as_of: Instant,
        changed: Changed,
        size: u64,
    ) -> Result<Vec<Slice>, Fault> {
        self.0.cut_all(types, as_of, changed, size).await
    }
    async fn scan(&self, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Stored>, Fault> {
        Ok(self.0.scan(slice, as_of, limit).await?.into_iter().map(bare_stored).collect())
    }
    async fn deleted(
        &self,
        types: &[ResourceType],
        since: Instant,
        as_of: Instant,
        after: Option<&Deleted>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Fault> {
        Ok(self.0.deleted(types, since, as_of, after, limit).await?.into_iter().map(bare_deleted).collect())
    }
    async fn deleted_among(&self, since: Instant, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Deleted>, Fault> {
        Ok(self.0.deleted_among(since, as_of, keys).await?.into_iter().map(bare_deleted).collect())
    }
    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        Ok(self.0.fetch(as_of, keys).await?.into_iter().map(bare_stored).collect())
    }
    async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault> {
        Ok(self.0.versions(key, before, limit).await?.into_iter().map(bare_version).collect())
    }
    async fn find_lists(&self, query: &Query, after: Option<&ResourceId>, limit: u32) -> Result<Vec<Version>, Fault> {
        Ok(self.0.find_lists(query, after, limit).await?.into_iter().map(bare_version).collect())
    }
    async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
        Ok(self.0.lists_of(patients).await?.into_iter().map(bare_version).collect())
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.0.ready().await
    }
}
