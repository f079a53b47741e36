//! Bad input: a clear OperationOutcome, never a panic, never a stuck job.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};

use super::small_list;
use crate::harness::system::{issue, with};

#[tokio::test]
async fn what_is_not_there_is_404() {
    with(&small_list(), |system| async move {
        for url in [
            "/Group/unknown/$export",
            "/Group/unknown/$davinci-data-export",
            "/Group/a%2Fb/$export",
            "/Group/a%25b/$export",
            "/Group/%00/$export",
            "/Group/%C3%A9/$export",
            "/Group/g/$other",
            "/Group//$export",
            "/Patient/1/$export",
            "/",
            "",
            "/export/not-a-job",
            "/export/00000000-0000-4000-8000-000000000000",
            "/export/00000000-0000-4000-8000-000000000000/Patient/1.1.0.ndjson",
        ] {
            let response = system.get(url).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{url}");
            assert_eq!(issue(response).await.0, "not-found", "{url}");
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_parameters_are_refused_by_name() {
    with(&small_list(), |system| async move {
        for (query, code, part) in [
            ("_type=Nonsense", "value", "'Nonsense'"),
            ("_type=Observation", "not-supported", "Observation"),
            ("_since=yesterday", "value", "instant"),
            ("_since=2026-01-05T10:00Z", "value", "instant"),
            ("_since=2999-01-01T00:00:00Z", "value", "future"),
            ("_outputFormat=text/csv", "not-supported", "text/csv"),
            ("exportType=other", "not-supported", "other"),
            ("_type=Group,Patient", "required", "Coverage"),
            ("%FF=1", "not-supported", "not supported"),
        ] {
            let response = system.get(&format!("/Group/g/$davinci-data-export?{query}")).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
            let (found, diagnostics) = issue(response).await;
            assert_eq!(found, code, "{query}");
            assert!(diagnostics.contains(part), "{query}: {diagnostics}");
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_that_are_no_parameters_are_refused() {
    with(&small_list(), |system| async move {
        let long = format!(r#"{{"resourceType":"Parameters","x":"{}"}}"#, "x".repeat(2 << 20));
        for (media_type, body, status) in [
            ("application/fhir+json", "{", StatusCode::BAD_REQUEST),
            ("application/fhir+json", "[]", StatusCode::BAD_REQUEST),
            ("application/fhir+json", r#"{"resourceType":"Patient"}"#, StatusCode::BAD_REQUEST),
            (
                "application/fhir+json",
                r#"{"resourceType":"Parameters","parameter":[],"parameter":[]}"#,
                StatusCode::BAD_REQUEST,
            ),
            ("application/fhir+json", r#"{"resourceType":"Parameters","parameters":[]}"#, StatusCode::BAD_REQUEST),
            (
                "application/fhir+json",
                r#"{"resourceType":"Parameters","parameter":[{"name":"_type","value":"Group"}]}"#,
                StatusCode::BAD_REQUEST,
            ),
            ("text/plain", r#"{"resourceType":"Parameters"}"#, StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("application/x-www-form-urlencoded", "_type=Patient", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("application/fhir+json", &long, StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let request =
                system.request(Method::POST, "/Group/g/$export").header(CONTENT_TYPE, media_type).body(body.to_owned());
            let response = request.send().await.expect("the API answers");
            assert_eq!(response.status(), status, "{}", &body[..body.len().min(80)]);
            issue(response).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_gone_when_its_turn_comes_fails_the_job_with_the_cause() {
    with(&small_list(), |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export").await;
        system.unload("Group/g").await;
        system.start_worker().await;
        let response = system.ended(&polling).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let (code, diagnostics) = issue(response).await;
        assert_eq!(code, "processing");
        assert!(diagnostics.contains("Group/g is no longer there"), "{diagnostics}");
    })
    .await;
}
