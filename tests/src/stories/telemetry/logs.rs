//! What is said of exports says nothing of anybody, in one vocabulary.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use super::{Heard, lines, traceparent};
use crate::docs::fields::vocabulary;
use crate::harness::collector::Collector;
use crate::harness::exposition::metrics;
use crate::harness::programs::{load, program, resources};
use crate::harness::store::Store;
use crate::harness::system::{PREFER, in_namespace};
use crate::stories::{group, member, small_list};

/// The id of a trace that a client has begun.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The id of a patient and of a coverage that a list names and the source has not.
const MISSING: &str = "somebody-who-is-missing";
/// What a list names a provider by, and is no reference.
const NONSENSE: &str = "nonsense-of-somebody";

/// The ids of all resources but of the lists, and what people and places are called and found by.
fn personal(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in resources(folder) {
        let resource: Value = serde_json::from_str(&line).expect("it is JSON");
        if resource["resourceType"] == "Group" {
            continue;
        }
        found.extend(resource["id"].as_str().map(str::to_owned));
        for field in ["name", "telecom", "address", "birthDate", "identifier", "subscriberId"] {
            texts(&resource[field], &mut found);
        }
    }
    found
}

fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        // Two letters are a state of the union, and many a word besides.
        Value::String(text) if text.len() < 3 => {}
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        // What an element is for, and where its kind is defined, is nobody's.
        Value::Object(fields) => {
            let of_somebody = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "use" | "system" | "type"));
            of_somebody.for_each(|(_, value)| texts(value, found));
        }
        _ => {}
    }
}

/// Those of some texts that stand in another one as words of their own.
fn spoken<'a>(texts: &'a BTreeSet<String>, said: &str) -> Vec<&'a String> {
    let is_inside = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let stands = |text: &&String| {
        said.match_indices(text.as_str()).any(|(at, _)| {
            !is_inside(said[..at].chars().next_back()) && !is_inside(said[at + text.len()..].chars().next())
        })
    };
    texts.iter().filter(stands).collect()
}

/// A list of somebody who is not there, and of what is no reference to anybody.
fn list_of_nobody() -> String {
    let (patient, coverage) = (format!("Patient/{MISSING}"), format!("Coverage/{MISSING}"));
    group(&[member(&patient, &coverage, NONSENSE)])
}

/// The body of a kick-off for one patient.
fn only(patient: &str) -> String {
    let value = json!({"reference": format!("Patient/{patient}")});
    json!({"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": value}]}).to_string()
}

#[tokio::test]
async fn logs_traces_and_metrics_of_exports_say_nothing_of_anybody() {
    in_namespace(async |namespace| {
        let store = Store::devstore().await.expect("devstore starts");
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let sample = folder.path().join("sample");
        let mut generate = program("atr");
        generate.args(["generate", "--members", "60", "--seed", "11", "--out"]).arg(&sample);
        assert!(generate.output().await.expect("the program starts").status.success());
        let lines: Vec<String> = resources(&sample).chain([list_of_nobody()]).collect();
        load(namespace, &lines).await;
        let mut personal = personal(&sample);
        let somebody = personal.iter().find(|text| text.starts_with("p-0")).expect("there are patients").clone();
        personal.extend([MISSING.to_owned(), NONSENSE.to_owned()]);

        // As deep as it goes: what libraries say is said, too.
        let collector = Collector::start();
        let heard = Heard::start(namespace, &store, folder.path(), "trace", &collector.url).await;
        for (path, status) in [
            ("Group/sample/$davinci-data-export".to_owned(), 202),
            ("Group/g/$export".to_owned(), 202),
            (format!("Group/sample/$export?patient=Patient/{somebody}&patient=Patient/{MISSING}"), 400),
            ("Group/sample/$export?_since=2020-01-01T00:00:00Z&_typeFilter=Patient%3Fgender%3Dfemale".to_owned(), 202),
            ("Group/sample/$export?organizeOutputBy=Patient".to_owned(), 202),
            ("$export".to_owned(), 202),
            ("Group/no-such-list/$export".to_owned(), 404),
            (format!("Patient/{somebody}"), 200),
            (format!("Patient/{somebody}/_history"), 200),
            (format!("Patient/{MISSING}"), 404),
            (format!("Nonsense/{somebody}"), 404),
            (somebody.clone(), 404),
        ] {
            assert_eq!(heard.export(&path, &traceparent(TRACE)).await.as_u16(), status, "{path}");
        }
        let post = heard.client.post(heard.url("Group/sample/$export")).header(PREFER, "respond-async");
        let post = post.header(ACCEPT, "application/fhir+json").header(CONTENT_TYPE, "application/fhir+json");
        let posted = post.body(only(&somebody)).send().await.expect("the API answers");
        assert_eq!(posted.status(), StatusCode::ACCEPTED);

        let metrics = [metrics(heard.api.admin_port).await, metrics(heard.worker.admin_port).await].concat();
        let [api, worker] = heard.end().await;
        assert!(worker.contains("completed job") && api.contains("accepted job"), "the logs are there");
        assert!(collector.spans().len() > 100, "the spans are there");
        let traces = String::from_utf8_lossy(&collector.bytes()).into_owned();
        for (who, said) in [("metrics", metrics), ("API", api), ("worker", worker), ("traces", traces)] {
            let spoken = spoken(&personal, &said);
            let where_it_is = |text: &&String| said.lines().find(|line| line.contains(text.as_str()));
            let lines: Vec<_> = spoken.iter().take(5).map(|text| (text, where_it_is(text))).collect();
            assert!(spoken.is_empty(), "{who}: {lines:#?}");
        }
    })
    .await;
}

#[tokio::test]
async fn every_field_of_a_log_line_is_in_the_vocabulary() {
    in_namespace(async |namespace| {
        let store = Store::devstore().await.expect("devstore starts");
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        load(namespace, &small_list()).await;
        let collector = Collector::start();
        let ours = "warn,api_service=trace,export_worker=trace,shared=trace";
        let heard = Heard::start(namespace, &store, folder.path(), ours, &collector.url).await;
        assert_eq!(heard.export("Group/g/$export", &traceparent(TRACE)).await, StatusCode::ACCEPTED);
        let logs = heard.end().await;
        let vocabulary = vocabulary();
        let (mut seen, mut count) = (BTreeSet::new(), 0);
        for line in logs.iter().flat_map(|log| lines(log)).filter(|line| line["resourceType"].is_null()) {
            count += 1;
            seen.extend(line.as_object().expect("a line is an object").keys().cloned());
        }
        assert!(count > 10, "{count} lines");
        let unknown: Vec<&String> = seen.difference(&vocabulary).collect();
        assert!(unknown.is_empty(), "these fields are not in the table: {unknown:?}");
    })
    .await;
}
