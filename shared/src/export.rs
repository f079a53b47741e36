//! An export as data: what was asked for, the job and its states, the tasks that it is cut into, the names of the files.
//! Pure: no I/O, no async, no clock; time comes in as an argument.

mod job;
mod output;
mod request;
mod tally;
mod task;

pub use job::{ClientId, Failure, Job, JobState, Progress};
pub use output::{Output, OutputKey, OutputKind, Written};
pub use request::{Anchor, Delivery, Encoding, ExportRequest, Grounds, Operation, Selection};
pub use tally::Tally;
pub use task::{Attempt, JobId, Lane, NotAJobId, OpenTask, Slice, TaskKind, TaskMessage, TaskNo, TaskRef};
