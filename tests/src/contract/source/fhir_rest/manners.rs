//! How a server is asked: not by too many at once, not while it asks for patience, not when it has failed again and again.

use std::sync::Arc;
use std::time::Duration;

use devfhir::Harm::{SlowAboveIds, SlowHead, Status};
use devfhir::{Fault, FhirServer, Options, Requests};
use shared::fault::FaultKind;
use shared::metrics::Metrics;
use shared::redis_connection::{RedisConnection, RedisSettings};
use shared::source::ResourceSource;
use shared::source::fhir_rest::FhirSettings;
use shared::source::fhir_rest::pace::redis::RedisPause;

use super::super::{entity, group, id, key, patient};
use super::{SETTINGS, all, payer, read, source, source_with};
use crate::harness::redis_url;
use crate::harness::system::in_namespace;

#[tokio::test]
async fn no_more_requests_are_made_at_once_than_are_allowed_however_many_ask() {
    let server = FhirServer::start(Options { latency: Duration::from_millis(5), ..Options::default() });
    let server = server.expect("there is a free port");
    let patients: Vec<String> = (0..200).map(|n| patient(&n.to_string())).collect();
    server.load(&patients);
    let source = Arc::new(source(&server));
    let as_of = source.transaction_time().await.expect("the server is there");
    let asked = (0..10).map(|_| {
        let source = Arc::clone(&source);
        tokio::spawn(async move {
            let keys: Vec<_> = (0..200).map(|n| key(&format!("Patient/{n}"))).collect();
            source.fetch(as_of, &keys).await.expect("the server is there").len()
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        assert_eq!(asked.await.expect("nobody panics"), 200);
    }
    assert_eq!(server.most_at_once(), SETTINGS.connections);
}

#[tokio::test]
async fn what_a_server_bears_is_found_out_and_not_exceeded_any_more() {
    let server = FhirServer::start(Options::default()).expect("there is a free port");
    let ids: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    let members: Vec<String> = ids.iter().map(|id| entity(id)).collect();
    let patients = ids.iter().map(|id| patient(id));
    server.load(&patients.chain([group("g", &members)]).collect::<Vec<_>>());
    server.misbehave(Fault::new(SlowAboveIds(10, Duration::from_hours(1))));
    let metrics = Metrics::new();
    let settings =
        FhirSettings { connections: 1, request_ids: 64, answer_timeout: Duration::from_millis(500), ..SETTINGS };
    let source = source_with(&server, settings, None, &metrics);
    assert_eq!(read(source.clone()).await.expect("less is asked for").len(), 64);
    let too_much = metrics.fhir_requests.with_label_values(&["too_much"]);
    let before = too_much.get();
    assert!(before > 0);
    assert!(metrics.fhir_request_ids.get() <= 10);
    assert_eq!(read(source).await.expect("less is asked for").len(), 64);
    assert_eq!(too_much.get(), before, "nothing was too much the second time");
}

#[tokio::test]
async fn patience_that_one_process_is_asked_for_all_processes_have() {
    in_namespace(async |namespace| {
        let server = payer();
        let patience = Status(429, Some("3600".to_owned()));
        server.misbehave(Fault::new(patience).on(Requests::Search).first(1));
        let connect = async || {
            let redis = RedisConnection::connect(&redis_url(), namespace, RedisSettings::default()).await;
            let pause = Arc::new(RedisPause::new(redis.expect("Redis is there (tests/run)")));
            source_with(&server, SETTINGS, Some(pause), &Metrics::new())
        };
        let (one, other) = (connect().await, connect().await);
        let fault = one.transaction_time().await.expect_err("an hour is too long");
        assert_eq!(fault.kind(), FaultKind::Busy, "{fault}");
        let asked = server.requests().len();
        for source in [&one, &other] {
            let fault = source.ready().await.expect_err("the pause holds for everything");
            assert_eq!(fault.kind(), FaultKind::Busy, "{fault}");
        }
        assert_eq!(server.requests().len(), asked, "the server was left alone");
    })
    .await;
}

#[tokio::test]
async fn a_short_pause_is_waited_for() {
    let server = payer();
    let metrics = Metrics::new();
    for status in [429, 503] {
        server.misbehave(Fault::new(Status(status, Some("1".to_owned()))).containing("_search").first(1));
        server.misbehave(Fault::new(Status(status, Some("1".to_owned()))).containing("_id").first(1));
    }
    let learned = read(source_with(&server, SETTINGS, None, &metrics)).await;
    assert_eq!(learned.expect("the pauses end"), all());
    assert!(metrics.fhir_pauses.get() >= 2);
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_left_alone_for_a_while() {
    let server = payer();
    let metrics = Metrics::new();
    server.misbehave(Fault::new(Status(500, None)));
    let source = source_with(&server, SETTINGS, None, &metrics);
    let mut asked = usize::MAX;
    while asked != server.requests().len() {
        asked = server.requests().len();
        let fault = source.ready().await.expect_err("it answers nothing else");
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
    }
    assert_eq!(metrics.fhir_circuit_open.get(), 1);
    server.behave();
    while source.ready().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(metrics.fhir_circuit_open.get(), 0);
}

#[tokio::test]
async fn a_silent_server_is_a_fault_and_not_a_wait_for_ever() {
    let server = payer();
    server.misbehave(Fault::new(SlowHead(Duration::from_hours(1))));
    let settings = FhirSettings { answer_timeout: Duration::from_millis(100), ..SETTINGS };
    let source = source_with(&server, settings, None, &Metrics::new());
    let fault = source.list(&id("g"), shared::fhir::Instant::from_unix_millis(0)).await.expect_err("nothing comes");
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{fault}");
}

#[tokio::test]
async fn answers_are_asked_for_compressed() {
    let server = payer();
    read(source(&server)).await.expect("the server is there");
    let encodings = server.requests().into_iter().map(|asked| asked.accept_encoding.unwrap_or_default());
    assert!(encodings.collect::<Vec<_>>().iter().all(|encoding| encoding.contains("gzip")));
}
