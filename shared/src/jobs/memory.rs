//! The job store in memory: the readable specification of [`super::redis`], for `atr up` and for tests.
//!
//! Read `Record`: a job as data, and a method for each verb of the port.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Backlog, Chore, Completion, Digest, JobStore, NewJob, Opening, Plan, Start, StartToken, Work};
use crate::export::{
    Attempt, ClientId, Failure, Job, JobId, JobState, OpenTask, Progress, TaskKind, TaskNo, TaskRef, Written,
};
use crate::fault::Fault;
use crate::fhir::Instant;

/// Jobs in memory; they go when the process goes.
#[derive(Debug, Default)]
pub struct MemoryJobs {
    records: Mutex<BTreeMap<JobId, Record>>,
}

impl MemoryJobs {
    /// A store without jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Never held over an await. A panic inside leaves whole records behind, so that poison means nothing.
    fn records(&self) -> MutexGuard<'_, BTreeMap<JobId, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `act` says about a job; `unknown` when there is none.
    fn with<T>(&self, job: JobId, unknown: T, act: impl FnOnce(&mut Record) -> T) -> T {
        self.records().get_mut(&job).map_or(unknown, act)
    }
}

#[async_trait]
impl JobStore for MemoryJobs {
    async fn create(&self, job: &NewJob, due: Instant) -> Result<(), Fault> {
        self.records().entry(job.id).or_insert_with(|| Record::new(job, due));
        Ok(())
    }

    async fn job(&self, job: JobId) -> Result<Option<Job>, Fault> {
        Ok(self.with(job, None, |record| Some(record.job.clone())))
    }

    async fn written(&self, job: JobId) -> Result<Vec<Written>, Fault> {
        Ok(self.with(job, Vec::new(), |record| record.written()))
    }

    async fn live_jobs(&self, client: &ClientId) -> Result<u64, Fault> {
        let records = self.records();
        let alive = records.values().filter(|record| record.job.client == *client && record.job.state.is_alive());
        Ok(alive.count() as u64)
    }

    async fn published(&self, task: TaskRef, due: Instant) -> Result<(), Fault> {
        self.with(task.job, (), |record| record.published(task.task, due));
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
        Ok(self.with(task.job, Start::Nothing, |record| record.start(task.task, token, attempts, now, due)))
    }

    async fn plan(&self, job: JobId, plan: &Plan, due: Instant) -> Result<Vec<OpenTask>, Fault> {
        plan.check(job)?;
        Ok(self.with(job, Vec::new(), |record| record.plan(plan, due)))
    }

    async fn keep(&self, task: TaskRef, due: Instant) -> Result<bool, Fault> {
        Ok(self.with(task.job, false, |record| record.keep(task.task, due)))
    }

    async fn claim(&self, task: TaskRef, digests: &[Digest]) -> Result<Vec<bool>, Fault> {
        Ok(self.with(task.job, vec![false; digests.len()], |record| record.claim(task.task, digests)))
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
        let complete = |record: &mut Record| record.complete(task.task, attempt, written, opening, now, expires);
        Ok(self.with(task.job, Completion::Lost, complete))
    }

    async fn give_back(&self, task: TaskRef, due: Instant, uncounted: bool) -> Result<(), Fault> {
        self.with(task.job, (), |record| record.give_back(task.task, due, uncounted));
        Ok(())
    }

    async fn fail(&self, task: TaskRef, failure: &Failure, now: Instant, expires: Instant) -> Result<bool, Fault> {
        Ok(self.with(task.job, false, |record| record.fail(task.task, failure, now, expires)))
    }

    async fn cancel(&self, job: JobId, now: Instant, expires: Instant) -> Result<bool, Fault> {
        Ok(self.with(job, false, |record| record.cancel(now, expires)))
    }

    async fn chores(&self, now: Instant, again: Instant, limit: usize) -> Result<Vec<(JobId, Chore)>, Fault> {
        let mut records = self.records();
        let mut waiting: Vec<_> = records.iter_mut().filter(|(_, record)| record.look_at() <= now).collect();
        // Of those that wait for equally long, the oldest job first.
        waiting.sort_by_key(|(_, record)| (record.look_at(), record.job.created_at));
        Ok(waiting.into_iter().take(limit).map(|(job, record)| (*job, record.look(now, again))).collect())
    }

    async fn swept(&self, job: JobId, state: JobState) -> Result<(), Fault> {
        self.with(job, (), |record| record.swept(state));
        Ok(())
    }

    async fn remove(&self, job: JobId) -> Result<(), Fault> {
        self.records().remove(&job);
        Ok(())
    }

    async fn backlog(&self, now: Instant) -> Result<Backlog, Fault> {
        let records = self.records();
        let overdue: Vec<Instant> = records.values().map(Record::look_at).filter(|look_at| *look_at <= now).collect();
        let mut states = BTreeMap::new();
        for record in records.values() {
            *states.entry(record.job.state).or_default() += 1;
        }
        let (jobs, oldest_due) = (records.len() as u64, overdue.iter().min().copied());
        Ok(Backlog { jobs, states, oldest_due, overdue: overdue.len() as u64 })
    }

    async fn ready(&self) -> Result<(), Fault> {
        Ok(())
    }
}

/// A job and all that is known about its tasks.
#[derive(Debug)]
struct Record {
    job: Job,
    /// Of its kick-off.
    trace: Option<String>,
    /// By number; only the plan before the job is cut.
    tasks: Vec<Task>,
    /// What the done tasks have left behind, in the order in which they were completed.
    written: Vec<Written>,
    claims: BTreeMap<Digest, TaskNo>,
    /// Set with the end of the job.
    end: Option<End>,
}

#[derive(Debug)]
struct Task {
    kind: TaskKind,
    /// When somebody must look at it; the task is open while there is such a time.
    due: Option<Instant>,
    /// Starts so far: the number of the latest attempt.
    starts: u32,
    /// Starts that do not count.
    uncounted: u32,
    /// The mark of the latest start.
    token: Option<StartToken>,
    /// Until when an attempt that has not been given back may be at work.
    kept: Option<Instant>,
    /// The attempt that won.
    done: Option<Attempt>,
}

#[derive(Debug)]
struct End {
    expires: Instant,
    /// Not to be handed out before.
    look: Instant,
    /// Whether the objects are gone that no manifest names.
    swept: bool,
    /// The task that completed the job.
    last: Option<TaskNo>,
}

impl Task {
    fn new(kind: TaskKind) -> Self {
        Self { kind, due: None, starts: 0, uncounted: 0, token: None, kept: None, done: None }
    }

    /// Sets its due time, for somebody who will publish it.
    fn push(&mut self, no: TaskNo, due: Instant) -> OpenTask {
        self.due = Some(due);
        OpenTask { no, lane: self.kind.lane() }
    }
}

impl Record {
    fn new(job: &NewJob, due: Instant) -> Self {
        Self {
            job: Job {
                id: job.id,
                client: job.client.clone(),
                request: job.request.clone(),
                created_at: job.created_at,
                state: JobState::Accepted,
                transaction_time: None,
                progress: Progress::default(),
                ended_at: None,
                expires_at: None,
                failure: None,
            },
            trace: job.trace.clone(),
            tasks: vec![Task { due: Some(due), ..Task::new(TaskKind::Plan) }],
            written: Vec::new(),
            claims: BTreeMap::new(),
            end: None,
        }
    }

    fn task(&mut self, task: TaskNo) -> Option<&mut Task> {
        self.tasks.get_mut(usize::try_from(task.0).ok()?)
    }

    fn open(&mut self, task: TaskNo) -> Option<&mut Task> {
        self.task(task).filter(|task| task.due.is_some())
    }

    /// The numbers and states of the open tasks.
    fn all_open(&mut self) -> impl Iterator<Item = (TaskNo, &mut Task)> {
        (0..).map(TaskNo).zip(&mut self.tasks).filter(|(_, task)| task.due.is_some())
    }

    fn written(&self) -> Vec<Written> {
        match self.job.state {
            JobState::Running | JobState::Completed => self.written.clone(),
            JobState::Accepted | JobState::Failed | JobState::Cancelled => Vec::new(),
        }
    }

    fn published(&mut self, task: TaskNo, due: Instant) {
        if let Some(task) = self.open(task).filter(|task| task.starts == 0) {
            task.due = Some(due);
        }
    }

    fn start(&mut self, task: TaskNo, token: StartToken, attempts: u32, now: Instant, due: Instant) -> Start {
        let (request, transaction_time) = (self.job.request.clone(), self.job.transaction_time);
        let Some(task) = self.open(task) else { return Start::Nothing };
        if task.token != Some(token) {
            let counted = task.starts - task.uncounted;
            if counted >= attempts {
                let at_work = task.kept.is_some_and(|until| until > now);
                return if at_work { Start::Nothing } else { Start::Exhausted { attempts: counted } };
            }
            task.starts += 1;
            task.token = Some(token);
        }
        task.due = Some(due);
        task.kept = Some(due);
        let (attempt, counted, kind) = (Attempt(task.starts), task.starts - task.uncounted, task.kind.clone());
        Start::Work(Box::new(Work { attempt, counted, kind, request, transaction_time }))
    }

    fn plan(&mut self, plan: &Plan, due: Instant) -> Vec<OpenTask> {
        if self.job.state == JobState::Accepted {
            self.job.state = JobState::Running;
            self.job.transaction_time = Some(plan.transaction_time);
            self.tasks[0].due = None;
            self.tasks.extend(plan.tasks.iter().cloned().map(Task::new));
            self.job.progress = Progress { tasks: number(self.tasks.len()), done: 1, lines: 0 };
            for task in self.tasks.iter_mut().skip(1).take(plan.window as usize) {
                task.due = Some(due);
            }
        }
        self.all_open().map(|(no, task)| task.push(no, due)).collect()
    }

    fn keep(&mut self, task: TaskNo, due: Instant) -> bool {
        let Some(task) = self.open(task) else { return false };
        task.due = Some(due);
        task.kept = Some(due);
        true
    }

    fn claim(&mut self, task: TaskNo, digests: &[Digest]) -> Vec<bool> {
        if self.job.state != JobState::Running {
            return vec![false; digests.len()];
        }
        digests.iter().map(|digest| *self.claims.entry(*digest).or_insert(task) == task).collect()
    }

    fn complete(
        &mut self,
        no: TaskNo,
        attempt: Attempt,
        written: &Written,
        opening: Opening,
        now: Instant,
        expires: Instant,
    ) -> Completion {
        if !matches!(self.job.state, JobState::Running | JobState::Completed) {
            return Completion::Lost;
        }
        let last = self.end.as_ref().is_some_and(|end| end.last == Some(no));
        let Some(task) = self.task(no) else { return Completion::Lost };
        match task.done {
            Some(winner) if winner == attempt => return Completion::Won { next: Vec::new(), last },
            None if task.due.is_some() => {}
            _ => return Completion::Lost,
        }
        task.due = None;
        task.done = Some(attempt);
        self.written.push(written.clone());
        self.job.progress.done += 1;
        self.job.progress.lines += written.outputs.iter().map(|output| output.lines).sum::<u64>();

        let room = opening.window.max(1).saturating_sub(number(self.all_open().count()));
        // Tasks open in the order of their numbers, so that the next ones are the first of which nothing was heard.
        let untouched = |(_, task): &(TaskNo, &mut Task)| task.due.is_none() && task.done.is_none();
        let next = (1..).map(TaskNo).zip(self.tasks.iter_mut().skip(1)).filter(untouched);
        let next = next.take(room.min(Opening::MOST) as usize).map(|(no, task)| task.push(no, opening.due));
        let next: Vec<OpenTask> = next.collect();
        let last = self.job.progress.done == self.job.progress.tasks;
        if last {
            self.end(JobState::Completed, now, expires, Some(no));
        }
        Completion::Won { next, last }
    }

    fn give_back(&mut self, task: TaskNo, due: Instant, uncounted: bool) {
        let Some(task) = self.open(task) else { return };
        task.due = Some(due);
        task.kept = None;
        if uncounted && task.uncounted < task.starts {
            task.uncounted += 1;
        }
    }

    fn fail(&mut self, task: TaskNo, failure: &Failure, now: Instant, expires: Instant) -> bool {
        let open = self.open(task).is_some();
        if open {
            self.job.failure = Some(failure.clone());
            self.end(JobState::Failed, now, expires, None);
        }
        open
    }

    fn cancel(&mut self, now: Instant, expires: Instant) -> bool {
        let first = self.job.state != JobState::Cancelled;
        if first {
            self.end(JobState::Cancelled, now, expires, None);
        }
        first
    }

    fn end(&mut self, state: JobState, now: Instant, expires: Instant, last: Option<TaskNo>) {
        self.job.state = state;
        self.job.ended_at = Some(now);
        self.job.expires_at = Some(expires);
        self.end = Some(End { expires, look: now, swept: false, last });
        for task in &mut self.tasks {
            task.due = None;
        }
    }

    fn swept(&mut self, state: JobState) {
        if let Some(end) = self.end.as_mut().filter(|_| self.job.state == state) {
            end.swept = true;
            self.claims.clear();
        }
    }

    /// When somebody must look at the job.
    fn look_at(&self) -> Instant {
        match &self.end {
            Some(end) if end.swept => end.look.max(end.expires),
            Some(end) => end.look,
            // A job that is alive has an open task: the plan, or one of the window.
            None => self.tasks.iter().filter_map(|task| task.due).min().unwrap_or(self.job.created_at),
        }
    }

    /// What a job needs that somebody must look at.
    fn look(&mut self, now: Instant, again: Instant) -> Chore {
        if let Some(end) = &mut self.end {
            end.look = again;
            return if end.expires <= now { Chore::Remove } else { Chore::Sweep };
        }
        let due = self.all_open().filter(|(_, task)| task.due <= Some(now));
        let tasks = due.map(|(no, task)| task.push(no, again)).collect();
        Chore::Publish { tasks, trace: self.trace.clone() }
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("the tasks of a job are numbered with 32 bits")
}
