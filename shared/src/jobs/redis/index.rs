//! The index: one sorted set of all jobs by the time at which somebody must look at each.
//!
//! It is in another slot of a cluster than the jobs, so that no script can change it together with one. These rules keep
//! it true over crashes and races:
//!
//! - Its time for a job is never later than the job's own: whoever makes a time in the job earlier lowers it afterwards,
//!   and one that is too early costs a look in vain. A crash in between delays the job to the next look that was
//!   arranged, at most the janitor's `again`.
//! - The janitor first takes a job, which moves it to `again`, then looks at it; so two janitors never work on the same
//!   job, and one that dies has lost nothing.
//! - A job is in the index before its record exists, and leaves it after its record is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use redis::{RedisResult, ToRedisArgs};
use tracing::warn;

use super::RedisJobs;
use super::record::{VERSION, open_tasks, unreadable};
use crate::export::{JobId, JobState};
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;
use crate::jobs::{Backlog, Chore};

/// Jobs that one janitor looks at at a time.
const LOOKS_AT_ONCE: usize = 16;

/// What `look` gives.
type Looked = (String, i64, Vec<u32>, Vec<String>, Option<String>);

/// Jobs whose states are asked for in one go, so that Redis answers others in between.
const COUNTED_AT_ONCE: usize = 500;

impl RedisJobs {
    /// The index: job → the time at which somebody must look at it.
    pub(super) fn index(&self) -> String {
        format!("{}:jobs", self.connection.namespace())
    }

    /// Sees to it that somebody looks at a job at `at` or before; called after the job itself has changed.
    pub(super) async fn lower(&self, job: JobId, at: Instant) -> Result<(), Fault> {
        self.score(job, "LT", at).await
    }

    /// The same before the job has changed, when it is not certain that there is one.
    pub(super) async fn lower_if_there(&self, job: JobId, at: Instant) -> Result<(), Fault> {
        self.score(job, &["XX", "LT"], at).await
    }

    /// Puts a job into the index if it is not there.
    pub(super) async fn enlist(&self, job: JobId, at: Instant) -> Result<(), Fault> {
        self.score(job, "NX", at).await
    }

    async fn score(&self, job: JobId, condition: impl ToRedisArgs, at: Instant) -> Result<(), Fault> {
        let mut commands = redis::pipe();
        commands.cmd("ZADD").arg(self.index()).arg(condition).arg(at.unix_micros()).arg(job.to_string()).ignore();
        self.connection.send(&commands, "arrange a look at job", job).await
    }

    /// Looks at a job that was taken from the index. What is wrong with its record alone is its chore, not a fault of the
    /// look: all other jobs would stand still with it.
    async fn look_alone(&self, job: JobId, now: Instant, again: Instant) -> Result<Option<(JobId, Chore)>, Fault> {
        match self.look(job, now, again).await {
            Err(fault) if fault.kind() == FaultKind::Corrupt => Ok(Some((job, Chore::Mend { why: fault.to_string() }))),
            // A server that refuses this may refuse the next one as well, and says nothing of the record.
            Err(fault) if !fault.is_transient() => {
                warn!(job.id = %job, %fault, "cannot look at job {job} now");
                Ok(None)
            }
            looked => looked,
        }
    }

    /// Looks at a job that was taken from the index.
    async fn look(&self, job: JobId, now: Instant, again: Instant) -> Result<Option<(JobId, Chore)>, Fault> {
        let keys = self.keys(job);
        let mut look = self.scripts.look.prepare_invoke();
        look.key(keys.job())
            .key(keys.tasks())
            .key(keys.due())
            .arg(now.unix_micros())
            .arg(again.unix_micros())
            .arg(VERSION);
        let Some((chore, next, tasks, kinds, trace)) =
            self.connection.call::<Option<Looked>>(&look, "look at job", job).await?
        else {
            self.delist(job, now).await?;
            return Ok(None);
        };
        let next = Instant::from_unix_micros(next);
        if next < again {
            self.lower(job, next).await?;
        } else if next > again {
            let mut raise = self.scripts.raise.prepare_invoke();
            raise.key(self.index()).arg(job.to_string()).arg(again.unix_micros()).arg(next.unix_micros());
            self.connection.call::<()>(&raise, "put off job", job).await?;
        }
        match chore.as_str() {
            "none" => Ok(None),
            "publish" => Ok(Some((job, Chore::Publish { tasks: open_tasks(&tasks, &kinds), trace }))),
            "sweep" => Ok(Some((job, Chore::Sweep))),
            "remove" => Ok(Some((job, Chore::Remove))),
            _ => Err(unreadable(job, "chore")),
        }
    }

    /// Takes a job without a record out of the index. Looks once more afterwards, because the job may just be recorded by
    /// somebody who found it in the index still.
    async fn delist(&self, job: JobId, now: Instant) -> Result<(), Fault> {
        let mut commands = redis::pipe();
        commands.zrem(self.index(), job.to_string()).ignore().exists(self.keys(job).job());
        let (recorded,): (bool,) = self.connection.send(&commands, "delist job", job).await?;
        if recorded { self.enlist(job, now).await } else { Ok(()) }
    }

    /// [`JobStore::chores`](crate::jobs::JobStore::chores): takes and looks, until nothing is due or there is enough.
    pub(super) async fn take_chores(
        &self,
        now: Instant,
        again: Instant,
        limit: usize,
    ) -> Result<Vec<(JobId, Chore)>, Fault> {
        // A job that is looked at again at once would be taken for ever by the loop below.
        let again = again.max(now + Duration::from_micros(1));
        let mut chores = Vec::new();
        while chores.len() < limit {
            let mut take = self.scripts.take.prepare_invoke();
            take.key(self.index()).arg(now.unix_micros()).arg(again.unix_micros()).arg(limit - chores.len());
            let taken: Vec<String> = self.connection.call(&take, "take", "due jobs").await?;
            if taken.is_empty() {
                break;
            }
            let jobs: Vec<JobId> = taken.iter().filter_map(|job| job.parse().ok()).collect();
            let looks = stream::iter(jobs).map(|job| self.look_alone(job, now, again)).buffered(LOOKS_AT_ONCE);
            let looks: Vec<_> = looks.try_collect().await?;
            chores.extend(looks.into_iter().flatten());
        }
        Ok(chores)
    }

    /// [`JobStore::backlog`](crate::jobs::JobStore::backlog). The states are asked of the records, because a count that is
    /// kept beside them would have to be kept over crashes, too: a thousand jobs cost Redis 2.5 milliseconds.
    pub(super) async fn count_all(&self, now: Instant) -> Result<Backlog, Fault> {
        let mut commands = redis::pipe();
        commands.zcount(self.index(), "-inf", now.unix_micros()).zrange_withscores(self.index(), 0, -1);
        let (overdue, all): (u64, Vec<(String, f64)>) = self.connection.send(&commands, "count", "jobs").await?;
        let oldest = all.first().filter(|_| overdue > 0).map(|(_, micros)| micros_of(*micros));
        let mut states = BTreeMap::new();
        for some in all.chunks(COUNTED_AT_ONCE) {
            let mut commands = redis::pipe();
            // A record that is no record keeps nobody from counting the others.
            commands.ignore_errors();
            for job in some.iter().filter_map(|(job, _)| job.parse().ok()) {
                commands.hget(self.keys(job).job(), "state");
            }
            let names: Vec<RedisResult<Option<String>>> =
                self.connection.send(&commands, "count", "the states of jobs").await?;
            for state in names.into_iter().flatten().flatten().filter_map(|name| JobState::from_name(&name)) {
                *states.entry(state).or_default() += 1;
            }
        }
        Ok(Backlog { jobs: all.len() as u64, states, overdue, oldest_due: oldest.map(Instant::from_unix_micros) })
    }
}

/// A time in the index. Microseconds of our days are whole numbers in a double, too.
#[expect(clippy::cast_possible_truncation, reason = "it was a whole number before Redis had it")]
fn micros_of(score: f64) -> i64 {
    score as i64
}
