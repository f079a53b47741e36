//! Ids of every legal kind: `[A-Za-z0-9\-\.]{1,64}`, which is also what means something in URLs, paths, keys and patterns.

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::settings::Settings;

use crate::harness::system::{PUBLIC_BASE, with_settings};
use crate::stories::{coverage, member, patient, plain};

/// Dots alone, a single hyphen, letters that differ by case only, each legal character once, and what is like something else.
fn ids() -> Vec<String> {
    let all: String = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain("-.".chars()).collect();
    let mut ids = vec![all.clone(), all.chars().rev().collect(), "-".repeat(64), ".".repeat(64)];
    let short = [
        ".",
        "..",
        "...",
        "-",
        "--",
        "-.",
        ".-",
        "a",
        "A",
        "aB",
        "Ab",
        "0",
        "00",
        ".ndjson",
        "1.1.0.ndjson",
        "null",
        "NaN",
        "1e5",
        "-1",
        "a.b",
        "a-b",
        "member",
        "Patient",
        "metadata",
    ];
    ids.extend(short.map(str::to_owned));
    ids
}

fn small(settings: &mut Settings) {
    settings.slice_ids = 4;
    settings.page_ids = 3;
}

#[tokio::test]
async fn resources_of_every_legal_id_are_exported_each_under_its_own() {
    let ids = ids();
    let of_all = |name: &str| {
        let members: Vec<String> = ids
            .iter()
            .map(|id| member(&format!("Patient/{id}"), &format!("Coverage/{id}"), &format!("Organization/{id}")))
            .collect();
        format!(r#"{{"resourceType":"Group","id":"{name}","actual":true,"member":[{}]}}"#, members.join(","))
    };
    let mut lines = vec![of_all("g")];
    for id in &ids {
        let payor =
            format!(r#""beneficiary":{{"reference":"Patient/{id}"}},"payor":[{{"reference":"RelatedPerson/{id}"}}]"#);
        lines.extend([patient(id), coverage(id, &payor), plain("Organization", id), plain("RelatedPerson", id)]);
    }
    with_settings(&lines, small, |system| async move {
        for query in ["", "?organizeOutputBy=Patient", "?_outputEncoding=gzip"] {
            let exported = system.export(&format!("/Group/g/$export{query}")).await;
            assert_eq!(exported.reached, system.expected("g").await, "{query}");
        }
        let everything = system.export("/$export").await;
        assert_eq!(everything.reached.lines, system.loaded().await);
        // Each alone: a case that is folded or a dot that is taken for a pattern finds another.
        for ids in ids.chunks(5) {
            let chosen: Vec<Value> = ids
                .iter()
                .map(|id| json!({"name": "patient", "valueReference": {"reference": format!("Patient/{id}")}}))
                .collect();
            let exported = system.export_by("/Group/g/$export?_type=Patient", &chosen).await;
            let mut expected: Vec<String> = ids.iter().map(|id| format!("Patient/{id}")).collect();
            expected.sort_unstable();
            assert_eq!(exported.keys(), expected);
        }
        for id in &ids {
            // `.` and `..` in a path lead elsewhere before they are sent, unless they are escaped; so must a client do.
            let escaped = id.replace('.', "%2E");
            if !id.trim_matches('.').is_empty() {
                let response = system.get(&format!("/Patient/{escaped}")).await;
                assert_eq!(response.status(), StatusCode::OK, "{id}");
                let read: Value = response.json().await.expect("a resource is JSON");
                assert_eq!(read["id"], json!(id));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn lists_of_every_legal_id_are_found_and_exported() {
    let ids = ids();
    let list = |id: &String| {
        let members = member(&format!("Patient/{id}"), "Coverage/1", "Organization/1");
        format!(r#"{{"resourceType":"Group","id":"{id}","actual":true,"member":[{members}]}}"#)
    };
    let lines: Vec<String> = ids.iter().map(list).chain(ids.iter().map(|id| patient(id))).collect();
    with_settings(&lines, small, |system| async move {
        for id in &ids {
            let found: Value = system.get(&format!("/Group?_id={id}")).await.json().await.expect("a Bundle is JSON");
            let found: Vec<&Value> =
                found["entry"].as_array().into_iter().flatten().map(|entry| &entry["resource"]["id"]).collect();
            assert_eq!(found, [&json!(id)], "by its id, in its case");
            // A URL's own rules take away a path segment of one or two dots, escaped or not, before anybody sends it.
            if matches!(id.as_str(), "." | "..") {
                continue;
            }
            let exported = system.export(&format!("/Group/{id}/$export")).await;
            let (group, patient) = (format!("Group/{id}"), format!("Patient/{id}"));
            assert_eq!(exported.keys(), [group.as_str(), patient.as_str()]);
            let request = exported.manifest["request"].as_str().expect("it is a URL");
            assert_eq!(request, format!("{PUBLIC_BASE}/Group/{id}/$export"));
        }
    })
    .await;
}
