//! A list is cut by the runs that were counted when it was loaded, as of any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::export::Slice;
use shared::fhir::Instant;
use shared::source::ResourceSource;
use shared::source::postgres::migrate;

use super::super::{group, id, member};
use super::{Database, resources};

/// Longer than three runs, so that slices are made of several and of parts of the whole.
const MEMBERS: u32 = 3_210;

fn list(patients: impl Iterator<Item = u32>) -> String {
    let coverage = |number: u32| ("coverage", format!("Coverage/c{}", number % 1_500));
    let members = patients.map(|number| {
        let (name, target) = coverage(number);
        member(&format!("Patient/p{number}"), &[(name, &target)])
    });
    group("g", &members.collect::<Vec<_>>())
}

async fn cut(source: &Arc<dyn ResourceSource>, as_of: Instant, size: u64) -> Vec<Slice> {
    source.cut(&id("g"), as_of, size).await.expect("the list is there")
}

/// What is in the slices, in order; each has as many ids as it says, and no more than it may.
async fn walked(source: &Arc<dyn ResourceSource>, as_of: Instant, size: u64) -> Vec<String> {
    let mut walked = Vec::new();
    for mut slice in cut(source, as_of, size).await {
        let before = walked.len();
        loop {
            let page = source.listed(&id("g"), &slice, as_of, 700).await.expect("the list is there");
            let Some(last) = page.last() else { break };
            slice.after = Some(last.id.clone());
            walked.extend(page.iter().map(|listed| format!("{}/{}", slice.resource_type, listed.id)));
        }
        assert_eq!((walked.len() - before) as u64, slice.ids, "{slice:?}");
        assert!(slice.ids <= size, "{slice:?}");
    }
    walked
}

#[tokio::test]
async fn slices_are_whole_as_of_their_time_however_the_list_changes() {
    let database = Database::new();
    let (mut loader, source) = (database.loader().await, database.source());
    let mut seen = Vec::new();
    for patients in [
        (0..MEMBERS).collect::<Vec<_>>(),
        // One leaves at the front, so that every run behind it moves.
        (1..MEMBERS).collect(),
        (0..10).collect(),
        Vec::new(),
        (5..MEMBERS + 5).collect(),
    ] {
        loader.load(&resources(&[list(patients.iter().copied())])).await.expect("it can be loaded");
        let as_of = source.transaction_time().await.expect("the source can be asked");
        let coverages = patients.iter().map(|number| format!("Coverage/c{}", number % 1_500));
        let named = patients.iter().map(|number| format!("Patient/p{number}")).chain(coverages);
        seen.push((as_of, named.collect::<BTreeSet<_>>()));
    }
    for (as_of, expected) in &seen {
        let expected: Vec<&String> = expected.iter().collect();
        for size in [1_000, 1_001, 2_000, 2_500, 50_000] {
            assert_eq!(walked(&source, *as_of, size).await.iter().collect::<Vec<_>>(), expected, "by {size}");
        }
        // Shorter than a run: then it counts.
        assert_eq!(walked(&source, *as_of, 999).await.iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn a_list_that_was_loaded_before_there_were_runs_gets_its_own() {
    let database = Database::new();
    let (mut loader, source) = (database.loader().await, database.source());
    loader.load(&resources(&[list(0..MEMBERS)])).await.expect("it can be loaded");
    let as_of = source.transaction_time().await.expect("the source can be asked");
    let (expected, client) = (cut(&source, as_of, 2_000).await, database.client().await);
    assert_eq!(expected.iter().map(|slice| slice.ids).collect::<Vec<_>>(), [1_500, 2_000, 1_210]);

    let old = "DELETE FROM attribution_run";
    client.execute(old, &[]).await.expect("the table is there");
    assert_eq!(cut(&source, as_of, 2_000).await, expected, "without runs it counts");

    let older = "DROP TABLE attribution_run; DELETE FROM migration WHERE version >= 3;
        ALTER TABLE resource DROP CONSTRAINT resource_is_json;
        ALTER TABLE attribution_member DROP CONSTRAINT member_is_json;
        ALTER TABLE attribution_list DROP CONSTRAINT list_is_json";
    client.batch_execute(older).await.expect("the tables are there");
    migrate(&database.url()).await.expect("the steps can be done again");
    assert_eq!(cut(&source, as_of, 2_000).await, expected);
    let runs = client.query_one("SELECT count(*) FROM attribution_run", &[]).await.expect("the table is there");
    assert_eq!(runs.get::<_, i64>(0), 2 + 4);
}

#[tokio::test]
async fn runs_of_an_older_head_are_not_believed() {
    let database = Database::new();
    let (mut loader, source, client) = (database.loader().await, database.source(), database.client().await);
    for patients in [0..2_000, 0..MEMBERS] {
        loader.load(&resources(&[list(patients)])).await.expect("it can be loaded");
    }
    let as_of = source.transaction_time().await.expect("the source can be asked");
    let expected = cut(&source, as_of, 2_000).await;
    // What a loader that knows nothing of runs leaves behind: the new head, and the runs of the old one without an end.
    let forget = "DELETE FROM attribution_run WHERE valid_to = 'infinity';
        UPDATE attribution_run SET valid_to = 'infinity'";
    client.batch_execute(forget).await.expect("the table is there");
    assert_eq!(cut(&source, as_of, 2_000).await, expected);
}

#[tokio::test]
async fn a_list_that_has_not_changed_keeps_its_runs() {
    let (database, text) = (Database::new(), list(0..2_000));
    let mut loader = database.loader().await;
    for _ in 0..2 {
        loader.load(&resources(&[&text])).await.expect("it can be loaded");
    }
    let client = database.client().await;
    let rows = client.query_one("SELECT count(*) FROM attribution_run", &[]).await.expect("the table is there");
    assert_eq!(rows.get::<_, i64>(0), 2 + 2);
}
