//! Claims: digests in many small hashes, because Redis keeps a small hash as one flat list. One claim takes 27 bytes so
//! (measured with 49 in a hash, names and expiries included), and 112 in one big hash.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::keys::bucket_of;
use super::{RedisJobs, millis};
use crate::export::{JobId, TaskRef};
use crate::fault::Fault;
use crate::jobs::Digest;

/// Digests in one call of the script: a millisecond or two of the server's only thread.
const DIGESTS_AT_ONCE: usize = 1_000;
/// Calls that a claim has on the way at a time.
const CALLS_AT_ONCE: usize = 4;
/// Keys in one `UNLINK`.
const KEYS_AT_ONCE: usize = 1_000;
/// When claims go that nobody has removed: longer than any job runs.
const CLAIMS_EXPIRY: Duration = Duration::from_hours(30 * 24);

/// A digest that is asked for: its place in the call of the port, and its bucket.
#[derive(Clone, Copy)]
struct Asked {
    place: usize,
    bucket: u32,
    digest: Digest,
}

impl RedisJobs {
    /// [`JobStore::claim`](crate::jobs::JobStore::claim): bucket by bucket, with the answers back in the order of the
    /// question.
    pub(super) async fn claim_all(&self, task: TaskRef, digests: &[Digest]) -> Result<Vec<bool>, Fault> {
        let nothing = vec![false; digests.len()];
        let Some(buckets) = self.buckets(task.job).await?.filter(|buckets| buckets.is_power_of_two()) else {
            return Ok(nothing);
        };
        let asked = |(place, &digest)| Asked { place, bucket: bucket_of(&digest, buckets), digest };
        let mut asked: Vec<Asked> = digests.iter().enumerate().map(asked).collect();
        asked.sort_by_key(|asked| asked.bucket);
        let batches: Vec<_> = asked.chunks(DIGESTS_AT_ONCE).map(<[Asked]>::to_vec).collect();

        let mut mine = nothing.clone();
        let calls = stream::iter(batches).map(|batch| self.claim_some(task, batch)).buffer_unordered(CALLS_AT_ONCE);
        let mut calls = std::pin::pin!(calls);
        while let Some(answers) = calls.try_next().await? {
            let Some(answers) = answers else { return Ok(nothing) };
            for (place, answer) in answers {
                mine[place] = answer;
            }
        }
        Ok(mine)
    }

    /// One call of the script, with the place of each answer; `None` when the job is not running.
    async fn claim_some(&self, task: TaskRef, asked: Vec<Asked>) -> Result<Option<Vec<(usize, bool)>>, Fault> {
        let keys = self.keys(task.job);
        let mut claim = self.scripts.claim.prepare_invoke();
        claim.key(keys.job()).arg(task.task.0).arg(millis(CLAIMS_EXPIRY));
        for of_one_bucket in asked.chunk_by(|left, right| left.bucket == right.bucket) {
            claim.key(keys.bucket(of_one_bucket[0].bucket));
            claim.arg(of_one_bucket.iter().flat_map(|asked| asked.digest.0).collect::<Vec<u8>>());
        }
        let answers: Option<Vec<u8>> = self.connection.call(&claim, "claim for task", task).await?;
        let placed = |answers: Vec<u8>| {
            let places = asked.iter().map(|asked| asked.place);
            places.zip(answers.into_iter().map(|answer| answer == b'1')).collect()
        };
        Ok(answers.map(placed))
    }

    /// Removes the claims of a job.
    pub(super) async fn forget_claims(&self, job: JobId) -> Result<(), Fault> {
        let keys = self.keys(job);
        let buckets = self.buckets(job).await?.unwrap_or(0);
        let names: Vec<String> = (0..buckets).map(|number| keys.bucket(number)).collect();
        for names in names.chunks(KEYS_AT_ONCE) {
            let mut commands = redis::pipe();
            commands.unlink(names).ignore();
            self.connection.send::<()>(&commands, "remove claims of job", job).await?;
        }
        Ok(())
    }

    /// How many buckets the claims of a job are in; `None` before its plan.
    async fn buckets(&self, job: JobId) -> Result<Option<u32>, Fault> {
        let mut commands = redis::pipe();
        commands.hget(self.keys(job).job(), "buckets");
        let (buckets,) = self.connection.send(&commands, "read job", job).await?;
        Ok(buckets)
    }
}
