//! A server that cannot do everything is asked in the way that it can.

use std::time::Duration;

use devfhir::Harm::Status;
use devfhir::{Abilities, Fault, FhirServer, Options, Requests};
use shared::fhir::{Instant, ResourceType};
use shared::metrics::Metrics;
use shared::source::{Changed, ResourceSource};

use super::super::{key, patient};
use super::{SETTINGS, all, payer, read, source, source_with};

/// What of the requests of a path were there: by method.
fn asked(server: &FhirServer, method: &str, path: &str) -> usize {
    server.requests().iter().filter(|asked| asked.method == method && asked.path.ends_with(path)).count()
}

#[tokio::test]
async fn what_a_server_lacks_is_done_in_another_way() {
    type Lack = fn(&mut Abilities);
    let lacks: [(&str, Lack); 7] = [
        ("_id", |abilities| abilities.id_search = false),
        ("_id and batches", |abilities| (abilities.id_search, abilities.batch) = (false, false)),
        ("searches by POST", |abilities| abilities.post_search = false),
        ("histories", |abilities| abilities.history = false),
        ("a statement", |abilities| abilities.statement = false),
        ("a statement and _id", |abilities| (abilities.statement, abilities.id_search) = (false, false)),
        ("_elements", |abilities| abilities.elements = false),
    ];
    for (what, lack) in lacks {
        let server = payer();
        server.abilities(lack);
        let learned = read(source(&server)).await.unwrap_or_else(|fault| panic!("without {what}: {fault}"));
        assert_eq!(learned, all(), "without {what}");
    }
}

#[tokio::test]
async fn without_a_search_by_ids_resources_are_read_in_bundles_and_without_these_one_by_one() {
    let server = payer();
    server.abilities(|abilities| abilities.id_search = false);
    read(source(&server)).await.expect("the server is there");
    assert!(asked(&server, "POST", "/fhir") > 0);
    assert_eq!(asked(&server, "GET", "/Patient/p1"), 0, "it came in a Bundle");
    let server = payer();
    server.abilities(|abilities| (abilities.id_search, abilities.batch) = (false, false));
    read(source(&server)).await.expect("the server is there");
    assert_eq!((asked(&server, "POST", "/fhir"), asked(&server, "GET", "/Patient/p1")), (0, 1));
}

#[tokio::test]
async fn a_server_that_turns_out_not_to_find_ids_is_asked_in_whole_bundles_all_the_same() {
    let server = payer();
    // What it says of itself is wrong.
    server.misbehave(Fault::new(Status(400, None)).on(Requests::Search).containing("_id"));
    let metrics = Metrics::new();
    assert_eq!(read(source_with(&server, SETTINGS, None, &metrics)).await.expect("the server is there"), all());
    assert_eq!(metrics.fhir_request_ids.get(), 8, "it was not their number");
}

#[tokio::test]
async fn a_server_that_refuses_many_ids_at_once_is_asked_for_fewer() {
    let server = payer();
    let ids = |count: usize| (0..count).map(|n| format!("Patient/p{n}")).map(|id| key(&id)).collect::<Vec<_>>();
    let metrics = Metrics::new();
    let source = source_with(&server, SETTINGS, None, &metrics);
    let as_of = source.transaction_time().await.expect("the server is there");
    // Its eight ids are asked for in one request, which is refused; those of each half are not.
    server.misbehave(Fault::new(Status(422, None)).containing("&_count=8"));
    assert_eq!(source.fetch(as_of, &ids(8)).await.expect("the server is there").len(), 7);
    assert_eq!(metrics.fhir_request_ids.get(), 4);
}

#[tokio::test]
async fn a_search_that_would_make_a_long_url_is_posted_and_cut_where_that_is_not_taken() {
    let long = |n: usize| format!("{n:0>64}");
    let ids: Vec<String> = (0..60).map(long).collect();
    let resources: Vec<String> = ids.iter().map(|id| patient(id)).collect();
    for posts in [true, false] {
        let server = FhirServer::start(Options::default()).expect("there is a free port");
        server.load(&resources);
        server.abilities(|abilities| abilities.post_search = posts);
        let settings = super::FhirSettings { request_ids: 60, ..super::SETTINGS };
        let source = super::source_with(&server, settings, None, &shared::metrics::Metrics::new());
        let as_of = source.transaction_time().await.expect("the server is there");
        let keys: Vec<_> = ids.iter().map(|id| key(&format!("Patient/{id}"))).collect();
        assert_eq!(source.fetch(as_of, &keys).await.expect("the server is there").len(), 60);
        assert!(asked(&server, "POST", "/Patient/_search") > 0);
        let searches =
            server.requests().into_iter().filter(|asked| asked.method == "GET" && asked.path.ends_with("/Patient"));
        let longest = searches.flat_map(|asked| asked.query).map(|(_, value)| value.len()).max();
        assert!(longest.is_none_or(|longest| longest < 2_000), "{longest:?}");
        assert_eq!(longest.is_some(), !posts);
    }
}

#[tokio::test]
async fn only_what_has_changed_is_asked_for_where_nothing_else_is_wanted() {
    let server = FhirServer::start(Options::default()).expect("there is a free port");
    let source = source(&server);
    server.load(&["a", "b"].map(patient));
    let as_of = source.transaction_time().await.expect("the server is there");
    let at = |text: &str| text.parse::<Instant>().expect("this is an instant");
    let (after, until) = (at("2020-01-01T00:00:00Z"), at("2020-01-02T00:00:00Z"));
    let types = [ResourceType::PATIENT];
    // Servers differ in how exactly they compare times: a second more is asked for at either end.
    let from_after = "ge2019-12-31T23:59:59.000Z".to_owned();
    let changed = Changed { after: Some(after), until: None };
    let slices = source.cut_all(&types, as_of, changed, 10).await.expect("the server is there");
    assert_eq!(slices.iter().map(|slice| slice.ids).sum::<u64>(), 2);
    assert_eq!(times_asked_for(&server), [std::slice::from_ref(&from_after)]);
    // What has changed once more after the transaction time was before it what it was.
    let later = as_of + Duration::from_secs(1);
    let changed = Changed { after: Some(after), until: Some(until) };
    source.cut_all(&types, later, changed, 10).await.expect("the server is there");
    let between = [from_after, "le2020-01-02T00:00:01.000Z".to_owned()];
    assert_eq!(times_asked_for(&server)[1..], [&between[..], &[format!("ge{as_of}")]]);
}

/// The `_lastUpdated` of each search for all Patients.
fn times_asked_for(server: &FhirServer) -> Vec<Vec<String>> {
    let searches = server.requests().into_iter().filter(|asked| asked.path.ends_with("/Patient"));
    let times = |query: Vec<(String, String)>| query.into_iter().filter(|(name, _)| name == "_lastUpdated");
    searches.map(|asked| times(asked.query).map(|(_, time)| time).collect()).collect()
}

#[tokio::test]
async fn without_a_history_there_is_what_there_is_now() {
    let server = payer();
    server.abilities(|abilities| abilities.history = false);
    let source = source(&server);
    assert!(!source.is_repeatable().await.expect("the server is there"));
    let as_of = source.transaction_time().await.expect("the server is there");
    server.load(&[r#"{"resourceType":"Patient","id":"p1","active":true}"#]);
    server.delete("Patient", "p2");
    let fetched = source.fetch(as_of, &["Patient/p1", "Patient/p2"].map(key)).await.expect("the server is there");
    let [p1] = &fetched[..] else { panic!("one is gone: {fetched:?}") };
    assert!(p1.last_updated > as_of, "it came newer than it was asked for");
    let long_ago = Instant::from_unix_millis(0);
    let deleted = source.deleted_among(long_ago, as_of, &[key("Patient/p2")]).await.expect("the server is there");
    assert_eq!(deleted, []);
    let version = source.versions(&key("Patient/p1"), None, 10).await.expect("the server is there");
    assert_eq!(version.len(), 1);
}
