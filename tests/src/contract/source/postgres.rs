//! What only a database can do: it has a past, and others write while it is read.

mod past;
mod runs;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use shared::clock::{Clock, SystemClock};
use shared::fault::FaultKind;
use shared::fhir::{Attribution, Resource, ResourceType};
use shared::source::postgres::{LoadedCounts, Loader, PostgresSettings, PostgresSource, migrate};
use shared::source::{Listed, ResourceSource};
use tokio_postgres::{Client, NoTls};

use super::{entity, group, id, key, member, own, patient, whole};
use crate::harness;
use crate::harness::proxy::{Proxy, Wire};

/// A schema that nobody else uses; it goes when this does.
pub struct Database {
    schema: String,
}

impl Database {
    pub fn new() -> Self {
        Self { schema: harness::namespace() }
    }

    fn url(&self) -> String {
        let url = harness::postgres_url();
        let joint = if url.contains('?') { '&' } else { '?' };
        format!("{url}{joint}schema={}", self.schema)
    }

    pub async fn loader(&self) -> Loader {
        Loader::connect(&self.url(), own()).await.expect("PostgreSQL is there")
    }

    pub fn source(&self) -> Arc<dyn ResourceSource> {
        let settings = PostgresSettings { connections: 4, ..PostgresSettings::default() };
        Arc::new(PostgresSource::connect(&self.url(), settings).expect("the URL is right"))
    }

    /// A connection of the test's own, in the schema.
    async fn client(&self) -> Client {
        let (client, connection) =
            tokio_postgres::connect(&harness::postgres_url(), NoTls).await.expect("PostgreSQL is there");
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path = {}", self.schema)).await.expect("the schema is there");
        client
    }

    /// All rows of the tables but their bodies, to see whether anything was written.
    async fn rows(&self) -> String {
        let client = self.client().await;
        let mut rows = Vec::new();
        for (table, columns) in [
            ("resource", "resource_type, id, version, last_updated"),
            ("resource_history", "resource_type, id, version, last_updated, superseded_at"),
            ("attribution_list", "list, members, valid_from, valid_to"),
            ("attribution_member", "list, ordinal, patient, coverage, provider, valid_from, valid_to"),
            ("attribution_listed", "list, resource_type, id, named_by, listed_since, valid_from, valid_to"),
            ("attribution_run", "list, resource_type, through, ids, valid_from, valid_to"),
        ] {
            let sql = format!("SELECT row({columns})::text FROM {table} ORDER BY 1");
            let found = client.query(&sql, &[]).await.expect("the tables are there");
            rows.extend(found.iter().map(|row| format!("{table} {}", row.get::<_, String>(0))));
        }
        rows.join("\n")
    }
}

impl Drop for Database {
    /// On a thread of its own, because a test that fails ends here too, and `drop` cannot wait.
    fn drop(&mut self) {
        let schema = self.schema.clone();
        let dropping = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is a runtime");
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&harness::postgres_url(), NoTls).await?;
                tokio::spawn(connection);
                let drop = format!("SET lock_timeout = '5s'; DROP SCHEMA IF EXISTS {schema} CASCADE");
                client.batch_execute(&drop).await
            })
        });
        if !matches!(dropping.join(), Ok(Ok(()))) {
            eprintln!("the schema {} of a test is left behind", self.schema);
        }
    }
}

fn resources(texts: &[impl AsRef<str>]) -> Vec<Resource> {
    let read = |text: &str| Resource::read(&text.to_owned().into()).expect("the test writes resources");
    texts.iter().map(|text| read(text.as_ref())).collect()
}

fn counts(new: u64, changed: u64, unchanged: u64) -> LoadedCounts {
    LoadedCounts { new, changed, unchanged }
}

fn bodies(page: &[Listed]) -> Vec<String> {
    let body = |listed: &Listed| match &listed.stored {
        Some(stored) => String::from_utf8_lossy(&stored.resource.body).into_owned(),
        None => "none".to_owned(),
    };
    page.iter().map(body).collect()
}

#[tokio::test]
async fn reads_are_as_of_their_time_across_changes_deletions_and_a_new_beginning() {
    let (database, patients) = (Database::new(), whole(ResourceType::PATIENT, "z"));
    let (mut loader, source) = (database.loader().await, database.source());
    let active = r#"{"resourceType":"Patient","id":"p","active":true}"#;
    let mut seen = Vec::new();
    let loads = [group("g", &[entity("p")]), patient("p"), active.to_owned(), "deletion".to_owned(), patient("p")];
    for load in loads {
        if load == "deletion" {
            assert_eq!(loader.delete(&[key("Patient/p"), key("Patient/q")]).await.expect("it can be deleted"), 1);
        } else {
            loader.load(&resources(&[load])).await.expect("it can be loaded");
        }
        seen.push(source.transaction_time().await.expect("the source can be asked"));
    }
    let expected = ["none".to_owned(), patient("p"), active.to_owned(), "none".to_owned(), patient("p")];
    for (as_of, expected) in seen.iter().zip(&expected) {
        let page = source.listed(&id("g"), &patients, *as_of, 10).await.expect("the list is there");
        assert_eq!(bodies(&page), [expected.as_str()]);
        let fetched = source.fetch(*as_of, &[key("Patient/p")]).await.expect("the source can be asked");
        let fetched: Vec<&[u8]> = fetched.iter().map(|stored| stored.resource.body.as_ref()).collect();
        assert_eq!(fetched, if expected == "none" { vec![] } else { vec![expected.as_bytes()] });
    }
    assert!(database.rows().await.contains("resource (Patient,p,3,"), "versions go on after a deletion");
}

#[tokio::test]
async fn members_are_as_of_their_time_and_what_stays_keeps_its_beginning() {
    let (database, patients) = (Database::new(), whole(ResourceType::PATIENT, "z"));
    let (mut loader, source) = (database.loader().await, database.source());
    let before = SystemClock.now().floor_to_millis();
    loader.load(&resources(&[group("g", &[entity("a"), entity("b")])])).await.expect("it can be loaded");
    let first = source.transaction_time().await.expect("the source can be asked");
    let count = loader.load(&resources(&[group("g", &[entity("b"), entity("c"), entity("d")])])).await;
    assert_eq!(count.expect("it can be loaded"), counts(0, 1, 0));
    let second = source.transaction_time().await.expect("the source can be asked");
    loader.delete(&[key("Group/g")]).await.expect("it can be deleted");
    let third = source.transaction_time().await.expect("the source can be asked");

    for (as_of, ids, members) in
        [(first, vec!["a", "b"], vec!["a", "b"]), (second, vec!["b", "c", "d"], vec!["b", "c", "d"])]
    {
        let page = source.listed(&id("g"), &patients, as_of, 10).await.expect("the list is there");
        assert_eq!(page.iter().map(|listed| listed.id.as_str()).collect::<Vec<_>>(), ids);
        let written = source.members(&id("g"), as_of, 0, 10).await.expect("the list is there");
        assert_eq!(written, members.iter().map(|patient| entity(patient)).collect::<Vec<_>>());
        let head = source.list(&id("g"), as_of).await.expect("the source can be asked").expect("it is there");
        assert_eq!(head.members, members.len() as u64);
        let slices = source.cut(&id("g"), as_of, 10).await.expect("the list is there");
        assert_eq!(slices.iter().map(|slice| slice.ids).collect::<Vec<_>>(), [ids.len() as u64]);
        let among = source.listed_among(&id("g"), as_of, &["Patient/a", "Patient/c"].map(key)).await;
        assert_eq!(among.expect("the list is there").len(), 1);
        let fetched = source.fetch(as_of, &[key("Group/g")]).await.expect("the source can be asked");
        assert_eq!(fetched[0].last_updated, head.last_updated);
    }
    let page = source.listed(&id("g"), &patients, second, 10).await.expect("the list is there");
    assert!(page[0].listed_since <= first, "b has been listed from the beginning");
    assert!(page[1].listed_since > first && page[1].listed_since <= second, "c came with the second load");
    assert_eq!(source.list(&id("g"), before).await.expect("the source can be asked"), None);
    assert_eq!(source.list(&id("g"), third).await.expect("the source can be asked"), None);
    let fault = source.cut(&id("g"), third, 10).await.expect_err("the list is gone");
    assert_eq!(fault.kind(), FaultKind::NotFound);
    assert!(source.fetch(third, &[key("Group/g")]).await.expect("the source can be asked").is_empty());
}

#[tokio::test]
async fn an_id_that_is_named_in_another_way_has_been_listed_without_a_break() {
    let (database, organizations) = (Database::new(), whole(ResourceType::ORGANIZATION, "z"));
    let (mut loader, source) = (database.loader().await, database.source());
    let mut seen = Vec::new();
    for way in ["any", "provider"] {
        let members = [member("Patient/1", &[(way, "Organization/o")])];
        loader.load(&resources(&[group("g", &members)])).await.expect("it can be loaded");
        let now = source.transaction_time().await.expect("the source can be asked");
        seen.push((now, source.listed(&id("g"), &organizations, now, 9).await.expect("the list is there").remove(0)));
    }
    let [(first, before), (_, after)] = &seen[..] else { panic!("there were two loads") };
    assert_eq!((before.named_by, after.named_by), (Attribution::AssociatedData, Attribution::Provider));
    assert_eq!(before.listed_since, after.listed_since);
    let again = source.listed(&id("g"), &organizations, *first, 9).await.expect("the list is there");
    assert_eq!(again[0].named_by, Attribution::AssociatedData);
}

#[tokio::test]
async fn loading_twice_changes_nothing() {
    let database = Database::new();
    let mut loader = database.loader().await;
    let members: Vec<String> = (0..1_200)
        .map(|n| {
            member(&format!("Patient/{n}"), &[("coverage", &format!("Coverage/{n}")), ("provider", "Practitioner/1")])
        })
        .collect();
    let batch = resources(&[
        patient("a"),
        group("g", &members),
        patient("b"),
        r#"{"resourceType":"Group","id":"bare"}"#.to_owned(),
    ]);
    assert_eq!(loader.load(&batch).await.expect("it can be loaded"), counts(4, 0, 0));
    let before = database.rows().await;
    assert!(before.contains("attribution_member (g,7,7,7,Practitioner/1,"), "a member row has its references");
    assert_eq!(loader.load(&batch).await.expect("it can be loaded"), counts(0, 0, 4));
    assert_eq!(database.loader().await.load(&batch).await.expect("it can be loaded"), counts(0, 0, 4));
    assert_eq!(database.rows().await, before);
    let change =
        resources(&[patient("a"), r#"{"resourceType":"Patient","id":"b","active":true}"#.to_owned(), patient("c")]);
    assert_eq!(loader.load(&change).await.expect("it can be loaded"), counts(1, 1, 1));
    assert_eq!(loader.load(&[]).await.expect("nothing can be loaded"), counts(0, 0, 0));
}

#[tokio::test]
async fn a_change_to_one_member_leaves_the_rows_of_the_others() {
    let database = Database::new();
    let mut loader = database.loader().await;
    loader.load(&resources(&[group("g", &[entity("a"), entity("b"), entity("c")])])).await.expect("it can be loaded");
    let before = database.rows().await;
    loader.load(&resources(&[group("g", &[entity("a"), entity("x"), entity("c")])])).await.expect("it can be loaded");
    let after = database.rows().await;
    for kept in before
        .lines()
        .filter(|row| row.starts_with("attribution_member (g,0") || row.starts_with("attribution_member (g,2"))
    {
        assert!(after.contains(kept), "{kept}\nis not in\n{after}");
    }
    assert!(
        before.lines().filter(|row| row.starts_with("attribution_listed (g,Patient,a")).all(|row| after.contains(row))
    );
}

#[tokio::test]
async fn a_transaction_that_has_begun_keeps_the_transaction_time_below_it() {
    let database = Database::new();
    let (mut loader, source) = (database.loader().await, database.source());
    loader.load(&resources(&[patient("a")])).await.expect("it can be loaded");
    let mut client = database.client().await;
    let writing = client.transaction().await.expect("it can begin");
    let insert = "INSERT INTO resource SELECT 'Patient', 'b', 1, take_stamp(), '{}' RETURNING last_updated::text";
    writing.query_one(insert, &[]).await.expect("it can be written");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let during = source.transaction_time().await.expect("the source can be asked");
    writing.commit().await.expect("it can be committed");
    let fetched = source.fetch(during + Duration::from_hours(1), &[key("Patient/b")]).await;
    let stamp = fetched.expect("the source can be asked")[0].last_updated;
    assert!(during < stamp, "{during} is not before {stamp}");
    assert!(source.fetch(during, &[key("Patient/b")]).await.expect("the source can be asked").is_empty());
    let after = source.transaction_time().await.expect("the source can be asked");
    assert_eq!(source.fetch(after, &[key("Patient/b")]).await.expect("the source can be asked").len(), 1);
}

#[tokio::test]
async fn a_transaction_time_beside_a_writer_is_not_before_one_that_was_given_and_has_what_was_committed() {
    let database = Database::new();
    let (mut loader, source) = (database.loader().await, database.source());
    let mut client = database.client().await;
    for round in 0..5 {
        let body = format!(r#"{{"resourceType":"Patient","id":"a","x":{round}}}"#);
        loader.load(&resources(&[&body])).await.expect("it can be loaded");
        let before = source.transaction_time().await.expect("the source can be asked");
        let writing = client.transaction().await.expect("it can begin");
        writing.execute("SELECT take_stamp()", &[]).await.expect("it is its turn");
        let beside = source.transaction_time().await.expect("the source can be asked");
        assert!(before <= beside, "{beside} is before {before}");
        let fetched = source.fetch(beside, &[key("Patient/a")]).await.expect("the source can be asked");
        assert_eq!(fetched[0].resource.body, body);
        writing.rollback().await.expect("it can be rolled back");
    }
}

#[tokio::test]
async fn what_was_seen_as_of_a_time_never_changes_while_others_write() {
    let database = Database::new();
    let source = database.source();
    let mut loaders = Vec::new();
    for _ in 0..3 {
        loaders.push(database.loader().await);
    }
    let keys: Vec<_> = (0..20).map(|n| key(&format!("Patient/{n}"))).collect();
    let writing = join_all(loaders.iter_mut().enumerate().map(|(writer, loader)| async move {
        for round in 0..15 {
            let texts: Vec<String> =
                (0..20).map(|n| format!(r#"{{"resourceType":"Patient","id":"{n}","x":"{writer} {round}"}}"#)).collect();
            loader.load(&resources(&texts)).await.expect("it can be loaded");
        }
    }));
    let reading = async {
        let mut seen = Vec::new();
        for _ in 0..60 {
            let as_of = source.transaction_time().await.expect("the source can be asked");
            seen.push((as_of, sorted(source.fetch(as_of, &keys).await.expect("the source can be asked"))));
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        seen
    };
    let (_, seen) = tokio::join!(writing, reading);
    for (as_of, then) in seen {
        let now = sorted(source.fetch(as_of, &keys).await.expect("the source can be asked"));
        assert_eq!(now, then, "as of {as_of}");
    }
}

fn sorted(mut stored: Vec<shared::source::Stored>) -> Vec<shared::source::Stored> {
    stored.sort_by(|left, right| left.resource.key.cmp(&right.resource.key));
    stored
}

#[tokio::test]
async fn loaders_of_the_same_resources_neither_lock_each_other_out_nor_lose_anything() {
    let database = Database::new();
    let load = |writer: usize| {
        let database = &database;
        async move {
            let mut loader = database.loader().await;
            let mut total = LoadedCounts::default();
            for round in 0..5 {
                let mut texts: Vec<String> = (0..50)
                    .map(|n| format!(r#"{{"resourceType":"Patient","id":"{n}","x":"{writer} {round}"}}"#))
                    .collect();
                if writer.is_multiple_of(2) {
                    texts.reverse();
                }
                texts.push(group("g", &[entity(&format!("{writer}-{round}")), entity("stays")]));
                total += loader.load(&resources(&texts)).await.expect("it can be loaded");
            }
            total
        }
    };
    let totals = tokio::time::timeout(Duration::from_secs(30), join_all((0..4).map(load))).await.expect("no deadlock");
    let sum = totals.into_iter().fold(LoadedCounts::default(), |mut sum, total| {
        sum += total;
        sum
    });
    assert_eq!(sum, counts(51, 4 * 5 * 51 - 51, 0), "each load found the content of another one");
    let broken = "SELECT count(*) FROM (
            SELECT last_updated, superseded_at, version,
                lead(last_updated) OVER of_one AS next_begins, lead(version) OVER of_one AS next_version
            FROM (
                SELECT resource_type, id, version, last_updated, superseded_at FROM resource_history
                UNION ALL SELECT resource_type, id, version, last_updated, 'infinity' FROM resource
            ) versions
            WINDOW of_one AS (PARTITION BY resource_type, id ORDER BY version)
        ) chain
        WHERE superseded_at <= last_updated OR next_begins <> superseded_at OR next_version <> version + 1";
    let broken: i64 = database.client().await.query_one(broken, &[]).await.expect("the tables are there").get(0);
    assert_eq!(broken, 0, "the versions of a resource follow each other without gap or overlap");
}

#[tokio::test]
async fn several_may_create_the_tables_at_once() {
    let database = Database::new();
    let url = database.url();
    for done in join_all((0..4).map(|_| migrate(&url))).await {
        done.expect("one does it, the others find it done");
    }
}

#[tokio::test]
async fn tables_are_brought_up_to_date_while_others_read_and_write() {
    let database = Database::new();
    let (mut loader, source) = (database.loader().await, database.source());
    let body = r#"{"resourceType":"Patient","id":"a"}"#;
    loader.load(&resources(&[body])).await.expect("it can be loaded");
    let last = "DELETE FROM migration WHERE version = 5;
        ALTER TABLE resource DROP CONSTRAINT resource_is_json;
        ALTER TABLE attribution_member DROP CONSTRAINT member_is_json;
        ALTER TABLE attribution_list DROP CONSTRAINT list_is_json";
    let (mut writer, mut reader) = (database.client().await, database.client().await);
    writer.batch_execute(last).await.expect("the tables are there");

    // A list is written first, the resource of its Group last: the other way round than the step takes the tables.
    let writing = writer.transaction().await.expect("it can begin");
    writing.execute("SELECT take_stamp()", &[]).await.expect("it is its turn");
    writing.execute("LOCK TABLE attribution_member IN ROW EXCLUSIVE MODE", &[]).await.expect("it is free");
    // A long read keeps the step from the last of the tables, and not from going on when it ends.
    let reading = reader.transaction().await.expect("it can begin");
    reading.query("SELECT FROM attribution_list", &[]).await.expect("it can be read");
    let url = database.url();
    let migrating = tokio::spawn(async move { migrate(&url).await });
    let looker = database.client().await;
    let waits = async || {
        let waits = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '-- 0005_json:%'";
        while !migrating.is_finished() && looker.query(waits, &[]).await.expect("it can be asked").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    waits().await;
    writing.execute("LOCK TABLE resource IN ROW EXCLUSIVE MODE", &[]).await.expect("no step is in the way");
    let as_of = source.transaction_time().await.expect("the source answers beside a step that waits");
    assert_eq!(source.fetch(as_of, &[key("Patient/a")]).await.expect("so does a read").len(), 1);
    writing.commit().await.expect("it can be committed");
    waits().await;
    let fetched = source.fetch(as_of, &[key("Patient/a")]).await;
    assert_eq!(fetched.expect("a step that waits for another table lets it go before long").len(), 1);
    reading.commit().await.expect("it can be committed");
    migrating.await.expect("it does not panic").expect("the step is done at last");
    let bad = "INSERT INTO resource VALUES ('Patient', 'b', 1, now(), 'not json')";
    assert!(database.client().await.execute(bad, &[]).await.is_err(), "the constraint is there");
}

#[tokio::test]
async fn a_group_that_cannot_be_read_is_refused_without_a_trace() {
    let database = Database::new();
    let mut loader = database.loader().await;
    for bad in [r#"{"resourceType":"Group","id":"g","member":7}"#, r#"{"resourceType":"Group","id":"g","member":[7]}"#]
    {
        let fault = loader.load(&resources(&[patient("a"), bad.to_owned()])).await.expect_err("it has no members");
        assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
    }
    assert_eq!(database.rows().await, "");
    loader.load(&resources(&[patient("a")])).await.expect("the loader goes on");
}

#[tokio::test]
async fn a_load_that_is_given_up_leaves_nothing_and_the_loader_goes_on() {
    let database = Database::new();
    let mut loader = database.loader().await;
    let texts: Vec<String> = (0..5_000).map(|n| patient(&n.to_string())).chain([group("g", &[entity("1")])]).collect();
    let batch = resources(&texts);
    for millis in [1, 5, 10] {
        let load = tokio::time::timeout(Duration::from_millis(millis), loader.load(&batch)).await;
        assert!(load.is_err(), "5,000 resources took less than {millis} ms");
        assert_eq!(database.rows().await, "");
    }
    assert_eq!(loader.load(&batch).await.expect("the loader goes on"), counts(5_001, 0, 0));
}

#[tokio::test]
async fn without_tables_it_says_what_to_run() {
    let source = Database::new().source();
    for fault in [source.ready().await.expect_err("no tables"), source.transaction_time().await.expect_err("no tables")]
    {
        assert_eq!(fault.kind(), FaultKind::Invalid);
        assert!(fault.to_string().contains("atr load"), "{fault}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_a_wrong_url_is_invalid_at_once() {
    let settings = PostgresSettings { connect_timeout: Duration::from_secs(1), ..PostgresSettings::default() };
    let source =
        PostgresSource::connect("postgres://postgres@127.0.0.1:1/test", settings).expect("nobody connects yet");
    let fault = source.ready().await.expect_err("nobody listens there");
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
    let fault = PostgresSource::connect("postgres://postgres@127.0.0.1:1/test?sslmod=x", settings).expect_err("a typo");
    assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
}

#[tokio::test]
async fn connections_that_have_fallen_silent_cost_one_call() {
    let database = Database::new();
    database.loader().await;
    let proxy = Proxy::to(&harness::postgres_url(), Wire::Pass).await;
    let settings =
        PostgresSettings { connections: 4, statement_timeout: Duration::from_secs(1), ..PostgresSettings::default() };
    let source = PostgresSource::connect(&proxy.url(&database.url()), settings).expect("the URL is right");
    for answer in join_all((0..4).map(|_| source.ready())).await {
        answer.expect("the wire carries everything, on four connections");
    }
    proxy.silence();
    assert_eq!(source.ready().await.expect_err("nobody answers").kind(), FaultKind::Unavailable);
    source.ready().await.expect("there is a new connection, and no other is tried before");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_unavailable_and_a_full_pool_is_busy() {
    let database = Database::new();
    database.loader().await.load(&resources(&[group("g", &[entity("a")])])).await.expect("it can be loaded");
    let timeout = Duration::from_millis(200);
    let settings = PostgresSettings { connections: 1, statement_timeout: timeout, ..PostgresSettings::default() };
    let source = PostgresSource::connect(&database.url(), settings).expect("the URL is right");
    source.ready().await.expect("it is ready");
    let mut client = database.client().await;
    let locking = client.transaction().await.expect("it can begin");
    locking.batch_execute("LOCK TABLE attribution_list").await.expect("it can be locked");
    let (list, now) = (id("g"), SystemClock.now());
    let (one, other) = tokio::join!(source.list(&list, now), source.list(&list, now));
    let mut kinds = [one, other].map(|answer| answer.expect_err("the table is locked").kind());
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    assert!(kinds.contains(&FaultKind::Unavailable), "{kinds:?}");
    assert!(kinds.iter().all(|kind| matches!(kind, FaultKind::Unavailable | FaultKind::Busy)), "{kinds:?}");
    locking.rollback().await.expect("it can be rolled back");
    source.list(&list, now).await.expect("the connection serves again");
}

#[tokio::test]
async fn a_page_ends_early_when_its_resources_are_large() {
    let database = Database::new();
    let photo = "x".repeat(3 << 20);
    let patients: Vec<String> = (10..22)
        .map(|number| format!(r#"{{"resourceType":"Patient","id":"{number}","photo":[{{"data":"{photo}"}}]}}"#))
        .collect();
    let members: Vec<String> = (10..22).map(|number| entity(&number.to_string())).collect();
    let mut loader = database.loader().await;
    let lines = patients.iter().chain([&group("g", &members)]).cloned().collect::<Vec<_>>();
    let resources: Vec<Resource> =
        lines.iter().map(|line| Resource::read(&line.clone().into()).expect("a resource")).collect();
    loader.load(&resources).await.expect("loaded");

    let source = database.source();
    let now = source.transaction_time().await.expect("a time");
    let (mut slice, mut ids, mut pages) = (whole(ResourceType::PATIENT, "99"), Vec::new(), 0);
    loop {
        let page = source.listed(&id("g"), &slice, now, 100).await.expect("a page");
        let Some(last) = page.last() else { break };
        slice.after = Some(last.id.clone());
        ids.extend(page.iter().map(|listed| listed.id.to_string()));
        pages += 1;
    }
    assert_eq!(ids, (10..22).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(pages, 2, "36 MiB are more than a page holds");
}

#[tokio::test]
async fn a_page_of_members_ends_early_when_they_are_large() {
    let database = Database::new();
    let note = "x".repeat(3 << 20);
    let members: Vec<String> =
        (10..22).map(|number| format!(r#"{{"id":"{note}","entity":{{"reference":"Patient/{number}"}}}}"#)).collect();
    let mut loader = database.loader().await;
    loader.load(&resources(&[group("g", &members)])).await.expect("loaded");

    let source = database.source();
    let now = source.transaction_time().await.expect("a time");
    let (mut read, mut pages) = (Vec::new(), 0);
    loop {
        let page = source.members(&id("g"), now, read.len() as u64, 100).await.expect("a page");
        if page.is_empty() {
            break;
        }
        read.extend(page);
        pages += 1;
    }
    assert_eq!(read, members, "each once, in their order");
    assert_eq!(pages, 2);
}
