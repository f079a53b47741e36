//! The job store on Redis: what production runs on. [`super::memory`] says the same in plain lines.
//!
//! Each change of a job is one Lua script over keys of that job (`redis/*.lua`, their names in `keys`); `index` is the
//! list of due work over all jobs, `clients` the live jobs of each client, `claims` the part with many keys, `record` says what
//! the values mean.

mod claims;
mod clients;
mod index;
mod keys;
mod record;
mod scripts;

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use self::keys::{Keys, buckets};
use self::record::{VERSION, fields_of, job_of, json, open_tasks, parsed, unreadable, written_of};
use self::scripts::Scripts;
use super::{Backlog, Chore, Completion, Digest, JobStore, NewJob, Opening, Plan, Start, StartToken, Work};
use crate::export::{Attempt, ClientId, Failure, Job, JobId, JobState, OpenTask, TaskKind, TaskRef, Written};
use crate::fault::Fault;
use crate::fhir::Instant;
use crate::redis_connection::RedisConnection;

/// How long the record of an ended job outlives its expiry, so that the janitor can remove its objects first: longer than
/// anybody leaves a system without a single worker, because nothing else knows of the objects.
const GRACE: Duration = Duration::from_hours(30 * 24);

/// Jobs in Redis 6.2 or later.
pub struct RedisJobs {
    connection: RedisConnection,
    scripts: Scripts,
}

impl RedisJobs {
    /// Jobs on this connection.
    #[must_use]
    pub fn new(connection: RedisConnection) -> Self {
        Self { connection, scripts: Scripts::new() }
    }

    fn keys(&self, job: JobId) -> Keys {
        Keys::new(self.connection.namespace(), job)
    }
}

#[async_trait]
impl JobStore for RedisJobs {
    async fn create(&self, job: &NewJob, due: Instant) -> Result<(), Fault> {
        let keys = self.keys(job.id);
        let mut create = self.scripts.create.prepare_invoke();
        create.key(keys.job()).key(keys.tasks()).key(keys.due());
        create.arg(due.unix_micros()).arg(json(&TaskKind::Plan));
        for (field, value) in fields_of(job) {
            create.arg(field).arg(value);
        }
        self.enlist(job.id, due).await?;
        self.join(job.id, &job.client).await?;
        self.connection.call::<()>(&create, "record job", job.id).await?;
        // Somebody who found no record yet may have taken the job out of the index, or from those of its client.
        self.enlist(job.id, due).await?;
        self.join(job.id, &job.client).await
    }

    async fn job(&self, job: JobId) -> Result<Option<Job>, Fault> {
        let mut commands = ::redis::pipe();
        commands.hgetall(self.keys(job).job());
        let (fields,): (HashMap<String, String>,) = self.connection.send(&commands, "read job", job).await?;
        job_of(job, &fields)
    }

    async fn written(&self, job: JobId) -> Result<Vec<Written>, Fault> {
        let keys = self.keys(job);
        let mut commands = ::redis::pipe();
        // The state is read last: what was there before the job failed counts for nothing.
        commands.hvals(keys.done()).hget(keys.job(), "state");
        let (done, state): (Vec<String>, Option<String>) =
            self.connection.send(&commands, "read what was written for job", job).await?;
        match state.as_deref() {
            Some("running" | "completed") => written_of(job, &done),
            _ => Ok(Vec::new()),
        }
    }

    async fn live_jobs(&self, client: &ClientId) -> Result<u64, Fault> {
        self.count_live(client).await
    }

    async fn published(&self, task: TaskRef, due: Instant) -> Result<(), Fault> {
        let keys = self.keys(task.job);
        let mut published = self.scripts.published.prepare_invoke();
        published.key(keys.due()).key(keys.attempts()).arg(task.task.0).arg(due.unix_micros());
        if self.connection.call(&published, "note the publishing of task", task).await? {
            self.lower(task.job, due).await?;
        }
        Ok(())
    }

    async fn start(
        &self,
        task: TaskRef,
        token: StartToken,
        attempts: u32,
        now: Instant,
        due: Instant,
    ) -> Result<Start, Fault> {
        let keys = self.keys(task.job);
        let mut start = self.scripts.start.prepare_invoke();
        start.key(keys.job()).key(keys.tasks()).key(keys.due()).key(keys.attempts());
        start.arg(task.task.0).arg(attempts).arg(due.unix_micros()).arg(token.to_string()).arg(now.unix_micros());
        start.arg(VERSION);
        let Some((attempt, counted, kind, request, transaction_time)) =
            self.connection.call::<Option<(u32, u32, String, String, String)>>(&start, "start task", task).await?
        else {
            return Ok(Start::Nothing);
        };
        if attempt == 0 {
            return Ok(if counted == 0 { Start::OtherVersion } else { Start::Exhausted { attempts: counted } });
        }
        self.lower(task.job, due).await?;
        let transaction_time = match transaction_time.as_str() {
            "" => None,
            micros => Some(micros.parse().map_err(|_| unreadable(task.job, "transaction_time"))?),
        };
        Ok(Start::Work(Box::new(Work {
            attempt: Attempt(attempt),
            counted,
            kind: parsed(task.job, "tasks", &kind)?,
            request: parsed(task.job, "request", &request)?,
            transaction_time: transaction_time.map(Instant::from_unix_micros),
        })))
    }

    async fn plan(&self, job: JobId, plan: &Plan, due: Instant) -> Result<Vec<OpenTask>, Fault> {
        plan.check(job)?;
        let keys = self.keys(job);
        let mut script = self.scripts.plan.prepare_invoke();
        script.key(keys.job()).key(keys.tasks()).key(keys.due());
        script.arg(plan.transaction_time.unix_micros()).arg(plan.window).arg(due.unix_micros());
        script.arg(buckets(&plan.tasks));
        for kind in &plan.tasks {
            script.arg(json(kind));
        }
        let (open, kinds): (Vec<u32>, Vec<String>) =
            self.connection.call(&script, "store the plan of job", job).await?;
        if !open.is_empty() {
            self.lower(job, due).await?;
        }
        Ok(open_tasks(&open, &kinds))
    }

    async fn keep(&self, task: TaskRef, due: Instant) -> Result<bool, Fault> {
        let mut keep = self.scripts.keep.prepare_invoke();
        let keys = self.keys(task.job);
        keep.key(keys.due()).key(keys.attempts()).arg(task.task.0).arg(due.unix_micros());
        let open = self.connection.call(&keep, "keep task", task).await?;
        if open {
            self.lower(task.job, due).await?;
        }
        Ok(open)
    }

    async fn claim(&self, task: TaskRef, digests: &[Digest]) -> Result<Vec<bool>, Fault> {
        self.claim_all(task, digests).await
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
        let mut complete = self.scripts.complete.prepare_invoke();
        for key in self.keys(task.job).all() {
            complete.key(key);
        }
        let lines: u64 = written.outputs.iter().map(|output| output.lines).sum();
        complete.arg(task.task.0).arg(attempt.0).arg(json(written)).arg(lines);
        complete.arg(now.unix_micros()).arg(expires.unix_micros()).arg(stay(now, expires));
        complete.arg(opening.due.unix_micros()).arg(opening.window.max(1)).arg(Opening::MOST);
        let (won, last, opened, kinds): (bool, bool, Vec<u32>, Vec<String>) =
            self.connection.call(&complete, "complete task", task).await?;
        if !won {
            return Ok(Completion::Lost);
        }
        if last {
            self.lower(task.job, now).await?;
        } else if !opened.is_empty() {
            self.lower(task.job, opening.due).await?;
        }
        Ok(Completion::Won { next: open_tasks(&opened, &kinds), last })
    }

    async fn give_back(&self, task: TaskRef, due: Instant, uncounted: bool) -> Result<(), Fault> {
        let keys = self.keys(task.job);
        let mut give_back = self.scripts.give_back.prepare_invoke();
        give_back.key(keys.due()).key(keys.attempts());
        give_back.arg(task.task.0).arg(due.unix_micros()).arg(u8::from(uncounted));
        if self.connection.call(&give_back, "give back task", task).await? {
            self.lower(task.job, due).await?;
        }
        Ok(())
    }

    async fn fail(&self, task: TaskRef, failure: &Failure, now: Instant, expires: Instant) -> Result<bool, Fault> {
        let mut fail = self.scripts.fail.prepare_invoke();
        for key in self.keys(task.job).all() {
            fail.key(key);
        }
        fail.arg(json(failure)).arg(now.unix_micros()).arg(expires.unix_micros()).arg(stay(now, expires));
        fail.arg(task.task.0);
        let ended = self.connection.call(&fail, "fail the job of task", task).await?;
        if ended {
            self.lower(task.job, now).await?;
        }
        Ok(ended)
    }

    async fn cancel(&self, job: JobId, now: Instant, expires: Instant) -> Result<bool, Fault> {
        let mut cancel = self.scripts.cancel.prepare_invoke();
        for key in self.keys(job).all() {
            cancel.key(key);
        }
        cancel.arg(now.unix_micros()).arg(expires.unix_micros()).arg(stay(now, expires));
        // A completed job waits in the index for its expiry, a day perhaps; lowered here too, a crash after the script
        // does not leave its objects that long.
        self.lower_if_there(job, now).await?;
        let ended = self.connection.call(&cancel, "cancel job", job).await?;
        if ended {
            self.lower(job, now).await?;
        }
        Ok(ended)
    }

    async fn chores(&self, now: Instant, again: Instant, limit: usize) -> Result<Vec<(JobId, Chore)>, Fault> {
        self.take_chores(now, again, limit).await
    }

    async fn swept(&self, job: JobId, state: JobState) -> Result<(), Fault> {
        let mut swept = self.scripts.swept.prepare_invoke();
        swept.key(self.keys(job).job()).arg(state.name());
        if self.connection.call(&swept, "note the sweep of job", job).await? {
            self.forget_claims(job).await?;
        }
        Ok(())
    }

    async fn remove(&self, job: JobId) -> Result<(), Fault> {
        // The claims and the client first, because the record knows how many buckets there are and who it is; the index
        // last, so that a crash in between is found by the janitor.
        self.forget_claims(job).await?;
        self.leave(job).await?;
        let mut commands = ::redis::pipe();
        commands.unlink(&self.keys(job).all()[..]).ignore().zrem(self.index(), job.to_string()).ignore();
        self.connection.send(&commands, "remove job", job).await
    }

    async fn backlog(&self, now: Instant) -> Result<Backlog, Fault> {
        self.count_all(now).await
    }

    async fn ready(&self) -> Result<(), Fault> {
        let mut commands = ::redis::pipe();
        commands.ping().ignore();
        self.connection.send(&commands, "reach", "redis").await
    }
}

/// How long the record of a job stays from its end on, in milliseconds. Told to Redis as a duration, because the caller's
/// clock need not be that of the server.
fn stay(now: Instant, expires: Instant) -> u64 {
    millis(expires.since(now) + GRACE)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
