//! The port to the payer's data: attribution lists and the resources that they reach, as of a point in time.
//!
//! Every read takes the job's transaction time and answers the state at that time, so that a task which is tried again
//! sees what its first attempt saw (design §5).

mod candidates;
pub mod fhir_rest;
pub mod files;
pub mod folder;
mod meta;
pub mod postgres;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::export::{JobId, Slice};
use crate::fault::Fault;
use crate::fhir::search::Query;
use crate::fhir::{Attribution, Identifier, Instant, Resource, ResourceId, ResourceKey, ResourceType, Unsound};

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

impl ListHead {
    /// The identifiers of the list.
    #[must_use]
    pub fn identifiers(&self) -> Vec<Identifier> {
        let group = [&self.before[..], &self.after[..]].concat();
        Identifier::all_of(&String::from_utf8_lossy(&group))
    }
}

/// A resource as the source holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Type, id and JSON.
    pub resource: Resource,
    /// When this version came to be, on this server.
    pub last_updated: Instant,
}

impl Stored {
    /// The same as a line of a file; see [`Resource::as_line`].
    pub fn as_line(self) -> Result<Self, Unsound> {
        Ok(Self { resource: self.resource.as_line()?, ..self })
    }
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

/// A resource that is no longer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// What was known of it last; a Group without its members.
    pub resource: Resource,
    /// When it was deleted.
    pub at: Instant,
}

/// One version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1; a resource that is deleted and comes back goes on counting.
    pub number: u64,
    /// When it came to be: `meta.lastUpdated`.
    pub from: Instant,
    /// When it was superseded or deleted; `None` for the current one. It was deleted when the next version begins later,
    /// or there is none.
    pub to: Option<Instant>,
    /// The resource, as it was written.
    pub resource: Resource,
}

/// The time in which resources have changed that somebody has a use for: after the one and up to the other, if there are
/// such bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Later than this.
    pub after: Option<Instant>,
    /// Not later than this.
    pub until: Option<Instant>,
}

/// Where attribution lists and resources come from.
///
/// Reads fail with `Unavailable` or `Busy` when the source cannot be asked now, with `Corrupt` when what it holds cannot
/// be read. The texts of resources and members come as they are held: whether they are JSON is for the caller to check. A list
/// that is not there fails with `NotFound` in every verb but `list` and `listed_between`.
///
/// A source without a past answers as though all had always been as it is: nothing was deleted, and each resource has one
/// version.
#[async_trait]
pub trait ResourceSource: Send + Sync + 'static {
    /// The same source, asked for the tasks of a job: what it has to remember for them, it keeps with the job's files, where
    /// every worker finds it, and where it goes with them.
    fn of_job(self: Arc<Self>, job: JobId) -> Arc<dyn ResourceSource>;

    /// Whether what was read as of a time is read so again. Where it is not, an attempt that is interrupted may have claimed
    /// what the next one does not meet.
    async fn is_repeatable(&self) -> Result<bool, Fault>;

    /// Makes ready to answer for a list as of a time, for all tasks of a job ([`ResourceSource::of_job`]) in the same way, and
    /// for what it named from `since` on. To be called before the list is read; `false` when it is known already that there
    /// is no such list.
    async fn hold(&self, list: &ResourceId, as_of: Instant, since: Option<Instant>) -> Result<bool, Fault>;

    /// A safe point in time, in whole milliseconds: whatever changes from now on, in transactions that have begun already
    /// too, is later than it.
    async fn transaction_time(&self) -> Result<Instant, Fault>;

    /// The head of a list; `None` when there is no such list at that time.
    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault>;

    /// The members of a list, each the JSON text that was written, in its order: at most `limit` (1 or more) from the
    /// `from`-th on, counted from 0. Fewer when they are large, none only at the end of the list.
    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault>;

    /// Cuts what the members of a list name (rows T2, T3, T4 and T6 of standards §3.9) into slices of at most `size` ids
    /// (1 or more) of one type. Each id is in exactly one slice; the list's own id is in none. References that lead to no
    /// resource of this server are left out: the List task reports them. The slices of one type come in the order of ids.
    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault>;

    /// The first ids of a slice in byte order, each with its resource: at most `limit` (1 or more), fewer when the resources
    /// are large, none only when the slice has ended. To go on, ask for the same slice with `after` set to the last id.
    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault>;

    /// Those of `keys` that are in a slice of the list, so that their own task writes them, each with the time since when
    /// the list has named it without a break.
    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashMap<ResourceKey, Instant>, Fault>;

    /// Those of `keys` that the list named at any time from `since` to `as_of`. A list that is not there named nothing.
    async fn listed_between(
        &self,
        list: &ResourceId,
        since: Instant,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault>;

    /// The members of a list whose entity is one of `patients`, by a reference to a Patient of this server: each with its
    /// patient and as it was written, in the order of the list. A patient whom the list has twice comes twice, whoever is
    /// asked for twice once.
    async fn members_of(
        &self,
        list: &ResourceId,
        as_of: Instant,
        patients: &[ResourceId],
    ) -> Result<Vec<(ResourceId, Bytes)>, Fault>;

    /// Cuts all that there is of some types into slices of at most `size` ids (1 or more) of one type. Each id is in exactly
    /// one slice. The types come in the order in which they are given, the slices of one type in the order of ids. What did not
    /// change in the time `changed` may be left out, by [`ResourceSource::scan`] too.
    async fn cut_all(
        &self,
        types: &[ResourceType],
        as_of: Instant,
        changed: Changed,
        size: u64,
    ) -> Result<Vec<Slice>, Fault>;

    /// The first resources of a slice of [`ResourceSource::cut_all`] in the byte order of their ids: at most `limit` (1 or
    /// more), fewer when they are large, none only when the slice has ended. To go on, ask for the same slice with `after`
    /// set to the last id. A Group comes without its members, as in [`ResourceSource::fetch`].
    async fn scan(&self, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Stored>, Fault>;

    /// The resources of some types that were deleted after `since` and at or before `as_of`, and are not there at `as_of`:
    /// each once, with its last deletion, in the order of ([`Deleted::at`], key); at most `limit` (1 or more) behind `after`,
    /// fewer when they are large, none only at the end.
    async fn deleted(
        &self,
        types: &[ResourceType],
        since: Instant,
        as_of: Instant,
        after: Option<&Deleted>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Fault>;

    /// Those of `keys` that were deleted after `since` and at or before `as_of`, and are not there at `as_of`: as
    /// [`ResourceSource::deleted`] gives them, in any order.
    async fn deleted_among(&self, since: Instant, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Deleted>, Fault>;

    /// Those of `keys` that there are, in any order, each once. A Group comes without its members: with the text
    /// `before` + `after` of its head.
    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault>;

    /// The versions of a resource that there are now, the newest first: at most `limit` (1 or more) of those numbered below
    /// `before`, or of all. Fewer only at the end; none when there never was such a resource. A Group comes without its
    /// members, which [`ResourceSource::members`] has as of the version's `from`.
    async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault>;

    /// The attribution lists that a search for Groups finds now, in the byte order of their ids, without their members: at
    /// most `limit` (1 or more) of those behind `after`. Fewer only at the end.
    async fn find_lists(&self, query: &Query, after: Option<&ResourceId>, limit: u32) -> Result<Vec<Version>, Fault>;

    /// The attribution lists of which one of `patients` is a member now, by a reference to a Patient of this server: each
    /// once, in the byte order of their ids, without their members.
    async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault>;

    /// Succeeds when the source can be asked.
    async fn ready(&self) -> Result<(), Fault>;
}
