//! The port to the payer's data: attribution lists and the resources that they reach, as of a point in time.
//!
//! Every read takes the job's transaction time and answers the state at that time, so that a task which is tried again
//! sees what its first attempt saw (design §5).

pub mod files;
pub mod folder;
pub mod postgres;

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;

use crate::export::Slice;
use crate::fault::Fault;
use crate::fhir::{Attribution, Instant, Resource, ResourceId, ResourceKey};

/// The head of an attribution list: the Group without its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListHead {
    /// When the Group was last changed.
    pub last_updated: Instant,
    /// Its JSON up to and with the `[` of `member`; all of it when it has no `member`.
    pub before: Bytes,
    /// Its JSON from the `]` of `member` on; empty when it has no `member`.
    pub after: Bytes,
    /// How many members there are.
    pub members: u64,
}

/// A resource as the source holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Type, id and JSON.
    pub resource: Resource,
    /// When this version came to be, on this server.
    pub last_updated: Instant,
}

/// An id that a list names, and what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The id; the type is that of the slice.
    pub id: ResourceId,
    /// The way in which the list names it; the first of [`Attribution::ALL`] when there are several.
    pub named_by: Attribution,
    /// Since when the list has named it without a break.
    pub listed_since: Instant,
    /// The resource, a Group without its members as in [`ResourceSource::fetch`]; `None` when there is none of that id.
    pub stored: Option<Stored>,
}

/// Where attribution lists and resources come from.
///
/// Reads fail with `Unavailable` or `Busy` when the source cannot be asked now, with `Corrupt` when what it holds cannot
/// be read. A list that is not there fails with `NotFound` in every verb but `list`.
#[async_trait]
pub trait ResourceSource: Send + Sync + 'static {
    /// A safe point in time, in whole milliseconds: whatever changes from now on, in transactions that have begun already
    /// too, is later than it.
    async fn transaction_time(&self) -> Result<Instant, Fault>;

    /// The head of a list; `None` when there is no such list at that time.
    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault>;

    /// The members of a list, each the JSON text that was written, in its order: at most `limit` (1 or more) from the
    /// `from`-th on, counted from 0. Fewer only at the end of the list.
    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault>;

    /// Cuts what the members of a list name (rows T2, T3, T4 and T6 of standards §3.9) into slices of at most `size` ids
    /// (1 or more) of one type. Each id is in exactly one slice; the list's own id is in none. References that lead to no
    /// resource of this server are left out: the List task reports them. The slices of one type come in the order of ids.
    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault>;

    /// The first ids of a slice in byte order, each with its resource: at most `limit` (1 or more), fewer when the resources
    /// are large, none only when the slice has ended. To go on, ask for the same slice with `after` set to the last id.
    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault>;

    /// Those of `keys` that are in a slice of the list, so that their own task writes them.
    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault>;

    /// Those of `keys` that there are, in any order, each once. A Group comes without its members: with the text
    /// `before` + `after` of its head.
    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault>;

    /// Succeeds when the source can be asked.
    async fn ready(&self) -> Result<(), Fault>;
}
