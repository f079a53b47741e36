//! Kick-off, poll, manifest, delete.

use reqwest::header::{ALLOW, CONTENT_TYPE, EXPIRES, HOST, LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::export::{Anchor, ClientId, ExportRequest, JobId, Operation};
use shared::jobs::NewJob;
use shared::settings::{Links, Settings};

use super::small_list;
use crate::harness::proxy::{Proxy, Wire};
use crate::harness::system::{PUBLIC_BASE, issue, job_of, polling_location, with, with_settings};
use crate::harness::{amqp_url, redis_url};

#[tokio::test]
async fn both_operations_can_be_kicked_off_by_get_and_by_post() {
    with(&small_list(), |system| async move {
        let parameters = json!({"resourceType": "Parameters", "parameter": [
            {"name": "exportType", "valueCanonical": "hl7.fhir.us.davinci-atr"},
            {"name": "_type", "valueString": "Group,Patient,Coverage"},
        ]});
        for operation in ["$export", "$davinci-data-export", "%24export"] {
            let url = format!("/Group/g/{operation}");
            let requests = [
                system.request(Method::GET, &url),
                system.request(Method::POST, &url),
                system
                    .request(Method::POST, &url)
                    .header(CONTENT_TYPE, "application/fhir+json")
                    .body(parameters.to_string()),
                system
                    .request(Method::POST, &url)
                    .header(CONTENT_TYPE, "application/json; charset=utf-8")
                    .body(parameters.to_string()),
            ];
            for request in requests {
                let response = request.send().await.expect("the API answers");
                assert_eq!(response.status(), StatusCode::ACCEPTED, "{operation}");
                assert!(polling_location(&response).starts_with(PUBLIC_BASE));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn urls_are_built_from_the_public_base_and_never_from_the_host_header() {
    with(&small_list(), |system| async move {
        let request = system
            .request(Method::GET, "/Group/g/$export?_type=Group,Patient,Coverage")
            .header(HOST, "evil.example.org");
        let response = request.header("X-Forwarded-Host", "evil.example.org").send().await.expect("the API answers");
        let polling = polling_location(&response);
        assert!(polling.starts_with(&format!("{PUBLIC_BASE}/export/")), "{polling}");
        let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
        assert_eq!(manifest["request"], format!("{PUBLIC_BASE}/Group/g/$export?_type=Group,Patient,Coverage"));
    })
    .await;
}

#[tokio::test]
async fn a_poll_tells_of_progress_until_the_manifest_is_there() {
    with(&small_list(), |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$davinci-data-export").await;
        let waiting = system.get(&polling).await;
        assert_eq!(waiting.status(), StatusCode::ACCEPTED);
        assert!(waiting.headers()["X-Progress"].len() < 100);
        let seconds = waiting.headers()[RETRY_AFTER].to_str().ok().and_then(|text| text.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| (1..=30).contains(&seconds)), "Retry-After is a small number of seconds");

        system.start_worker().await;
        let complete = system.ended(&polling).await;
        assert_eq!(complete.status(), StatusCode::OK);
        assert_eq!(complete.headers()[CONTENT_TYPE], "application/json");
        assert!(complete.headers()[EXPIRES].to_str().expect("it is text").ends_with(" GMT"));
        let manifest: Value = complete.json().await.expect("a manifest is JSON");
        assert!(manifest["transactionTime"].as_str().is_some_and(|time| time.ends_with('Z')));
        assert_eq!(manifest["requiresAccessToken"], json!(false));
        assert_eq!((&manifest["deleted"], &manifest["error"]), (&json!([]), &json!([])));
        let types: Vec<&str> = manifest["output"]
            .as_array()
            .expect("it is there")
            .iter()
            .filter_map(|item| item["type"].as_str())
            .collect();
        assert_eq!(
            types,
            [
                "Group",
                "Patient",
                "Coverage",
                "RelatedPerson",
                "Practitioner",
                "PractitionerRole",
                "Organization",
                "Organization",
                "Location"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_deleted_job_is_gone_with_its_files() {
    with(&small_list(), |system| async move {
        let polling = system.kick_off("/Group/g/$export").await;
        let exported = system.exported(&polling).await;
        assert_eq!(system.delete(&polling).await.status(), StatusCode::ACCEPTED);

        let again = system.get(&polling).await;
        assert_eq!(again.status(), StatusCode::NOT_FOUND);
        assert_eq!(issue(again).await.0, "not-found");
        assert_eq!(system.delete(&polling).await.status(), StatusCode::NOT_FOUND);

        let job = job_of(&polling);
        let outputs = &system.platform.outputs;
        system
            .eventually("the files are removed", || async { outputs.list(job).await.is_ok_and(|left| left.is_empty()) })
            .await;
        let link = exported.manifest["output"][0]["url"].as_str().expect("an item has a url");
        assert_eq!(reqwest::get(link).await.expect("the store answers").status(), StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_waits_can_be_deleted_and_is_never_run() {
    with(&small_list(), |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export").await;
        assert_eq!(system.delete(&polling).await.status(), StatusCode::ACCEPTED);
        system.start_worker().await;
        let queue = &system.platform.lanes.express;
        system
            .eventually("the message is taken", || async { queue.depth().await.is_ok_and(|depth| depth.waiting == 0) })
            .await;
        assert_eq!(system.get(&polling).await.status(), StatusCode::NOT_FOUND);
        let job = job_of(&polling);
        assert_eq!(system.platform.outputs.list(job).await.expect("the store answers"), []);
    })
    .await;
}

#[tokio::test]
async fn gated_links_lead_through_the_api_to_a_link_of_minutes() {
    with_settings(
        &small_list(),
        |settings| settings.links = Some(Links::Gated),
        |system| async move {
            let polling = system.kick_off("/Group/g/$davinci-data-export").await;
            let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
            assert_eq!(manifest["requiresAccessToken"], json!(true));
            let url = manifest["output"][0]["url"].as_str().expect("an item has a url");
            assert!(url.starts_with(&polling), "{url}");
            let redirect = system.get(url).await;
            assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
            let link = redirect.headers()[LOCATION].to_str().expect("it is a URL");
            let file = reqwest::get(link).await.expect("the store answers");
            assert_eq!(file.status(), StatusCode::OK);
            assert!(file.text().await.expect("a file is text").contains(r#""resourceType":"Group""#));

            let unknown = system.get(&format!("{polling}/Patient/99.1.0.ndjson")).await;
            assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
            system.delete(&polling).await;
            assert_eq!(system.get(url).await.status(), StatusCode::NOT_FOUND);
        },
    )
    .await;
}

#[tokio::test]
async fn a_job_that_was_recorded_and_never_published_runs() {
    with(&small_list(), |system| async move {
        // What an API leaves behind that dies between the two.
        let request =
            ExportRequest::new(Anchor::Group("g".parse().expect("it is an id")), Operation::Export, String::new());
        let now = system.platform.clock.now();
        let job =
            NewJob { id: JobId::random(), client: ClientId("open".to_owned()), request, created_at: now, trace: None };
        system.platform.jobs.create(&job, now).await.expect("the store takes it");
        assert_eq!(system.ended(&format!("/export/{}", job.id)).await.status(), StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_kick_off_is_taken_while_the_broker_is_down_and_runs_when_it_is_back() {
    let wire = Proxy::to(&amqp_url(), Wire::Pass).await;
    let queue_url = wire.url(&amqp_url());
    let by_wire = |settings: &mut Settings| {
        settings.queue_url = queue_url;
        settings.unpublished_due_seconds = 1;
        settings.working_due_seconds = 1;
        settings.call_seconds = 5;
    };
    with_settings(&small_list(), by_wire, |system| async move {
        wire.set(Wire::Down);
        let polling = system.kick_off("/Group/g/$export").await;
        assert_eq!(system.get(&polling).await.status(), StatusCode::ACCEPTED);
        wire.set(Wire::Pass);
        assert_eq!(system.exported(&polling).await.reached, system.expected("g").await);
    })
    .await;
}

#[tokio::test]
async fn other_methods_are_refused_with_the_ones_that_are_allowed() {
    with(&[], |system| async move {
        for (method, url, allowed) in
            [(Method::PUT, "/Group/g/$export", "GET, POST"), (Method::POST, "/export/x", "GET, DELETE")]
        {
            let response = system.request(method, url).send().await.expect("the API answers");
            assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(response.headers()[ALLOW], allowed);
            assert_eq!(issue(response).await.0, "not-supported");
        }
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_is_a_transient_error() {
    let wire = Proxy::to(&redis_url(), Wire::Pass).await;
    let jobs_url = wire.url(&redis_url());
    let by_wire = |settings: &mut Settings| {
        settings.jobs_url = jobs_url;
        settings.call_seconds = 2;
    };
    with_settings(&small_list(), by_wire, |system| async move {
        let polling = system.kick_off("/Group/g/$export").await;
        system.exported(&polling).await;
        wire.set(Wire::Down);
        let response = system.get(&polling).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers()[RETRY_AFTER].to_str().is_ok_and(|text| text.parse::<u32>().is_ok()));
        assert_eq!(issue(response).await.0, "transient");
        wire.set(Wire::Pass);
        system.eventually("it answers again", || async { system.get(&polling).await.status() == StatusCode::OK }).await;
    })
    .await;
}
