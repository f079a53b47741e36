//! What happened in a simulated system, call by call: to read after a failure, and to compare with another run of the
//! same seed.

use std::fmt;
use std::time::Duration;

use shared::export::{JobId, OutputKey, TaskRef};

/// A process in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// What it is: `worker`, `api`, `client`.
    pub kind: &'static str,
    /// Which of its kind.
    pub number: u32,
    /// How often it has been started.
    pub life: u32,
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub enum About {
    /// The whole system.
    All,
    /// A job.
    Job(JobId),
    /// A task of a job.
    Task(TaskRef),
}

impl From<JobId> for About {
    fn from(job: JobId) -> Self {
        Self::Job(job)
    }
}

impl From<TaskRef> for About {
    fn from(task: TaskRef) -> Self {
        Self::Task(task)
    }
}

impl From<&OutputKey> for About {
    fn from(key: &OutputKey) -> Self {
        Self::Task(TaskRef { job: key.job, task: key.task })
    }
}

/// One event. Ids of jobs are random, so they stand here by the order in which they first came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, since the beginning.
    pub at: Duration,
    /// Who did it.
    pub who: Who,
    /// The call: port and verb.
    pub call: &'static str,
    /// The number of the job.
    pub job: Option<u32>,
    /// The number of the task in it.
    pub task: Option<u32>,
    /// What became of it.
    pub ended: &'static str,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, who, call, job, task, ended } = self;
        write!(f, "{:>12.3} {} {}.{} {call}", at.as_secs_f64(), who.kind, who.number, who.life)?;
        if let Some(job) = job {
            write!(f, " job {job}")?;
        }
        if let Some(task) = task {
            write!(f, " task {task}")?;
        }
        write!(f, ": {ended}")
    }
}

/// All events so far.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// In the order in which they happened.
    pub events: Vec<Event>,
    /// The jobs that came up, in that order.
    pub jobs: Vec<JobId>,
}

impl Trace {
    /// Takes note of something.
    pub fn note(&mut self, at: Duration, who: Who, call: &'static str, about: About, ended: &'static str) {
        let (job, task) = match about {
            About::All => (None, None),
            About::Job(job) => (Some(self.number(job)), None),
            About::Task(task) => (Some(self.number(task.job)), Some(task.task.0)),
        };
        self.events.push(Event { at, who, call, job, task, ended });
    }

    /// The number of a job.
    pub fn number(&mut self, job: JobId) -> u32 {
        let known = self.jobs.iter().position(|known| *known == job);
        let at = known.unwrap_or_else(|| {
            self.jobs.push(job);
            self.jobs.len() - 1
        });
        u32::try_from(at).expect("a simulation has few jobs")
    }

    /// When a call about a job was last done.
    pub fn last(&self, call: &str, job: JobId) -> Option<Duration> {
        let job = self.jobs.iter().position(|known| *known == job)?;
        let is_it = |event: &&Event| event.call == call && event.job.is_some_and(|number| number as usize == job);
        self.events.iter().rev().filter(is_it).find(|event| event.ended != REFUSED).map(|event| event.at)
    }
}

/// How a call ends that was done and answered.
pub const DONE: &str = "done";
/// How one ends that was not done.
pub const REFUSED: &str = "refused";
/// How one ends that was done, though its caller hears of a failure.
pub const UNANSWERED: &str = "done, and the answer lost";

impl fmt::Display for Trace {
    /// A line for each event, and the ids of the jobs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, job) in self.jobs.iter().enumerate() {
            writeln!(f, "job {number} is {job}")?;
        }
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}
