//! What a client is told while its job runs: how far it is, and when to ask again. Pure.

use shared::export::{Job, JobState};
use shared::fhir::Instant;

/// The `X-Progress` of a running job, under 100 characters (standards §1.4).
pub fn text(job: &Job) -> String {
    if job.state == JobState::Accepted {
        return "waiting for a worker".to_owned();
    }
    let done = job.progress;
    format!("{}%: {} of {} tasks done, {} resources written", job.percent(), done.done, done.tasks, done.lines)
}

/// The `Retry-After`: as long as the rest would take at the rate since the plan, within 1 to 30 seconds.
pub fn retry_after_seconds(job: &Job, now: Instant) -> u64 {
    // The transaction time is the time of the plan, or earlier when the source has long transactions.
    let began = job.transaction_time.map_or(job.created_at, |at| at.max(job.created_at));
    // The plan itself is one of the tasks, and says nothing about the rate of the others.
    let done = u64::from(job.progress.done.saturating_sub(1));
    let left = u64::from(job.progress.tasks.saturating_sub(job.progress.done));
    let millis = u64::try_from(now.since(began).as_millis()).unwrap_or(u64::MAX);
    let rest = match millis.saturating_mul(left).checked_div(done) {
        Some(millis) => millis.div_ceil(1_000),
        // Nothing is known yet: ask the less often the longer it takes.
        None => now.since(job.created_at).as_secs() / 4,
    };
    rest.clamp(1, 30)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::export::{Anchor, ClientId, ExportRequest, JobId, Operation, Progress};

    use super::*;

    fn job(state: JobState, tasks: u32, done: u32) -> Job {
        let created_at = Instant::from_unix_millis(1_767_607_200_000);
        Job {
            id: JobId::random(),
            client: ClientId("c".to_owned()),
            request: ExportRequest::new(Anchor::System, Operation::Export, String::new()),
            created_at,
            state,
            transaction_time: (tasks > 0).then_some(created_at),
            progress: Progress { tasks, done, lines: u64::MAX },
            ended_at: None,
            expires_at: None,
            failure: None,
        }
    }

    #[test]
    fn the_wait_is_the_time_that_the_rest_takes_at_the_rate_since_the_plan() {
        for (tasks, done, elapsed_millis, seconds) in [
            (0, 0, 0, 1),
            (0, 0, 3_000, 1),
            (0, 0, 40_000, 10),
            (0, 0, 4_000_000, 30),
            (5, 1, 0, 1),
            (5, 1, 8_000, 2),
            (5, 2, 2_000, 6),
            (5, 4, 3_000, 1),
            (5, 4, 3_003, 2),
            (101, 11, 1_000, 9),
            (101, 2, 10_000, 30),
        ] {
            let job = job(JobState::Running, tasks, done);
            let now = job.created_at + Duration::from_millis(elapsed_millis);
            assert_eq!(retry_after_seconds(&job, now), seconds, "{done} of {tasks} after {elapsed_millis} ms");
        }
    }

    #[test]
    fn a_transaction_time_long_before_the_kick_off_does_not_make_it_look_slow() {
        let mut job = job(JobState::Running, 5, 3);
        job.transaction_time = Some(Instant::from_unix_millis(0));
        assert_eq!(retry_after_seconds(&job, job.created_at + Duration::from_secs(2)), 2);
    }

    #[test]
    fn the_text_is_short_whatever_the_numbers() {
        for state in [JobState::Accepted, JobState::Running] {
            let text = text(&job(state, u32::MAX, u32::MAX / 100));
            assert!(text.len() < 100, "{text}");
        }
    }
}
