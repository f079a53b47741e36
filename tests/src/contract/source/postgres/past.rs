//! What is special about the past of a database: its pages, and its tables of earlier versions.

use shared::export::Slice;
use shared::fhir::{Instant, ResourceKey, ResourceType};
use shared::source::postgres::migrate;

use super::super::past::{deleted, keys_of, now};
use super::super::{key, whole};
use super::{Database, resources};
use crate::harness;

fn written(id: &str, text: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","x":"{text}"}}"#)
}

#[tokio::test]
async fn pages_of_a_scan_and_of_deletions_end_early_when_the_resources_are_large() {
    let database = Database::new();
    let (mut loader, source) = (database.loader().await, database.source());
    let photo = "x".repeat(3 << 20);
    let patients: Vec<String> = (10..22).map(|number| written(&number.to_string(), &photo)).collect();
    loader.load(&resources(&patients)).await.expect("it can be loaded");
    let before = now(&source).await;
    let pages = async || {
        let (mut slice, mut pages) = (whole(ResourceType::PATIENT, "99"), Vec::new());
        loop {
            let page = source.scan(&slice, before, 100).await.expect("the source can be asked");
            let Some(last) = page.last() else { return pages };
            slice = Slice { after: Some(last.resource.key.id.clone()), ..slice };
            pages.push(page.len());
        }
    };
    assert_eq!(pages().await, [6, 6], "36 MiB are more than a page holds");
    let keys: Vec<ResourceKey> = (10..22).map(|number| key(&format!("Patient/{number}"))).collect();
    loader.delete(&keys).await.expect("it can be deleted");
    assert_eq!(pages().await, [6, 6], "as of before the deletion");
    let as_of = now(&source).await;
    let ask = async |after| source.deleted(&[ResourceType::PATIENT], before, as_of, after, 100).await;
    let first = ask(None).await.expect("the source can be asked");
    let second = ask(first.last()).await.expect("the source can be asked");
    assert_eq!((first.len(), second.len()), (6, 6));
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date_and_knows_its_deletions() {
    let database = Database::new();
    let (client, connection) =
        tokio_postgres::connect(&harness::postgres_url(), tokio_postgres::NoTls).await.expect("PostgreSQL is there");
    tokio::spawn(connection);
    let first = include_str!("../../../../../shared/migrations/0001_resources.sql");
    let schema = &database.schema;
    let old = format!(
        "CREATE SCHEMA {schema};
        SET search_path = {schema};
        CREATE TABLE migration (
            version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
        );
        {first};
        INSERT INTO migration (version, name) VALUES (1, 'resources');
        INSERT INTO resource VALUES
            ('Patient', 'changed', 2, '2020-01-02Z', '{{}}'), ('Patient', 'returned', 2, '2020-01-04Z', '{{}}');
        INSERT INTO resource_history VALUES
            ('Patient', 'changed', 1, '2020-01-01Z', '2020-01-02Z', '{{}}'),
            ('Patient', 'returned', 1, '2020-01-01Z', '2020-01-02Z', '{{}}'),
            ('Patient', 'gone', 1, '2020-01-01Z', '2020-01-02Z', '{{}}'),
            ('Patient', 'gone', 2, '2020-01-02Z', '2020-01-03Z', '{{}}');"
    );
    client.batch_execute(&old).await.expect("the first version can be made");
    migrate(&database.url()).await.expect("it can be brought up to date");
    let source = database.source();
    let at = |text: &str| text.parse::<Instant>().expect("this is an instant");
    for (as_of, expected) in [
        ("2020-01-02T12:00:00Z", &["Patient/returned"][..]),
        ("2020-01-03T12:00:00Z", &["Patient/returned", "Patient/gone"]),
        ("2020-01-05T00:00:00Z", &["Patient/gone"]),
    ] {
        let deleted = deleted(&source, at("2020-01-01T00:00:00Z"), at(as_of), 10).await;
        assert_eq!(keys_of(&deleted), expected, "as of {as_of}");
    }
}
