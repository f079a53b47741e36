//! The units of work that a job is cut into, and the message that tells a worker to look at one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::fhir::{ResourceId, ResourceType};

/// The id of an export job: a random UUID, so that nobody can guess the polling location of somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

/// A text that is not the id of a job.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not the id of an export job")]
pub struct NotAJobId;

impl JobId {
    /// A new id, from 122 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl FromStr for JobId {
    type Err = NotAJobId;

    /// Takes the form that `Display` writes, and no other spelling of the same UUID: one job has one URL.
    fn from_str(text: &str) -> Result<Self, NotAJobId> {
        let id = Uuid::try_parse(text).map(Self).map_err(|_| NotAJobId)?;
        if id.to_string() == text { Ok(id) } else { Err(NotAJobId) }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of a task in its job, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskNo(pub u32);

impl TaskNo {
    /// The task that cuts the list; the only one that a job has from its start.
    pub const PLAN: Self = Self(0);
}

impl fmt::Display for TaskNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a try at a task, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A task of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskRef {
    /// The job.
    pub job: JobId,
    /// The task's number in it.
    pub task: TaskNo,
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.job, self.task)
    }
}

/// What a task is to do (design §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// Fix the transaction time and cut the export into tasks.
    Plan,
    /// Write what the kick-off passed over, a line each in an error file.
    Notices,
    /// Write what was deleted since `_since`.
    Deleted,
    /// Write the Group itself and what its head refers to.
    List {
        /// How many members it had when it was planned.
        members: u64,
    },
    /// Write a slice of the listed resources, and what they refer to beyond the list.
    Listed(Slice),
    /// Write the chosen patients of a list: the Group cut down to their members, what these name, and what that refers to.
    Chosen {
        /// How many patients.
        patients: u64,
    },
    /// Write a slice of all that the server holds of a type.
    Scan(Slice),
}

impl TaskKind {
    /// One word for logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Notices => "notices",
            Self::Deleted => "deleted",
            Self::List { .. } => "list",
            Self::Listed(_) => "listed",
            Self::Chosen { .. } => "chosen",
            Self::Scan(_) => "scan",
        }
    }

    /// The lane that it takes.
    #[must_use]
    pub fn lane(&self) -> Lane {
        let resources = match self {
            // These are short as a rule: a plan reads counts, and little is deleted.
            Self::Plan | Self::Notices | Self::Deleted => 0,
            Self::List { members } => *members,
            Self::Chosen { patients } => *patients,
            // Each Group has its members, however many.
            Self::Scan(slice) if slice.resource_type == ResourceType::GROUP => return Lane::Bulk,
            Self::Listed(slice) | Self::Scan(slice) => slice.ids,
        };
        if resources <= EXPRESS_RESOURCES { Lane::Express } else { Lane::Bulk }
    }
}

/// The largest task of the express lane: half a page, a few hundredths of a second.
const EXPRESS_RESOURCES: u64 = 1_000;

/// The two ways to the workers: what is soon done does not wait behind what is not (decision 0018).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// For tasks of a moment: plans, and all that a small list is cut into.
    Express,
    /// For the rest.
    Bulk,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Express, Self::Bulk];

    /// One word for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Express => "express",
            Self::Bulk => "bulk",
        }
    }
}

/// A task that is open: somebody may publish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTask {
    /// Its number.
    pub no: TaskNo,
    /// The lane that it takes.
    pub lane: Lane,
}

impl OpenTask {
    /// The plan of any job.
    pub const PLAN: Self = Self { no: TaskNo::PLAN, lane: Lane::Express };
}

/// A run of the ids of one type: those greater than `after` and up to `through`, in byte order.
///
/// The slices of a list are disjoint and together hold every id that the list names; those of a scan hold every id that
/// the server has of the type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The type of the resources.
    pub resource_type: ResourceType,
    /// The id before the first one; `None` begins with the least.
    pub after: Option<ResourceId>,
    /// The last id.
    pub through: ResourceId,
    /// How many ids there were when it was cut.
    pub ids: u64,
}

/// The message on the queue: "go and look at this task". All else is in the job store (design §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMessage {
    /// The version of this form.
    pub version: u32,
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskNo,
    /// The W3C `traceparent` of the request that made the job: all its tasks stand below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl TaskMessage {
    /// The version that this build writes and reads. Another one goes to queues of another name, so that workers of two
    /// versions, side by side, find what they can read and nothing else.
    pub const VERSION: u32 = 1;

    /// The message for a task.
    #[must_use]
    pub fn new(task: TaskRef, trace: Option<String>) -> Self {
        Self { version: Self::VERSION, job: task.job, task: task.task, trace }
    }

    /// The task that it is about.
    #[must_use]
    pub fn task(&self) -> TaskRef {
        TaskRef { job: self.job, task: self.task }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_soon_done_takes_the_express_lane() {
        let slice = |ids| Slice {
            resource_type: ResourceType::PATIENT,
            after: None,
            through: "z".parse().expect("an id"),
            ids,
        };
        for ids in [1, EXPRESS_RESOURCES, EXPRESS_RESOURCES + 1, 50_000] {
            let expected = if ids <= EXPRESS_RESOURCES { Lane::Express } else { Lane::Bulk };
            for kind in [TaskKind::List { members: ids }, TaskKind::Listed(slice(ids)), TaskKind::Scan(slice(ids))] {
                assert_eq!(kind.lane(), expected, "{kind:?}");
            }
        }
        assert_eq!(TaskKind::Plan.lane(), OpenTask::PLAN.lane);
        let lists = TaskKind::Scan(Slice { resource_type: ResourceType::GROUP, ..slice(1) });
        assert_eq!(lists.lane(), Lane::Bulk, "a list may have any number of members");
    }

    #[test]
    fn a_job_id_has_one_spelling() {
        let id = JobId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse::<JobId>(), Err(NotAJobId));
        assert_eq!(id.to_string().replace('-', "").parse::<JobId>(), Err(NotAJobId));
    }

    #[test]
    fn a_message_is_small_and_versioned() {
        let task = TaskRef { job: JobId::random(), task: TaskNo(7) };
        let json = |trace| serde_json::to_string(&TaskMessage::new(task, trace)).expect("a message is plain data");
        assert_eq!(json(None), format!(r#"{{"version":1,"job":"{}","task":7}}"#, task.job));
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let expected = format!(r#"{{"version":1,"job":"{}","task":7,"trace":"{trace}"}}"#, task.job);
        assert_eq!(json(Some(trace.to_owned())), expected);
    }
}
