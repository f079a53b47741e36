//! The live jobs of each client: a set of jobs for every client that has some.
//!
//! A set is in another slot of a cluster than its jobs, so that no script can change it together with one. It may name
//! more jobs than are alive: who counts asks each for its state, and takes out those that have ended. These rules see to
//! it that it never names less for long:
//!
//! - A job is in the set before its record exists, so that no crash leaves a job that is alive and does not count.
//! - A job without a record is taken out too: its record is gone, or was never made. It may also be about to be made; so
//!   who takes it out looks once more afterwards and puts it back, and who makes the record puts it back as well. One of
//!   the two comes last and sees the other, whatever their clocks say; no time is looked at here.

use std::time::Duration;

use super::{RedisJobs, millis};
use crate::export::{ClientId, JobId, JobState};
use crate::fault::Fault;
use crate::jobs::Digest;

/// When the jobs of a client go who has not begun one since: longer than any job runs.
const CLIENT_EXPIRY: Duration = Duration::from_hours(30 * 24);
/// Jobs whose states are asked for in one go.
const JOBS_AT_ONCE: usize = 1_000;

impl RedisJobs {
    /// Counts a job among those of its client.
    pub(super) async fn join(&self, job: JobId, client: &ClientId) -> Result<(), Fault> {
        let set = self.jobs_of(client);
        let mut commands = redis::pipe();
        commands.sadd(&set, job.to_string()).ignore();
        commands.cmd("PEXPIRE").arg(&set).arg(millis(CLIENT_EXPIRY)).ignore();
        self.connection.send(&commands, "note the client of job", job).await
    }

    /// Takes a job that is to be forgotten from those of its client, if it has a record to tell who that is.
    pub(super) async fn leave(&self, job: JobId) -> Result<(), Fault> {
        let mut commands = redis::pipe();
        commands.hget(self.keys(job).job(), "client");
        let (client,): (Option<String>,) = self.connection.send(&commands, "read job", job).await?;
        let Some(client) = client else { return Ok(()) };
        let mut commands = redis::pipe();
        commands.srem(self.jobs_of(&ClientId(client)), job.to_string()).ignore();
        self.connection.send(&commands, "take from its client job", job).await
    }

    /// [`JobStore::live_jobs`](crate::jobs::JobStore::live_jobs).
    pub(super) async fn count_live(&self, client: &ClientId) -> Result<u64, Fault> {
        let set = self.jobs_of(client);
        let mut commands = redis::pipe();
        commands.smembers(&set);
        let (names,): (Vec<String>,) = self.connection.send(&commands, "count", "the jobs of a client").await?;
        let jobs: Vec<JobId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let mut alive = 0;
        for some in jobs.chunks(JOBS_AT_ONCE) {
            let are_alive = self.are_alive(some).await?;
            alive += are_alive.iter().filter(|is_alive| **is_alive).count() as u64;
            let dead = some.iter().zip(are_alive).filter(|(_, is_alive)| !is_alive);
            let dead: Vec<JobId> = dead.map(|(job, _)| *job).collect();
            alive += self.discount(&set, &dead).await?;
        }
        Ok(alive)
    }

    /// Takes jobs that are not alive out of a set, and answers how many of them turned out to be so by then.
    async fn discount(&self, set: &str, jobs: &[JobId]) -> Result<u64, Fault> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let names: Vec<String> = jobs.iter().map(JobId::to_string).collect();
        let mut commands = redis::pipe();
        commands.srem(set, &names).ignore();
        self.connection.send::<()>(&commands, "forget", "jobs that have ended").await?;

        let are_alive = self.are_alive(jobs).await?;
        let recorded = names.iter().zip(are_alive).filter(|(_, is_alive)| *is_alive);
        let recorded: Vec<&String> = recorded.map(|(name, _)| name).collect();
        if recorded.is_empty() {
            return Ok(0);
        }
        let mut commands = redis::pipe();
        commands.sadd(set, &recorded).ignore();
        commands.cmd("PEXPIRE").arg(set).arg(millis(CLIENT_EXPIRY)).ignore();
        self.connection.send::<()>(&commands, "note the client of", "jobs").await?;
        Ok(recorded.len() as u64)
    }

    /// Whether each job is recorded and at no end. One in a state that this build does not know counts: a client must not be
    /// kept from its other jobs by it, nor have one more for it.
    async fn are_alive(&self, jobs: &[JobId]) -> Result<Vec<bool>, Fault> {
        let mut commands = redis::pipe();
        for job in jobs {
            commands.hget(self.keys(*job).job(), "state");
        }
        let states: Vec<Option<String>> = self.connection.send(&commands, "read the states of", "jobs").await?;
        let is_alive = |state: String| JobState::from_name(&state).is_none_or(JobState::is_alive);
        Ok(states.into_iter().map(|state| state.is_some_and(is_alive)).collect())
    }

    /// The set of a client: its jobs. A digest stands for the client, whose name may hold anything, braces too.
    fn jobs_of(&self, client: &ClientId) -> String {
        format!("{}:client:{}", self.connection.namespace(), Digest::of(&client.0))
    }
}
