//! Rights: what a client may see and export, violated one at a time on every endpoint.

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use shared::access::key_pair::KeyKind;
use shared::settings::{Links, Settings};

use super::{coverage, group, member, patient, plain, small_list};
use crate::harness::clients::{Client, RegisterFile};
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

/// A client with its token.
struct Party {
    client: Client,
}

impl Party {
    fn new(id: &str) -> Self {
        Self { client: Client::new(id, KeyKind::Es384) }
    }

    async fn acts(&self, system: &System, scope: &str) {
        system.act_with(None);
        let token = self.client.token(system, scope).await;
        system.act_with(Some(&token));
    }
}

/// The status of an answer to a refused request: 403 names the scope that would be enough.
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
    let (by_id, by_npi) = (Party::new("by-id"), Party::new("by-npi"));
    let register = &RegisterFile::of(&[
        by_id.client.entry("system/*.read", &json!({"ids": ["g", "not-there"]})),
        by_npi.client.entry("system/*.read", &json!({"identifiers": [format!("{NPI}|1"), "urn:other|2"]})),
    ]);
    with_settings(
        &two_lists(),
        |settings| register.smart(settings),
        |system| async move {
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
        },
    )
    .await;
}

#[tokio::test]
async fn a_client_of_some_lists_reads_what_is_about_their_members_and_the_directory() {
    let north = Party::new("north");
    let register = &RegisterFile::of(&[north.client.entry("system/*.read", &json!({"ids": ["g"]}))]);
    with_settings(
        &two_lists(),
        |settings| register.smart(settings),
        |system| async move {
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
            // The member leaves the list, and another one takes the Coverage over.
            let gone = two_lists()[0].replace("Patient/n", "Patient/other").replace("Coverage/n", "Coverage/other");
            system.load(&[gone]).await;
            is_not_found(system.get("/Patient/n").await).await;
            is_not_found(system.get("/Coverage/n").await).await;
        },
    )
    .await;
}

#[tokio::test]
async fn the_past_of_what_was_about_somebody_else_is_not_told() {
    let north = Party::new("north");
    let register =
        RegisterFile::of(&[north.client.entry("system/*.read", &json!({"identifiers": [format!("{NPI}|1")]}))]);
    let before = two_lists()[1].replace(r#""id":"h""#, r#""id":"x""#);
    let stranger = coverage("x", r#""beneficiary":{"reference":"Patient/s"}"#);
    let lines = [two_lists(), vec![before.clone(), stranger]].concat();
    with_settings(
        &lines,
        |settings| register.smart(settings),
        |system| async move {
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
        },
    )
    .await;
}

#[tokio::test]
async fn exports_that_begin_at_no_list_are_for_clients_with_all_lists() {
    let (north, all) = (Party::new("north"), Party::new("all"));
    let register = &RegisterFile::of(&[
        north.client.entry("system/*.read", &json!({"ids": ["g", "h"]})),
        all.client.entry("system/*.read", &json!("all")),
    ]);
    with_settings(
        &two_lists(),
        |settings| register.smart(settings),
        |system| async move {
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
        },
    )
    .await;
}

#[tokio::test]
async fn types_beyond_the_scope_refuse_a_kick_off_and_without_types_it_is_cut_to_the_scope() {
    let all = Party::new("all");
    let register = &RegisterFile::of(&[all.client.entry("system/*.read", &json!("all"))]);
    with_settings(
        &small_list(),
        |settings| register.smart(settings),
        |system| async move {
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
            needs(system.get("/Group/g/$export?_typeFilter=Coverage%3Fstatus%3Dactive").await, "system/Coverage.rs")
                .await;
            let exported = system.export("/Group/g/$export?_type=Patient&_typeFilter=Patient%3F_id%3D1").await;
            assert_eq!(exported.keys(), ["Patient/1"]);

            all.acts(&system, "system/*.r").await;
            assert_eq!(system.get("/Group/g/$export").await.status(), StatusCode::FORBIDDEN);
        },
    )
    .await;
}

#[tokio::test]
async fn reads_and_searches_need_the_scope_of_their_type() {
    let all = Party::new("all");
    let register = &RegisterFile::of(&[all.client.entry("system/*.read", &json!("all"))]);
    with_settings(
        &small_list(),
        |settings| register.smart(settings),
        |system| async move {
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
            needs(
                system.request(Method::POST, "/Group/_search").send().await.expect("the API answers"),
                "system/Group.s",
            )
            .await;
            assert_eq!(system.get("/Group/g").await.status(), StatusCode::OK);
        },
    )
    .await;
}

#[tokio::test]
async fn a_job_is_its_clients_with_a_scope_that_covers_it() {
    let (north, south) = (Party::new("north"), Party::new("south"));
    let register = &RegisterFile::of(&[
        north.client.entry("system/*.read", &json!("all")),
        south.client.entry("system/*.read", &json!("all")),
    ]);
    let change = |settings: &mut Settings| {
        register.smart(settings);
        settings.links = Links::Gated;
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
    let all = Party::new("all");
    let register = &RegisterFile::of(&[all.client.entry("system/*.read", &json!("all"))]);
    let change = |settings: &mut Settings| {
        register.smart(settings);
        settings.links = Links::Gated;
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
    let north = &Party::new("north");
    let entry = move |list: &str| north.client.entry("system/*.read", &json!({"ids": [list]}));
    let register = &RegisterFile::of(&[entry("g")]);
    with_settings(
        &two_lists(),
        |settings| register.smart(settings),
        |system| async move {
            north.acts(&system, "system/*.read").await;
            let polling = system.kick_off("/Group/g/$export").await;
            assert_eq!(system.ended(&polling).await.status(), StatusCode::OK);
            register.write(&json!({"clients": [entry("h")]}));
            let polls = async {
                while system.get(&polling).await.status() != StatusCode::NOT_FOUND {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(crate::harness::system::PATIENCE, polls).await.expect("the register is read again");
            is_not_found(system.delete(&polling).await).await;
        },
    )
    .await;
}
