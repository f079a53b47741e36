//! The live jobs of a client: which count, and what Redis keeps of them.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};

use super::*;

pub(super) async fn the_live_jobs_of_a_client_are_those_that_wait_or_run(store: Store) {
    assert_eq!(live(&store, "client").await, 0);
    accepted(&store, at(5)).await;
    assert_eq!(live(&store, "client").await, 1);
    let job = running(&store, 1, 1).await;
    assert_eq!(live(&store, "client").await, 2);
    start(&store, task(job, 1), at(40)).await;
    assert_eq!(live(&store, "client").await, 2);
}

pub(super) async fn a_job_that_has_ended_or_was_removed_is_not_live(store: Store) {
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(running(&store, 1, 1).await);
    }
    complete(&store, task(jobs[0], 1), 1).await;
    assert_eq!(live(&store, "client").await, 3);
    fail(&*store, jobs[1], &failure(), at(20), at(99)).await;
    assert_eq!(live(&store, "client").await, 2);
    store.cancel(jobs[2], at(20), at(99)).await.unwrap();
    assert_eq!(live(&store, "client").await, 1);
    store.remove(jobs[3]).await.unwrap();
    assert_eq!(live(&store, "client").await, 0);
}

pub(super) async fn a_job_that_is_recorded_again_counts_once(store: Store) {
    let (alive, ended) = (running(&store, 1, 1).await, running(&store, 1, 1).await);
    store.cancel(ended, at(20), at(99)).await.unwrap();
    for _ in 0..2 {
        store.create(&new_job(alive), at(5)).await.unwrap();
        store.create(&new_job(ended), at(5)).await.unwrap();
        assert_eq!(live(&store, "client").await, 1);
    }
}

pub(super) async fn clients_have_live_jobs_of_their_own(store: Store) {
    let names = ["a", "a ", "A", "{a}", "a:b", "*", "", "\u{1F600}\n"];
    for (name, jobs) in names.into_iter().zip(1..) {
        for _ in 0..jobs {
            record(&store, name).await;
        }
    }
    for (name, jobs) in names.into_iter().zip(1..) {
        assert_eq!(live(&store, name).await, jobs, "{name:?}");
    }
    assert_eq!(live(&store, "nobody").await, 0);
}

#[tokio::test]
async fn counting_forgets_the_jobs_that_have_ended_or_were_never_recorded() {
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        let set = format!("{namespace}:client:{}", Digest::of("client"));
        let kept = async || -> BTreeSet<String> {
            redis::cmd("SMEMBERS").arg(&set).query_async(&mut wire().await).await.unwrap()
        };
        let (alive, ended) = (running(&store, 1, 1).await, running(&store, 1, 1).await);
        complete(&store, task(ended, 1), 1).await;
        let unrecorded = JobId::random();
        redis::cmd("SADD").arg(&set).arg(unrecorded.to_string()).exec_async(&mut wire().await).await.unwrap();
        assert_eq!(kept().await.len(), 3);
        assert_eq!(live(&store, "client").await, 1);
        assert_eq!(kept().await, BTreeSet::from([alive.to_string()]));
    })
    .await;
}

#[tokio::test]
async fn the_name_of_a_client_shows_in_no_key_and_its_jobs_expire_a_month_after_the_last() {
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        let job = record(&store, "{somebody}").await;
        assert!(keys(&namespace).await.iter().all(|key| !key.contains("somebody")));
        let set = format!("{namespace}:client:{}", Digest::of("{somebody}"));
        let left: i64 = redis::cmd("TTL").arg(&set).query_async(&mut wire().await).await.unwrap();
        let month = 30 * 24 * 60 * 60;
        assert!((month - 60..=month).contains(&left), "it expires in {left} s");
        store.remove(job).await.unwrap();
        assert_eq!(keys(&namespace).await, BTreeSet::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn jobs_recorded_while_live_jobs_are_counted_are_not_lost() {
    in_namespace(|namespace| async move {
        const JOBS: u64 = 800;
        // Who counts may find a job before it has a record. The clients are many, so that a count is short.
        let client = |number: u64| format!("client {}", number % 100);
        let recorder: Store = Arc::new(redis_jobs(&namespace).await);
        let counter: Store = Arc::new(redis_jobs(&namespace).await);
        let is_over = Arc::new(AtomicBool::new(false));
        let counts = (0..100).map(|number| {
            let (store, is_over) = (counter.clone(), is_over.clone());
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    live(&store, &client(number)).await;
                }
            })
        });
        let counts: Vec<_> = counts.collect();
        let records = stream::iter(0..JOBS).map(async |number| record(&recorder, &client(number)).await);
        let jobs: Vec<JobId> = records.buffer_unordered(16).collect().await;
        is_over.store(true, Ordering::SeqCst);
        try_join_all(counts).await.unwrap();
        assert_eq!(jobs.len() as u64, JOBS);
        for number in 0..100 {
            assert_eq!(live(&counter, &client(number)).await, JOBS / 100, "{}", client(number));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_that_was_taken_for_gone_before_it_had_a_record_counts_once_it_has() {
    // What a count does at its worst: it looks before the record is made, and takes the job out just before.
    const TAKE_OUT: &str = "for _, job in ipairs(ARGV) do
        if redis.call('EXISTS', KEYS[2] .. ':{' .. job .. '}:job') == 0 then redis.call('SREM', KEYS[1], job) end
    end";
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        let set = format!("{namespace}:client:{}", Digest::of("client"));
        let jobs: Vec<JobId> = (0..200).map(|_| JobId::random()).collect();
        let names: Vec<String> = jobs.iter().map(JobId::to_string).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let saboteur = tokio::spawn({
            let is_over = is_over.clone();
            async move {
                let mut wire = wire().await;
                while !is_over.load(Ordering::SeqCst) {
                    let mut take_out = redis::cmd("EVAL");
                    take_out.arg(TAKE_OUT).arg(2).arg(&set).arg(&namespace).arg(&names);
                    take_out.exec_async(&mut wire).await.unwrap();
                }
            }
        });
        for job in &jobs {
            store.create(&new_job(*job), at(5)).await.unwrap();
        }
        is_over.store(true, Ordering::SeqCst);
        saboteur.await.unwrap();
        assert_eq!(live(&store, "client").await, 200);
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_record_cannot_be_read_lets_its_client_begin_others() {
    in_namespace(|namespace| async move {
        let store: Store = Arc::new(redis_jobs(&namespace).await);
        let (broken, _) = (accepted(&store, at(10)).await, accepted(&store, at(10)).await);
        let key = format!("{namespace}:{{{broken}}}:job");
        redis::cmd("HSET").arg(key).arg("state").arg("secret").exec_async(&mut wire().await).await.unwrap();
        assert_eq!(live(&store, "client").await, 2, "as long as it is on record it counts");
        store.remove(broken).await.unwrap();
        assert_eq!(live(&store, "client").await, 1);
    })
    .await;
}

async fn live(store: &Store, client: &str) -> u64 {
    store.live_jobs(&ClientId(client.to_owned())).await.unwrap()
}

async fn record(store: &Store, client: &str) -> JobId {
    let new = NewJob { client: ClientId(client.to_owned()), ..new_job(JobId::random()) };
    store.create(&new, at(5)).await.unwrap();
    new.id
}
