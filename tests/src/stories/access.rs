//! SMART Backend Services: from a signed assertion to the files, and every way in which that is refused.

use std::time::Duration;

use api_service::routes::{Protection, TABLE};
use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::access::key_pair::KeyKind;
use shared::access::{NotIssued, TokenError};
use shared::metrics::Metrics;
use shared::platform;
use shared::settings::{Links, Settings};
use tokio::time::{sleep, timeout};

use super::small_list;
use crate::harness::clients::{Client, RegisterFile, ask, endpoint, form, with_register};
use crate::harness::key_server::KeyServer;
use crate::harness::system::{PATIENCE, issue, with_settings};
use crate::oracle::{by_key, reached};

/// The error code of a refusal of the token endpoint, which has the form that RFC 6749 gives it.
async fn error(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let headers = response.headers();
    assert_eq!(
        (&headers[CACHE_CONTROL], &headers[PRAGMA]),
        (&"no-store".parse().unwrap(), &"no-cache".parse().unwrap())
    );
    assert_eq!(headers[CONTENT_TYPE], "application/json");
    assert!(!headers.contains_key(WWW_AUTHENTICATE), "no Authorization header is asked for");
    let body: Value = response.json().await.expect("it is JSON");
    assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    body["error"].as_str().expect("it has a code").to_owned()
}

#[tokio::test]
async fn an_export_runs_from_a_signed_assertion_to_the_files() {
    let north = Client::new("north", KeyKind::Rs384);
    let keys = &KeyServer::start(&north.key.public_set());
    let entry = json!({"client_id": "north", "scope": "system/*.read", "lists": "all", "jwks_uri": keys.url});
    let register = &RegisterFile::of(&[entry]);
    let change = |settings: &mut Settings| {
        register.smart(settings);
        keys.trusted_by(settings);
        settings.links = Some(Links::Gated);
    };
    with_settings(&small_list(), change, |system| async move {
        // As a client does that knows the base and nothing else.
        let configuration: Value =
            system.get("/.well-known/smart-configuration").await.json().await.expect("it is JSON");
        assert_eq!(configuration["token_endpoint"], endpoint());
        assert_eq!(configuration["grant_types_supported"], json!(["client_credentials"]));
        let statement: Value = system.get("/metadata").await.json().await.expect("it is JSON");
        let service = &statement["rest"][0]["security"]["service"][0]["coding"][0]["code"];
        assert_eq!(service, "SMART-on-FHIR");

        let response = north.ask(&system, "system/*.read").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[PRAGMA], "no-cache");
        let granted: Value = response.json().await.expect("it is JSON");
        assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("bearer"), &json!(300)));
        assert_eq!(granted["scope"], "system/*.read");

        system.act_with(granted["access_token"].as_str());
        let exported = system.export("/Group/g/$davinci-data-export").await;
        assert_eq!(exported.manifest["requiresAccessToken"], true);
        assert_eq!(exported.reached.lines, reached(&by_key(small_list()), "g", &[]).lines);
        assert_eq!(keys.fetches(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_keys_of_a_client_are_fetched_again_once_when_it_has_rotated_them() {
    let old = Client::new("north", KeyKind::Es384);
    let new = Client::new("north", KeyKind::Es384);
    let keys = &KeyServer::start(&old.key.public_set());
    let entry = json!({"client_id": "north", "scope": "system/*.read", "lists": "all", "jwks_uri": keys.url});
    let register = &RegisterFile::of(&[entry]);
    let change = |settings: &mut Settings| {
        register.smart(settings);
        keys.trusted_by(settings);
    };
    with_settings(&[], change, |system| async move {
        old.token(&system, "system/*.read").await;
        keys.publish(&new.key.public_set());
        new.token(&system, "system/*.read").await;
        assert_eq!(keys.fetches(), 2);
        assert_eq!(error(old.ask(&system, "system/*.read").await).await, "invalid_client");
        assert_eq!(keys.fetches(), 2, "who sends made-up kids does not make the server fetch each time");
    })
    .await;
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_the_clients_fault_and_are_told_so() {
    let north = &Client::new("north", KeyKind::Es384);
    let keys = &KeyServer::start(&north.key.public_set());
    let good = north.key.public_set().to_string();
    let long = good.clone() + &" ".repeat(300 << 10);
    let troubles =
        [(200, "no JSON"), (200, "{}"), (404, &*good), (500, &*good), (302, &*good), (200, &*long), (200, &*good)];
    // Each has a URL of its own: where a fetch has failed, nobody asks again at once.
    let entry = |id: usize| {
        let url = format!("{}?{id}", keys.url);
        json!({"client_id": id.to_string(), "scope": "system/*.read", "lists": "all", "jwks_uri": url})
    };
    let mut clients: Vec<Value> = (0..troubles.len()).map(entry).collect();
    // Nobody listens there.
    let nowhere = "https://127.0.0.1:1/jwks.json";
    clients.push(json!({"client_id": "nowhere", "scope": "system/*.read", "lists": "all", "jwks_uri": nowhere}));
    let register = &RegisterFile::of(&clients);
    let change = |settings: &mut Settings| {
        register.smart(settings);
        keys.trusted_by(settings);
    };
    with_settings(&[], change, |system| async move {
        let (last, troubles) = troubles.split_last().expect("there are some");
        for (id, (status, body)) in troubles.iter().enumerate() {
            keys.answer(*status, body);
            let client = north.renamed(&id.to_string());
            assert_eq!(error(client.ask(&system, "system/*.read").await).await, "invalid_client", "{id}: {status}");
        }
        let nowhere = north.renamed("nowhere");
        assert_eq!(error(nowhere.ask(&system, "system/*.read").await).await, "invalid_client");
        // And it is the trouble that they were refused for.
        keys.answer(last.0, last.1);
        north.renamed(&troubles.len().to_string()).token(&system, "system/*.read").await;
    })
    .await;
}

#[tokio::test]
async fn keys_are_not_fetched_from_a_server_that_nobody_vouches_for() {
    let north = Client::new("north", KeyKind::Es384);
    let keys = &KeyServer::start(&north.key.public_set());
    let entry = json!({"client_id": "north", "scope": "system/*.read", "lists": "all", "jwks_uri": keys.url});
    let register = &RegisterFile::of(&[entry]);
    with_register(&[], register, |system| async move {
        assert_eq!(error(north.ask(&system, "system/*.read").await).await, "invalid_client");
        assert_eq!(keys.fetches(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_refused_token_request_is_400_with_the_code_that_oauth_has_for_it() {
    let north = Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/Group.read", &json!("all"))]);
    with_register(&[], register, |system| async move {
        let stranger = Client::new("stranger", KeyKind::Es384);
        let impostor = Client::new("north", KeyKind::Es384);
        assert_eq!(error(stranger.ask(&system, "system/*.read").await).await, "invalid_client");
        assert_eq!(error(impostor.ask(&system, "system/*.read").await).await, "invalid_client");
        assert_eq!(error(north.ask(&system, "system/Patient.read").await).await, "invalid_scope");
        assert_eq!(error(ask(&system, &[]).await).await, "invalid_request");
        let mut password = form(&north.assertion(), "system/*.read");
        password[0].1 = "password".to_owned();
        assert_eq!(error(ask(&system, &password).await).await, "unsupported_grant_type");

        let json = system.request(Method::POST, "/auth/token").header(CONTENT_TYPE, "application/json").body("{}");
        assert_eq!(error(json.send().await.expect("the API answers")).await, "invalid_request");
        let long = form(&"a".repeat(2 << 20), "system/*.read");
        assert_eq!(error(ask(&system, &long).await).await, "invalid_request");
        assert_eq!(system.get("/auth/token").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    })
    .await;
}

#[tokio::test]
async fn an_assertion_that_one_replica_has_taken_is_refused_by_all() {
    let north = Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!("all"))]);
    with_register(&small_list(), register, |system| async move {
        let replica = platform::open_access(&system.settings, &Metrics::new()).await.expect("the settings are good");
        let replica = replica.token_endpoint().expect("it gives out tokens");
        let form = form(&north.assertion(), "system/*.read");
        let granted = replica.issue(&form).await.expect("it is the first use");
        assert_eq!(error(ask(&system, &form).await).await, "invalid_client");
        match replica.issue(&form).await {
            Err(NotIssued::Refused { error: TokenError::InvalidClient, problem, .. }) => {
                assert!(problem.contains("used before"), "{problem}");
            }
            other => panic!("{other:?}"),
        }
        // And the token of one is good at the other.
        system.act_with(Some(&granted.access_token));
        assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn without_a_token_nothing_is_reached_but_what_is_public() {
    let north = Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!("all"))]);
    with_register(&small_list(), register, |system| async move {
        // Of a job that is there, so that an answer would have something to say.
        north.acts(&system, "system/*.read").await;
        let polling = system.kick_off("/Group/g/$export").await;
        assert_eq!(system.ended(&polling).await.status(), StatusCode::OK);
        system.act_with(None);
        let job = polling.rsplit('/').next().expect("it ends with the job's id");

        let mut public = Vec::new();
        for row in TABLE {
            let path = row.path.replace("{list}", "g").replace("{job}", job).replace("{file:.*}", "Group/1.1.1.ndjson");
            let path = path.replace("{type}", "Patient").replace("{id}", "1").replace("{version}", "1");
            for method in ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "TRACE"] {
                let method: Method = method.parse().expect("it is a method");
                let response =
                    system.request(method.clone(), &format!("/{path}")).send().await.expect("the API answers");
                if !matches!(row.protection, Protection::Token(_)) {
                    assert_ne!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
                    continue;
                }
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
                let challenge = response.headers()[WWW_AUTHENTICATE].to_str().expect("it is text").to_owned();
                assert!(challenge.starts_with("Bearer ") && !challenge.contains("error="), "{challenge}");
                if method != Method::HEAD {
                    assert_eq!(issue(response).await.0, "login", "{method} {path}");
                }
            }
            if !matches!(row.protection, Protection::Token(_)) {
                public.push(row.path);
            }
            let options = system.request(Method::OPTIONS, &format!("/{path}")).send().await.expect("the API answers");
            assert_eq!(options.status(), StatusCode::NO_CONTENT, "{path}");
        }
        let expected = [
            "auth/token",
            "metadata",
            ".well-known/smart-configuration",
            "OperationDefinition",
            "OperationDefinition/{id}",
        ];
        assert_eq!(public, expected);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_told_apart_from_none() {
    let north = Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!("all"))]);
    with_register(&small_list(), register, |system| async move {
        let token = north.token(&system, "system/*.read").await;
        let ask = async |headers: &[&str]| {
            let request = system.request(Method::GET, "/Group/g");
            let request = headers.iter().fold(request, |request, header| request.header(AUTHORIZATION, *header));
            request.send().await.expect("the API answers")
        };
        let good = format!("Bearer {token}");
        assert_eq!(ask(&[&good]).await.status(), StatusCode::OK);
        for headers in [
            &["Bearer made-up"][..],
            &[&format!("Bearer {token}x")],
            &["Bearer"],
            &[&good, &good],
            &[&format!("Bearer {}", north.assertion())],
        ] {
            let response = ask(headers).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{headers:?}");
            let challenge = response.headers()[WWW_AUTHENTICATE].to_str().expect("it is text");
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            assert_eq!(issue(response).await.0, "login");
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_taken_out_of_the_register_is_out() {
    let north = &Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!("all"))]);
    with_register(&small_list(), register, |system| async move {
        north.acts(&system, "system/*.read").await;
        assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
        register.write(&json!({"clients": []}));
        system.becomes("/Group/g", StatusCode::UNAUTHORIZED).await;
        assert_eq!(error(north.ask(&system, "system/*.read").await).await, "invalid_client");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_registered_with_another_key_has_none_of_its_old_tokens() {
    let (north, renewed) = (&Client::new("north", KeyKind::Es384), &Client::new("north", KeyKind::Es384));
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!("all"))]);
    with_register(&small_list(), register, |system| async move {
        north.acts(&system, "system/*.read").await;
        assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
        register.write(&json!({"clients": [renewed.entry("system/*.read", &json!("all"))]}));
        system.becomes("/Group/g", StatusCode::UNAUTHORIZED).await;
        renewed.acts(&system, "system/*.read").await;
        assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_put_into_the_register_is_in() {
    let north = &Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[]);
    with_register(&small_list(), register, |system| async move {
        assert_eq!(error(north.ask(&system, "system/*.read").await).await, "invalid_client");
        register.write(&json!({"clients": [north.entry("system/*.read", &json!("all"))]}));
        let asking = async {
            while north.ask(&system, "system/*.read").await.status() != StatusCode::OK {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, asking).await.expect("the register is read again");
        north.acts(&system, "system/*.read").await;
        assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
    })
    .await;
}
