//! What a kick-off and a poll answer: headers that are needed, preferences, limits, and an OperationOutcome for every error.

use reqwest::header::{ACCEPT, ALLOW, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::settings::Settings;

use super::{patient, small_list};
use crate::harness::system::{PREFER, issue, polling_location, with, with_settings};

const KICK_OFF: &str = "/Group/g/$export";

/// A client that sends no header of its own.
fn bare() -> Client {
    Client::builder().no_proxy().build().expect("a client can be had")
}

fn seconds(response: &Response) -> u64 {
    let text = response.headers()[RETRY_AFTER].to_str().expect("it is text");
    text.parse().expect("Retry-After is in whole seconds")
}

#[tokio::test]
async fn a_kick_off_names_the_header_that_it_misses() {
    with(&small_list(), |system| async move {
        let url = system.local(KICK_OFF);
        for (headers, part) in [
            (&[("accept", "application/fhir+json")][..], "respond-async"),
            (&[("accept", "application/fhir+json"), ("prefer", "handling=lenient")], "respond-async"),
            (&[("prefer", "respond-async"), ("accept", "text/html")], "application/fhir+json"),
            (&[("prefer", "respond-async"), ("accept", "application/fhir+json;q=0")], "application/fhir+json"),
        ] {
            let request = headers.iter().fold(bare().get(&url), |request, (name, value)| request.header(*name, *value));
            let response = request.send().await.expect("the API answers");
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{headers:?}");
            let (_, diagnostics) = issue(response).await;
            assert!(diagnostics.contains(part), "{headers:?}: {diagnostics}");
        }
        for (accept, prefer) in [
            ("application/fhir+json", "respond-async"),
            ("application/json", "Respond-Async; foo=1, handling=strict"),
            ("text/html;q=0.9, application/fhir+json;q=0.1", "return=minimal, respond-async"),
            ("*/*", "wait=10,respond-async"),
        ] {
            let request = bare().get(&url).header(ACCEPT, accept).header(PREFER, prefer);
            let response = request.send().await.expect("the API answers");
            assert_eq!(response.status(), StatusCode::ACCEPTED, "{accept} / {prefer}");
            assert!(response.headers()["preference-applied"].to_str().is_ok_and(|text| text.contains("respond-async")));
        }
    })
    .await;
}

#[tokio::test]
async fn a_setting_makes_the_headers_of_a_kick_off_optional() {
    let lax = |settings: &mut Settings| settings.require_headers = false;
    with_settings(&small_list(), lax, |system| async move {
        let response = bare().get(system.local(KICK_OFF)).send().await.expect("the API answers");
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    })
    .await;
}

#[tokio::test]
async fn lenient_handling_passes_over_what_is_not_supported_and_says_so_in_an_error_file() {
    with(&small_list(), |system| async move {
        let path = "/Group/g/$export?_typeFilter=Patient%3Fnonsense%3D1&includeAssociatedData=LatestProvenanceResources&unknown=1";
        let strict = system.get(path).await;
        assert_eq!(strict.status(), StatusCode::BAD_REQUEST);
        issue(strict).await;
        let request = system.request(Method::GET, path).header(PREFER, "respond-async, handling=lenient");
        let response = request.send().await.expect("the API answers");
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert!(response.headers()["preference-applied"].to_str().is_ok_and(|text| text.contains("handling=lenient")));
        let exported = system.exported(&polling_location(&response)).await;
        assert_eq!(exported.reached.lines, system.expected("g").await.lines);
        let names: Vec<&Value> = exported.issues.iter().map(|outcome| &outcome["issue"][0]["expression"][0]).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in ["_typeFilter", "includeAssociatedData", "unknown"] {
            assert!(names.contains(&&json!(name)), "{name} in {names:?}");
        }
        let malformed = system.request(Method::GET, "/Group/g/$export?_since=yesterday").header(PREFER, "respond-async, handling=lenient");
        assert_eq!(malformed.send().await.expect("the API answers").status(), StatusCode::BAD_REQUEST);
    })
    .await;
}

#[tokio::test]
async fn the_status_of_a_job_stands_in_a_header_of_its_own_when_that_is_preferred() {
    with(&small_list(), |system| async move {
        system.stop_workers().await;
        let request = system.request(Method::GET, KICK_OFF).header(PREFER, "respond-async,separate-export-status");
        let response = request.send().await.expect("the API answers");
        let applied = response.headers()["preference-applied"].to_str().expect("it is text").to_owned();
        assert!(applied.contains("respond-async") && applied.contains("separate-export-status"), "{applied}");
        let polling = polling_location(&response);
        let waiting = system.get(&polling).await;
        assert_eq!(
            (waiting.status(), &waiting.headers()["x-export-status"]),
            (StatusCode::OK, &"202 Accepted".parse().expect("it is a header"))
        );
        assert!(seconds(&waiting) >= 1);
        system.start_worker().await;
        system
            .eventually("the job is done", || async {
                system.get(&polling).await.headers()["x-export-status"] == "200 OK"
            })
            .await;
        let manifest: Value = system.get(&polling).await.json().await.expect("a manifest is JSON");
        assert!(manifest["output"].as_array().is_some_and(|output| !output.is_empty()));
    })
    .await;
}

#[tokio::test]
async fn a_failed_job_says_so_in_the_header_that_was_preferred() {
    with(&small_list(), |system| async move {
        system.stop_workers().await;
        let request = system.request(Method::GET, KICK_OFF).header(PREFER, "respond-async,separate-export-status");
        let polling = polling_location(&request.send().await.expect("the API answers"));
        system.unload("Group/g").await;
        system.start_worker().await;
        system
            .eventually("the job has failed", || async {
                system.get(&polling).await.headers()["x-export-status"] == "500 Internal Server Error"
            })
            .await;
        let response = system.get(&polling).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(issue(response).await.0, "processing");
    })
    .await;
}

#[tokio::test]
async fn a_client_with_too_many_jobs_is_told_to_wait_and_may_go_on_when_one_has_ended() {
    let three = |settings: &mut Settings| settings.jobs_per_client = 3;
    with_settings(&small_list(), three, |system| async move {
        system.stop_workers().await;
        let mut polling = Vec::new();
        for _ in 0..3 {
            polling.push(system.kick_off(KICK_OFF).await);
        }
        let refused = system.get(KICK_OFF).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!((1..=300).contains(&seconds(&refused)));
        assert_eq!(issue(refused).await.0, "throttled");
        system.delete(&polling[0]).await;
        system.kick_off(KICK_OFF).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_polls_too_often_is_told_to_wait() {
    let few = |settings: &mut Settings| {
        settings.polls_per_minute = 1;
        settings.poll_burst = 3;
    };
    with_settings(&small_list(), few, |system| async move {
        let polling = system.kick_off(KICK_OFF).await;
        for _ in 0..3 {
            assert_ne!(system.get(&polling).await.status(), StatusCode::TOO_MANY_REQUESTS);
        }
        let refused = system.get(&polling).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!((1..=60).contains(&seconds(&refused)));
        assert_eq!(issue(refused).await.0, "throttled");
        let other = system.kick_off(KICK_OFF).await;
        assert_ne!(system.get(&other).await.status(), StatusCode::TOO_MANY_REQUESTS, "each job is counted by itself");
    })
    .await;
}

#[tokio::test]
async fn many_kick_offs_and_deletes_in_a_row_are_fine_with_the_limits_as_they_are() {
    let usual = Settings::default();
    let as_usual = |settings: &mut Settings| {
        (settings.jobs_per_client, settings.polls_per_minute, settings.poll_burst) =
            (usual.jobs_per_client, usual.polls_per_minute, usual.poll_burst);
    };
    with_settings(&small_list(), as_usual, |system| async move {
        for _ in 0..150 {
            let polling = system.kick_off(KICK_OFF).await;
            let first = system.get(&polling).await;
            assert!(matches!(first.status(), StatusCode::ACCEPTED | StatusCode::OK), "{}", first.status());
            assert_eq!(system.delete(&polling).await.status(), StatusCode::ACCEPTED);
        }
    })
    .await;
}

#[tokio::test]
async fn every_error_has_an_operation_outcome_wherever_it_comes_from() {
    with(&small_list(), |system| async move {
        let long = format!("/Group/g/$export?_type={}", "x".repeat(40_000));
        for (method, url, status) in [
            (Method::GET, "/nowhere", StatusCode::NOT_FOUND),
            (Method::GET, "/Group/unknown/$export", StatusCode::NOT_FOUND),
            (Method::PUT, KICK_OFF, StatusCode::METHOD_NOT_ALLOWED),
            (Method::PATCH, "/Group/g", StatusCode::METHOD_NOT_ALLOWED),
            (Method::DELETE, "/metadata", StatusCode::METHOD_NOT_ALLOWED),
            (Method::GET, &long, StatusCode::BAD_REQUEST),
            (Method::GET, "/export/nonsense", StatusCode::NOT_FOUND),
        ] {
            let response = system.request(method.clone(), url).send().await.expect("the API answers");
            assert_eq!(response.status(), status, "{method} {}", &url[..url.len().min(60)]);
            let (_, diagnostics) = issue(response).await;
            assert!(diagnostics.len() > 20, "{diagnostics}");
        }
    })
    .await;
}

#[tokio::test]
async fn options_names_the_methods_of_a_place() {
    with(&small_list(), |system| async move {
        for (url, allowed) in [(KICK_OFF, "POST"), ("/metadata", "GET"), ("/Patient/1", "GET"), ("/$export", "POST")] {
            let response = system.request(Method::OPTIONS, url).send().await.expect("the API answers");
            assert_eq!(response.status(), StatusCode::NO_CONTENT, "{url}");
            assert!(response.headers()[ALLOW].to_str().is_ok_and(|methods| methods.contains(allowed)), "{url}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_poll_that_takes_no_json_is_406() {
    with(&small_list(), |system| async move {
        let polling = system.kick_off(KICK_OFF).await;
        let response =
            system.request(Method::GET, &polling).header(ACCEPT, "text/csv").send().await.expect("the API answers");
        assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
        issue(response).await;
    })
    .await;
}

#[tokio::test]
async fn parameters_in_a_body_may_have_every_type_of_value_that_is_met() {
    with(&small_list(), |system| async move {
        for (name, value) in [
            ("_type", json!({"valueString": "Group,Patient,Coverage"})),
            ("_type", json!({"valueCode": "Group"})),
            ("_since", json!({"valueInstant": "2020-01-01T00:00:00Z"})),
            ("_since", json!({"valueString": "2020-01-01T00:00:00+01:00"})),
            ("_until", json!({"valueInstant": "2020-01-01T00:00:00Z"})),
            ("_outputFormat", json!({"valueString": "application/fhir+ndjson"})),
            ("_elements", json!({"valueString": "Patient.name"})),
            ("_typeFilter", json!({"valueString": "Patient?active=true"})),
            ("organizeOutputBy", json!({"valueString": "Patient"})),
            ("organizeOutputBy", json!({"valueCode": "Patient"})),
            ("allowPartialManifests", json!({"valueBoolean": true})),
            ("exportType", json!({"valueCanonical": "hl7.fhir.us.davinci-atr"})),
            ("exportType", json!({"valueString": "hl7.fhir.us.davinci-atr"})),
            ("exportType", json!({"valueUri": "http://hl7.org/fhir/us/davinci-atr"})),
            ("patient", json!({"valueReference": {"reference": "Patient/1"}})),
        ] {
            let mut parameter = value.clone();
            parameter["name"] = json!(name);
            let response = system.post(KICK_OFF, &[parameter]).await;
            assert_eq!(response.status(), StatusCode::ACCEPTED, "{name} {value}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_body_and_both_media_types_are_taken() {
    with(&small_list(), |system| async move {
        for media_type in ["application/json", "application/fhir+json", "application/fhir+json; charset=UTF-8"] {
            for body in ["", r#"{"resourceType":"Parameters"}"#] {
                let request = system.request(Method::POST, KICK_OFF).header(CONTENT_TYPE, media_type).body(body);
                let response = request.send().await.expect("the API answers");
                assert_eq!(response.status(), StatusCode::ACCEPTED, "{media_type} {body}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_makes_no_sense_together_is_refused_by_name() {
    with(&[&small_list()[..], &[patient("3")]].concat(), |system| async move {
        for (path, name) in [
            ("/Group/g/$export?_since=2026-01-01T00:00:00Z&_until=2025-01-01T00:00:00Z", "_until"),
            ("/Group/g/$export?_type=Group&_typeFilter=Patient%3Factive%3Dtrue", "_typeFilter"),
            ("/Group/g/$export?_elements=Patient.nonsense", "_elements"),
            ("/Group/g/$export?_elements=Patient.name.family", "_elements"),
            ("/Group/g/$export?organizeOutputBy=Group", "organizeOutputBy"),
            ("/$export?organizeOutputBy=Patient", "organizeOutputBy"),
            ("/Group/g/$export?allowPartialManifests=perhaps", "allowPartialManifests"),
            ("/Group/g/$export?_outputEncoding=brotli", "_outputEncoding"),
            ("/Group/g/$export?_typeFilter=Observation%3Fcode%3D1", "_typeFilter"),
            ("/Group/g/$export?_typeFilter=Patient%3F_sort%3Dname", "_typeFilter"),
        ] {
            let response = system.get(path).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
            let outcome: Value = response.json().await.expect("an error has a body of JSON");
            assert_eq!(outcome["issue"][0]["expression"], json!([name]), "{path}: {outcome}");
        }
    })
    .await;
}
