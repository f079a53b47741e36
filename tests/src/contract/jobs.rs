//! The contract of `shared::jobs::JobStore`: a test for each sentence of its text, run against both adapters; then what
//! only Redis can get wrong, and a model test that drives both with the same calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join, try_join_all};
use shared::export::{
    Anchor, Attempt, ClientId, Delivery, Encoding, ExportRequest, Failure, Grounds, Job, JobId, JobState, Lane,
    OpenTask, Operation, Output, OutputKey, OutputKind, Progress, Selection, Slice, Tally, TaskKind, TaskNo, TaskRef,
    Written,
};
use shared::fault::FaultKind;
use shared::fhir::{Instant, Issue, IssueCode, ResourceType};
use shared::jobs::memory::MemoryJobs;
use shared::jobs::redis::RedisJobs;
use shared::jobs::{Backlog, Chore, Completion, Digest, JobStore, NewJob, Opening, Plan, Start, StartToken, Work};
use shared::redis_connection::{RedisConnection, RedisSettings};

use crate::harness;

type Store = Arc<dyn JobStore>;

/// Runs each test against both adapters; what a test leaves in Redis goes, also when it fails.
macro_rules! contract {
    ($($sentence:ident)*) => {
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $sentence() {
                super::$sentence(std::sync::Arc::new(super::MemoryJobs::new())).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $sentence() {
                super::in_namespace(|namespace| async move {
                    super::$sentence(std::sync::Arc::new(super::redis_jobs(&namespace).await)).await;
                })
                .await;
            })*
        }
    };
}

contract! {
    a_job_is_recorded_accepted_and_read_back_as_it_was_given
    recording_a_job_again_changes_nothing
    a_job_that_was_never_recorded_is_not_there
    the_plan_is_due_at_the_time_given
    publishing_pushes_the_due_time_of_what_was_not_started
    publishing_leaves_the_due_time_of_what_was_started
    a_start_counts_an_attempt_and_pushes_the_due_time
    two_starts_at_once_have_attempts_of_their_own
    after_so_many_starts_a_task_is_exhausted
    a_start_that_is_told_again_is_the_same_start
    an_exhausted_task_is_left_to_whoever_may_be_at_work
    there_is_nothing_to_start_in_an_unknown_or_ended_job_or_a_task_that_is_done_or_not_open
    a_started_task_knows_what_is_to_be_done
    a_plan_makes_a_job_running_and_its_plan_task_done
    the_first_plan_wins
    a_plan_answers_the_open_tasks_each_due
    a_plan_comes_to_nothing_when_the_job_is_at_its_end
    a_plan_without_tasks_or_window_is_invalid
    keeping_pushes_the_due_time
    keeping_says_stop_when_the_job_is_at_its_end_or_the_task_is_done
    a_digest_belongs_to_the_first_task_that_claims_it
    a_redelivered_task_finds_its_own_claims
    claims_are_answered_in_order
    claims_are_the_jobs_own
    nothing_can_be_claimed_unless_the_job_is_running
    tasks_that_claim_the_same_at_once_get_each_digest_once
    the_first_completed_attempt_wins
    a_repeated_completion_of_the_winner_answers_as_the_first_did
    each_completion_opens_the_next_task
    a_completion_opens_tasks_until_the_window_is_full_and_two_at_most
    the_last_task_completes_the_job
    a_completion_is_lost_when_the_job_has_failed_or_was_cancelled
    completions_at_once_have_one_winner_and_open_each_task_once
    what_was_written_comes_in_the_order_of_completion
    what_was_there_once_stays_in_its_place
    the_files_and_the_tally_of_a_task_come_back_as_they_were_given
    the_plan_is_not_among_what_was_written
    nothing_was_written_for_a_job_that_failed_or_was_cancelled
    a_task_given_back_is_looked_at_again_when_it_is_due
    an_uncounted_attempt_does_not_count
    no_two_attempts_of_a_task_share_a_number
    giving_back_what_is_not_open_changes_nothing
    failing_ends_a_job_that_is_alive
    a_task_that_is_done_fails_no_job
    only_the_first_failure_counts
    cancelling_ends_a_job_at_any_other_end
    cancelling_twice_or_cancelling_an_unknown_job_answers_no
    due_tasks_are_handed_out_once_until_again
    chores_are_at_most_so_many
    two_janitors_never_get_the_same_work
    an_ended_job_is_swept_then_removed
    a_cancelled_job_is_swept_at_once_even_if_it_was_swept_before
    a_job_that_is_cancelled_during_its_sweep_is_swept_once_more
    a_sweep_that_was_not_told_of_is_handed_out_again
    a_job_that_is_removed_is_forgotten
    the_backlog_counts_jobs_and_those_that_need_somebody
    the_backlog_counts_the_jobs_in_each_state
    tasks_that_are_due_bear_the_trace_of_their_kick_off
    the_live_jobs_of_a_client_are_those_that_wait_or_run
    a_job_that_has_ended_or_was_removed_is_not_live
    a_job_that_is_recorded_again_counts_once
    clients_have_live_jobs_of_their_own
    a_store_that_can_be_asked_is_ready
}

use live::*;
use written::*;

/// Fails a job by the first of its tasks that is open; answers whether there was one.
async fn fail(store: &dyn JobStore, job: JobId, failure: &Failure, now: Instant, expires: Instant) -> bool {
    for no in 0..3 {
        if store.fail(task(job, no), failure, now, expires).await.unwrap() {
            return true;
        }
    }
    false
}

// Recording and reading

async fn a_job_is_recorded_accepted_and_read_back_as_it_was_given(store: Store) {
    let new = NewJob {
        id: JobId::random(),
        client: ClientId("client \"1\"\n\u{1F600}:{}".to_owned()),
        request: ExportRequest {
            anchor: Anchor::Group("list-1".parse().unwrap()),
            operation: Operation::DavinciDataExport,
            url: "https://example.org/fhir/Group/list-1/$davinci-data-export?_type=Patient%2CCoverage".to_owned(),
            grounds: Grounds {
                types: Some(BTreeSet::from([ResourceType::PATIENT])),
                identifiers: vec!["http://hl7.org/fhir/sid/us-npi|1316206220".parse().unwrap()],
                held_since: Some(Instant::from_unix_micros(1_767_607_200_000_003)),
            },
            selection: Selection {
                types: Some(BTreeSet::from([ResourceType::PATIENT, ResourceType::COVERAGE])),
                since: Some(Instant::from_unix_micros(1_767_607_200_000_001)),
                until: Some(Instant::from_unix_micros(1_767_607_200_000_002)),
                patients: Some(BTreeSet::from(["p-1".parse().unwrap(), "p-2".parse().unwrap()])),
                ..Selection::default()
            },
            delivery: Delivery {
                organized_by_patient: true,
                partial_manifests: true,
                separate_status: true,
                encoding: Encoding::Gzip,
            },
            notices: vec![Issue::error(IssueCode::NotSupported, "\"_sort\" was passed over")],
        },
        created_at: Instant::from_unix_micros(1_767_607_200_123_457),
        trace: None,
    };
    store.create(&new, at(30)).await.unwrap();
    let expected = Job {
        id: new.id,
        client: new.client,
        request: new.request,
        created_at: new.created_at,
        state: JobState::Accepted,
        transaction_time: None,
        progress: Progress::default(),
        ended_at: None,
        expires_at: None,
        failure: None,
    };
    assert_eq!(store.job(new.id).await.unwrap(), Some(expected));
}

async fn recording_a_job_again_changes_nothing(store: Store) {
    let job = running(&store, 2, 1).await;
    let before = store.job(job).await.unwrap();
    let again = NewJob { client: ClientId("another".to_owned()), ..new_job(job) };
    store.create(&again, at(0)).await.unwrap();
    assert_eq!(store.job(job).await.unwrap(), before);
    assert_eq!(publishes(&store, at(1), at(2)).await, [], "the due times stay too");
}

async fn a_job_that_was_never_recorded_is_not_there(store: Store) {
    let job = JobId::random();
    assert_eq!(store.job(job).await.unwrap(), None);
    assert_eq!(store.written(job).await.unwrap(), []);
    store.published(task(job, 0), at(1)).await.unwrap();
    store.give_back(task(job, 0), at(1), true).await.unwrap();
    store.swept(job, JobState::Cancelled).await.unwrap();
    assert_eq!(store.job(job).await.unwrap(), None);
    assert_eq!(store.backlog(at(100)).await.unwrap(), Backlog::default());
}

async fn the_plan_is_due_at_the_time_given(store: Store) {
    let job = accepted(&store, at(30)).await;
    assert_eq!(publishes(&store, before(at(30)), at(60)).await, []);
    assert_eq!(publishes(&store, at(30), at(60)).await, [(job, vec![0])]);
}

// Publishing and starting

async fn publishing_pushes_the_due_time_of_what_was_not_started(store: Store) {
    let job = accepted(&store, at(30)).await;
    store.published(task(job, 0), at(50)).await.unwrap();
    assert_eq!(publishes(&store, at(49), at(60)).await, []);
    assert_eq!(publishes(&store, at(50), at(60)).await, [(job, vec![0])]);
}

async fn publishing_leaves_the_due_time_of_what_was_started(store: Store) {
    let job = accepted(&store, at(30)).await;
    start(&store, task(job, 0), at(40)).await;
    store.published(task(job, 0), at(90)).await.unwrap();
    assert_eq!(publishes(&store, at(40), at(60)).await, [(job, vec![0])]);
}

async fn a_start_counts_an_attempt_and_pushes_the_due_time(store: Store) {
    let job = accepted(&store, at(30)).await;
    assert_eq!(start(&store, task(job, 0), at(40)).await.attempt, Attempt(1));
    assert_eq!(publishes(&store, at(39), at(60)).await, []);
    assert_eq!(start(&store, task(job, 0), at(50)).await.attempt, Attempt(2));
    assert_eq!(publishes(&store, at(49), at(60)).await, []);
    assert_eq!(publishes(&store, at(50), at(60)).await, [(job, vec![0])]);
}

async fn two_starts_at_once_have_attempts_of_their_own(store: Store) {
    let job = running(&store, 1, 1).await;
    let starts = join_all((0..8).map(|_| start(&store, task(job, 1), at(40)))).await;
    let attempts: BTreeSet<u32> = starts.iter().map(|work| work.attempt.0).collect();
    assert_eq!(attempts, (1..=8).collect());
}

async fn after_so_many_starts_a_task_is_exhausted(store: Store) {
    let job = running(&store, 1, 1).await;
    for _ in 0..3 {
        assert!(matches!(
            store.start(task(job, 1), StartToken::random(), 3, at(40), at(40)).await.unwrap(),
            Start::Work(_)
        ));
    }
    for _ in 0..2 {
        assert_eq!(
            store.start(task(job, 1), StartToken::random(), 3, at(90), at(90)).await.unwrap(),
            Start::Exhausted { attempts: 3 }
        );
    }
    assert_eq!(publishes(&store, at(40), at(60)).await, [(job, vec![1])], "the due time stays");
    assert!(
        matches!(store.start(task(job, 1), StartToken::random(), 4, at(40), at(40)).await.unwrap(), Start::Work(_)),
        "nothing was counted"
    );
}

async fn a_start_that_is_told_again_is_the_same_start(store: Store) {
    let job = running(&store, 1, 1).await;
    let token = StartToken::random();
    let first = store.start(task(job, 1), token, 1, at(30), at(40)).await.unwrap();
    assert!(matches!(first, Start::Work(_)));
    assert_eq!(store.start(task(job, 1), token, 1, at(30), at(50)).await.unwrap(), first);
    assert_eq!(publishes(&store, at(49), at(60)).await, [], "it pushes the due time as well");
}

async fn an_exhausted_task_is_left_to_whoever_may_be_at_work(store: Store) {
    let job = running(&store, 1, 1).await;
    let again = async |now: u64| store.start(task(job, 1), StartToken::random(), 1, at(now), at(90)).await.unwrap();
    assert!(matches!(
        store.start(task(job, 1), StartToken::random(), 1, at(30), at(40)).await.unwrap(),
        Start::Work(_)
    ));
    assert_eq!(again(39).await, Start::Nothing);
    assert!(store.keep(task(job, 1), at(50)).await.unwrap());
    assert_eq!(again(49).await, Start::Nothing);
    assert_eq!(again(50).await, Start::Exhausted { attempts: 1 });
    assert!(store.keep(task(job, 1), at(60)).await.unwrap());
    store.give_back(task(job, 1), at(70), false).await.unwrap();
    assert_eq!(again(55).await, Start::Exhausted { attempts: 1 }, "it was given back, so nobody is at work");
}

async fn there_is_nothing_to_start_in_an_unknown_or_ended_job_or_a_task_that_is_done_or_not_open(store: Store) {
    let job = running(&store, 3, 2).await;
    complete(&store, task(job, 1), 1).await;
    let ended = running(&store, 1, 1).await;
    fail(&*store, ended, &failure(), at(20), at(99)).await;
    for nothing in [task(JobId::random(), 0), task(ended, 1), task(job, 0), task(job, 1), task(job, 4), task(job, 9)] {
        assert_eq!(
            store.start(nothing, StartToken::random(), 5, at(40), at(40)).await.unwrap(),
            Start::Nothing,
            "{nothing}"
        );
    }
    let narrow = running(&store, 2, 1).await;
    assert_eq!(
        store.start(task(narrow, 2), StartToken::random(), 5, at(40), at(40)).await.unwrap(),
        Start::Nothing,
        "it was not opened yet"
    );
}

async fn a_started_task_knows_what_is_to_be_done(store: Store) {
    let job = accepted(&store, at(30)).await;
    let request = new_job(job).request;
    let expected = Work {
        attempt: Attempt(1),
        counted: 1,
        kind: TaskKind::Plan,
        request: request.clone(),
        transaction_time: None,
    };
    assert_eq!(start(&store, task(job, 0), at(40)).await, expected);
    let plan = plan(3, 3);
    store.plan(job, &plan, at(30)).await.unwrap();
    for (number, kind) in (1..).zip(plan.tasks) {
        let transaction_time = Some(plan.transaction_time);
        let expected = Work { attempt: Attempt(1), counted: 1, kind, request: request.clone(), transaction_time };
        assert_eq!(start(&store, task(job, number), at(40)).await, expected);
    }
}

// Planning

async fn a_plan_makes_a_job_running_and_its_plan_task_done(store: Store) {
    let job = accepted(&store, at(5)).await;
    store.plan(job, &plan(4, 2), at(30)).await.unwrap();
    let read = store.job(job).await.unwrap().unwrap();
    assert_eq!(read.state, JobState::Running);
    assert_eq!(read.transaction_time, Some(plan(4, 2).transaction_time));
    assert_eq!(read.progress, Progress { tasks: 5, done: 1, lines: 0 });
    assert!(!store.keep(task(job, 0), at(40)).await.unwrap());
    assert_eq!(publishes(&store, at(29), at(60)).await, []);
}

async fn the_first_plan_wins(store: Store) {
    let job = running(&store, 2, 2).await;
    let before = store.job(job).await.unwrap();
    let other = Plan { transaction_time: at(12), ..plan(7, 5) };
    assert_eq!(store.plan(job, &other, at(30)).await.unwrap(), numbers(1..=2));
    assert_eq!(store.job(job).await.unwrap(), before);
}

async fn a_plan_answers_the_open_tasks_each_due(store: Store) {
    let job = accepted(&store, at(5)).await;
    assert_eq!(store.plan(job, &plan(20, 12), at(30)).await.unwrap(), numbers(1..=12));
    let opening = Opening { window: 12, due: at(30) };
    store.complete(task(job, 2), Attempt(1), &Written::default(), opening, at(20), at(99)).await.unwrap();
    let open = numbers((1..=13).filter(|&number| number != 2));
    assert_eq!(store.plan(job, &plan(20, 12), at(35)).await.unwrap(), open);
    assert_eq!(publishes(&store, at(34), at(60)).await, []);
    let handed_out: Vec<u32> = open.iter().map(|task| task.no.0).collect();
    assert_eq!(publishes(&store, at(35), at(60)).await, [(job, handed_out)]);

    let small = accepted(&store, at(5)).await;
    assert_eq!(store.plan(small, &plan(2, 12), at(30)).await.unwrap(), numbers(1..=2));
}

async fn a_plan_comes_to_nothing_when_the_job_is_at_its_end(store: Store) {
    assert_eq!(store.plan(JobId::random(), &plan(2, 2), at(30)).await.unwrap(), []);
    for job in [accepted(&store, at(5)).await, running(&store, 2, 2).await] {
        store.cancel(job, at(20), at(99)).await.unwrap();
        let before = store.job(job).await.unwrap();
        assert_eq!(store.plan(job, &plan(2, 2), at(30)).await.unwrap(), []);
        assert_eq!(store.job(job).await.unwrap(), before);
    }
}

async fn a_plan_without_tasks_or_window_is_invalid(store: Store) {
    let job = accepted(&store, at(5)).await;
    for endless in [plan(0, 1), plan(1, 0)] {
        assert_eq!(store.plan(job, &endless, at(30)).await.unwrap_err().kind(), FaultKind::Invalid);
    }
    assert_eq!(store.job(job).await.unwrap().unwrap().state, JobState::Accepted);
}

// Working

async fn keeping_pushes_the_due_time(store: Store) {
    let job = running(&store, 2, 1).await;
    assert!(store.keep(task(job, 1), at(50)).await.unwrap());
    assert_eq!(publishes(&store, at(49), at(60)).await, []);
    assert_eq!(publishes(&store, at(50), at(60)).await, [(job, vec![1])]);
}

async fn keeping_says_stop_when_the_job_is_at_its_end_or_the_task_is_done(store: Store) {
    let job = running(&store, 2, 2).await;
    complete(&store, task(job, 1), 1).await;
    assert!(!store.keep(task(job, 1), at(50)).await.unwrap());
    assert!(store.keep(task(job, 2), at(50)).await.unwrap());
    store.cancel(job, at(20), at(99)).await.unwrap();
    assert!(!store.keep(task(job, 2), at(50)).await.unwrap());
    assert!(!store.keep(task(JobId::random(), 0), at(50)).await.unwrap());
}

// Claims

async fn a_digest_belongs_to_the_first_task_that_claims_it(store: Store) {
    let job = running(&store, 2, 2).await;
    assert_eq!(store.claim(task(job, 1), &digests(0..3)).await.unwrap(), [true, true, true]);
    assert_eq!(store.claim(task(job, 2), &digests(2..4)).await.unwrap(), [false, true]);
    assert_eq!(store.claim(task(job, 1), &digests(0..4)).await.unwrap(), [true, true, true, false]);
}

async fn a_redelivered_task_finds_its_own_claims(store: Store) {
    let job = running(&store, 2, 2).await;
    store.claim(task(job, 2), &digests(1_000..1_500)).await.unwrap();
    let first = store.claim(task(job, 1), &digests(0..3_000)).await.unwrap();
    store.claim(task(job, 2), &digests(0..3_000)).await.unwrap();
    assert_eq!(store.claim(task(job, 1), &digests(0..3_000)).await.unwrap(), first);
}

async fn claims_are_answered_in_order(store: Store) {
    let job = running(&store, 2, 2).await;
    let all = digests(0..2_500);
    let odd: Vec<Digest> = all.iter().copied().skip(1).step_by(2).collect();
    store.claim(task(job, 1), &odd).await.unwrap();
    let answers = store.claim(task(job, 2), &all).await.unwrap();
    assert_eq!(answers, (0..2_500).map(|number| number % 2 == 0).collect::<Vec<_>>());
    assert!(store.claim(task(job, 2), &[]).await.unwrap().is_empty());
}

async fn claims_are_the_jobs_own(store: Store) {
    for job in [running(&store, 1, 1).await, running(&store, 1, 1).await] {
        assert_eq!(store.claim(task(job, 1), &digests(0..2)).await.unwrap(), [true, true]);
    }
}

async fn nothing_can_be_claimed_unless_the_job_is_running(store: Store) {
    let waiting = accepted(&store, at(5)).await;
    let ended = running(&store, 1, 1).await;
    store.claim(task(ended, 1), &digests(0..2)).await.unwrap();
    store.cancel(ended, at(20), at(99)).await.unwrap();
    for job in [waiting, ended, JobId::random()] {
        assert_eq!(store.claim(task(job, 1), &digests(0..2)).await.unwrap(), [false, false]);
    }
}

async fn tasks_that_claim_the_same_at_once_get_each_digest_once(store: Store) {
    let job = running(&store, 8, 8).await;
    let all = digests(0..5_000);
    let claims = (1..=8).map(|number| {
        let (store, mut mine) = (store.clone(), all.clone());
        // Each begins elsewhere, so that all of them win some.
        mine.rotate_left(600 * (number as usize - 1));
        tokio::spawn(async move {
            let answers = store.claim(task(job, number), &mine).await.unwrap();
            mine.into_iter().zip(answers).filter_map(|(digest, won)| won.then_some(digest)).collect::<Vec<_>>()
        })
    });
    let won: Vec<Digest> = join_all(claims).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(won.len(), all.len());
    assert_eq!(BTreeSet::from_iter(won), BTreeSet::from_iter(all));
}

// Completing

async fn the_first_completed_attempt_wins(store: Store) {
    let job = running(&store, 2, 2).await;
    let work = task(job, 1);
    let won = Completion::Won { next: vec![], last: false };
    assert_eq!(complete_with(&store, work, 2, &written(work, 2, 2)).await, won);
    assert_eq!(complete_with(&store, work, 1, &written(work, 1, 5)).await, Completion::Lost);
    assert_eq!(store.written(job).await.unwrap(), [written(work, 2, 2)]);
    let lines = written(work, 2, 2).outputs.iter().map(|output| output.lines).sum();
    assert_eq!(store.job(job).await.unwrap().unwrap().progress, Progress { tasks: 3, done: 2, lines });
}

async fn a_repeated_completion_of_the_winner_answers_as_the_first_did(store: Store) {
    let job = running(&store, 3, 1).await;
    let won = |next, last| Completion::Won { next, last };
    assert_eq!(complete(&store, task(job, 1), 1).await, won(numbers(2..=3), false));
    for _ in 0..2 {
        assert_eq!(complete(&store, task(job, 1), 1).await, won(vec![], false));
    }
    complete(&store, task(job, 2), 1).await;
    assert_eq!(complete(&store, task(job, 3), 1).await, won(vec![], true));
    let before = store.job(job).await.unwrap();
    let late =
        store.complete(task(job, 3), Attempt(1), &Written::default(), opening(at(60)), at(50), at(200)).await.unwrap();
    assert_eq!(late, won(vec![], true));
    assert_eq!(complete(&store, task(job, 1), 1).await, won(vec![], false), "another task was the last");
    assert_eq!(complete(&store, task(job, 1), 2).await, Completion::Lost);
    assert_eq!(store.job(job).await.unwrap(), before);
}

async fn each_completion_opens_the_next_task(store: Store) {
    let job = running(&store, 5, 3).await;
    for (number, next) in [(2, Some(4)), (1, Some(5)), (4, None), (5, None), (3, None)] {
        let last = number == 3;
        let expected = Completion::Won { next: numbers(next), last };
        let answer = store
            .complete(task(job, number), Attempt(1), &Written::default(), opening(at(25)), at(20), at(99))
            .await
            .unwrap();
        assert_eq!(answer, expected, "task {number}");
        if let Some(next) = next {
            assert_eq!(publishes(&store, at(24), at(60)).await, []);
            assert_eq!(publishes(&store, at(25), at(60)).await, [(job, vec![next])]);
        }
    }
}

async fn a_completion_opens_tasks_until_the_window_is_full_and_two_at_most(store: Store) {
    let job = running(&store, 9, 2).await;
    // The task that is done, the window, and what is opened: the job grows, then shrinks to one.
    for (number, window, next) in [
        (1, 2, &[3][..]),
        (2, 9, &[4, 5]),
        (3, 9, &[6, 7]),
        (4, 4, &[8]),
        (5, 3, &[]),
        (6, 1, &[]),
        (7, 1, &[]),
        (8, 1, &[9]),
    ] {
        let opening = Opening { window, due: at(25) };
        let written = Written::default();
        let answer = store.complete(task(job, number), Attempt(1), &written, opening, at(20), at(99)).await.unwrap();
        let next = numbers(next.iter().copied());
        assert_eq!(answer, Completion::Won { next, last: false }, "task {number}, window {window}");
    }
    assert_eq!(publishes(&store, at(25), at(60)).await, [(job, vec![9])]);
    assert_eq!(complete(&store, task(job, 9), 1).await, Completion::Won { next: vec![], last: true });
}

async fn the_last_task_completes_the_job(store: Store) {
    let job = running(&store, 2, 2).await;
    complete(&store, task(job, 1), 1).await;
    assert_eq!(store.job(job).await.unwrap().unwrap().state, JobState::Running);
    let answer =
        store.complete(task(job, 2), Attempt(1), &Written::default(), opening(at(30)), at(21), at(98)).await.unwrap();
    assert_eq!(answer, Completion::Won { next: vec![], last: true });
    let read = store.job(job).await.unwrap().unwrap();
    assert_eq!((read.state, read.ended_at, read.expires_at), (JobState::Completed, Some(at(21)), Some(at(98))));
    assert_eq!((read.progress.tasks, read.progress.done), (3, 3));
}

async fn a_completion_is_lost_when_the_job_has_failed_or_was_cancelled(store: Store) {
    let (failed, cancelled) = (running(&store, 2, 2).await, running(&store, 2, 2).await);
    for job in [failed, cancelled] {
        complete(&store, task(job, 1), 1).await;
    }
    fail(&*store, failed, &failure(), at(20), at(99)).await;
    store.cancel(cancelled, at(20), at(99)).await.unwrap();
    for job in [failed, cancelled, JobId::random()] {
        for number in [0, 1, 2, 3] {
            assert_eq!(complete(&store, task(job, number), 1).await, Completion::Lost);
        }
    }
}

async fn completions_at_once_have_one_winner_and_open_each_task_once(store: Store) {
    const TASKS: u32 = 12;
    let job = running(&store, TASKS, 3).await;
    let mut opened: Vec<OpenTask> = Vec::new();
    for number in 1..=TASKS {
        let twins = (1..=16).map(|attempt| {
            let store = store.clone();
            tokio::spawn(async move { complete(&store, task(job, number), attempt).await })
        });
        let answers: Vec<Completion> = join_all(twins).await.into_iter().map(Result::unwrap).collect();
        let won: Vec<_> = answers.into_iter().filter(|answer| *answer != Completion::Lost).collect();
        let [Completion::Won { next, last }] = &won[..] else { panic!("{won:?} for task {number}") };
        assert_eq!(*last, number == TASKS);
        opened.extend_from_slice(next);
    }
    assert_eq!(opened, numbers(4..=TASKS));

    let job = running(&store, TASKS, TASKS).await;
    let all = (1..=TASKS).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { complete(&store, task(job, number), 1).await })
    });
    let answers: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    let last = answers.iter().filter(|answer| matches!(answer, Completion::Won { last: true, .. })).count();
    assert_eq!(last, 1, "{answers:?}");
}

// Giving back

async fn a_task_given_back_is_looked_at_again_when_it_is_due(store: Store) {
    let job = running(&store, 1, 1).await;
    start(&store, task(job, 1), at(80)).await;
    store.give_back(task(job, 1), at(45), false).await.unwrap();
    assert_eq!(publishes(&store, at(44), at(60)).await, []);
    assert_eq!(publishes(&store, at(45), at(60)).await, [(job, vec![1])]);
}

async fn an_uncounted_attempt_does_not_count(store: Store) {
    let job = running(&store, 1, 1).await;
    for _ in 0..5 {
        assert!(matches!(
            store.start(task(job, 1), StartToken::random(), 1, at(40), at(40)).await.unwrap(),
            Start::Work(_)
        ));
        store.give_back(task(job, 1), at(30), true).await.unwrap();
    }
    assert!(matches!(
        store.start(task(job, 1), StartToken::random(), 1, at(40), at(40)).await.unwrap(),
        Start::Work(_)
    ));
    store.give_back(task(job, 1), at(30), false).await.unwrap();
    assert_eq!(
        store.start(task(job, 1), StartToken::random(), 1, at(40), at(40)).await.unwrap(),
        Start::Exhausted { attempts: 1 }
    );
}

async fn no_two_attempts_of_a_task_share_a_number(store: Store) {
    let job = running(&store, 1, 1).await;
    let mut attempts = Vec::new();
    for uncounted in [true, true, false, true] {
        attempts.push(start(&store, task(job, 1), at(40)).await.attempt.0);
        store.give_back(task(job, 1), at(30), uncounted).await.unwrap();
    }
    assert_eq!(attempts, [1, 2, 3, 4]);
}

async fn giving_back_what_is_not_open_changes_nothing(store: Store) {
    let job = running(&store, 2, 1).await;
    store.give_back(task(job, 2), at(20), true).await.unwrap();
    store.give_back(task(job, 0), at(20), true).await.unwrap();
    assert_eq!(publishes(&store, at(29), at(60)).await, []);
    store.give_back(task(job, 1), at(30), true).await.unwrap();
    assert!(matches!(
        store.start(task(job, 1), StartToken::random(), 1, at(40), at(40)).await.unwrap(),
        Start::Work(_)
    ));
    assert_eq!(
        store.start(task(job, 1), StartToken::random(), 1, at(40), at(40)).await.unwrap(),
        Start::Exhausted { attempts: 1 }
    );
}

// Ends

async fn failing_ends_a_job_that_is_alive(store: Store) {
    for job in [accepted(&store, at(5)).await, running(&store, 2, 2).await] {
        assert!(fail(&*store, job, &failure(), at(20), at(99)).await);
        let read = store.job(job).await.unwrap().unwrap();
        assert_eq!((read.state, read.ended_at, read.expires_at), (JobState::Failed, Some(at(20)), Some(at(99))));
        assert_eq!(read.failure, Some(failure()));
    }
}

async fn a_task_that_is_done_fails_no_job(store: Store) {
    let job = running(&store, 2, 1).await;
    complete(&store, task(job, 1), 1).await;
    assert!(!store.fail(task(job, 1), &failure(), at(20), at(99)).await.unwrap());
    assert!(!store.fail(task(job, 9), &failure(), at(20), at(99)).await.unwrap());
    assert_eq!(store.job(job).await.unwrap().unwrap().state, JobState::Running);
    assert!(store.fail(task(job, 2), &failure(), at(20), at(99)).await.unwrap());
}

async fn only_the_first_failure_counts(store: Store) {
    let failed = running(&store, 1, 1).await;
    fail(&*store, failed, &failure(), at(20), at(99)).await;
    let completed = running(&store, 1, 1).await;
    complete(&store, task(completed, 1), 1).await;
    for job in [failed, completed] {
        let before = store.job(job).await.unwrap();
        let other = Failure { reason: "another".to_owned() };
        assert!(!fail(&*store, job, &other, at(30), at(109)).await);
        assert_eq!(store.job(job).await.unwrap(), before);
    }
    assert!(!fail(&*store, JobId::random(), &failure(), at(20), at(99)).await);
}

async fn cancelling_ends_a_job_at_any_other_end(store: Store) {
    let waiting = accepted(&store, at(5)).await;
    let working = running(&store, 1, 1).await;
    let completed = running(&store, 1, 1).await;
    complete(&store, task(completed, 1), 1).await;
    let failed = running(&store, 1, 1).await;
    fail(&*store, failed, &failure(), at(20), at(99)).await;
    for job in [waiting, working, completed, failed] {
        assert!(store.cancel(job, at(22), at(77)).await.unwrap());
        let read = store.job(job).await.unwrap().unwrap();
        assert_eq!((read.state, read.ended_at, read.expires_at), (JobState::Cancelled, Some(at(22)), Some(at(77))));
    }
}

async fn cancelling_twice_or_cancelling_an_unknown_job_answers_no(store: Store) {
    let job = running(&store, 1, 1).await;
    store.cancel(job, at(22), at(77)).await.unwrap();
    let before = store.job(job).await.unwrap();
    assert!(!store.cancel(job, at(30), at(99)).await.unwrap());
    assert_eq!(store.job(job).await.unwrap(), before);
    assert!(!store.cancel(JobId::random(), at(22), at(77)).await.unwrap());
    assert_eq!(store.backlog(at(1)).await.unwrap().jobs, 1);
}

// Chores

async fn due_tasks_are_handed_out_once_until_again(store: Store) {
    let job = running(&store, 3, 2).await;
    assert_eq!(publishes(&store, before(at(30)), at(60)).await, []);
    assert_eq!(publishes(&store, at(30), at(60)).await, [(job, vec![1, 2])]);
    store.keep(task(job, 2), at(70)).await.unwrap();
    assert_eq!(publishes(&store, before(at(60)), at(90)).await, []);
    assert_eq!(publishes(&store, at(60), at(90)).await, [(job, vec![1])]);
    assert_eq!(publishes(&store, at(90), at(120)).await, [(job, vec![1, 2])]);
}

async fn chores_are_at_most_so_many(store: Store) {
    let mut jobs = BTreeSet::new();
    for seconds in 0..7 {
        jobs.insert(accepted(&store, at(10 + seconds)).await);
        // Looked at in vain: its due time was pushed since.
        let pushed = accepted(&store, at(10 + seconds)).await;
        store.published(task(pushed, 0), at(80)).await.unwrap();
    }
    let mut handed_out = BTreeSet::new();
    for expected in [3, 3, 1, 0] {
        let chores = store.chores(at(20), at(60), 3).await.unwrap();
        assert_eq!(chores.len(), expected);
        handed_out.extend(chores.into_iter().map(|(job, _)| job));
    }
    assert_eq!(handed_out, jobs);
    assert_eq!(store.chores(at(100), at(160), 0).await.unwrap(), []);
}

async fn two_janitors_never_get_the_same_work(store: Store) {
    let mut expected = BTreeSet::new();
    for _ in 0..40 {
        let job = running(&store, 3, 3).await;
        expected.extend((1..=3).map(|number| task(job, number)));
    }
    let janitors = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut handed_out = Vec::new();
            loop {
                let chores = publishes_up_to(&store, at(30), at(60), 3).await;
                if chores.is_empty() {
                    return handed_out;
                }
                handed_out.extend(chores);
            }
        })
    });
    let handed_out = join_all(janitors).await.into_iter().flat_map(Result::unwrap);
    let tasks: Vec<TaskRef> =
        handed_out.flat_map(|(job, tasks)| tasks.into_iter().map(move |number| task(job, number))).collect();
    assert_eq!(tasks.len(), expected.len());
    assert_eq!(BTreeSet::from_iter(tasks), expected);
}

async fn an_ended_job_is_swept_then_removed(store: Store) {
    let completed = running(&store, 1, 1).await;
    store.complete(task(completed, 1), Attempt(1), &Written::default(), opening(at(30)), at(20), at(99)).await.unwrap();
    let failed = running(&store, 1, 1).await;
    fail(&*store, failed, &failure(), at(20), at(99)).await;
    let both: BTreeSet<JobId> = [completed, failed].into();
    let chore_of_both = async |now, again, expected| {
        let chores = chores(&store, now, again).await;
        assert!(chores.iter().all(|(_, chore)| *chore == expected), "{chores:?}");
        assert_eq!(chores.into_iter().map(|(job, _)| job).collect::<BTreeSet<_>>(), both);
    };
    assert_eq!(chores(&store, before(at(20)), at(60)).await, []);
    chore_of_both(at(20), at(60), Chore::Sweep).await;
    for (job, state) in [(completed, JobState::Completed), (failed, JobState::Failed)] {
        store.swept(job, state).await.unwrap();
        assert!(store.job(job).await.unwrap().is_some(), "sweeping takes no record away");
    }
    assert_eq!(chores(&store, before(at(99)), at(120)).await, []);
    chore_of_both(at(99), at(120), Chore::Remove).await;
    assert_eq!(chores(&store, before(at(120)), at(150)).await, []);
    chore_of_both(at(120), at(150), Chore::Remove).await;
}

async fn a_cancelled_job_is_swept_at_once_even_if_it_was_swept_before(store: Store) {
    let job = running(&store, 1, 1).await;
    store.complete(task(job, 1), Attempt(1), &Written::default(), opening(at(30)), at(20), at(200)).await.unwrap();
    assert_eq!(chores(&store, at(20), at(40)).await, [(job, Chore::Sweep)]);
    store.swept(job, JobState::Completed).await.unwrap();
    assert_eq!(chores(&store, at(45), at(60)).await, []);
    store.cancel(job, at(50), at(80)).await.unwrap();
    assert_eq!(chores(&store, at(50), at(60)).await, [(job, Chore::Sweep)]);
    store.swept(job, JobState::Cancelled).await.unwrap();
    assert_eq!(chores(&store, before(at(80)), at(90)).await, []);
    assert_eq!(chores(&store, at(80), at(90)).await, [(job, Chore::Remove)]);
}

async fn a_job_that_is_cancelled_during_its_sweep_is_swept_once_more(store: Store) {
    let job = running(&store, 1, 1).await;
    store.complete(task(job, 1), Attempt(1), &Written::default(), opening(at(30)), at(20), at(200)).await.unwrap();
    assert_eq!(chores(&store, at(20), at(40)).await, [(job, Chore::Sweep)]);
    store.cancel(job, at(25), at(80)).await.unwrap();
    store.swept(job, JobState::Completed).await.unwrap();
    assert_eq!(chores(&store, at(25), at(60)).await, [(job, Chore::Sweep)]);
}

async fn a_sweep_that_was_not_told_of_is_handed_out_again(store: Store) {
    let job = running(&store, 1, 1).await;
    fail(&*store, job, &failure(), at(20), at(99)).await;
    assert_eq!(chores(&store, at(20), at(40)).await, [(job, Chore::Sweep)]);
    assert_eq!(chores(&store, before(at(40)), at(60)).await, []);
    assert_eq!(chores(&store, at(40), at(60)).await, [(job, Chore::Sweep)]);
    assert_eq!(chores(&store, at(99), at(120)).await, [(job, Chore::Remove)], "which takes the unswept along");
    let alive = running(&store, 1, 1).await;
    store.swept(alive, JobState::Running).await.unwrap();
    assert_eq!(publishes(&store, at(30), at(60)).await, [(alive, vec![1])], "a job that is alive is not swept");
}

async fn a_job_that_is_removed_is_forgotten(store: Store) {
    let job = running(&store, 2, 1).await;
    store.claim(task(job, 1), &digests(0..3)).await.unwrap();
    complete_with(&store, task(job, 1), 1, &written(task(job, 1), 1, 2)).await;
    store.remove(job).await.unwrap();
    assert_eq!(store.job(job).await.unwrap(), None);
    assert_eq!(store.written(job).await.unwrap(), []);
    assert_eq!(store.start(task(job, 2), StartToken::random(), 5, at(40), at(40)).await.unwrap(), Start::Nothing);
    assert_eq!(chores(&store, at(500), at(600)).await, []);
    assert_eq!(store.backlog(at(500)).await.unwrap(), Backlog::default());
    store.remove(job).await.unwrap();
    store.remove(JobId::random()).await.unwrap();
}

async fn the_backlog_counts_jobs_and_those_that_need_somebody(store: Store) {
    assert_eq!(store.backlog(at(0)).await.unwrap(), Backlog::default());
    for seconds in [10, 20, 30] {
        accepted(&store, at(seconds)).await;
    }
    let states = BTreeMap::from([(JobState::Accepted, 3)]);
    let quiet = Backlog { jobs: 3, states, overdue: 0, oldest_due: None };
    assert_eq!(store.backlog(before(at(10))).await.unwrap(), quiet);
    let waiting = Backlog { overdue: 2, oldest_due: Some(at(10)), ..quiet.clone() };
    assert_eq!(store.backlog(at(20)).await.unwrap(), waiting);
    chores(&store, at(20), at(60)).await;
    assert_eq!(store.backlog(at(20)).await.unwrap(), quiet);
}

async fn the_backlog_counts_the_jobs_in_each_state(store: Store) {
    accepted(&store, at(30)).await;
    let ends = [running(&store, 1, 1).await, running(&store, 1, 1).await, running(&store, 2, 1).await];
    start(&store, task(ends[0], 1), at(40)).await;
    complete(&store, task(ends[0], 1), 1).await;
    fail(&*store, ends[1], &failure(), at(20), at(99)).await;
    let states = |states: &[(JobState, u64)]| states.iter().copied().collect::<BTreeMap<_, _>>();
    let (accepted, running, completed, failed) =
        ((JobState::Accepted, 1), (JobState::Running, 1), (JobState::Completed, 1), (JobState::Failed, 1));
    let counted = store.backlog(at(0)).await.unwrap().states;
    assert_eq!(counted, states(&[accepted, running, completed, failed]));
    store.cancel(ends[2], at(20), at(99)).await.unwrap();
    store.remove(ends[1]).await.unwrap();
    let counted = store.backlog(at(0)).await.unwrap().states;
    assert_eq!(counted, states(&[accepted, completed, (JobState::Cancelled, 1)]));
}

async fn tasks_that_are_due_bear_the_trace_of_their_kick_off(store: Store) {
    let trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned());
    let job = NewJob { trace: trace.clone(), ..new_job(JobId::random()) };
    store.create(&job, at(10)).await.unwrap();
    let due = Chore::Publish { tasks: vec![OpenTask::PLAN], trace };
    assert_eq!(chores(&store, at(10), at(60)).await, [(job.id, due)]);
}

async fn a_store_that_can_be_asked_is_ready(store: Store) {
    store.ready().await.unwrap();
}

// What only Redis can get wrong

#[tokio::test]
async fn faults_say_whether_to_try_again() {
    let settings = RedisSettings { connect_timeout: Duration::from_millis(200), ..RedisSettings::default() };
    let kind =
        async |url: &str| RedisConnection::connect(url, "t", settings).await.err().expect("no such server").kind();
    assert_eq!(kind("redis://127.0.0.1:1").await, FaultKind::Unavailable);
    assert_eq!(kind("http://127.0.0.1").await, FaultKind::Invalid);
    let mut address: url::Url = harness::redis_url().parse().unwrap();
    address.set_password(Some("wrong")).unwrap();
    assert_eq!(kind(address.as_str()).await, FaultKind::Invalid);
    assert_eq!(
        RedisConnection::connect(&harness::redis_url(), "{t}", settings).await.err().unwrap().kind(),
        FaultKind::Invalid
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_corrupt_and_is_not_quoted() {
    in_namespace(|namespace| async move {
        let store = redis_jobs(&namespace).await;
        let job = JobId::random();
        store.create(&new_job(job), at(30)).await.unwrap();
        let key = format!("{namespace}:{{{job}}}:job");
        for (field, value) in [("request", "{\"secret\":1}"), ("created_at", "secret"), ("version", "secret")] {
            let before: String = redis::cmd("HGET").arg(&key).arg(field).query_async(&mut wire().await).await.unwrap();
            let set = async |value: &str| {
                redis::cmd("HSET").arg(&key).arg(field).arg(value).exec_async(&mut wire().await).await.unwrap();
            };
            set(value).await;
            let fault = store.job(job).await.unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Corrupt);
            assert_eq!(fault.to_string(), format!("failed to read the {field} of job {job}"));
            set(&before).await;
        }
        store.plan(job, &plan(1, 1), at(30)).await.unwrap();
        store.complete(task(job, 1), Attempt(1), &Written::default(), opening(at(30)), at(20), at(99)).await.unwrap();
        let done = format!("{namespace}:{{{job}}}:done");
        for value in ["secret", "1 secret {}", "1 2 {\"secret\":1}"] {
            redis::cmd("HSET").arg(&done).arg(1).arg(value).exec_async(&mut wire().await).await.unwrap();
            let fault = store.written(job).await.unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Corrupt);
            assert_eq!(fault.to_string(), format!("failed to read the done of job {job}"));
        }
        redis::cmd("SET").arg(&key).arg("secret").exec_async(&mut wire().await).await.unwrap();
        let fault = store.job(job).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Corrupt);
        assert!(!fault.to_string().contains("secret"));
    })
    .await;
}

#[tokio::test]
async fn the_keys_of_a_job_share_a_slot_and_go_with_it() {
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        let job = running(&store, 3, 2).await;
        start(&store, task(job, 1), at(40)).await;
        store.claim(task(job, 1), &digests(0..3_000)).await.unwrap();
        complete(&store, task(job, 1), 1).await;
        let index = format!("{namespace}:jobs");
        let client = format!("{namespace}:client:{}", Digest::of("client"));
        for key in keys(&namespace).await {
            assert!(key == index || key == client || key.starts_with(&format!("{namespace}:{{{job}}}:")), "{key}");
        }
        fail(&*store, job, &failure(), at(20), at(99)).await;
        store.swept(job, JobState::Failed).await.unwrap();
        assert_eq!(keys(&namespace).await, BTreeSet::from([format!("{namespace}:{{{job}}}:job"), index, client]));
        store.remove(job).await.unwrap();
        assert_eq!(keys(&namespace).await, BTreeSet::new());
    })
    .await;
}

#[tokio::test]
async fn every_key_of_an_ended_job_expires_a_month_after_it() {
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        let ends = [running(&store, 1, 1).await, running(&store, 1, 1).await, running(&store, 1, 1).await];
        for job in ends {
            start(&store, task(job, 1), at(40)).await;
            store.claim(task(job, 1), &digests(0..100)).await.unwrap();
        }
        complete(&store, task(ends[0], 1), 1).await;
        fail(&*store, ends[1], &failure(), at(20), at(99)).await;
        store.cancel(ends[2], at(20), at(99)).await.unwrap();
        let month = 30 * 24 * 60 * 60;
        for key in keys(&namespace).await.into_iter().filter(|key| !key.ends_with(":jobs")) {
            let left: i64 = redis::cmd("TTL").arg(&key).query_async(&mut wire().await).await.unwrap();
            assert!(left >= month - 60, "{key} expires in {left} s");
            assert!(key.contains(":claims:") || left <= month + 79, "{key} expires in {left} s");
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_record_is_gone_leaves_the_index() {
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        let (gone, stays) = (accepted(&store, at(10)).await, accepted(&store, at(10)).await);
        redis::cmd("DEL").arg(format!("{namespace}:{{{gone}}}:job")).exec_async(&mut wire().await).await.unwrap();
        assert_eq!(publishes(&store, at(10), at(20)).await, [(stays, vec![0])]);
        let backlog = store.backlog(at(10)).await.unwrap();
        assert_eq!((backlog.jobs, backlog.overdue), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_record_cannot_be_read_keeps_no_other_job_waiting() {
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        let mut broken = BTreeSet::new();
        for commands in [
            // Keys of another kind, a time that is no number, an end without the time of the next look.
            [vec!["DEL", "due"], vec!["SET", "due", "secret"]],
            [vec!["DEL", "job"], vec!["SET", "job", "secret"]],
            [vec!["DEL", "tasks"], vec!["SET", "tasks", "secret"]],
            [vec!["HSET", "job", "expires_at", "secret"], vec!["HSET", "job", "look", "secret"]],
            [vec!["HSET", "job", "expires_at", "1"], vec!["HDEL", "job", "look"]],
        ] {
            let job = accepted(&store, at(10)).await;
            for command in commands {
                let key = format!("{namespace}:{{{job}}}:{}", command[1]);
                let mut sent = redis::cmd(command[0]);
                sent.arg(key).arg(&command[2..]).exec_async(&mut wire().await).await.unwrap();
            }
            broken.insert(job);
        }
        let sound = accepted(&store, at(10)).await;
        let (mend, others): (Vec<_>, Vec<_>) = chores(&store, at(10), at(20))
            .await
            .into_iter()
            .partition(|(_, chore)| matches!(chore, Chore::Mend { why } if !why.contains("secret")));
        assert_eq!(mend.into_iter().map(|(job, _)| job).collect::<BTreeSet<_>>(), broken);
        assert_eq!(others, [(sound, Chore::Publish { tasks: vec![OpenTask::PLAN], trace: None })]);
        assert_eq!(chores(&store, before(at(20)), at(40)).await, [], "it is told again when it is looked at again");
        let backlog = store.backlog(at(20)).await.unwrap();
        assert_eq!((backlog.jobs, backlog.overdue), (6, 6));
        assert_eq!(
            backlog.states,
            BTreeMap::from([(JobState::Accepted, 5)]),
            "of one there is nothing that can be asked"
        );
    })
    .await;
}

#[tokio::test]
async fn jobs_recorded_while_janitors_look_are_not_lost() {
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        // Due already: a janitor may find them in the index before they have a record.
        let creates = (0..200).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { accepted(&store, at(10)).await })
        });
        let looks = (0..50).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store.chores(at(10), at(20), 1_000).await.unwrap();
            })
        });
        let (recorded, _) = try_join(try_join_all(creates), try_join_all(looks)).await.unwrap();
        let found: BTreeSet<JobId> = publishes(&store, at(20), at(40)).await.into_iter().map(|(job, _)| job).collect();
        assert_eq!(found, recorded.into_iter().collect());
    })
    .await;
}

mod live;
mod model;
mod versions;
mod wire;
mod written;

// What the tests say

/// Runs a test with a namespace of its own in Redis, and leaves nothing of it, whether the test passes or not.
async fn in_namespace<T>(test: impl FnOnce(String) -> T) -> T::Output
where
    T: Future<Output: Send> + Send + 'static,
{
    let namespace = harness::namespace();
    let outcome = tokio::spawn(test(namespace.clone())).await;
    wipe(&namespace).await;
    outcome.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

async fn redis_jobs(namespace: &str) -> RedisJobs {
    let link = RedisConnection::connect(&harness::redis_url(), namespace, RedisSettings::default()).await;
    RedisJobs::new(link.expect("redis runs"))
}

/// A connection beside the adapter's.
async fn wire() -> redis::aio::MultiplexedConnection {
    redis::Client::open(harness::redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn keys(namespace: &str) -> BTreeSet<String> {
    let mut wire = wire().await;
    let (mut keys, mut cursor) = (BTreeSet::new(), 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{namespace}:*")).arg("COUNT").arg(10_000);
        let (next, page): (u64, Vec<String>) = scan.query_async(&mut wire).await.unwrap();
        keys.extend(page);
        if next == 0 {
            return keys;
        }
        cursor = next;
    }
}

async fn wipe(namespace: &str) {
    let mut wire = wire().await;
    let keys: Vec<String> = keys(namespace).await.into_iter().collect();
    for keys in keys.chunks(1_000) {
        redis::cmd("UNLINK").arg(keys).exec_async(&mut wire).await.unwrap();
    }
}

/// So many seconds after the time at which every test begins.
fn at(seconds: u64) -> Instant {
    Instant::from_unix_millis(1_767_607_200_000) + Duration::from_secs(seconds)
}

/// The last moment before.
fn before(at: Instant) -> Instant {
    Instant::from_unix_micros(at.unix_micros() - 1)
}

fn task(job: JobId, number: u32) -> TaskRef {
    TaskRef { job, task: TaskNo(number) }
}

/// The tasks of these numbers of a plan, as the store hands them out.
fn numbers(numbers: impl IntoIterator<Item = u32>) -> Vec<OpenTask> {
    numbers.into_iter().map(open_task).collect()
}

fn new_job(id: JobId) -> NewJob {
    NewJob {
        id,
        client: ClientId("client".to_owned()),
        request: ExportRequest::new(
            Anchor::Group("list".parse().expect("an id")),
            Operation::Export,
            "https://example.org/fhir/Group/list/$export".to_owned(),
        ),
        created_at: at(0),
        trace: None,
    }
}

/// A task of every plan here: the Group, then slices of Coverages, every second one of them a short one.
fn kind(number: u32) -> TaskKind {
    if number == 1 {
        return TaskKind::List { members: 70_000 };
    }
    TaskKind::Listed(Slice {
        resource_type: ResourceType::COVERAGE,
        after: (number > 2).then(|| format!("c{}", number - 1).parse().expect("an id")),
        through: format!("c{number}").parse().expect("an id"),
        ids: if number.is_multiple_of(2) { 1_000 } else { 50_000 },
    })
}

fn open_task(number: u32) -> OpenTask {
    let lane = if number.is_multiple_of(2) { Lane::Express } else { Lane::Bulk };
    OpenTask { no: TaskNo(number), lane }
}

fn plan(tasks: u32, window: u32) -> Plan {
    Plan { transaction_time: at(10), tasks: (1..=tasks).map(kind).collect(), window }
}

fn failure() -> Failure {
    Failure { reason: "task 3 failed 5 times: the source is \"gone\"".to_owned() }
}

fn digests(numbers: std::ops::Range<u32>) -> Vec<Digest> {
    numbers.map(|number| Digest::of(&format!("Organization/{number}"))).collect()
}

/// What an attempt may leave behind: so many files, the last of them an error file, and a tally.
fn written(task: TaskRef, attempt: u32, files: u32) -> Written {
    let file = |number: u32| Output {
        key: OutputKey {
            job: task.job,
            resource_type: if number == 0 { ResourceType::OPERATION_OUTCOME } else { ResourceType::COVERAGE },
            task: task.task,
            attempt: Attempt(attempt),
            number,
        },
        kind: if number == 0 { OutputKind::Error } else { OutputKind::Output },
        lines: u64::from(100 * task.task.0 + number),
        bytes: u64::MAX >> 12,
        stored_bytes: u64::MAX >> 13,
        sha256: "5ee8".repeat(16),
    };
    let tally = Tally {
        entries: u64::from(task.task.0),
        patients: u64::from(attempt),
        left_out: BTreeMap::from([("_since".to_owned(), 2)]),
        missing_references: BTreeMap::from([("Coverage.payor \"1\"".to_owned(), u64::MAX >> 12)]),
        ..Tally::default()
    };
    Written { outputs: (0..files).rev().map(file).collect(), tally }
}

async fn accepted(store: &Store, due: Instant) -> JobId {
    let job = JobId::random();
    store.create(&new_job(job), due).await.unwrap();
    job
}

/// A job that was cut; the tasks of its window are due at 30 seconds.
async fn running(store: &Store, tasks: u32, window: u32) -> JobId {
    let job = accepted(store, at(5)).await;
    store.plan(job, &plan(tasks, window), at(30)).await.unwrap();
    job
}

async fn start(store: &Store, task: TaskRef, due: Instant) -> Work {
    match store.start(task, StartToken::random(), 100, due, due).await.unwrap() {
        Start::Work(work) => *work,
        other => panic!("{other:?} for {task}"),
    }
}

/// How a completion opens tasks here, unless a test has other plans.
fn opening(due: Instant) -> Opening {
    Opening { window: 3, due }
}

async fn complete(store: &Store, task: TaskRef, attempt: u32) -> Completion {
    complete_with(store, task, attempt, &Written::default()).await
}

async fn complete_with(store: &Store, task: TaskRef, attempt: u32, written: &Written) -> Completion {
    store.complete(task, Attempt(attempt), written, opening(at(30)), at(20), at(99)).await.unwrap()
}

async fn chores(store: &Store, now: Instant, again: Instant) -> Vec<(JobId, Chore)> {
    store.chores(now, again, 1_000).await.unwrap()
}

async fn publishes(store: &Store, now: Instant, again: Instant) -> Vec<(JobId, Vec<u32>)> {
    publishes_up_to(store, now, again, 1_000).await
}

async fn publishes_up_to(store: &Store, now: Instant, again: Instant, limit: usize) -> Vec<(JobId, Vec<u32>)> {
    let tasks = |(job, chore)| match chore {
        Chore::Publish { tasks, .. } => {
            let planned = tasks.iter().all(|task| *task == open_task(task.no.0) || *task == OpenTask::PLAN);
            assert!(planned, "each in its lane: {tasks:?}");
            (job, tasks.into_iter().map(|task| task.no.0).collect())
        }
        other => panic!("{other:?} for job {job}"),
    };
    store.chores(now, again, limit).await.unwrap().into_iter().map(tasks).collect()
}
