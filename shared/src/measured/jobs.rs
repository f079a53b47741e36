//! The job store, measured.

use std::sync::Arc;

use async_trait::async_trait;

use super::Measured;
use crate::export::{Attempt, ClientId, Failure, Job, JobId, JobState, OpenTask, TaskRef, Written};
use crate::fault::Fault;
use crate::fhir::Instant;
use crate::jobs::{Backlog, Chore, Completion, Digest, JobStore, NewJob, Opening, Plan, Start, StartToken};

#[async_trait]
impl JobStore for Measured<Arc<dyn JobStore>> {
    async fn create(&self, job: &NewJob, due: Instant) -> Result<(), Fault> {
        self.calls.of("create", self.port.create(job, due)).await
    }
    async fn job(&self, job: JobId) -> Result<Option<Job>, Fault> {
        self.calls.of("job", self.port.job(job)).await
    }
    async fn written(&self, job: JobId) -> Result<Vec<Written>, Fault> {
        self.calls.of("written", self.port.written(job)).await
    }
    async fn live_jobs(&self, client: &ClientId) -> Result<u64, Fault> {
        self.calls.of("live_jobs", self.port.live_jobs(client)).await
    }
    async fn published(&self, task: TaskRef, due: Instant) -> Result<(), Fault> {
        self.calls.of("published", self.port.published(task, due)).await
    }
    async fn start(
        &self,
        task: TaskRef,
        token: StartToken,
        attempts: u32,
        now: Instant,
        due: Instant,
    ) -> Result<Start, Fault> {
        self.calls.of("start", self.port.start(task, token, attempts, now, due)).await
    }
    async fn plan(&self, job: JobId, plan: &Plan, due: Instant) -> Result<Vec<OpenTask>, Fault> {
        self.calls.of("plan", self.port.plan(job, plan, due)).await
    }
    async fn keep(&self, task: TaskRef, due: Instant) -> Result<bool, Fault> {
        self.calls.of("keep", self.port.keep(task, due)).await
    }
    async fn claim(&self, task: TaskRef, digests: &[Digest]) -> Result<Vec<bool>, Fault> {
        self.calls.of("claim", self.port.claim(task, digests)).await
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
        self.calls.of("complete", self.port.complete(task, attempt, written, opening, now, expires)).await
    }
    async fn give_back(&self, task: TaskRef, due: Instant, uncounted: bool) -> Result<(), Fault> {
        self.calls.of("give_back", self.port.give_back(task, due, uncounted)).await
    }
    async fn fail(&self, task: TaskRef, failure: &Failure, now: Instant, expires: Instant) -> Result<bool, Fault> {
        self.calls.of("fail", self.port.fail(task, failure, now, expires)).await
    }
    async fn cancel(&self, job: JobId, now: Instant, expires: Instant) -> Result<bool, Fault> {
        self.calls.of("cancel", self.port.cancel(job, now, expires)).await
    }
    async fn chores(&self, now: Instant, again: Instant, limit: usize) -> Result<Vec<(JobId, Chore)>, Fault> {
        self.calls.of("chores", self.port.chores(now, again, limit)).await
    }
    async fn swept(&self, job: JobId, state: JobState) -> Result<(), Fault> {
        self.calls.of("swept", self.port.swept(job, state)).await
    }
    async fn remove(&self, job: JobId) -> Result<(), Fault> {
        self.calls.of("remove", self.port.remove(job)).await
    }
    async fn backlog(&self, now: Instant) -> Result<Backlog, Fault> {
        self.calls.of("backlog", self.port.backlog(now)).await
    }
    async fn ready(&self) -> Result<(), Fault> {
        self.calls.of("ready", self.port.ready()).await
    }
}
