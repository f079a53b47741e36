//! Attribution lists and resources on the payer's own FHIR R4 server, asked over REST: nothing is copied.
//!
//! How it is asked: `upstream.rs` makes one request in good manners (`pace.rs`, `circuit.rs`, `trouble.rs`,
//! `credentials.rs`), `server.rs` knows what the server can do (`statement.rs`) and takes lists apart while they arrive
//! (`cutter.rs`), `pages.rs` reads its answers page by page (`bundle.rs`). Then come the reads, a file for each way of asking:
//! `by_id.rs` what there is now (`page_size.rs`), `past.rs` what there was, `deletions.rs` what is no longer, `list.rs` a Group
//! of any length (`builder.rs`), `lists.rs` the search for lists, `scan.rs` all that there is of a type.
//!
//! A server has no slices and no memory of what a job was told. So a list is read once a job, as a stream, into a file
//! (`held.rs`) that all tasks of the job share (`keeper.rs`): slices, membership and tries mean the same as in a database.
//!
//! **What it promises.** With a history (`history-instance` of its CapabilityStatement), reads are as of the time that is
//! asked for, as those of the other sources. Without one, resources come as they are when they are read: a resource that
//! changes or goes while a job runs may come newer than the transaction time says, or not at all; a list has named everybody
//! since it was last changed; nothing was ever deleted (decision 0023).

mod builder;
mod bundle;
mod by_id;
mod circuit;
pub mod credentials;
mod cutter;
mod deletions;
mod held;
mod keeper;
mod list;
mod lists;
pub mod pace;
mod page_size;
mod pages;
mod past;
mod scan;
mod server;
pub mod shelf;
mod statement;
mod trouble;
mod upstream;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use reqwest::ClientBuilder;
use url::Url;

use self::credentials::Credentials;
use self::deletions::{Asked, Deletions};
use self::held::{Held, Named};
use self::keeper::{Keeper, Name, NotHeld, What};
use self::list::{HeadReading, Reading, Wanted};
use self::pace::{Pace, SharedPause};
use self::server::Server;
use self::shelf::Shelf;
use self::upstream::{Limits, Upstream};
use super::{Changed, Deleted, ListHead, Listed, ResourceSource, Stored, Version};
use crate::clock::Clock;
use crate::export::{JobId, Slice};
use crate::fault::{Fault, FaultKind};
use crate::fhir::search::Query;
use crate::fhir::{Instant, OwnBases, ResourceId, ResourceKey, ResourceType};
use crate::metrics::Metrics;

/// What a page of resources holds at most, but for one request that brings more by itself.
const PAGE_BYTES: usize = 16 << 20;

/// Types of which resources are asked for at the same time; each may keep all connections busy.
const TYPES_AT_ONCE: usize = 4;

/// How the server is asked.
#[derive(Clone, Copy, Debug)]
pub struct FhirSettings {
    /// Requests of this process at once.
    pub connections: usize,
    /// Ids in one request, as long as the server bears it.
    pub request_ids: usize,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for the beginning of an answer, and for each further piece of it.
    pub answer_timeout: Duration,
    /// How long a write may take from its `meta.lastUpdated` until it can be seen; a transaction time lies so far back.
    pub settle: Duration,
}

/// What this adapter stands on.
pub struct Ground {
    /// The base of the server.
    pub base: Url,
    /// An HTTP client with what belongs to the credentials.
    pub http: ClientBuilder,
    /// Who we are to the server.
    pub credentials: Credentials,
    /// The URLs under which this system is known; the server's own is added.
    pub own: OwnBases,
    /// Where a job keeps its lists.
    pub shelf: Arc<dyn Shelf>,
    /// Where all processes see that the server asks for patience; `None` for a process alone.
    pub pause: Option<Arc<dyn SharedPause>>,
    /// For a server that tells no time.
    pub clock: Arc<dyn Clock>,
    /// Where requests are counted.
    pub metrics: Metrics,
}

/// The adapter of [`ResourceSource`] over a FHIR server.
#[derive(Clone)]
pub struct FhirRestSource {
    inner: Arc<Inner>,
    /// The job for which it is asked; lists are held for it.
    job: Option<JobId>,
}

struct Inner {
    server: Server,
    keeper: Keeper,
    deletions: Deletions,
}

impl FhirRestSource {
    /// Makes ready to ask; the server itself is not asked yet. Fails with `Invalid` when an HTTP client cannot be set up.
    pub fn connect(ground: Ground, settings: FhirSettings) -> Result<Self, Fault> {
        let mut base = ground.base;
        base.set_path(&format!("{}/", base.path().trim_end_matches('/')));
        // They are in the credentials.
        let is_clean = base.set_username("").and_then(|()| base.set_password(None));
        is_clean.map_err(|()| Fault::new(FaultKind::Invalid, "the base of the FHIR server is no web address"))?;
        let limits = Limits {
            at_once: settings.connections.max(1),
            connect: settings.connect_timeout,
            answer: settings.answer_timeout,
        };
        let own = ground.own.with(base.as_str());
        let pace = Pace::new(ground.pause);
        let upstream = Upstream::new(base, ground.http, ground.credentials, limits, pace, ground.metrics)?;
        let server = Server::new(upstream, own, ground.clock, settings.request_ids, settings.settle);
        let inner = Inner { server, keeper: Keeper::new(ground.shelf), deletions: Deletions::default() };
        Ok(Self { inner: Arc::new(inner), job: None })
    }

    /// Some list; `None` when there is none. Which one has the most members only reading all of them would tell.
    pub async fn first_list(&self) -> Result<Option<ResourceId>, Fault> {
        self.inner.server.first_list().await
    }

    fn name(&self, what: What, as_of: Instant) -> Name {
        Name { job: self.job, what, as_of }
    }

    /// A list as it was at a time: as the job holds it, or as the server has it.
    async fn held(&self, list: &ResourceId, as_of: Instant) -> Result<Arc<Held>, NotHeld> {
        let Inner { keeper, .. } = &*self.inner;
        keeper.get(&self.name(What::List(list.clone()), as_of), self.read(list, as_of, None).boxed()).await
    }

    /// The same, where the list has to be there.
    async fn there(&self, list: &ResourceId, as_of: Instant) -> Result<Arc<Held>, Fault> {
        let held = self.held(list, as_of).await;
        let held = held.and_then(|held| if held.head().is_some() { Ok(held) } else { Err(NotHeld::Gone) });
        held.map_err(|not_held| match not_held {
            NotHeld::Fault(fault) => fault,
            NotHeld::Gone => {
                let doing = format!("failed to read list {list}");
                Fault::new(FaultKind::NotFound, doing).because("there is no such list")
            }
        })
    }

    /// Reads a list from the server, unless it is known already how it was then.
    async fn read(&self, list: &ResourceId, as_of: Instant, since: Option<Instant>) -> Result<Arc<Held>, NotHeld> {
        let Inner { server, keeper, .. } = &*self.inner;
        // How it was before is not known of one that is held for its newest version alone.
        let known = keeper
            .newest(list)
            .filter(|(_, held)| held.head().is_some_and(|head| head.last_updated <= as_of.min(since.unwrap_or(as_of))));
        let etag = known.as_ref().map(|(etag, _)| etag.as_str());
        match server.list(Wanted { list, as_of, since, known: etag }).await? {
            Reading::Gone => Err(NotHeld::Gone),
            Reading::Known => {
                let known = known.map(|(_, held)| held);
                known.ok_or_else(|| server::wrong("a list", "it answers 304 to what was not asked").into())
            }
            Reading::Held { held, etag } => {
                let held = Arc::from(held);
                if let Some(etag) = etag {
                    keeper.learn(list, etag, &held);
                }
                Ok(held)
            }
        }
    }

    /// The ids of a type.
    async fn ids(&self, resource_type: ResourceType, as_of: Instant, changed: Changed) -> Result<Arc<Held>, Fault> {
        let Inner { server, keeper, .. } = &*self.inner;
        let name = self.name(What::Ids(resource_type), as_of);
        let make = async { Ok(Arc::new(server.ids(resource_type, as_of, changed).await?)) }.boxed();
        let held = match self.job {
            Some(job) => keeper.hold(job, &name, make).await,
            None => keeper.get(&name, make).await,
        };
        held.map_err(|not_held| match not_held {
            NotHeld::Fault(fault) => fault,
            NotHeld::Gone => Fault::new(FaultKind::NotFound, "failed to read ids").because("there are none"),
        })
    }

    /// Resources of one type, in the order of these ids: of the first of them only, when they are large.
    async fn page(
        &self,
        resource_type: ResourceType,
        ids: &[ResourceId],
        as_of: Instant,
    ) -> Result<(usize, HashMap<ResourceId, Stored>), Fault> {
        let Inner { server, .. } = &*self.inner;
        let size = server.page_size(|page| page.now()).max(1);
        let chunks: Vec<Vec<ResourceId>> = ids.chunks(size).map(<[_]>::to_vec).collect();
        let chunks = stream::iter(chunks)
            .map(|ids| async move { Ok::<_, Fault>((ids.len(), server.as_of(resource_type, &ids, as_of).await?)) });
        let mut chunks = chunks.buffered(server.upstream.at_once());
        let (mut done, mut bytes, mut found) = (0, 0, HashMap::with_capacity(ids.len()));
        while bytes < PAGE_BYTES
            && let Some((length, chunk)) = chunks.try_next().await?
        {
            done += length;
            bytes += chunk.values().map(|stored| stored.resource.body.len()).sum::<usize>();
            found.extend(chunk);
        }
        Ok((done, found))
    }
}

#[async_trait]
impl ResourceSource for FhirRestSource {
    fn of_job(self: Arc<Self>, job: JobId) -> Arc<dyn ResourceSource> {
        Arc::new(Self { inner: Arc::clone(&self.inner), job: Some(job) })
    }

    async fn is_repeatable(&self) -> Result<bool, Fault> {
        let statement = self.inner.server.statement().await?;
        Ok(ResourceType::ATTRIBUTION.into_iter().all(|resource_type| statement.has_history(resource_type)))
    }

    async fn transaction_time(&self) -> Result<Instant, Fault> {
        self.inner.server.settled().await
    }

    async fn hold(&self, list: &ResourceId, as_of: Instant, since: Option<Instant>) -> Result<bool, Fault> {
        let Inner { keeper, .. } = &*self.inner;
        let name = self.name(What::List(list.clone()), as_of);
        let make = self.read(list, as_of, since).boxed();
        let held = match self.job {
            Some(job) => keeper.hold(job, &name, make).await,
            None => keeper.get(&name, make).await,
        };
        match held {
            Ok(held) => Ok(held.head().is_some()),
            Err(NotHeld::Gone) => Ok(false),
            Err(NotHeld::Fault(fault)) => Err(fault),
        }
    }

    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault> {
        let Inner { server, keeper, .. } = &*self.inner;
        // Whoever asks without a job wants to know whether it is there and whose it is: nothing is held for that.
        if self.job.is_none() {
            let known = keeper.head(list).filter(|(_, head)| head.last_updated <= as_of);
            let etag = known.as_ref().map(|(etag, _)| etag.as_str());
            match server.head(Wanted { list, as_of, since: None, known: etag }).await? {
                HeadReading::Gone => return Ok(None),
                HeadReading::Known => return Ok(known.map(|(_, head)| head)),
                HeadReading::Head(head, etag) => {
                    if let Some(etag) = etag {
                        keeper.learn_head(list, etag, head.clone());
                    }
                    return Ok(Some(head));
                }
                HeadReading::Later => {}
            }
        }
        match self.held(list, as_of).await {
            Ok(held) => Ok(held.head().cloned()),
            Err(NotHeld::Gone) => Ok(None),
            Err(NotHeld::Fault(fault)) => Err(fault),
        }
    }

    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        self.there(list, as_of).await?.members(from, limit).await
    }

    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        self.there(list, as_of).await?.cut(size).await
    }

    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        let mut named = self.there(list, as_of).await?.named(slice, limit).await?;
        let ids: Vec<ResourceId> = named.iter().map(|named| named.id.clone()).collect();
        let (done, mut found) = self.page(slice.resource_type, &ids, as_of).await?;
        named.truncate(done);
        let listed = |Named { id, by, since }| {
            let stored = found.remove(&id);
            Listed { id, named_by: by, listed_since: since, stored }
        };
        Ok(named.into_iter().map(listed).collect())
    }

    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashMap<ResourceKey, Instant>, Fault> {
        self.there(list, as_of).await?.named_among(keys).await
    }

    async fn listed_between(
        &self,
        list: &ResourceId,
        since: Instant,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        match self.held(list, as_of).await {
            Ok(held) => held.named_after(since, keys).await,
            Err(NotHeld::Gone) => Ok(HashSet::new()),
            Err(NotHeld::Fault(fault)) => Err(fault),
        }
    }

    async fn members_of(
        &self,
        list: &ResourceId,
        as_of: Instant,
        patients: &[ResourceId],
    ) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
        self.there(list, as_of).await?.members_of(patients).await
    }

    async fn cut_all(
        &self,
        types: &[ResourceType],
        as_of: Instant,
        changed: Changed,
        size: u64,
    ) -> Result<Vec<Slice>, Fault> {
        let mut slices = Vec::new();
        for resource_type in types {
            slices.extend(self.ids(*resource_type, as_of, changed).await?.cut(size).await?);
        }
        Ok(slices)
    }

    async fn scan(&self, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Stored>, Fault> {
        let ids = self.ids(slice.resource_type, as_of, Changed::default()).await?;
        let mut rest = slice.clone();
        loop {
            let named = ids.named(&rest, limit).await?;
            let named: Vec<ResourceId> = named.into_iter().map(|named| named.id).collect();
            let (done, mut found) = self.page(slice.resource_type, &named, as_of).await?;
            let stored: Vec<Stored> = named[..done].iter().filter_map(|id| found.remove(id)).collect();
            // Ids of what came to be later, or has gone, may fill a page; none comes only at the end.
            match named[..done].last() {
                Some(last) if stored.is_empty() => rest.after = Some(last.clone()),
                _ => return Ok(stored),
            }
        }
    }

    async fn deleted(
        &self,
        types: &[ResourceType],
        since: Instant,
        as_of: Instant,
        after: Option<&Deleted>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Fault> {
        let Inner { server, deletions, .. } = &*self.inner;
        let after = after.map(|deleted| (deleted.at, deleted.resource.key.clone()));
        deletions.page(server, &Asked { types: types.to_vec(), since, as_of }, after, limit).await
    }

    async fn deleted_among(&self, since: Instant, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Deleted>, Fault> {
        let distinct: HashSet<ResourceKey> = keys.iter().cloned().collect();
        let distinct: Vec<ResourceKey> = distinct.into_iter().collect();
        self.inner.server.deleted(&distinct, since, as_of).await
    }

    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        let mut by_type: HashMap<ResourceType, HashSet<ResourceId>> = HashMap::new();
        for key in keys {
            by_type.entry(key.resource_type).or_default().insert(key.id.clone());
        }
        let server = &self.inner.server;
        let of_type = |(resource_type, ids): (ResourceType, HashSet<ResourceId>)| async move {
            let ids: Vec<ResourceId> = ids.into_iter().collect();
            server.as_of(resource_type, &ids, as_of).await
        };
        let found = stream::iter(by_type).map(of_type).buffer_unordered(TYPES_AT_ONCE);
        let found: Vec<HashMap<ResourceId, Stored>> = found.try_collect().await?;
        Ok(found.into_iter().flat_map(HashMap::into_values).collect())
    }

    async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault> {
        self.inner.server.versions(key, before, limit).await
    }

    async fn find_lists(&self, query: &Query, after: Option<&ResourceId>, limit: u32) -> Result<Vec<Version>, Fault> {
        self.inner.server.find_lists(query, after, limit).await
    }

    async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
        self.inner.server.lists_of(patients).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        self.inner.server.ready().await
    }
}
