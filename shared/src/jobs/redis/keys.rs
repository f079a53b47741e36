//! The names of the keys. All keys of a job carry the hash tag `{job}`, so that Redis Cluster keeps them in one slot and
//! a script may touch them together; the index of all jobs and the sets of live jobs are in slots of their own.

use crate::export::{JobId, TaskKind};
use crate::fhir::ResourceType;
use crate::jobs::Digest;

/// The keys of one job.
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(namespace: &str, job: JobId) -> Self {
        Self { prefix: format!("{namespace}:{{{job}}}") }
    }

    fn named(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// Hash: the record of the job.
    pub(super) fn job(&self) -> String {
        self.named("job")
    }

    /// Hash: task → its kind as JSON.
    pub(super) fn tasks(&self) -> String {
        self.named("tasks")
    }

    /// Sorted set: open task → its due time in microseconds, which a double holds until the year 2255.
    pub(super) fn due(&self) -> String {
        self.named("due")
    }

    /// Hash: task → starts, and `{task}:uncounted` → starts that do not count.
    pub(super) fn attempts(&self) -> String {
        self.named("attempts")
    }

    /// Hash: done task → the winning attempt, a blank, how many tasks were done with it, a blank, and what it wrote as JSON.
    pub(super) fn done(&self) -> String {
        self.named("done")
    }

    /// Every key but the buckets, in the order in which the scripts that end a job take them.
    pub(super) fn all(&self) -> [String; 5] {
        [self.job(), self.tasks(), self.due(), self.attempts(), self.done()]
    }

    /// Hash: digest → the task that claimed it.
    pub(super) fn bucket(&self, number: u32) -> String {
        self.named(&format!("claims:{number:x}"))
    }
}

/// How many claims a bucket should hold. Redis keeps a hash of up to 128 small entries as one flat list, of 23 bytes a
/// claim; random digests fill a bucket for 64 with more than 128 about once in 10^12 times.
const CLAIMS_PER_BUCKET: u64 = 64;

/// How many buckets the claims of a job are spread over: a power of two, for about as many claims as the list names
/// resources whose references lead beyond it.
pub(super) fn buckets(tasks: &[TaskKind]) -> u32 {
    let leads_on = |kind: ResourceType| [ResourceType::COVERAGE, ResourceType::PRACTITIONER_ROLE].contains(&kind);
    let claims: u64 = tasks
        .iter()
        .filter_map(|task| match task {
            TaskKind::Listed(slice) if leads_on(slice.resource_type) => Some(slice.ids),
            _ => None,
        })
        .sum();
    let buckets = (claims / CLAIMS_PER_BUCKET).clamp(16, 1 << 20).next_power_of_two();
    u32::try_from(buckets).expect("at most 2^20")
}

/// The bucket that a digest is in, of a power of two of them.
pub(super) fn bucket_of(digest: &Digest, buckets: u32) -> u32 {
    let [a, b, c, d, ..] = digest.0;
    u32::from_be_bytes([a, b, c, d]) & (buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Slice;

    fn slice(resource_type: ResourceType, ids: u64) -> TaskKind {
        let through = "z".parse().expect("an id");
        TaskKind::Listed(Slice { resource_type, after: None, through, ids })
    }

    #[test]
    fn a_bucket_is_made_for_about_64_claims() {
        assert_eq!(buckets(&[TaskKind::List { members: 5_000_000 }, slice(ResourceType::PATIENT, 5_000_000)]), 16);
        assert_eq!(
            buckets(&[slice(ResourceType::COVERAGE, 100_000), slice(ResourceType::PRACTITIONER_ROLE, 1)]),
            2_048
        );
    }

    #[test]
    fn digests_spread_evenly_over_the_buckets() {
        let mut filled = [0_u32; 64];
        for number in 0..4_096 {
            filled[bucket_of(&Digest::of(&format!("Organization/{number}")), 64) as usize] += 1;
        }
        assert!(filled.iter().all(|&claims| (16..128).contains(&claims)), "{filled:?}");
    }
}
