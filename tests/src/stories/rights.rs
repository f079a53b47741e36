//! Rights: what a client may see and export, violated one at a time on every endpoint.

use std::collections::BTreeSet;

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::access::key_pair::KeyKind;
use shared::settings::{Links, Settings};

use super::{coverage, group, member, patient, plain, small_list};
use crate::harness::clients::{Client, RegisterFile, with_register};
use crate::harness::system::{System, issue, with_settings};

const NPI: &str = "http://hl7.org/fhir/sid/us-npi";

/// Two lists, of north (`g`, with north's NPI) and of south (`h`), with a member each.
fn two_lists() -> Vec<String> {
    let list = |id: &str, npi: &str, member: &str| {
        group(&[member.to_owned()]).replacen(
            r#""id":"g""#,
            &format!(r#""id":"{id}","identifier":[{{"system":"{NPI}","value":"{npi}"}}]"#),
            1,
        )
    };
    let of = |patient: &str| format!(r#""beneficiary":{{"reference":"Patient/{patient}"}}"#);
    let related = |patient: &str| {
        format!(r#"{{"resourceType":"RelatedPerson","id":"{patient}","patient":{{"reference":"Patient/{patient}"}}}}"#)
    };
    vec![
        list("g", "1", &member("Patient/n", "Coverage/n", "Organization/clinic")),
        list("h", "2", &member("Patient/s", "Coverage/s", "Organization/clinic")),
        patient("n"),
        patient("s"),
        coverage("n", &of("n")),
        coverage("s", &of("s")),
        related("n"),
        related("s"),
        plain("Organization", "clinic"),
        plain("Organization", "payer"),
    ]
}

/// Checks that an answer is 403 and names the scope that would be enough.
async fn needs(response: Response, scope: &str) {
    assert_eq!(response.status(), StatusCode::FORBIDDEN, "{}", response.url());
    let challenge = response.headers()[WWW_AUTHENTICATE].to_str().expect("it is text").to_owned();
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
    assert_eq!(issue(response).await.0, "forbidden");
}

async fn is_not_found(response: Response) {
    let url = response.url().clone();
    assert_eq!(response.status(), StatusCode::NOT_FOUND, "{url}");
    assert_eq!(issue(response).await.0, "not-found", "{url}");
}

#[tokio::test]
async fn a_client_sees_its_own_lists_by_id_or_identifier_and_no_other() {
    let (by_id, by_npi) = (Client::new("by-id", KeyKind::Es384), Client::new("by-npi", KeyKind::Es384));
    let register = &RegisterFile::of(&[
        by_id.entry("system/*.read", &json!({"ids": ["g", "not-there"]})),
        by_npi.entry("system/*.read", &json!({"identifiers": [format!("{NPI}|1"), "urn:other|2"]})),
    ]);
    with_register(&two_lists(), register, |system| async move {
        for party in [&by_id, &by_npi] {
            party.acts(&system, "system/*.read").await;
            let exported = system.export("/Group/g/$davinci-data-export").await;
            assert_eq!(exported.keys(), ["Coverage/n", "Group/g", "Organization/clinic", "Patient/n"]);
            for path in [
                "/Group/h",
                "/Group/h/_history",
                "/Group/h/_history/1",
                "/Group/h/$export",
                "/Group/h/$davinci-data-export",
                "/Group/not-there",
                "/Group/not-there/$export",
            ] {
                is_not_found(system.get(path).await).await;
            }
            for path in ["/Group/g", "/Group/g/_history", "/Group/g/_history/1"] {
                assert_eq!(system.get(path).await.status(), StatusCode::OK, "{path}");
            }
            for (query, expected) in [
                ("", &["g"][..]),
                ("?_id=g,h", &["g"]),
                ("?_id=h", &[]),
                (&format!("?identifier={NPI}%7C2"), &[]),
                (&format!("?identifier={NPI}%7C1,{NPI}%7C2"), &["g"]),
                ("?_count=1", &["g"]),
                ("?name=nothing", &[]),
            ] {
                let bundle: Value = system.get(&format!("/Group{query}")).await.json().await.expect("it is JSON");
                let entries = bundle["entry"].as_array().into_iter().flatten();
                let ids: Vec<&str> = entries.filter_map(|entry| entry["resource"]["id"].as_str()).collect();
                assert_eq!(ids, expected, "{query}");
                let count: Value = system
                    .get(&format!("/Group{query}{}_summary=count", if query.is_empty() { "?" } else { "&" }))
                    .await
                    .json()
                    .await
                    .expect("it is JSON");
                assert_eq!(count["total"], expected.len(), "{query}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_of_some_lists_reads_what_is_about_their_members_and_the_directory() {
    let north = Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!({"ids": ["g"]}))]);
    with_register(&two_lists(), register, |system| async move {
        north.acts(&system, "system/*.read").await;
        for suffix in ["", "/_history", "/_history/1"] {
            for key in ["Patient/n", "Coverage/n", "RelatedPerson/n", "Organization/clinic", "Organization/payer"] {
                let path = format!("/{key}{suffix}");
                assert_eq!(system.get(&path).await.status(), StatusCode::OK, "{path}");
            }
            for key in ["Patient/s", "Coverage/s", "RelatedPerson/s", "Patient/nobody"] {
                is_not_found(system.get(&format!("/{key}{suffix}")).await).await;
            }
        }
        // The member leaves the list.
        let gone = two_lists()[0].replace("Patient/n", "Patient/other").replace("Coverage/n", "Coverage/other");
        system.load(&[gone]).await;
        is_not_found(system.get("/Patient/n").await).await;
        is_not_found(system.get("/Coverage/n").await).await;
    })
    .await;
}

#[tokio::test]
async fn the_past_of_what_was_about_somebody_else_is_not_told() {
    let north = Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!({"identifiers": [format!("{NPI}|1")]}))]);
    let before = two_lists()[1].replace(r#""id":"h""#, r#""id":"x""#);
    let stranger = coverage("x", r#""beneficiary":{"reference":"Patient/s"}"#);
    let lines = [two_lists(), vec![before.clone(), stranger]].concat();
    with_register(&lines, register, |system| async move {
        // List x was south's, and Coverage x about a member of south; both are north's now.
        let now = before.replace(r#""value":"2""#, r#""value":"1""#).replace("Patient/s", "Patient/n");
        system.load(&[now, coverage("x", r#""beneficiary":{"reference":"Patient/n"}"#)]).await;
        north.acts(&system, "system/*.read").await;
        for key in ["Group/x", "Coverage/x"] {
            assert_eq!(system.get(&format!("/{key}")).await.status(), StatusCode::OK, "{key}");
            assert_eq!(system.get(&format!("/{key}/_history/2")).await.status(), StatusCode::OK, "{key}");
            is_not_found(system.get(&format!("/{key}/_history/1")).await).await;
            let history: Value = system.get(&format!("/{key}/_history")).await.json().await.expect("it is JSON");
            assert_eq!(history["entry"].as_array().map(Vec::len), Some(1), "{key}");
            let second: Value =
                system.get(&format!("/{key}/_history?_before=2")).await.json().await.expect("it is JSON");
            assert!(second["entry"].as_array().is_none_or(Vec::is_empty), "{second}");
        }
    })
    .await;
}

#[tokio::test]
async fn exports_that_begin_at_no_list_are_for_clients_with_all_lists() {
    let (north, all) = (Client::new("north", KeyKind::Es384), Client::new("all", KeyKind::Es384));
    let register = &RegisterFile::of(&[
        north.entry("system/*.read", &json!({"ids": ["g", "h"]})),
        all.entry("system/*.read", &json!("all")),
    ]);
    with_register(&two_lists(), register, |system| async move {
        north.acts(&system, "system/*.read").await;
        for path in ["/$export", "/Patient/$export"] {
            let response = system.get(path).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
            assert_eq!(issue(response).await.0, "forbidden");
            assert_eq!(system.post(path, &[]).await.status(), StatusCode::FORBIDDEN, "{path}");
        }
        all.acts(&system, "system/*.read").await;
        for path in ["/$export", "/Patient/$export"] {
            let polling = system.kick_off(path).await;
            assert_eq!(system.ended(&polling).await.status(), StatusCode::OK, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn types_beyond_the_scope_refuse_a_kick_off_and_without_types_it_is_cut_to_the_scope() {
    let all = Client::new("all", KeyKind::Es384);
    let register = &RegisterFile::of(&[all.entry("system/*.read", &json!("all"))]);
    with_register(&small_list(), register, |system| async move {
        all.acts(&system, "system/Group.read system/Patient.rs system/Coverage.r").await;
        for path in ["/Group/g/$export", "/Group/g/$davinci-data-export", "/Patient/$export", "/$export"] {
            let exported = system.export(path).await;
            let types: Vec<&str> = exported.counts.keys().map(String::as_str).collect();
            assert_eq!(types, ["Group", "Patient"], "{path}");
        }
        needs(
            system.get("/Group/g/$export?_type=Patient,Coverage,Location").await,
            "system/Coverage.rs system/Location.rs",
        )
        .await;
        needs(system.get("/Group/g/$davinci-data-export?_type=Group,Patient,Coverage").await, "system/Coverage.rs")
            .await;
        needs(system.get("/Group/g/$export?_typeFilter=Coverage%3Fstatus%3Dactive").await, "system/Coverage.rs").await;
        let exported = system.export("/Group/g/$export?_type=Patient&_typeFilter=Patient%3F_id%3D1").await;
        assert_eq!(exported.keys(), ["Patient/1"]);

        all.acts(&system, "system/*.r").await;
        assert_eq!(system.get("/Group/g/$export").await.status(), StatusCode::FORBIDDEN);
    })
    .await;
}

#[tokio::test]
async fn reads_and_searches_need_the_scope_of_their_type() {
    let all = Client::new("all", KeyKind::Es384);
    let register = &RegisterFile::of(&[all.entry("system/*.read", &json!("all"))]);
    with_register(&small_list(), register, |system| async move {
        all.acts(&system, "system/Patient.r system/Group.s").await;
        for (path, needed) in [
            ("/Coverage/1", "system/Coverage.r"),
            ("/Coverage/1/_history", "system/Coverage.r"),
            ("/Coverage/1/_history/1", "system/Coverage.r"),
            // Not even whether there is one.
            ("/Coverage/not-there", "system/Coverage.r"),
            ("/Group/g", "system/Group.r"),
        ] {
            needs(system.get(path).await, needed).await;
        }
        for path in ["/Patient/1", "/Patient/1/_history", "/Patient/1/_history/1", "/Group?_id=g"] {
            assert_eq!(system.get(path).await.status(), StatusCode::OK, "{path}");
        }
        all.acts(&system, "system/Group.r").await;
        needs(system.get("/Group").await, "system/Group.s").await;
        needs(system.request(Method::POST, "/Group/_search").send().await.expect("the API answers"), "system/Group.s")
            .await;
        assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
    })
    .await;
}

#[tokio::test]
async fn a_job_is_its_clients_with_a_scope_that_covers_it() {
    let (north, south) = (Client::new("north", KeyKind::Es384), Client::new("south", KeyKind::Es384));
    let register =
        &RegisterFile::of(&[north.entry("system/*.read", &json!("all")), south.entry("system/*.read", &json!("all"))]);
    let change = |settings: &mut Settings| {
        register.smart(settings);
        settings.links = Some(Links::Gated);
    };
    with_settings(&small_list(), change, |system| async move {
        north.acts(&system, "system/*.read").await;
        let polling = system.kick_off("/Group/g/$export?_type=Group,Patient").await;
        let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
        let url = |resource_type: &str| {
            let output = manifest["output"].as_array().expect("it is one");
            let item = output.iter().find(|item| item["type"] == resource_type).expect("it was exported");
            item["url"].as_str().expect("it is a URL").to_owned()
        };

        // Somebody else's.
        south.acts(&system, "system/*.read").await;
        is_not_found(system.get(&polling).await).await;
        is_not_found(system.delete(&polling).await).await;
        is_not_found(system.get(&url("Patient")).await).await;
        let head = system.request(Method::HEAD, &url("Patient")).send().await.expect("the API answers");
        assert_eq!(head.status(), StatusCode::NOT_FOUND);

        // One's own, with less than it takes.
        north.acts(&system, "system/Group.read").await;
        needs(system.get(&polling).await, "system/Patient.rs").await;
        needs(system.get(&url("Patient")).await, "system/Patient.rs").await;
        assert_eq!(system.get(&url("Group")).await.status(), StatusCode::TEMPORARY_REDIRECT);
        north.acts(&system, "system/Group.read system/Patient.read").await;
        assert_eq!(system.get(&polling).await.status(), StatusCode::OK);
        assert_eq!(system.get(&url("Patient")).await.status(), StatusCode::TEMPORARY_REDIRECT);

        // Without any token.
        system.act_with(None);
        for url in [polling.clone(), url("Patient")] {
            assert_eq!(system.get(&url).await.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(system.delete(&url).await.status(), StatusCode::UNAUTHORIZED);
        }
        north.acts(&system, "system/Group.s").await;
        assert_eq!(system.delete(&polling).await.status(), StatusCode::ACCEPTED, "whoever began a job may end it");
    })
    .await;
}

#[tokio::test]
async fn files_about_more_than_one_type_need_all_that_the_job_wrote() {
    let all = Client::new("all", KeyKind::Es384);
    let register = &RegisterFile::of(&[all.entry("system/*.read", &json!("all"))]);
    let change = |settings: &mut Settings| {
        register.smart(settings);
        settings.links = Some(Links::Gated);
    };
    let lines = [small_list(), vec![group(&[member("Patient/gone", "Coverage/1", "PractitionerRole/1")])]].concat();
    with_settings(&lines, change, |system| async move {
        all.acts(&system, "system/*.read").await;
        let polling = system.kick_off("/Group/g/$export?_type=Group,Patient,Coverage").await;
        let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
        let url = manifest["error"][0]["url"].as_str().expect("somebody is missing").to_owned();
        all.acts(&system, "system/Group.read system/Patient.read").await;
        needs(system.get(&url).await, "system/Coverage.rs").await;
        all.acts(&system, "system/*.read").await;
        assert_eq!(system.get(&url).await.status(), StatusCode::TEMPORARY_REDIRECT);
    })
    .await;
}

#[tokio::test]
async fn the_export_of_a_list_that_was_taken_from_a_client_is_gone_for_it() {
    let north = &Client::new("north", KeyKind::Es384);
    let entry = |list: &str| north.entry("system/*.read", &json!({"ids": [list]}));
    let entry = &entry;
    let register = &RegisterFile::of(&[entry("g")]);
    with_register(&two_lists(), register, |system| async move {
        north.acts(&system, "system/*.read").await;
        let polling = system.kick_off("/Group/g/$export").await;
        assert_eq!(system.ended(&polling).await.status(), StatusCode::OK);
        register.write(&json!({"clients": [entry("h")]}));
        system.becomes(&polling, StatusCode::NOT_FOUND).await;
        assert_eq!(system.delete(&polling).await.status(), StatusCode::ACCEPTED, "to end it harms nobody");
    })
    .await;
}

#[tokio::test]
async fn a_list_that_changes_hands_before_its_plan_fails_the_job() {
    let north = &Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!({"identifiers": [format!("{NPI}|1")]}))]);
    with_register(&two_lists(), register, |system| async move {
        system.stop_workers().await;
        north.acts(&system, "system/*.read").await;
        let polling = system.kick_off("/Group/g/$export").await;
        system.load(&[two_lists()[0].replace(r#""value":"1""#, r#""value":"2""#)]).await;
        system.start_worker().await;
        let response = system.ended(&polling).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let (code, text) = issue(response).await;
        assert!(code == "processing" && text.contains("have changed since the kick-off"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn deletions_from_before_a_list_was_the_clients_are_not_told() {
    let north = &Client::new("north", KeyKind::Es384);
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!({"identifiers": [format!("{NPI}|1")]}))]);
    with_register(&two_lists(), register, |system| async move {
        let before = "2020-01-01T00:00:00Z";
        // List h was south's with the member s; now it is north's with the member n.
        let now = two_lists()[1].replace(r#""value":"2""#, r#""value":"1""#).replace("Patient/s", "Patient/n");
        system.load(&[now.replace("Coverage/s", "Coverage/n")]).await;
        system.unload("Patient/s").await;
        system.unload("RelatedPerson/n").await;
        north.acts(&system, "system/*.read").await;
        let exported = system.export(&format!("/Group/h/$export?_since={before}")).await;
        assert_eq!(exported.deleted, BTreeSet::from(["RelatedPerson/n".to_owned()]));
    })
    .await;
}

/// The error files of an export, as they are.
async fn errors(system: &System, path: &str) -> String {
    let polling = system.kick_off(path).await;
    let manifest: Value = system.ended(&polling).await.json().await.expect("a manifest is JSON");
    let mut told = String::new();
    for item in manifest["error"].as_array().expect("it is always there") {
        told += &system.download(item).await.text().await.expect("a file is text");
    }
    told
}

#[tokio::test]
async fn error_files_tell_no_id_of_a_type_beyond_the_scope() {
    let all = &Client::new("all", KeyKind::Es384);
    let register = &RegisterFile::of(&[all.entry("system/*.read", &json!("all"))]);
    let lines = [
        group(&[
            member("Patient/secret-1", "Coverage/secret-2", "Organization/told"),
            member("urn:uuid:secret-3", "https://elsewhere.example.org/fhir/Coverage/secret-4", "#secret-5"),
            member("Patient/1", "Coverage/1", "Organization/clinic"),
        ]),
        patient("1"),
        coverage(
            "1",
            r#""subscriber":{"reference":"Patient/secret-6"},"payor":[{"reference":"RelatedPerson/secret-7"}]"#,
        ),
        plain("Organization", "clinic"),
    ];
    with_register(&lines, register, |system| async move {
        for path in ["/Group/g/$export", "/Group/g/$davinci-data-export", "/Group/g/$export?_type=Organization"] {
            all.acts(&system, "system/Organization.read").await;
            let told = errors(&system, path).await;
            assert!(told.contains("Organization/told") && !told.contains("secret"), "{path}: {told}");
        }
        all.acts(&system, "system/*.read").await;
        let told = errors(&system, "/Group/g/$export?_type=Organization").await;
        for number in 1..=7 {
            assert!(told.contains(&format!("secret-{number}")), "{number}: whoever may know is told");
        }
        all.acts(&system, "system/Organization.read").await;
        needs(system.get("/Group/g/$export?organizeOutputBy=Patient").await, "system/Patient.rs").await;
    })
    .await;
}

#[tokio::test]
async fn many_lists_of_a_client_are_found_through_all_pages() {
    let north = &Client::new("north", KeyKind::Es384);
    let ids: Vec<String> = (0..1_205).map(|number| format!("l{number:04}")).collect();
    let lines: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"resourceType":"Group","id":"{id}","type":"person","actual":true}}"#))
        .collect();
    let register = &RegisterFile::of(&[north.entry("system/*.read", &json!({"ids": ids}))]);
    with_register(&[lines, two_lists()].concat(), register, |system| async move {
        north.acts(&system, "system/*.read").await;
        let (mut found, mut url) = (Vec::new(), Some("/Group?_count=100".to_owned()));
        while let Some(page) = url {
            let bundle: Value = system.get(&page).await.json().await.expect("it is JSON");
            let entries = bundle["entry"].as_array().into_iter().flatten();
            found.extend(entries.filter_map(|entry| entry["resource"]["id"].as_str().map(str::to_owned)));
            let pages = bundle["link"].as_array().into_iter().flatten();
            let next = pages.into_iter().find(|link| link["relation"] == "next");
            url = next.and_then(|link| link["url"].as_str().map(str::to_owned));
        }
        assert_eq!(found, ids);
        let count: Value = system.get("/Group?_summary=count").await.json().await.expect("it is JSON");
        assert_eq!(count["total"], ids.len());
    })
    .await;
}
