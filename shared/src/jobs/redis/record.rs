//! What the values in Redis mean: the fields of a job's hash, and JSON where a value has parts.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::export::{ClientId, Job, JobId, JobState, Lane, OpenTask, Progress, TaskKind, TaskNo, Written};
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;
use crate::jobs::NewJob;

/// The version of the records that this build writes and reads.
///
/// A change that workers of the last version would get wrong needs a new one: they then leave such jobs to workers of this
/// version. A field that they do not know and need not know does not.
pub(super) const VERSION: &str = "3";

/// The fields of a new job.
pub(super) fn fields_of(job: &NewJob) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("version", VERSION.to_owned()),
        ("client", job.client.0.clone()),
        ("request", json(&job.request)),
        ("created_at", job.created_at.unix_micros().to_string()),
        ("state", JobState::Accepted.name().to_owned()),
    ];
    fields.extend(job.trace.clone().map(|trace| ("trace", trace)));
    fields
}

/// The job that a hash holds; `None` for a hash that is not there.
pub(super) fn job_of(id: JobId, fields: &HashMap<String, String>) -> Result<Option<Job>, Fault> {
    if fields.is_empty() {
        return Ok(None);
    }
    let record = Record { id, fields };
    match record.text("version")? {
        VERSION => {}
        other if other.parse::<u32>().is_ok() => return Err(of_other_version(id, other)),
        _ => return Err(unreadable(id, "version")),
    }
    Ok(Some(Job {
        id,
        client: ClientId(record.text("client")?.to_owned()),
        request: record.json("request")?,
        created_at: record.instant("created_at")?.ok_or_else(|| unreadable(id, "created_at"))?,
        state: JobState::from_name(record.text("state")?).ok_or_else(|| unreadable(id, "state"))?,
        transaction_time: record.instant("transaction_time")?,
        progress: Progress {
            tasks: record.number("tasks")?.unwrap_or(0),
            done: record.number("done")?.unwrap_or(0),
            lines: record.number("lines")?.unwrap_or(0),
        },
        ended_at: record.instant("ended_at")?,
        expires_at: record.instant("expires_at")?,
        failure: fields.get("failure").map(|failure| parsed(id, "failure", failure)).transpose()?,
    }))
}

struct Record<'a> {
    id: JobId,
    fields: &'a HashMap<String, String>,
}

impl Record<'_> {
    fn text(&self, field: &'static str) -> Result<&str, Fault> {
        self.fields.get(field).map(String::as_str).ok_or_else(|| unreadable(self.id, field))
    }

    fn json<T: DeserializeOwned>(&self, field: &'static str) -> Result<T, Fault> {
        parsed(self.id, field, self.text(field)?)
    }

    fn number<T: std::str::FromStr>(&self, field: &'static str) -> Result<Option<T>, Fault> {
        self.fields.get(field).map(|text| text.parse().map_err(|_| unreadable(self.id, field))).transpose()
    }

    fn instant(&self, field: &'static str) -> Result<Option<Instant>, Fault> {
        Ok(self.number(field)?.map(Instant::from_unix_micros))
    }
}

/// What the done tasks of a job have written, from `{attempt} {order} {written}` of each, by the order.
pub(super) fn written_of(job: JobId, done: &[String]) -> Result<Vec<Written>, Fault> {
    let mut in_order = Vec::with_capacity(done.len());
    for task in done {
        let mut words = task.splitn(3, ' ').skip(1);
        let order = words.next().and_then(|order| order.parse::<u32>().ok());
        let (Some(order), Some(written)) = (order, words.next()) else { return Err(unreadable(job, "done")) };
        in_order.push((order, parsed(job, "done", written)?));
    }
    in_order.sort_unstable_by_key(|(order, _)| *order);
    Ok(in_order.into_iter().map(|(_, written)| written).collect())
}

/// Open tasks in the order of their numbers, from the numbers and the kinds that a script gives. A kind that this build
/// cannot read takes the bulk lane: whoever starts the task may be able to, or will say that it cannot be read.
pub(super) fn open_tasks(numbers: &[u32], kinds: &[String]) -> Vec<OpenTask> {
    let open = |(no, kind): (&u32, &String)| {
        let lane = serde_json::from_str(kind).map_or(Lane::Bulk, |kind: TaskKind| kind.lane());
        OpenTask { no: TaskNo(*no), lane }
    };
    let mut tasks: Vec<OpenTask> = numbers.iter().zip(kinds).map(open).collect();
    tasks.sort_unstable_by_key(|task| task.no);
    tasks
}

/// JSON for a value of this crate's own types.
pub(super) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the vocabulary is plain data with text as keys")
}

/// The reverse of [`json`]. The fault does not carry the parser's message, which may quote the data.
pub(super) fn parsed<T: DeserializeOwned>(job: JobId, field: &'static str, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|_| unreadable(job, field))
}

/// Somebody else can read it, so it is worth asking again.
fn of_other_version(job: JobId, version: &str) -> Fault {
    Fault::new(FaultKind::Unavailable, format!("failed to read job {job}"))
        .because(format!("its record has version {version}, and this program reads version {VERSION}"))
}

/// A record that this build cannot read.
pub(super) fn unreadable(job: JobId, field: &'static str) -> Fault {
    Fault::new(FaultKind::Corrupt, format!("failed to read the {field} of job {job}"))
}
