//! The model test: any sequence of calls gets the same answers from Redis as from the store in memory.

use std::env;
use std::fmt::{Debug, Write as _};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use shared::fault::Fault;

use super::*;

/// One call of the port, about one of a few jobs; times are seconds.
#[derive(Clone, Debug)]
enum Call {
    Create { job: usize, due: u64 },
    Published { job: usize, task: u32, due: u64 },
    Start { job: usize, task: u32, token: u128, attempts: u32, now: u64, due: u64 },
    Plan { job: usize, tasks: u32, window: u32, due: u64 },
    Keep { job: usize, task: u32, due: u64 },
    Claim { job: usize, task: u32, from: u32, digests: u32 },
    Complete { job: usize, task: u32, attempt: u32, files: u32, window: u32, due: u64, now: u64, expires: u64 },
    GiveBack { job: usize, task: u32, due: u64, uncounted: bool },
    Fail { job: usize, task: u32, now: u64, expires: u64 },
    Cancel { job: usize, now: u64, expires: u64 },
    Chores { now: u64, after: u64 },
    Swept { job: usize },
    Remove { job: usize },
    Backlog { now: u64 },
}

const JOBS: usize = 3;
const CALLS: usize = 80;
const CASES: u32 = 120;

fn call() -> impl Strategy<Value = Call> {
    let (job, task, time) = (|| 0..JOBS, || 0..7_u32, || 0..100_u64);
    prop_oneof![
        2 => (job(), time()).prop_map(|(job, due)| Call::Create { job, due }),
        2 => (job(), task(), time()).prop_map(|(job, task, due)| Call::Published { job, task, due }),
        5 => (job(), task(), 0..4_u128, 1..5_u32, time(), time()).prop_map(
            |(job, task, token, attempts, now, due)| Call::Start { job, task, token, attempts, now, due }
        ),
        2 => (job(), 1..7_u32, 1..4_u32, time())
            .prop_map(|(job, tasks, window, due)| Call::Plan { job, tasks, window, due }),
        3 => (job(), task(), time()).prop_map(|(job, task, due)| Call::Keep { job, task, due }),
        3 => (job(), task(), 0..20_u32, 0..20_u32)
            .prop_map(|(job, task, from, digests)| Call::Claim { job, task, from, digests }),
        8 => (job(), task(), 1..3_u32, 0..3_u32, 1..5_u32, time(), time(), time()).prop_map(
            |(job, task, attempt, files, window, due, now, expires)| {
                Call::Complete { job, task, attempt, files, window, due, now, expires }
            }
        ),
        3 => (job(), task(), time(), any::<bool>())
            .prop_map(|(job, task, due, uncounted)| Call::GiveBack { job, task, due, uncounted }),
        1 => (job(), task(), time(), time())
            .prop_map(|(job, task, now, expires)| Call::Fail { job, task, now, expires }),
        1 => (job(), time(), time()).prop_map(|(job, now, expires)| Call::Cancel { job, now, expires }),
        6 => (time(), 1..50_u64).prop_map(|(now, after)| Call::Chores { now, after }),
        2 => job().prop_map(|job| Call::Swept { job }),
        1 => job().prop_map(|job| Call::Remove { job }),
        1 => time().prop_map(|now| Call::Backlog { now }),
    ]
}

/// Who starts a job: one client the first two, another the third.
fn client(job: usize) -> ClientId {
    ClientId(format!("client {}", job / 2))
}

/// The answer in a form that can be compared: one line.
async fn ask(store: &dyn JobStore, jobs: &[JobId], call: &Call) -> String {
    fn line<T: Debug>(answer: Result<T, Fault>) -> String {
        format!("{:?}", answer.unwrap())
    }
    match *call {
        Call::Create { job, due } => {
            let new = NewJob { client: client(job), ..new_job(jobs[job]) };
            line(store.create(&new, at(due)).await)
        }
        Call::Published { job, task: no, due } => line(store.published(task(jobs[job], no), at(due)).await),
        Call::Start { job, task: no, token, attempts, now, due } => {
            let token = StartToken(uuid::Uuid::from_u128(token));
            line(store.start(task(jobs[job], no), token, attempts, at(now), at(due)).await)
        }
        Call::Plan { job, tasks, window, due } => line(store.plan(jobs[job], &plan(tasks, window), at(due)).await),
        Call::Keep { job, task: no, due } => line(store.keep(task(jobs[job], no), at(due)).await),
        Call::Claim { job, task: no, from, digests: count } => {
            line(store.claim(task(jobs[job], no), &digests(from..from + count)).await)
        }
        Call::Complete { job, task: no, attempt, files, window, due, now, expires } => {
            let task = task(jobs[job], no);
            let written = written(task, attempt, files);
            let opening = Opening { window, due: at(due) };
            line(store.complete(task, Attempt(attempt), &written, opening, at(now), at(expires)).await)
        }
        Call::GiveBack { job, task: no, due, uncounted } => {
            line(store.give_back(task(jobs[job], no), at(due), uncounted).await)
        }
        Call::Fail { job, task: no, now, expires } => {
            line(store.fail(task(jobs[job], no), &failure(), at(now), at(expires)).await)
        }
        Call::Cancel { job, now, expires } => line(store.cancel(jobs[job], at(now), at(expires)).await),
        Call::Chores { now, after } => {
            let mut chores = store.chores(at(now), at(now + after), 100).await.unwrap();
            chores.sort_by_key(|(job, _)| *job);
            let backlog = store.backlog(at(now)).await.unwrap();
            format!("{chores:?}, then {backlog:?}")
        }
        Call::Swept { job } => {
            let state = store.job(jobs[job]).await.unwrap().map_or(JobState::Cancelled, |job| job.state);
            line(store.swept(jobs[job], state).await)
        }
        Call::Remove { job } => line(store.remove(jobs[job]).await),
        // `overdue` is exact only after chores.
        Call::Backlog { now } => line(store.backlog(at(now)).await.map(|backlog| backlog.jobs)),
    }
}

/// Asks both and compares: each answer, and after it all that can be read of the jobs.
async fn compare(namespace: String, calls: Vec<Call>) -> Result<(), TestCaseError> {
    let (memory, redis) = (MemoryJobs::new(), redis_jobs(&namespace).await);
    let jobs: Vec<JobId> = (0..JOBS).map(|_| JobId::random()).collect();
    for (number, call) in calls.iter().enumerate() {
        let expected = state(&memory, &jobs, ask(&memory, &jobs, call).await).await;
        let answer = state(&redis, &jobs, ask(&redis, &jobs, call).await).await;
        if answer != expected {
            let reason = format!("call {number}, {call:?}\n  memory: {expected}\n  redis:  {answer}");
            return Err(TestCaseError::fail(reason));
        }
    }
    Ok(())
}

async fn state(store: &dyn JobStore, jobs: &[JobId], mut answer: String) -> String {
    for (number, job) in jobs.iter().enumerate() {
        let (read, written) = (store.job(*job).await.unwrap(), store.written(*job).await.unwrap());
        let live = store.live_jobs(&client(number)).await.unwrap();
        write!(answer, "\n    {read:?} {written:?}, its client has {live} alive").expect("a text takes everything");
    }
    answer
}

/// `MODEL_SEED` repeats a run.
#[test]
fn redis_answers_any_sequence_of_calls_as_memory_does() {
    let seed = env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config =
        Config { cases: CASES, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() };
    // Most sequences begin with a job that was cut, so that they get far.
    let begin = |(begun, mut calls): (bool, Vec<Call>)| {
        if begun {
            calls.splice(0..0, [Call::Create { job: 0, due: 5 }, Call::Plan { job: 0, tasks: 5, window: 2, due: 30 }]);
        }
        calls
    };
    let calls = (prop::bool::weighted(0.75), prop::collection::vec(call(), 1..CALLS)).prop_map(begin);
    let case = |calls: Vec<Call>| runtime.block_on(in_namespace(|namespace| compare(namespace, calls)));
    match TestRunner::new(config).run(&calls, case) {
        Ok(()) => {}
        Err(TestError::Fail(reason, calls)) => panic!("MODEL_SEED={seed}: {reason}\nshortest sequence: {calls:#?}"),
        Err(TestError::Abort(reason)) => panic!("MODEL_SEED={seed}: {reason}"),
    }
}
