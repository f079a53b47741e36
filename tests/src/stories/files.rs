//! Files: how they are served, what the manifest says of them, and pages of manifests.

use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES,
    LOCATION, RANGE,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::settings::{Links, Settings};

use super::{group, member, patient, small_list};
use crate::harness::system::{issue, with, with_settings};

/// What the manifest says of a file beyond the standard.
fn told(item: &Value) -> Value {
    let extension = item["extension"].as_object().expect("a file has an extension");
    let (url, told) = extension.iter().next().expect("it says something");
    assert!(url.ends_with("/StructureDefinition/export-file"), "{url}");
    told.clone()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).expect("it is below 16"))
        .collect()
}

#[tokio::test]
async fn the_manifest_says_length_lines_and_sha_256_of_every_file() {
    with(&small_list(), |system| async move {
        let exported = system.export("/Group/g/$export").await;
        for item in exported.manifest["output"].as_array().expect("it is there") {
            let bytes = system.download(item).await.bytes().await.expect("a file can be read");
            let told = told(item);
            assert_eq!(told["bytes"], json!(bytes.len()));
            assert_eq!(told["sha256"], json!(hex(&bytes)));
            assert_eq!(item["count"], json!(bytes.split(|byte| *byte == b'\n').count() - 1));
        }
    })
    .await;
}

#[tokio::test]
async fn a_file_can_be_had_in_ranges_and_has_an_etag() {
    with(&small_list(), |system| async move {
        let exported = system.export("/Group/g/$export?_type=Patient").await;
        let item = &exported.manifest["output"][0];
        let whole = system.download(item).await;
        let etag = whole.headers()[ETAG].clone();
        let whole = whole.bytes().await.expect("a file can be read");
        let client = reqwest::Client::builder().no_proxy().no_gzip().build().expect("a client can be had");
        let url = item["url"].as_str().expect("an item has a url");
        let part = client.get(url).header(RANGE, "bytes=5-9").send().await.expect("the store answers");
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers()[ETAG], etag);
        assert_eq!(part.headers()[CONTENT_RANGE].to_str().ok(), Some(format!("bytes 5-9/{}", whole.len()).as_str()));
        assert_eq!(part.bytes().await.expect("it can be read"), whole.slice(5..10));
        let beyond = client.get(url).header(RANGE, "bytes=999999-").send().await.expect("the store answers");
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    })
    .await;
}

#[tokio::test]
async fn files_are_compressed_for_who_asks_for_it_and_for_nobody_else() {
    with(&small_list(), |system| async move {
        let response = system
            .request(Method::GET, "/Group/g/$export?_type=Patient")
            .header("Accept-Encoding", "gzip")
            .send()
            .await
            .expect("the API answers");
        let polling = crate::harness::system::polling_location(&response);
        let plain = system.exported(&polling).await;
        assert_eq!(system.download(&plain.manifest["output"][0]).await.headers().get(CONTENT_ENCODING), None);

        let polling = system.kick_off("/Group/g/$export?_type=Patient&_outputEncoding=gzip").await;
        let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
        let item = &manifest["output"][0];
        let response = system.download(item).await;
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/fhir+ndjson");
        let stored = response.bytes().await.expect("a file can be read");
        let mut text = String::new();
        GzDecoder::new(&stored[..]).read_to_string(&mut text).expect("it is gzip");
        assert_eq!(text, format!("{}\n{}\n", patient("1"), patient("2")));
        let told = told(item);
        assert_eq!((&told["bytes"], &told["storedBytes"]), (&json!(text.len()), &json!(stored.len())));
        assert_eq!(told["sha256"], json!(hex(text.as_bytes())));
    })
    .await;
}

#[tokio::test]
async fn gated_links_answer_get_and_head_with_a_redirect_that_serves_that_method() {
    let gated = |settings: &mut Settings| settings.links = Some(Links::Gated);
    with_settings(&small_list(), gated, |system| async move {
        let polling = system.kick_off("/Group/g/$export?_type=Patient").await;
        let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
        assert_eq!(manifest["requiresAccessToken"], json!(true));
        let url = manifest["output"][0]["url"].as_str().expect("an item has a url").to_owned();
        // As requests, curl and most libraries do: the token goes to the API and not to another origin.
        let client = reqwest::Client::builder().no_proxy().no_gzip().build().expect("a client can be had");
        let mut lengths = Vec::new();
        for method in [Method::GET, Method::HEAD] {
            let request = system.request(method.clone(), &url).header(AUTHORIZATION, "Bearer secret");
            let redirect = request.send().await.expect("the API answers");
            assert_eq!(redirect.status(), StatusCode::TEMPORARY_REDIRECT);
            let link = redirect.headers()[LOCATION].to_str().expect("it is a URL").to_owned();
            let response = client.request(method, &link).send().await.expect("the store answers");
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[ACCEPT_RANGES], "bytes");
            assert!(response.headers().contains_key(ETAG));
            lengths.push(response.headers()[CONTENT_LENGTH].clone());
        }
        assert_eq!(lengths[0], lengths[1]);
    })
    .await;
}

#[tokio::test]
async fn after_delete_the_files_answer_404() {
    with(&small_list(), |system| async move {
        let polling = system.kick_off("/Group/g/$export?_type=Patient").await;
        let exported = system.exported(&polling).await;
        let item = exported.manifest["output"][0].clone();
        assert_eq!(system.delete(&polling).await.status(), StatusCode::ACCEPTED);
        system
            .eventually("the files are gone", || async {
                system.download(&item).await.status() == StatusCode::NOT_FOUND
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_manifest_is_cut_into_pages_that_never_change_when_partial_ones_are_allowed() {
    let members: Vec<String> =
        (0..6).map(|id| member(&format!("Patient/{id}"), "Coverage/0", "Organization/0")).collect();
    let lines: Vec<String> = (0..6).map(|id| patient(&id.to_string())).chain([group(&members)]).collect();
    let small = |settings: &mut Settings| {
        settings.slice_ids = 2;
        settings.window = 1;
    };
    with_settings(&lines, small, |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export?_type=Group,Patient&allowPartialManifests=true").await;
        assert_eq!(system.get(&polling).await.bytes().await.expect("it can be read").len(), 0, "nothing is there yet");
        system.start_worker().await;
        // What a page has shown, by its URL; only `link` and the links to files may differ later.
        let frozen = |manifest: &Value| -> Vec<(String, Value)> {
            let items = manifest["output"].as_array().into_iter().flatten();
            items
                .map(|item| (item["type"].as_str().unwrap_or_default().to_owned(), told(item)["sha256"].clone()))
                .collect()
        };
        let mut seen: Vec<(String, Vec<(String, Value)>)> = Vec::new();
        let mut url = polling.clone();
        loop {
            let response = system.get(&url).await;
            let (status, text) = (response.status(), response.text().await.expect("it can be read"));
            assert!(matches!(status, StatusCode::OK | StatusCode::ACCEPTED), "{status}: {text}");
            if text.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            }
            let manifest: Value = serde_json::from_str(&text).expect("a manifest is JSON");
            if let Some((_, files)) = seen.iter().find(|(page, _)| *page == url) {
                assert_eq!(*files, frozen(&manifest), "a page that was shown does not change");
            } else {
                seen.push((url.clone(), frozen(&manifest)));
            }
            match manifest["link"][0]["url"].as_str() {
                Some(next) => {
                    assert_eq!(manifest["link"][0]["relation"], "next");
                    next.clone_into(&mut url);
                }
                None if status == StatusCode::OK => break,
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
        let types: Vec<&str> = seen.iter().flat_map(|(_, files)| files).map(|(name, _)| name.as_str()).collect();
        assert_eq!(types.iter().filter(|name| **name == "Patient").count(), 3, "{types:?}");
        assert!(types.contains(&"Group") && seen.len() > 2, "{seen:?}");
        assert!(seen.iter().all(|(url, _)| url.starts_with("https://export.example.org/payer/fhir/")));
    })
    .await;
}

#[tokio::test]
async fn expires_is_when_the_first_link_goes_where_that_comes_first() {
    let short = |settings: &mut Settings| settings.link_seconds = 60;
    with_settings(&small_list(), short, |system| async move {
        let polling = system.kick_off("/Group/g/$export").await;
        let response = system.ended(&polling).await;
        let expires = response.headers()[EXPIRES].to_str().expect("it is text").to_owned();
        let now = system.platform.clock.now();
        let within = |seconds| (now + std::time::Duration::from_secs(seconds)).http_date();
        assert!((0..=60).any(|seconds| within(seconds) == expires), "{expires}");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_not_of_this_job_is_404() {
    let gated = |settings: &mut Settings| settings.links = Some(Links::Gated);
    with_settings(&small_list(), gated, |system| async move {
        let polling = system.kick_off("/Group/g/$export?_type=Patient").await;
        system.ended(&polling).await;
        let response = system.get(&format!("{polling}/Patient/99.1.0.ndjson")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(issue(response).await.0, "not-found");
    })
    .await;
}
