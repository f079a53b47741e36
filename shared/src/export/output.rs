//! The files of a job and their names in the object store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Attempt, JobId, Tally, TaskNo};
use crate::fhir::ResourceType;

/// The name of one object. Every attempt writes under names of its own, so that a slow twin of a task can never change
/// a file that a manifest already shows (design §4.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutputKey {
    /// The job.
    pub job: JobId,
    /// The type of the resources in it; `OperationOutcome` in an error file; `Bundle` in a file of deletions and in one that
    /// is organized by patient, which holds several types.
    pub resource_type: ResourceType,
    /// The task that wrote it.
    pub task: TaskNo,
    /// The attempt at that task.
    pub attempt: Attempt,
    /// Counts the files of one type that one attempt writes, from 0.
    pub number: u32,
}

impl fmt::Display for OutputKey {
    /// `{job}/{Type}/{task}.{attempt}.{n}.ndjson`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, resource_type, task, attempt, number } = self;
        write!(f, "{job}/{resource_type}/{task}.{attempt}.{number}.ndjson")
    }
}

/// A text that is not the name of an object of this system.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the name of an output file")]
pub struct NotAnOutputKey;

impl FromStr for OutputKey {
    type Err = NotAnOutputKey;

    fn from_str(text: &str) -> Result<Self, NotAnOutputKey> {
        let read = || {
            let mut steps = text.split('/');
            let (job, resource_type, name) = (steps.next()?, steps.next()?, steps.next()?);
            let mut numbers = name.strip_suffix(".ndjson")?.split('.').map(|number| number.parse().ok());
            let key = Self {
                job: job.parse().ok()?,
                resource_type: resource_type.parse().ok()?,
                task: TaskNo(numbers.next()??),
                attempt: Attempt(numbers.next()??),
                number: numbers.next()??,
            };
            (key.to_string() == text).then_some(key)
        };
        read().ok_or(NotAnOutputKey)
    }
}

/// In which array of the manifest a file stands (standards §1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// `output`: resources.
    Output,
    /// `deleted`: transaction Bundles.
    Deleted,
    /// `error`: OperationOutcomes.
    Error,
}

/// One file of a finished task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name.
    pub key: OutputKey,
    /// Its place in the manifest.
    pub kind: OutputKind,
    /// How many lines it has: one a resource.
    pub lines: u64,
    /// The length of its text in bytes, before any encoding.
    pub bytes: u64,
    /// The length of the object in bytes.
    pub stored_bytes: u64,
    /// The SHA-256 of its text, before any encoding, as 64 hexadecimal digits.
    pub sha256: String,
}

/// What an attempt that completes a task leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its files.
    pub outputs: Vec<Output>,
    /// What it found of the members of the list.
    pub tally: Tally,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_as_it_was_written() {
        let key = OutputKey {
            job: JobId::random(),
            resource_type: ResourceType::PATIENT,
            task: TaskNo(3),
            attempt: Attempt(2),
            number: 0,
        };
        assert_eq!(key.to_string(), format!("{}/Patient/3.2.0.ndjson", key.job));
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        for wrong in [
            "",
            "Patient/3.2.0.ndjson",
            &format!("{}/Patient/3.2.00.ndjson", key.job),
            &format!("{}/../3.2.0.ndjson", key.job),
        ] {
            assert_eq!(wrong.parse::<OutputKey>(), Err(NotAnOutputKey), "{wrong}");
        }
    }
}
