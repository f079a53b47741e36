//! The record of a job, as every reader of the job store sees it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ExportRequest, JobId};
use crate::fhir::{Instant, Issue, IssueCode};

/// Who started a job: an opaque name from the authorizer, never shown to anybody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub String);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a job stands. `Accepted` and `Running` are alive; the others are ends, and only a DELETE
/// turns one into another.
///
/// ```text
/// Accepted ──plan──► Running ──last task──► Completed ──► Cancelled (DELETE: the client is done)
///     └────────────────┴── a task gives up ──► Failed ──► Cancelled
///     └────────────────┴── DELETE ──► Cancelled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Recorded; the list is not cut yet.
    Accepted,
    /// Cut into tasks, which are worked on.
    Running,
    /// Every task is done; the manifest can be had.
    Completed,
    /// A task could not be done.
    Failed,
    /// Deleted by its client.
    Cancelled,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Accepted, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    /// One word for logs, metrics and the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The reverse of [`JobState::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether work on the job goes on.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Accepted | Self::Running)
    }
}

/// Why a job failed, in words that a client and an operator can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The sentence.
    pub reason: String,
}

impl Failure {
    /// The issue that the polling location answers with (standards §1.4).
    #[must_use]
    pub fn issue(&self) -> Issue {
        Issue::error(IssueCode::Processing, &self.reason)
    }
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Tasks that the job was cut into, the plan among them; 0 before the plan.
    pub tasks: u32,
    /// Tasks done.
    pub done: u32,
    /// Lines written to files of done tasks.
    pub lines: u64,
}

/// An export job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Who started it.
    pub client: ClientId,
    /// What was asked for.
    pub request: ExportRequest,
    /// When it was recorded.
    pub created_at: Instant,
    /// Where it stands.
    pub state: JobState,
    /// The point in time whose state the files hold; fixed by the plan (standards §1.5, `transactionTime`).
    pub transaction_time: Option<Instant>,
    /// How far it is.
    pub progress: Progress,
    /// When it came to its end.
    pub ended_at: Option<Instant>,
    /// When its files and its record go; set with its end.
    pub expires_at: Option<Instant>,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
}

impl Job {
    /// The part of the tasks that is done, in whole percent; 0 before the plan.
    #[must_use]
    pub fn percent(&self) -> u32 {
        (self.progress.done * 100).checked_div(self.progress.tasks).unwrap_or(0)
    }
}
