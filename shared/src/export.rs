//! An export as data: what was asked for, the job and its states, the tasks that it is cut into, the names of the files.
//! Pure: no I/O, no async, no clock; time comes in as an argument.

mod job;
mod output;
mod request;
mod task;

pub use job::{ClientId, Failure, Job, JobState, Progress};
pub use output::{Output, OutputKey, OutputKind};
pub use request::{Anchor, ExportRequest, Operation};
pub use task::{Attempt, JobId, NotAJobId, Slice, TaskKind, TaskMessage, TaskNo, TaskRef};
