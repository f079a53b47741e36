//! The port to the job store: what there is to do, and what has been done.
//!
//! The store is the truth and the queue only says "go and look" (design §4.1). Every verb is atomic and may be repeated:
//! a caller that does not know whether a call arrived calls again. Read [`JobStore`] for the contract, [`memory`] for its
//! readable form, [`redis`] for the one that production runs on.
//!
//! **Due times.** Each published task has a due time: the moment at which somebody must look at it again if nothing has
//! happened. Publishing, starting and working push it forward, completing removes it, and the janitor publishes what is
//! due. Outbox, lost message, dead worker, back-off and broker outage are all this one mechanism (design §4.5).
//!
//! **Open tasks.** A task is open from its first due time until it is done or its job is at its end. At most `window`
//! tasks of a job are opened at a time; whoever opens some says how many may be open now (decision 0018). A verb about a
//! task that is not open, or that does not exist, changes nothing.

pub mod memory;
pub mod redis;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::export::{
    Attempt, ClientId, ExportRequest, Failure, Job, JobId, JobState, OpenTask, TaskKind, TaskRef, Written,
};
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;

/// A job to record.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Who started it.
    pub client: ClientId,
    /// What was asked for.
    pub request: ExportRequest,
    /// The time of the kick-off.
    pub created_at: Instant,
    /// The W3C `traceparent` of the kick-off; messages that nobody else remembers bear it again.
    pub trace: Option<String>,
}

/// The mark of one start, so that a call whose answer was lost can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartToken(pub Uuid);

impl StartToken {
    /// A token that no other start has.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for StartToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

/// What a task finds when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Work on it.
    Work(Box<Work>),
    /// It was started as often as is allowed and never completed; nothing was changed.
    Exhausted {
        /// How often it was started.
        attempts: u32,
    },
    /// Nothing to do: the job is unknown or at its end, or the task is done or not open yet.
    Nothing,
    /// The job was recorded by another version of this program, as happens while a system is upgraded: a worker of that
    /// version has to do it. Nothing was changed.
    OtherVersion,
}

/// A task, as it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Which try this is.
    pub attempt: Attempt,
    /// How many starts count so far, this one included.
    pub counted: u32,
    /// What is to be done.
    pub kind: TaskKind,
    /// What the client asked for.
    pub request: ExportRequest,
    /// The transaction time; `None` only for the plan.
    pub transaction_time: Option<Instant>,
}

/// How a job was cut: the tasks after the plan, numbered from 1 in this order.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The transaction time of the job.
    pub transaction_time: Instant,
    /// The tasks; at least one.
    pub tasks: Vec<TaskKind>,
    /// How many of them are opened at once; at least 1 (decision 0018).
    pub window: u32,
}

/// How tasks are opened in the place of one that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// How many tasks of the job may be open afterwards; at least 1.
    pub window: u32,
    /// The due time of those that are opened.
    pub due: Instant,
}

impl Opening {
    /// One for the place that has become free and one more, so that a job grows into workers that have nothing to do.
    const MOST: u32 = 2;
}

impl Plan {
    /// Refuses a plan after which a job would never come to its end.
    fn check(&self, job: JobId) -> Result<(), Fault> {
        if self.tasks.is_empty() || self.window == 0 {
            return Err(Fault::new(FaultKind::Invalid, format!("job {job} was cut into no tasks, or with no window")));
        }
        Ok(())
    }
}

/// What a completed attempt learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It was the first: its outputs are those of the task.
    Won {
        /// The tasks that are to be published in its place, already due at the time that was given: none, one or two.
        next: Vec<OpenTask>,
        /// Whether the job is completed by this.
        last: bool,
    },
    /// Another attempt was first, or the job is at its end: the outputs of this one count for nothing.
    Lost,
}

/// What the janitor has to do for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chore {
    /// Publish these tasks: nobody has been heard of for too long. Their due times were pushed to the time given.
    Publish {
        /// The tasks.
        tasks: Vec<OpenTask>,
        /// As in [`NewJob`].
        trace: Option<String>,
    },
    /// The job has ended: remove its objects other than those that [`JobStore::written`] names, then call
    /// [`JobStore::swept`].
    Sweep,
    /// The job has expired: remove all its objects, then call [`JobStore::remove`].
    Remove,
    /// Its record cannot be read, so nobody can do anything for it: tell the operator.
    Mend {
        /// What cannot be read, without any of it.
        why: String,
    },
}

/// The 128-bit name of something that only one task of a job may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of a text: the first half of its SHA-256, so that no two resources of a list share one.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let whole: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        Self(half)
    }
}

impl fmt::Display for Digest {
    /// As 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The record of all jobs.
///
/// Times come in as arguments; the store has no clock. Fails with `Unavailable` or `Busy` when it cannot be asked now, or
/// when a job was recorded by another version of this program; with `Corrupt` when a record cannot be read.
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Records a job in state `Accepted` with its plan task (number 0) due at `due`.
    ///
    /// Recording a job that is there already changes nothing and succeeds.
    async fn create(&self, job: &NewJob, due: Instant) -> Result<(), Fault>;

    /// The job, in whatever state; `None` when it was never recorded or has been removed.
    async fn job(&self, job: JobId) -> Result<Option<Job>, Fault>;

    /// What the done tasks of a job have left behind, in the order in which they were completed: what was there once stays
    /// in its place. The plan leaves nothing behind and is not among them.
    ///
    /// Empty for a job that failed or was cancelled, and for one that is unknown.
    async fn written(&self, job: JobId) -> Result<Vec<Written>, Fault>;

    /// How many jobs of a client are alive. One that is being recorded at this moment may not count yet, nor one whose
    /// recording was broken off.
    async fn live_jobs(&self, client: &ClientId) -> Result<u64, Fault>;

    /// Tells that a task was published: pushes its due time to `due` if it is open and was never started.
    async fn published(&self, task: TaskRef, due: Instant) -> Result<(), Fault>;

    /// Starts a task: counts an attempt and pushes the due time to `due`.
    ///
    /// A start with the token of the latest start is the same start, told once more: it gets the same attempt. Two starts
    /// with tokens of their own both work, with attempts of their own. After `attempts` counted starts the answer is
    /// `Exhausted`, or `Nothing` as long as somebody may still be at work: until the due time of the latest start or
    /// [`JobStore::keep`] has passed `now` without a [`JobStore::give_back`]. No two starts of a task ever get the same
    /// attempt, counted or not: the names of objects rest on it.
    async fn start(
        &self,
        task: TaskRef,
        token: StartToken,
        attempts: u32,
        now: Instant,
        due: Instant,
    ) -> Result<Start, Fault>;

    /// Stores how a job was cut and makes it `Running`; the plan task is done by this.
    ///
    /// The first plan wins; a later one changes nothing. Answers the open tasks (1 to `window` after the first call), each
    /// due at `due` from now on; nothing when the job is unknown or at its end. A plan without tasks or window is `Invalid`.
    async fn plan(&self, job: JobId, plan: &Plan, due: Instant) -> Result<Vec<OpenTask>, Fault>;

    /// Tells that an attempt is at work: pushes the due time to `due`. Answers whether to go on: `false` when the job is
    /// at its end or the task is done.
    async fn keep(&self, task: TaskRef, due: Instant) -> Result<bool, Fault>;

    /// Claims resources for a task: `true` for each digest that no other task had claimed before, in order.
    ///
    /// A task finds its own claims again, so that an attempt after the first gets the same answers. All `false` unless the
    /// job is `Running`.
    async fn claim(&self, task: TaskRef, digests: &[Digest]) -> Result<Vec<bool>, Fault>;

    /// Completes a task with what an attempt has written. The first attempt wins; a repeated call of the winner answers as
    /// the first did, except that `next` may be empty. `Lost` when the job has failed or was cancelled since.
    ///
    /// When it wins, the next tasks are opened with the due time of `opening`, until its `window` is full or two are open
    /// more; when it was the last task, the job is `Completed`, ended at `now`, and expires at `expires`.
    async fn complete(
        &self,
        task: TaskRef,
        attempt: Attempt,
        written: &Written,
        opening: Opening,
        now: Instant,
        expires: Instant,
    ) -> Result<Completion, Fault>;

    /// Gives an attempt back, to be looked at again at `due`. With `uncounted` one start less counts: a worker that stops
    /// in good order is not the task's fault. Told twice, it takes off two.
    async fn give_back(&self, task: TaskRef, due: Instant, uncounted: bool) -> Result<(), Fault>;

    /// Ends the job of a task that is open as `Failed`. Answers whether this call did it: `false` when the task is done,
    /// so that an attempt that came second fails nothing, or the job is at its end.
    async fn fail(&self, task: TaskRef, failure: &Failure, now: Instant, expires: Instant) -> Result<bool, Fault>;

    /// Ends a job as `Cancelled`, whether it is alive or at another end. Answers `false` when it is unknown or was
    /// cancelled before. The record goes at `expires`.
    async fn cancel(&self, job: JobId, now: Instant, expires: Instant) -> Result<bool, Fault>;

    /// Up to `limit` jobs that need somebody at `now`, with what they need. What it hands out is not handed out again
    /// before `again`, which lies after `now`: due tasks get `again` as their due time, ended jobs are looked at again then.
    /// The tasks of one chore stand in the order of their numbers. A job whose record cannot be read keeps no other job
    /// waiting: it is handed out as [`Chore::Mend`].
    async fn chores(&self, now: Instant, again: Instant, limit: usize) -> Result<Vec<(JobId, Chore)>, Fault>;

    /// Tells that the objects are gone which no manifest names of a job that ended in this state; it is looked at again when it
    /// expires. Changes nothing when the job is in another state: one that was cancelled during its sweep has to be swept once
    /// more, because nothing of it is named any longer.
    async fn swept(&self, job: JobId, state: JobState) -> Result<(), Fault>;

    /// Forgets a job. Forgetting an unknown job succeeds.
    async fn remove(&self, job: JobId) -> Result<(), Fault>;

    /// How many jobs there are that have not been removed, in which states, and how many of them need somebody at `now`.
    /// `overdue` may count a job whose due times were pushed forward since somebody last looked at it; after
    /// [`JobStore::chores`] it is exact, and so is `oldest_due`.
    async fn backlog(&self, now: Instant) -> Result<Backlog, Fault>;

    /// Succeeds when the store can be asked.
    async fn ready(&self) -> Result<(), Fault>;
}

/// The size of the list of due work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Jobs on record.
    pub jobs: u64,
    /// How many of them are in each state, those that there are; one that is just being recorded or removed has none.
    pub states: BTreeMap<JobState, u64>,
    /// Since when the oldest of the overdue ones has been; `None` when there are none.
    pub oldest_due: Option<Instant>,
    /// Jobs that somebody should have looked at already.
    pub overdue: u64,
}
