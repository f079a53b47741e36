//! What has to be so at the end of a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use shared::export::{JobId, JobState, Lane, OutputKey, OutputKind};
use shared::fhir::Instant;
use tokio::time::sleep;

use super::client::{Manifest, Seen, Told};
use super::world::World;
use crate::harness::errors;
use crate::harness::memory_outputs::MemoryOutputs;
use crate::harness::paused_clock::BEGINNING;
use crate::oracle::{self, Reached, key_of};

/// How a block begins in a file that is organized by patient, up to the patient.
const HEADER: &str = r#"{"resourceType":"Parameters","parameter":[{"name":"header","valueReference":{"reference":""#;

/// The files that a manifest names say what the list reaches, each resource once.
pub fn files_equal_the_closure(store: &MemoryOutputs, manifest: &Manifest, expected: &Reached) -> Result<(), String> {
    members_are_accounted_for(manifest.account.as_ref().ok_or("the manifest has no account of the members")?)?;
    let written = read(store, manifest)?;
    if written == *expected { Ok(()) } else { Err(format!("written {written:#?}\nexpected {expected:#?}")) }
}

fn members_are_accounted_for(account: &Value) -> Result<(), String> {
    let count = |name: &str| account[name].as_u64().ok_or_else(|| format!("the account has no {name}: {account}"));
    let left_out: u64 =
        account["leftOut"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    if count("patients")? == count("written")? + left_out + count("missing")? + count("unreadable")? {
        return Ok(());
    }
    Err(format!("not every member is accounted for: {account}"))
}

/// What the files say. Fails when a line stands twice or a file does not have the lines that it is said to have.
fn read(store: &MemoryOutputs, manifest: &Manifest) -> Result<Reached, String> {
    let mut reached = Reached { lines: BTreeMap::new(), missing: BTreeSet::new(), unresolvable: BTreeSet::new() };
    for (key, Told { kind, lines, bytes }) in &manifest.files {
        let content = store.read(key).ok_or_else(|| format!("{key} is named but not there"))?;
        let content = String::from_utf8(content).map_err(|error| error.to_string())?;
        if content.lines().count() as u64 != *lines || content.len() as u64 != *bytes || !content.ends_with('\n') {
            return Err(format!("{key} is not as long as the manifest says"));
        }
        let mut block = None;
        for line in content.lines() {
            match kind {
                OutputKind::Output if line.starts_with(HEADER) => {
                    block = Some(line[HEADER.len()..].trim_end_matches(['"', '}', ']']).to_owned());
                }
                OutputKind::Output => {
                    let name = key_of(line);
                    if let Some(patient) = &block {
                        let refers = ["\"", "/_history/"].iter().any(|end| line.contains(&format!("{patient}{end}")));
                        if name != *patient && !refers {
                            return Err(format!("{name} stands in the block of {patient} and does not refer to it"));
                        }
                    } else if oracle::type_of(&name) != key.resource_type.name() {
                        return Err(format!("{name} stands in a file of another type"));
                    }
                    if reached.lines.insert(name.clone(), line.to_owned()).is_some() {
                        return Err(format!("{name} stands twice"));
                    }
                }
                OutputKind::Deleted => return Err(format!("{line} is told to be deleted by a folder")),
                OutputKind::Error => errors::read(line, &mut reached)?,
            }
        }
    }
    Ok(reached)
}

/// Waits until nothing happens any more, because nothing is left to be done: no message on its way, no due time. Then there
/// must be no litter.
pub async fn comes_to_rest(world: &World, seen: &[Seen]) -> Result<(), String> {
    let mut why = Err("nobody has looked".to_owned());
    for _ in 0..200 {
        let before = why;
        why = is_at_rest(world).await;
        // Twice in a row: what a worker has in hand at that moment cannot be seen.
        if before.is_ok() && why.is_ok() {
            return no_litter(world, seen);
        }
        sleep(Duration::from_secs(5)).await;
    }
    why.map_err(|why| format!("it does not come to rest: {why}"))
}

async fn is_at_rest(world: &World) -> Result<(), String> {
    let in_flight = world.mischief.in_flight();
    if in_flight > 0 {
        return Err(format!("{in_flight} messages or objects are on their way"));
    }
    no_message_is_left(world).await?;
    // One that was broken off is handed out again after a while, which may be after the first expiry.
    sweeps_are_done(world).await?;
    let until = expiries(world).await?.first().map_or(world.now(), |first| world.now().max(just_before(*first)));
    let backlog = world.platform.jobs.backlog(until).await.map_err(|fault| fault.to_string())?;
    if backlog.overdue > 0 {
        return Err(format!("there is something to do before the first job expires: {backlog:?}"));
    }
    Ok(())
}

/// Nobody has looked for the litter of a job that is there, and then not come to the end of its sweep, but long enough ago that
/// somebody else has been handed it. (Who is late with it looks after that, and ends nothing.)
async fn sweeps_are_done(world: &World) -> Result<(), String> {
    let handed_out_again = 2 * Duration::from_secs(world.settings.working_due_seconds);
    let jobs = world.mischief.trace().jobs.clone();
    for id in jobs {
        let is_there = world.platform.jobs.job(id).await.map_err(|fault| fault.to_string())?.is_some();
        let trace = world.mischief.trace();
        let (listed, swept) = (trace.last("outputs.list", id), trace.last("jobs.swept", id));
        if is_there && listed > swept && listed.is_some_and(|at| world.now() < BEGINNING + at + handed_out_again) {
            return Err(format!("the sweep of {id} was broken off"));
        }
    }
    Ok(())
}

/// Neither waiting nor dead; what a worker holds waits again when it is gone.
pub async fn no_message_is_left(world: &World) -> Result<(), String> {
    for lane in Lane::ALL {
        let depth = world.platform.lanes.of(lane).depth().await.map_err(|fault| fault.to_string())?;
        if depth.waiting + depth.dead > 0 {
            return Err(format!("the lane {} has {depth:?}", lane.name()));
        }
    }
    Ok(())
}

/// There is no object that no manifest names, and no upload, but what came after the janitor had looked for them for the
/// last time: that goes when the job expires.
fn no_litter(world: &World, seen: &[Seen]) -> Result<(), String> {
    let named = |key: &OutputKey| {
        let names =
            |seen: &Seen| !seen.deleted && seen.manifest.as_ref().is_some_and(|all| all.files.contains_key(key));
        seen.iter().any(names)
    };
    let trace = world.mischief.trace();
    let is_late =
        |call: &str, job: JobId, at: Instant| trace.last(call, job).is_some_and(|last| at >= BEGINNING + last);
    for (key, finished_at) in world.store.finished() {
        if !named(&key) && !is_late("outputs.list", key.job, finished_at) {
            return Err(format!("no manifest names the object {key}"));
        }
    }
    for (key, begun_at) in world.store.unfinished() {
        if !is_late("outputs.abandon_uploads", key.job, begun_at) {
            return Err(format!("the upload of {key} was left unfinished"));
        }
    }
    Ok(())
}

/// When the jobs expire that there are, in that order.
async fn expiries(world: &World) -> Result<Vec<Instant>, String> {
    let mut expiries = Vec::new();
    let jobs = world.mischief.trace().jobs.clone();
    for id in jobs {
        let Some(job) = world.platform.jobs.job(id).await.map_err(|fault| fault.to_string())? else { continue };
        expiries.push(job.expires_at.ok_or_else(|| format!("{id} has ended and never expires"))?);
    }
    expiries.sort_unstable();
    Ok(expiries)
}

fn just_before(time: Instant) -> Instant {
    Instant::from_unix_micros(time.unix_micros() - 1)
}

/// When the last job has expired, a worker removes all that there is of any.
pub async fn all_goes_when_it_expires(world: &World) -> Result<(), String> {
    if let Some(last) = expiries(world).await?.last() {
        sleep(last.since(world.now())).await;
    }
    let store = &world.platform.jobs;
    let gone = async {
        let mut left = String::new();
        for _ in 0..100 {
            let backlog = store.backlog(world.now()).await.map_err(|fault| fault.to_string())?;
            let (objects, uploads) = (world.store.names(), world.store.unfinished());
            if backlog.jobs == 0 && objects.is_empty() && uploads.is_empty() {
                return Ok(());
            }
            left = format!("{backlog:?}, {objects:?}, {uploads:?} are left");
            sleep(Duration::from_secs(1)).await;
        }
        Err(left)
    };
    world.with_a_calm_worker(gone).await
}

/// Fails unless a job has come to the end that its client has seen.
pub async fn has_ended(world: &World, seen: &Seen) -> Result<(), String> {
    let job = world.platform.jobs.job(seen.job).await.map_err(|fault| fault.to_string())?;
    match (job.map(|job| job.state), seen.deleted) {
        (Some(JobState::Completed), false) | (Some(JobState::Cancelled) | None, true) => Ok(()),
        (state, _) => Err(format!("{} ended as {state:?}", seen.job)),
    }
}
