//! How often a client may poll a job: so many times at once, then at a steady rate.
//!
//! Each replica counts by itself and in memory, so that a poll costs no call for it: behind a balancer of n replicas a
//! client gets up to n times the rate. That is enough to slow down a client that polls in a loop, which is what the limit
//! is for; the number of jobs that a client may have at a time is counted in the job store, for all replicas together.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use shared::export::{ClientId, JobId};

/// After so many polls the counts of jobs that nobody polls any more are forgotten.
const POLLS_BETWEEN_CLEANINGS: u32 = 1_024;

/// Who polls what: a client, a job, and a page of its manifest.
type Polled = (ClientId, JobId, usize);

/// The limit on polls of one client for one job. Each page of a manifest that is cut into pages counts by itself, so that
/// a client gets through hundreds of them.
///
/// It holds a few bytes for each job that was polled within the time in which a used-up burst fills up again (20 seconds by
/// default), and for [`POLLS_BETWEEN_CLEANINGS`] more at most. Ask it about jobs and pages that there may be, so that nobody
/// fills it with made-up ones.
pub struct PollLimit<C: Clock = MonotonicClock> {
    counts: RateLimiter<Polled, HashMapStateStore<Polled>, C, NoOpMiddleware<C::Instant>>,
    polls: AtomicU32,
}

impl PollLimit {
    /// A limit of `per_minute` polls a minute, and `burst` at once. Zero counts as one.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        Self::with_clock(per_minute, burst, MonotonicClock)
    }
}

impl<C: Clock + Clone> PollLimit<C> {
    fn with_clock(per_minute: u32, burst: u32, clock: C) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(per_minute)).allow_burst(at_least_one(burst));
        let counts = RateLimiter::hashmap_with_clock(quota, clock);
        Self { counts, polls: AtomicU32::new(0) }
    }

    /// Counts a poll. When it comes too early, the error is the time to wait, in whole seconds from 1 on; then it does not
    /// count.
    pub fn check(&self, client: &ClientId, job: JobId, page: usize) -> Result<(), u32> {
        if self.polls.fetch_add(1, Ordering::Relaxed) % POLLS_BETWEEN_CLEANINGS == POLLS_BETWEEN_CLEANINGS - 1 {
            self.counts.retain_recent();
            self.counts.shrink_to_fit();
        }
        self.counts
            .check_key(&(client.clone(), job, page))
            .map_err(|early| whole_seconds(early.wait_time_from(self.counts.clock().now())))
    }
}

/// Rounded up, and at least one.
fn whole_seconds(wait: Duration) -> u32 {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limit() -> (PollLimit<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (PollLimit::with_clock(60, 20, clock.clone()), clock)
    }

    fn client(name: &str) -> ClientId {
        ClientId(name.to_owned())
    }

    #[test]
    fn polling_once_a_second_is_never_too_often() {
        let (limit, clock) = limit();
        let job = JobId::random();
        for second in 0..600 {
            assert_eq!(limit.check(&client("c"), job, 1), Ok(()), "at second {second}");
            clock.advance(Duration::from_secs(1));
        }
    }

    #[test]
    fn a_burst_is_let_through_and_the_next_poll_is_told_when_to_come_back() {
        let (limit, clock) = limit();
        let job = JobId::random();
        for poll in 0..20 {
            assert_eq!(limit.check(&client("c"), job, 1), Ok(()), "poll {poll}");
        }
        assert_eq!(limit.check(&client("c"), job, 1), Err(1));
        clock.advance(Duration::from_secs(1));
        assert_eq!(limit.check(&client("c"), job, 1), Ok(()));
    }

    #[test]
    fn each_client_each_job_and_each_page_is_counted_by_itself() {
        let (limit, _clock) = limit();
        let (job, other) = (JobId::random(), JobId::random());
        while limit.check(&client("c"), job, 1).is_ok() {}
        assert_eq!(limit.check(&client("c"), other, 1), Ok(()));
        assert_eq!(limit.check(&client("d"), job, 1), Ok(()));
        assert_eq!(limit.check(&client("c"), job, 2), Ok(()));
    }

    #[test]
    fn jobs_that_nobody_polls_any_more_are_forgotten() {
        let (limit, clock) = limit();
        for _ in 1..POLLS_BETWEEN_CLEANINGS {
            limit.check(&client("c"), JobId::random(), 1).expect("it is the first poll of its job");
        }
        clock.advance(Duration::from_mins(1));
        limit.check(&client("c"), JobId::random(), 1).expect("it is the first poll of its job");
        assert_eq!(limit.counts.len(), 1);
    }

    #[test]
    fn waits_are_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds, "{millis}");
        }
    }
}
