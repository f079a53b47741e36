//! Ports that fail, dawdle and repeat themselves as a seed decides.
//!
//! A call may be refused before it is done, or done and its answer lost, which is what makes the difference between
//! "atomic" and "may be repeated".

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shared::export::{
    Attempt, ClientId, Encoding, Failure, Job, JobId, OpenTask, OutputKey, Slice, TaskMessage, TaskRef, Written,
};
use shared::fault::{Fault, FaultKind};
use shared::fhir::search::Query;
use shared::fhir::{Instant, ResourceId, ResourceKey, ResourceType};
use shared::jobs::{Backlog, Chore, Completion, Digest, JobStore, NewJob, Opening, Plan, Start, StartToken};
use shared::outputs::{Link, LinkMethod, OutputStore, OutputWriter};
use shared::queue::{Deliveries, Depth, TaskQueue};
use shared::source::{Deleted, ListHead, Listed, ResourceSource, Stored, Version};

use super::random::Random;

/// Decides what becomes of each call.
#[derive(Clone, Debug)]
pub struct Mischief {
    random: Arc<Mutex<Random>>,
    one_in: u64,
    dawdle: Duration,
    calls: Arc<AtomicU64>,
}

impl Mischief {
    /// About one call in `one_in` fails, half of them after they were done.
    pub fn new(seed: u64, one_in: u64) -> Self {
        Self {
            random: Arc::new(Mutex::new(Random::new(seed))),
            one_in,
            dawdle: Duration::from_millis(40),
            calls: Arc::default(),
        }
    }

    /// No call fails, and each takes up to twice `dawdle`.
    pub fn slow(dawdle: Duration) -> Self {
        Self { dawdle: dawdle * 2, ..Self::new(0, 1 << 40) }
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn draw(&self, bound: u64) -> u64 {
        self.random.lock().expect("no test panics while it holds the lock").below(bound)
    }

    fn fault(&self, when: &str) -> Result<(), Fault> {
        if self.draw(self.one_in * 2) == 0 {
            Err(Fault::new(FaultKind::Unavailable, format!("mischief {when} the call")))
        } else {
            Ok(())
        }
    }

    async fn on<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let longest = u64::try_from(self.dawdle.as_millis()).expect("it is short");
        tokio::time::sleep(Duration::from_millis(self.draw(longest))).await;
        self.fault("before")?;
        let answer = call.await?;
        self.fault("after")?;
        Ok(answer)
    }
}

/// A port with mischief in front of it.
pub struct Faulty<P> {
    port: P,
    mischief: Mischief,
}

impl<P> Faulty<P> {
    /// Puts mischief in front of a port.
    pub fn new(port: P, mischief: &Mischief) -> Self {
        Self { port, mischief: mischief.clone() }
    }
}

#[async_trait]
impl JobStore for Faulty<Arc<dyn JobStore>> {
    async fn create(&self, job: &NewJob, due: Instant) -> Result<(), Fault> {
        self.mischief.on(self.port.create(job, due)).await
    }
    async fn job(&self, job: JobId) -> Result<Option<Job>, Fault> {
        self.mischief.on(self.port.job(job)).await
    }
    async fn written(&self, job: JobId) -> Result<Vec<Written>, Fault> {
        self.mischief.on(self.port.written(job)).await
    }
    async fn live_jobs(&self, client: &ClientId) -> Result<u64, Fault> {
        self.mischief.on(self.port.live_jobs(client)).await
    }
    async fn published(&self, task: TaskRef, due: Instant) -> Result<(), Fault> {
        self.mischief.on(self.port.published(task, due)).await
    }
    async fn start(
        &self,
        task: TaskRef,
        token: StartToken,
        attempts: u32,
        now: Instant,
        due: Instant,
    ) -> Result<Start, Fault> {
        self.mischief.on(self.port.start(task, token, attempts, now, due)).await
    }
    async fn plan(&self, job: JobId, plan: &Plan, due: Instant) -> Result<Vec<OpenTask>, Fault> {
        self.mischief.on(self.port.plan(job, plan, due)).await
    }
    async fn keep(&self, task: TaskRef, due: Instant) -> Result<bool, Fault> {
        self.mischief.on(self.port.keep(task, due)).await
    }
    async fn claim(&self, task: TaskRef, digests: &[Digest]) -> Result<Vec<bool>, Fault> {
        self.mischief.on(self.port.claim(task, digests)).await
    }
    async fn complete(
        &self,
        task: TaskRef,
        attempt: Attempt,
        written: &Written,
        opening: Opening,
        now: Instant,
        expires: Instant,
    ) -> Result<Completion, Fault> {
        self.mischief.on(self.port.complete(task, attempt, written, opening, now, expires)).await
    }
    async fn give_back(&self, task: TaskRef, due: Instant, uncounted: bool) -> Result<(), Fault> {
        self.mischief.on(self.port.give_back(task, due, uncounted)).await
    }
    async fn fail(&self, task: TaskRef, failure: &Failure, now: Instant, expires: Instant) -> Result<bool, Fault> {
        self.mischief.on(self.port.fail(task, failure, now, expires)).await
    }
    async fn cancel(&self, job: JobId, now: Instant, expires: Instant) -> Result<bool, Fault> {
        self.mischief.on(self.port.cancel(job, now, expires)).await
    }
    async fn chores(&self, now: Instant, again: Instant, limit: usize) -> Result<Vec<(JobId, Chore)>, Fault> {
        self.mischief.on(self.port.chores(now, again, limit)).await
    }
    async fn swept(&self, job: JobId) -> Result<(), Fault> {
        self.mischief.on(self.port.swept(job)).await
    }
    async fn remove(&self, job: JobId) -> Result<(), Fault> {
        self.mischief.on(self.port.remove(job)).await
    }
    async fn backlog(&self, now: Instant) -> Result<Backlog, Fault> {
        self.mischief.on(self.port.backlog(now)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.mischief.on(self.port.ready()).await
    }
}

#[async_trait]
impl TaskQueue for Faulty<Arc<dyn TaskQueue>> {
    /// Now and then a message comes twice, or is confirmed and lost.
    async fn publish(&self, message: &TaskMessage) -> Result<(), Fault> {
        match self.mischief.draw(self.mischief.one_in) {
            0 => {
                self.port.publish(message).await?;
                self.port.publish(message).await
            }
            1 => Ok(()),
            _ => self.mischief.on(self.port.publish(message)).await,
        }
    }
    async fn deliveries(&self, permits: u16) -> Result<Box<dyn Deliveries>, Fault> {
        self.mischief.on(self.port.deliveries(permits)).await
    }
    async fn depth(&self) -> Result<Depth, Fault> {
        self.mischief.on(self.port.depth()).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.mischief.on(self.port.ready()).await
    }
}

#[async_trait]
impl ResourceSource for Faulty<Arc<dyn ResourceSource>> {
    async fn transaction_time(&self) -> Result<Instant, Fault> {
        self.mischief.on(self.port.transaction_time()).await
    }
    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault> {
        self.mischief.on(self.port.list(list, as_of)).await
    }
    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        self.mischief.on(self.port.members(list, as_of, from, limit)).await
    }
    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        self.mischief.on(self.port.cut(list, as_of, size)).await
    }
    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        self.mischief.on(self.port.listed(list, slice, as_of, limit)).await
    }
    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashMap<ResourceKey, Instant>, Fault> {
        self.mischief.on(self.port.listed_among(list, as_of, keys)).await
    }
    async fn listed_between(
        &self,
        list: &ResourceId,
        since: Instant,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        self.mischief.on(self.port.listed_between(list, since, as_of, keys)).await
    }
    async fn members_of(
        &self,
        list: &ResourceId,
        as_of: Instant,
        patients: &[ResourceId],
    ) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
        self.mischief.on(self.port.members_of(list, as_of, patients)).await
    }
    async fn cut_all(&self, types: &[ResourceType], as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        self.mischief.on(self.port.cut_all(types, as_of, size)).await
    }
    async fn scan(&self, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Stored>, Fault> {
        self.mischief.on(self.port.scan(slice, as_of, limit)).await
    }
    async fn deleted(
        &self,
        types: &[ResourceType],
        since: Instant,
        as_of: Instant,
        after: Option<&Deleted>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Fault> {
        self.mischief.on(self.port.deleted(types, since, as_of, after, limit)).await
    }
    async fn deleted_among(&self, since: Instant, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Deleted>, Fault> {
        self.mischief.on(self.port.deleted_among(since, as_of, keys)).await
    }
    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        self.mischief.on(self.port.fetch(as_of, keys)).await
    }
    async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault> {
        self.mischief.on(self.port.versions(key, before, limit)).await
    }
    async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
        self.mischief.on(self.port.lists_of(patients)).await
    }
    async fn find_lists(&self, query: &Query, after: Option<&ResourceId>, limit: u32) -> Result<Vec<Version>, Fault> {
        self.mischief.on(self.port.find_lists(query, after, limit)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.mischief.on(self.port.ready()).await
    }
}

struct FaultyWriter {
    writer: Box<dyn OutputWriter>,
    mischief: Mischief,
}

#[async_trait]
impl OutputWriter for FaultyWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.mischief.on(self.writer.write(bytes)).await
    }
    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        self.mischief.on(self.writer.finish()).await
    }
    async fn abort(self: Box<Self>) -> Result<(), Fault> {
        self.mischief.on(self.writer.abort()).await
    }
}

#[async_trait]
impl OutputStore for Faulty<Arc<dyn OutputStore>> {
    async fn create(&self, key: &OutputKey, encoding: Encoding) -> Result<Box<dyn OutputWriter>, Fault> {
        let writer = self.mischief.on(self.port.create(key, encoding)).await?;
        // A line is several writes: at the rate of the other calls no file would ever be finished.
        let mischief = Mischief { one_in: self.mischief.one_in * 8, ..self.mischief.clone() };
        Ok(Box::new(FaultyWriter { writer, mischief }))
    }
    async fn link(&self, key: &OutputKey, method: LinkMethod, valid: Duration) -> Result<Link, Fault> {
        self.mischief.on(self.port.link(key, method, valid)).await
    }
    async fn list(&self, job: JobId) -> Result<Vec<OutputKey>, Fault> {
        self.mischief.on(self.port.list(job)).await
    }
    async fn remove(&self, keys: &[OutputKey]) -> Result<(), Fault> {
        self.mischief.on(self.port.remove(keys)).await
    }
    async fn remove_job(&self, job: JobId) -> Result<(), Fault> {
        self.mischief.on(self.port.remove_job(job)).await
    }
    async fn abandon_uploads(&self, job: JobId) -> Result<(), Fault> {
        self.mischief.on(self.port.abandon_uploads(job)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.mischief.on(self.port.ready()).await
    }
}
