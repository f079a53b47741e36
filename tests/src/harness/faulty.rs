//! The ports of a process with mischief in front of them.
//!
//! A call may be refused before it is done, or done and its answer lost, which is what makes the difference between
//! "atomic" and "may be repeated". What else may happen is in [`Mix`](super::mischief::Mix).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use shared::export::{
    Attempt, ClientId, Encoding, Failure, Job, JobId, JobState, OpenTask, OutputKey, Slice, TaskMessage, TaskRef,
    Written,
};
use shared::fault::{Fault, FaultKind};
use shared::fhir::search::Query;
use shared::fhir::{Instant, ResourceId, ResourceKey, ResourceType};
use shared::jobs::{Backlog, Chore, Completion, Digest, JobStore, NewJob, Opening, Plan, Start, StartToken};
use shared::outputs::{Link, LinkMethod, OutputStore, OutputWriter};
use shared::queue::{Deliveries, Delivery, Depth, TaskQueue};
use shared::source::{Changed, Deleted, ListHead, Listed, ResourceSource, Stored, Version};

use super::mischief::Process;
use super::trace::About;

/// A port with mischief in front of it.
pub struct Faulty<P> {
    port: P,
    process: Process,
}

impl<P> Faulty<P> {
    /// A port of a process.
    pub fn new(port: P, process: &Process) -> Self {
        Self { port, process: process.clone() }
    }
}

#[async_trait]
impl JobStore for Faulty<Arc<dyn JobStore>> {
    async fn create(&self, job: &NewJob, due: Instant) -> Result<(), Fault> {
        self.process.call("jobs.create", job.id, self.port.create(job, due)).await
    }
    async fn job(&self, job: JobId) -> Result<Option<Job>, Fault> {
        self.process.call("jobs.job", job, self.port.job(job)).await
    }
    async fn written(&self, job: JobId) -> Result<Vec<Written>, Fault> {
        self.process.call("jobs.written", job, self.port.written(job)).await
    }
    async fn live_jobs(&self, client: &ClientId) -> Result<u64, Fault> {
        self.process.call("jobs.live_jobs", About::All, self.port.live_jobs(client)).await
    }
    async fn published(&self, task: TaskRef, due: Instant) -> Result<(), Fault> {
        self.process.call("jobs.published", task, self.port.published(task, due)).await
    }
    async fn start(
        &self,
        task: TaskRef,
        token: StartToken,
        attempts: u32,
        now: Instant,
        due: Instant,
    ) -> Result<Start, Fault> {
        self.process.call("jobs.start", task, self.port.start(task, token, attempts, now, due)).await
    }
    async fn plan(&self, job: JobId, plan: &Plan, due: Instant) -> Result<Vec<OpenTask>, Fault> {
        self.process.call("jobs.plan", job, self.port.plan(job, plan, due)).await
    }
    async fn keep(&self, task: TaskRef, due: Instant) -> Result<bool, Fault> {
        self.process.call("jobs.keep", task, self.port.keep(task, due)).await
    }
    async fn claim(&self, task: TaskRef, digests: &[Digest]) -> Result<Vec<bool>, Fault> {
        self.process.call("jobs.claim", task, self.port.claim(task, digests)).await
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
        self.process
            .call("jobs.complete", task, self.port.complete(task, attempt, written, opening, now, expires))
            .await
    }
    async fn give_back(&self, task: TaskRef, due: Instant, uncounted: bool) -> Result<(), Fault> {
        self.process.call("jobs.give_back", task, self.port.give_back(task, due, uncounted)).await
    }
    async fn fail(&self, task: TaskRef, failure: &Failure, now: Instant, expires: Instant) -> Result<bool, Fault> {
        self.process.call("jobs.fail", task, self.port.fail(task, failure, now, expires)).await
    }
    async fn cancel(&self, job: JobId, now: Instant, expires: Instant) -> Result<bool, Fault> {
        self.process.call("jobs.cancel", job, self.port.cancel(job, now, expires)).await
    }
    async fn chores(&self, now: Instant, again: Instant, limit: usize) -> Result<Vec<(JobId, Chore)>, Fault> {
        self.process.call("jobs.chores", About::All, self.port.chores(now, again, limit)).await
    }
    async fn swept(&self, job: JobId, state: JobState) -> Result<(), Fault> {
        self.process.call("jobs.swept", job, self.port.swept(job, state)).await
    }
    async fn remove(&self, job: JobId) -> Result<(), Fault> {
        self.process.call("jobs.remove", job, self.port.remove(job)).await
    }
    async fn backlog(&self, now: Instant) -> Result<Backlog, Fault> {
        self.process.call("jobs.backlog", About::All, self.port.backlog(now)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.process.call("jobs.ready", About::All, self.port.ready()).await
    }
}

#[async_trait]
impl TaskQueue for Faulty<Arc<dyn TaskQueue>> {
    /// Now and then a message is confirmed and lost, comes twice, or comes late.
    async fn publish(&self, message: &TaskMessage) -> Result<(), Fault> {
        let (mischief, about) = (&self.process.mischief, message.task());
        let mix = mischief.mix();
        if mischief.happens(mix.loses) {
            return self.process.call("queue.publish, and the message is lost", about, async { Ok(()) }).await;
        }
        if mischief.happens(mix.delays) {
            let come = self.come_later(message);
            return self.process.call("queue.publish, and the message comes late", about, come).await;
        }
        if mischief.happens(mix.doubles) {
            self.process.call("queue.publish, and the message comes twice", about, self.come_later(message)).await?;
        }
        self.process.call("queue.publish", about, self.port.publish(message)).await
    }
    async fn deliveries(&self, permits: u16) -> Result<Box<dyn Deliveries>, Fault> {
        let deliveries = self.process.call("queue.deliveries", About::All, self.port.deliveries(permits)).await?;
        let (port, process) = (Arc::clone(&self.port), self.process.clone());
        Ok(Box::new(FaultyDeliveries { deliveries, port, permits, process }))
    }
    async fn depth(&self) -> Result<Depth, Fault> {
        self.process.call("queue.depth", About::All, self.port.depth()).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.process.call("queue.ready", About::All, self.port.ready()).await
    }
}

impl Faulty<Arc<dyn TaskQueue>> {
    fn come_later(&self, message: &TaskMessage) -> impl Future<Output = Result<(), Fault>> {
        let (port, mischief, message) = (Arc::clone(&self.port), self.process.mischief.clone(), message.clone());
        async move {
            mischief.later(async move {
                port.publish(&message).await.expect("a queue in memory takes every message");
            });
            Ok(())
        }
    }
}

struct FaultyDeliveries {
    deliveries: Box<dyn Deliveries>,
    port: Arc<dyn TaskQueue>,
    permits: u16,
    process: Process,
}

#[async_trait]
impl Deliveries for FaultyDeliveries {
    async fn next(&mut self) -> Box<dyn Delivery> {
        self.process.awake().await;
        if self.permits > 0 && self.process.mischief.happens(self.process.mischief.mix().cuts) {
            self.process.note("queue.next", About::All, "the connection is cut");
            let again = self.port.deliveries(self.permits).await;
            // The old ones go, and all that is unsettled of them goes back.
            self.deliveries = again.expect("a queue in memory gives deliveries for any permits");
        }
        let delivery = self.deliveries.next().await;
        self.process.note("queue.next", delivery.message().task().into(), "delivered");
        Box::new(FaultyDelivery { delivery, process: self.process.clone() })
    }

    async fn stop(&mut self) {
        self.permits = 0;
        self.deliveries.stop().await;
    }
}

/// One that is not settled is dropped, which hands it back.
struct FaultyDelivery {
    delivery: Box<dyn Delivery>,
    process: Process,
}

#[async_trait]
impl Delivery for FaultyDelivery {
    fn message(&self) -> &TaskMessage {
        self.delivery.message()
    }
    async fn ack(self: Box<Self>) -> Result<(), Fault> {
        let task = self.message().task();
        self.process.call("queue.ack", task, self.delivery.ack()).await
    }
    async fn hand_back(self: Box<Self>) -> Result<(), Fault> {
        let task = self.message().task();
        self.process.call("queue.hand_back", task, self.delivery.hand_back()).await
    }
    async fn bury(self: Box<Self>) -> Result<(), Fault> {
        let task = self.message().task();
        self.process.call("queue.bury", task, self.delivery.bury()).await
    }
}

#[async_trait]
impl ResourceSource for Faulty<Arc<dyn ResourceSource>> {
    fn of_job(self: Arc<Self>, job: JobId) -> Arc<dyn ResourceSource> {
        Arc::new(Self { port: Arc::clone(&self.port).of_job(job), process: self.process.clone() })
    }
    async fn is_repeatable(&self) -> Result<bool, Fault> {
        self.process.call("source.is_repeatable", About::All, self.port.is_repeatable()).await
    }
    async fn hold(&self, list: &ResourceId, as_of: Instant, since: Option<Instant>) -> Result<bool, Fault> {
        self.process.call("source.hold", About::All, self.port.hold(list, as_of, since)).await
    }
    async fn transaction_time(&self) -> Result<Instant, Fault> {
        self.process.call("source.transaction_time", About::All, self.port.transaction_time()).await
    }
    async fn list(&self, list: &ResourceId, as_of: Instant) -> Result<Option<ListHead>, Fault> {
        self.process.call("source.list", About::All, self.port.list(list, as_of)).await
    }
    async fn members(&self, list: &ResourceId, as_of: Instant, from: u64, limit: u32) -> Result<Vec<Bytes>, Fault> {
        self.process.call("source.members", About::All, self.port.members(list, as_of, from, limit)).await
    }
    async fn cut(&self, list: &ResourceId, as_of: Instant, size: u64) -> Result<Vec<Slice>, Fault> {
        self.process.call("source.cut", About::All, self.port.cut(list, as_of, size)).await
    }
    async fn listed(&self, list: &ResourceId, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Listed>, Fault> {
        self.process.call("source.listed", About::All, self.port.listed(list, slice, as_of, limit)).await
    }
    async fn listed_among(
        &self,
        list: &ResourceId,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashMap<ResourceKey, Instant>, Fault> {
        self.process.call("source.listed_among", About::All, self.port.listed_among(list, as_of, keys)).await
    }
    async fn listed_between(
        &self,
        list: &ResourceId,
        since: Instant,
        as_of: Instant,
        keys: &[ResourceKey],
    ) -> Result<HashSet<ResourceKey>, Fault> {
        self.process.call("source.listed_between", About::All, self.port.listed_between(list, since, as_of, keys)).await
    }
    async fn members_of(
        &self,
        list: &ResourceId,
        as_of: Instant,
        patients: &[ResourceId],
    ) -> Result<Vec<(ResourceId, Bytes)>, Fault> {
        self.process.call("source.members_of", About::All, self.port.members_of(list, as_of, patients)).await
    }
    async fn cut_all(
        &self,
        types: &[ResourceType],
        as_of: Instant,
        changed: Changed,
        size: u64,
    ) -> Result<Vec<Slice>, Fault> {
        self.process.call("source.cut_all", About::All, self.port.cut_all(types, as_of, changed, size)).await
    }
    async fn scan(&self, slice: &Slice, as_of: Instant, limit: u32) -> Result<Vec<Stored>, Fault> {
        self.process.call("source.scan", About::All, self.port.scan(slice, as_of, limit)).await
    }
    async fn deleted(
        &self,
        types: &[ResourceType],
        since: Instant,
        as_of: Instant,
        after: Option<&Deleted>,
        limit: u32,
    ) -> Result<Vec<Deleted>, Fault> {
        self.process.call("source.deleted", About::All, self.port.deleted(types, since, as_of, after, limit)).await
    }
    async fn deleted_among(&self, since: Instant, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Deleted>, Fault> {
        self.process.call("source.deleted_among", About::All, self.port.deleted_among(since, as_of, keys)).await
    }
    async fn fetch(&self, as_of: Instant, keys: &[ResourceKey]) -> Result<Vec<Stored>, Fault> {
        self.process.call("source.fetch", About::All, self.port.fetch(as_of, keys)).await
    }
    async fn versions(&self, key: &ResourceKey, before: Option<u64>, limit: u32) -> Result<Vec<Version>, Fault> {
        self.process.call("source.versions", About::All, self.port.versions(key, before, limit)).await
    }
    async fn lists_of(&self, patients: &[ResourceId]) -> Result<Vec<Version>, Fault> {
        self.process.call("source.lists_of", About::All, self.port.lists_of(patients)).await
    }
    async fn find_lists(&self, query: &Query, after: Option<&ResourceId>, limit: u32) -> Result<Vec<Version>, Fault> {
        self.process.call("source.find_lists", About::All, self.port.find_lists(query, after, limit)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.process.call("source.ready", About::All, self.port.ready()).await
    }
}

struct FaultyWriter {
    writer: Box<dyn OutputWriter>,
    key: OutputKey,
    process: Process,
}

/// A line is several writes: at the rate of the other calls no file would ever be finished.
const WRITES_FAIL_LESS: u64 = 8;

#[async_trait]
impl OutputWriter for FaultyWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.process.rarely(WRITES_FAIL_LESS, "outputs.write", &self.key, self.writer.write(bytes)).await
    }
    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        let Self { writer, key, process } = *self;
        let mischief = process.mischief.clone();
        if mischief.happens(mischief.mix().late_objects) {
            let late = async {
                mischief.later(async move {
                    // Whether it still can be finished then concerns nobody.
                    let _ = writer.finish().await;
                });
                Err(Fault::new(FaultKind::Unavailable, "mischief delays the object"))
            };
            return process.call("outputs.finish, and the object comes late", &key, late).await;
        }
        process.rarely(WRITES_FAIL_LESS, "outputs.finish", &key, writer.finish()).await
    }
    async fn abort(self: Box<Self>) -> Result<(), Fault> {
        self.process.rarely(WRITES_FAIL_LESS, "outputs.abort", &self.key, self.writer.abort()).await
    }
}

#[async_trait]
impl OutputStore for Faulty<Arc<dyn OutputStore>> {
    async fn create(&self, key: &OutputKey, encoding: Encoding) -> Result<Box<dyn OutputWriter>, Fault> {
        let writer = self.process.call("outputs.create", key, self.port.create(key, encoding)).await?;
        Ok(Box::new(FaultyWriter { writer, key: key.clone(), process: self.process.clone() }))
    }
    async fn link(&self, key: &OutputKey, method: LinkMethod, valid: Duration) -> Result<Link, Fault> {
        self.process.call("outputs.link", key, self.port.link(key, method, valid)).await
    }
    async fn list(&self, job: JobId) -> Result<Vec<OutputKey>, Fault> {
        self.process.call("outputs.list", job, self.port.list(job)).await
    }
    async fn remove(&self, keys: &[OutputKey]) -> Result<(), Fault> {
        self.process.call("outputs.remove", About::All, self.port.remove(keys)).await
    }
    async fn remove_job(&self, job: JobId) -> Result<(), Fault> {
        self.process.call("outputs.remove_job", job, self.port.remove_job(job)).await
    }
    async fn keep(&self, job: JobId, name: &str) -> Result<Box<dyn OutputWriter>, Fault> {
        self.process.call("outputs.keep", job, self.port.keep(job, name)).await
    }
    async fn kept(&self, job: JobId, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, Fault>>>, Fault> {
        self.process.call("outputs.kept", job, self.port.kept(job, name)).await
    }
    async fn kept_names(&self, job: JobId) -> Result<Vec<String>, Fault> {
        self.process.call("outputs.kept_names", job, self.port.kept_names(job)).await
    }
    async fn drop_kept(&self, job: JobId) -> Result<(), Fault> {
        self.process.call("outputs.drop_kept", job, self.port.drop_kept(job)).await
    }
    async fn abandon_uploads(&self, job: JobId) -> Result<(), Fault> {
        self.process.call("outputs.abandon_uploads", job, self.port.abandon_uploads(job)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.process.call("outputs.ready", About::All, self.port.ready()).await
    }
}
