//! What the done tasks of a job have left behind: its order, and what comes back.

use super::*;

pub(super) async fn what_was_written_comes_in_the_order_of_completion(store: Store) {
    let job = running(&store, 12, 12).await;
    let mut expected = Vec::new();
    for number in [12, 1, 11, 2, 10, 3, 9, 4, 8, 5, 7, 6] {
        let of_task = written(task(job, number), 1, number % 4);
        complete_with(&store, task(job, number), 1, &of_task).await;
        expected.push(of_task);
        assert_eq!(store.written(job).await.unwrap(), expected, "of a job in state running and completed");
    }
}

pub(super) async fn what_was_there_once_stays_in_its_place(store: Store) {
    const TASKS: u32 = 60;
    let job = running(&store, TASKS, TASKS).await;
    let reader = tokio::spawn({
        let store = store.clone();
        async move {
            let mut before = Vec::new();
            while before.len() < TASKS as usize {
                let now = store.written(job).await.unwrap();
                assert_eq!(now[..before.len()], before);
                before = now;
            }
        }
    });
    let completions = (1..=TASKS).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            // The winner's repeated call, and a twin that comes second, move nothing.
            for attempt in [1, 1, 2] {
                complete_with(&store, task(job, number), attempt, &written(task(job, number), attempt, 1)).await;
            }
        })
    });
    try_join_all(completions).await.unwrap();
    reader.await.unwrap();
}

pub(super) async fn the_files_and_the_tally_of_a_task_come_back_as_they_were_given(store: Store) {
    let job = running(&store, 3, 3).await;
    let tally = |missing| Tally {
        entries: 1 << 40,
        inactive: 2,
        without_patient: 3,
        patients: 4,
        written: 5,
        left_out: BTreeMap::from([("_since".to_owned(), 6), ("_typeFilter".to_owned(), 7)]),
        missing,
        unreadable: 9,
        missing_references: BTreeMap::from([("Coverage.payor \"1\"\n\u{1F600}".to_owned(), 8)]),
    };
    let nothing = Written::default();
    let no_files = Written { outputs: Vec::new(), tally: tally(9) };
    let both = Written { tally: tally(10), ..written(task(job, 3), 1, 3) };
    for (number, of_task) in [(1, &nothing), (2, &no_files), (3, &both)] {
        complete_with(&store, task(job, number), 1, of_task).await;
    }
    assert_eq!(store.written(job).await.unwrap(), [nothing, no_files, both], "a task that wrote no file is there too");
}

pub(super) async fn the_plan_is_not_among_what_was_written(store: Store) {
    let waiting = accepted(&store, at(5)).await;
    assert_eq!(store.written(waiting).await.unwrap(), []);
    let cut = running(&store, 1, 1).await;
    assert_eq!(store.written(cut).await.unwrap(), []);
    complete_with(&store, task(cut, 0), 1, &written(task(cut, 0), 1, 1)).await;
    assert_eq!(store.written(cut).await.unwrap(), []);
}

pub(super) async fn nothing_was_written_for_a_job_that_failed_or_was_cancelled(store: Store) {
    let failed = running(&store, 2, 2).await;
    complete_with(&store, task(failed, 1), 1, &written(task(failed, 1), 1, 2)).await;
    fail(&*store, failed, &failure(), at(20), at(99)).await;
    assert_eq!(store.written(failed).await.unwrap(), []);
    let completed = running(&store, 1, 1).await;
    complete_with(&store, task(completed, 1), 1, &written(task(completed, 1), 1, 2)).await;
    store.cancel(completed, at(20), at(99)).await.unwrap();
    assert_eq!(store.written(completed).await.unwrap(), []);
}
