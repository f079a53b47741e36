//! What manifests say.

use shared::export::{
    Anchor, Attempt, ClientId, Delivery, ExportRequest, JobId, JobState, Operation, Progress, TaskNo,
};
use shared::fhir::Instant;

use super::*;

const BASE: &str = "https://api.example.org/fhir";
const FILE: &str = "https://api.example.org/fhir/StructureDefinition/export-file";
const MEMBERS: &str = "https://api.example.org/fhir/StructureDefinition/export-members";

fn job(delivery: Delivery) -> Job {
    let now = Instant::from_unix_millis(1_767_607_200_000);
    let list = "g".parse().expect("it is an id");
    let request = ExportRequest::new(Anchor::Group(list), Operation::Export, format!("{BASE}/Group/g/$export"));
    Job {
        id: JobId::random(),
        client: ClientId("c".to_owned()),
        request: ExportRequest { delivery, ..request },
        created_at: now,
        state: JobState::Completed,
        transaction_time: Some(now),
        progress: Progress::default(),
        ended_at: Some(now),
        expires_at: Some(now),
        failure: None,
    }
}

fn link(resource_type: ResourceType, kind: OutputKind, task: u32, lines: u64) -> Link {
    let job = "00000000-0000-4000-8000-000000000000".parse().expect("it is written as a job id is");
    let key = OutputKey { job, resource_type, task: TaskNo(task), attempt: Attempt(1), number: 0 };
    let output = Output { key, kind, lines, bytes: 90, stored_bytes: 60, sha256: "ab".to_owned() };
    Link { output, url: format!("u{task}") }
}

fn read(job: &Job, contents: Contents) -> Value {
    let text = manifest(job, BASE, contents, false);
    serde_json::from_str(&text).expect("a manifest is JSON")
}

fn files(links: Vec<Link>) -> Contents {
    Contents { links, next: None, account: None }
}

/// Type, URL and count of the files of an array.
fn listed(manifest: &Value, array: &str) -> Vec<(String, String, u64)> {
    let items = manifest[array].as_array().expect("the arrays are always there");
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    items.iter().map(|item| (text(&item["type"]), text(&item["url"]), item["count"].as_u64().unwrap_or(0))).collect()
}

fn row(resource_type: &str, url: &str, count: u64) -> (String, String, u64) {
    (resource_type.to_owned(), url.to_owned(), count)
}

#[test]
fn an_empty_manifest_has_all_that_is_required_and_no_more() {
    assert_eq!(
        manifest(&job(Delivery::default()), BASE, files(vec![]), true),
        r#"{"transactionTime":"2026-01-05T10:00:00.000Z","request":"https://api.example.org/fhir/Group/g/$export","requiresAccessToken":true,"output":[],"deleted":[],"error":[]}"#
    );
}

#[test]
fn files_stand_in_the_order_of_the_guide_and_each_kind_by_itself() {
    let links = vec![
        link(ResourceType::LOCATION, OutputKind::Output, 4, 1),
        link(ResourceType::PATIENT, OutputKind::Output, 3, 5),
        link(ResourceType::OPERATION_OUTCOME, OutputKind::Error, 3, 2),
        link(ResourceType::BUNDLE, OutputKind::Deleted, 5, 3),
        link(ResourceType::PATIENT, OutputKind::Output, 2, 7),
        link(ResourceType::GROUP, OutputKind::Output, 1, 1),
    ];
    let manifest = read(&job(Delivery::default()), files(links));
    let output = [row("Group", "u1", 1), row("Patient", "u2", 7), row("Patient", "u3", 5), row("Location", "u4", 1)];
    assert_eq!(listed(&manifest, "output"), output);
    assert_eq!(listed(&manifest, "deleted"), [row("Bundle", "u5", 3)]);
    assert_eq!(listed(&manifest, "error"), [row("OperationOutcome", "u3", 2)]);
}

#[test]
fn each_file_says_how_long_it_is_and_what_its_digest_is() {
    let links = || vec![link(ResourceType::PATIENT, OutputKind::Output, 1, 1)];
    let plain = read(&job(Delivery::default()), files(links()));
    assert_eq!(plain["output"][0]["extension"], json!({ FILE: {"bytes": 90, "sha256": "ab"} }));
    let gzip = Delivery { encoding: Encoding::Gzip, ..Delivery::default() };
    let compressed = read(&job(gzip), files(links()));
    let expected = json!({ FILE: {"bytes": 90, "sha256": "ab", "contentEncoding": "gzip", "storedBytes": 60} });
    assert_eq!(compressed["output"][0]["extension"], expected);
}

#[test]
fn files_that_are_organized_by_patient_have_no_type() {
    let delivery = Delivery { organized_by_patient: true, ..Delivery::default() };
    let links = vec![
        link(ResourceType::BUNDLE, OutputKind::Output, 2, 9),
        link(ResourceType::GROUP, OutputKind::Output, 1, 1),
        link(ResourceType::BUNDLE, OutputKind::Deleted, 3, 1),
    ];
    let manifest = read(&job(delivery), files(links));
    assert_eq!(manifest["outputOrganizedBy"], "Patient");
    assert_eq!(listed(&manifest, "output"), [row("Group", "u1", 1), row("none", "u2", 9)]);
    assert_eq!(listed(&manifest, "deleted"), [row("Bundle", "u3", 1)]);
}

#[test]
fn a_page_links_to_the_next_one() {
    let next = Some(format!("{BASE}/export/j?page=2"));
    let manifest = read(&job(Delivery::default()), Contents { links: vec![], next: next.clone(), account: None });
    assert_eq!(manifest["link"], json!([{"relation": "next", "url": next}]));
}

#[test]
fn the_account_tells_of_every_member() {
    let account = Tally {
        entries: 14,
        inactive: 1,
        without_patient: 2,
        patients: 11,
        written: 5,
        left_out: [("_since".to_owned(), 3)].into(),
        missing: 1,
        unreadable: 2,
        missing_references: [("Coverage.payor".to_owned(), 4)].into(),
    };
    let contents = Contents { links: vec![], next: None, account: Some(account) };
    let manifest = read(&job(Delivery::default()), contents);
    let members = json!({
        "entries": 14, "inactive": 1, "withoutPatient": 2, "patients": 11, "written": 5, "leftOut": {"_since": 3},
        "missing": 1, "unreadable": 2, "missingReferences": {"Coverage.payor": 4},
    });
    assert_eq!(manifest["extension"], json!({ MEMBERS: members }));
}
