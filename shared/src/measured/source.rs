//! The source, measured.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::Measured;
use crate::export::{JobId, Slice};
use crate::fault::Fault;
use crate::fhir::search::Query;
use crate::fhir::{Instant, ResourceId, ResourceKey, ResourceType};
use crate::source::{Changed, Deleted, ListHead, Listed, ResourceSource, Stored, Version};

#[async_trait]
impl ResourceSource for Measured<Arc<dyn ResourceSource>> {
    fn of_job(self: Arc<Self>, job: JobId) -> Arc<dyn ResourceSource> {
        Arc::new(self.with(Arc::clone(&self.port).of_job(job)))
    }
    async fn is_repeatable(&self) -> Result<bool, Fault> {
        self.calls.of("is_repeatable", self.port.is_repeatable()).await
    }
    async fn hold(&self, list: &ResourceId, as_of: Instant, since: Option<Instant>) -> Result<bool, Fault> {
        self.calls.of("hold", self.port.hold(list, as_of, since)).await
    }
    async fn transaction_time(&self) -> Result<Instant, Fault> {
        self.calls.of("transaction_time", self.port.transaction_time()).await
    }
    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault> {
        self.calls.of("list", self.port.list(list, as_of)).await
    }
    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        self.calls.of("members", self.port.members(list, as_of, from, limit)).await
    }
    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        self.calls.of("cut", self.port.cut(list, as_of, size)).await
    }
    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        self.calls.of("listed", self.port.listed(list, slice, as_of, limit)).await
    }
    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashMap<ResourceKey, Instant>, Fault> {
        self.calls.of("listed_among", self.port.listed_among(list, as_of, keys)).await
    }
    async fn listed_between(
        &self,
        list: &ResourceId,
        since: Instant,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        self.calls.of("listed_between", self.port.listed_between(list, since, as_of, keys)).await
    }
    async fn members_of(
        &self,
        list: &ResourceId,
        as_of: Instant,
        patients: &[ResourceId],
    ) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
        self.calls.of("members_of", self.port.members_of(list, as_of, patients)).await
    }
    async fn cut_all(
        &self,
        types: &[ResourceType],
        as_of: Instant,
        changed: Changed,
        size: u64,
    ) -> Result<Vec<Slice>, Fault> {
        self.calls.of("cut_all", self.port.cut_all(types, as_of, changed, size)).await
    }
    async fn scan(&self, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Stored>, Fault> {
        self.calls.of("scan", self.port.scan(slice, as_of, limit)).await
    }
    async fn deleted(
        &self,
        types: &[ResourceType],
        since: Instant,
        as_of: Instant,
        after: Option<&Deleted>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Fault> {
        self.calls.of("deleted", self.port.deleted(types, since, as_of, after, limit)).await
    }
    async fn deleted_among(&self, since: Instant, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Deleted>, Fault> {
        self.calls.of("deleted_among", self.port.deleted_among(since, as_of, keys)).await
    }
    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        self.calls.of("fetch", self.port.fetch(as_of, keys)).await
    }
    async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault> {
        self.calls.of("versions", self.port.versions(key, before, limit)).await
    }
    async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
        self.calls.of("lists_of", self.port.lists_of(patients)).await
    }
    async fn find_lists(&self, query: &Query, after: Option<&ResourceId>, limit: u32) -> Result<Vec<Version>, Fault> {
        self.calls.of("find_lists", self.port.find_lists(query, after, limit)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.calls.of("ready", self.port.ready()).await
    }
}
