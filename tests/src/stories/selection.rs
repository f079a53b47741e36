//! The parameters that choose what is written, and in which form.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::settings::Settings;

use super::{coverage, group, member, patient, plain, small_list};
use crate::harness::system::{with, with_settings};

fn people() -> Vec<String> {
    vec![
        group(&[
            member("Patient/1", "Coverage/1", "Organization/clinic"),
            member("Patient/2", "Coverage/2", "Organization/clinic"),
            member("Patient/3", "Coverage/3", "Organization/clinic"),
        ]),
        r#"{"resourceType":"Patient","id":"1","active":true,"gender":"female","birthDate":"1970-05-01","name":[{"family":"Müller"}],"weight":1.10}"#.to_owned(),
        r#"{"resourceType":"Patient","id":"2","active":false,"gender":"male","birthDate":"1990-02-03"}"#.to_owned(),
        r#"{"resourceType":"Patient","id":"3","active":true,"gender":"male","birthDate":"2001-12-31"}"#.to_owned(),
        coverage("1", r#""status":"active","beneficiary":{"reference":"Patient/1"},"payor":[{"reference":"Organization/payer"}],"order":1.0"#),
        coverage("2", r#""status":"cancelled","beneficiary":{"reference":"Patient/2"},"payor":[{"reference":"Organization/payer"}]"#),
        coverage("3", r#""status":"active","beneficiary":{"reference":"Patient/3"},"payor":[{"reference":"Organization/other"}]"#),
        plain("Organization", "clinic"),
        plain("Organization", "payer"),
        plain("Organization", "other"),
    ]
}

/// A query with a `_typeFilter` of each of these.
fn filtered(filters: &[&str]) -> String {
    let filters =
        filters.iter().map(|filter| url::form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>());
    format!("/Group/g/$export?{}", filters.map(|filter| format!("_typeFilter={filter}")).collect::<Vec<_>>().join("&"))
}

#[tokio::test]
async fn a_type_filter_limits_its_type_and_no_other() {
    with(&people(), |system| async move {
        for (filters, left_out) in [
            (&["Patient?gender=male"][..], &["Patient/1"][..]),
            (&["Patient?active=true&birthdate=ge2000"], &["Patient/1", "Patient/2"]),
            (&["Patient?name=muller", "Patient?birthdate=1990-02-03"], &["Patient/3"]),
            (&["Patient?gender=female,male"], &[]),
            (&["Coverage?status=active,Patient?gender=female,unknown"], &["Coverage/2", "Patient/2", "Patient/3"]),
            (&["Coverage?status:not=active"], &["Coverage/1", "Coverage/3"]),
            (
                &["Coverage?payor=Organization/other", "Patient?_id=3"],
                &["Coverage/1", "Coverage/2", "Patient/1", "Patient/2"],
            ),
        ] {
            let exported = system.export(&filtered(filters)).await;
            let mut expected = system.expected("g").await.lines;
            expected.retain(|key, _| !left_out.contains(&key.as_str()));
            assert_eq!(exported.reached.lines, expected, "{filters:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_filtered_out_still_leads_on() {
    with(&people(), |system| async move {
        let exported = system.export(&filtered(&["Coverage?status=cancelled"])).await;
        assert!(exported.keys().contains(&"Organization/other") && !exported.keys().contains(&"Coverage/3"));
    })
    .await;
}

#[tokio::test]
async fn elements_keep_what_is_mandatory_and_tag_what_was_cut() {
    with(&people(), |system| async move {
        let exported = system.export("/Group/g/$export?_elements=Patient.birthDate,Coverage.status,Group.name").await;
        let line = |key: &str| -> Value { serde_json::from_str(&exported.reached.lines[key]).expect("a line is JSON") };
        let tag = json!([{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}]);
        assert_eq!(
            line("Patient/1"),
            json!({"resourceType": "Patient", "id": "1", "meta": {"tag": tag}, "birthDate": "1970-05-01"})
        );
        assert_eq!(
            line("Coverage/1"),
            json!({"resourceType": "Coverage", "id": "1", "meta": {"tag": tag}, "status": "active",
                "beneficiary": {"reference": "Patient/1"}, "payor": [{"reference": "Organization/payer"}]})
        );
        assert_eq!(
            line("Group/g"),
            json!({"resourceType": "Group", "id": "g", "meta": {"tag": tag}, "type": "person", "actual": true})
        );
        assert_eq!(exported.reached.lines["Organization/payer"], plain("Organization", "payer"));
        assert_eq!(exported.reached.lines.len(), system.expected("g").await.lines.len());
    })
    .await;
}

#[tokio::test]
async fn a_group_keeps_its_members_when_they_are_asked_for() {
    with(&people(), |system| async move {
        let exported = system.export("/Group/g/$export?_elements=member").await;
        let group: Value = serde_json::from_str(&exported.reached.lines["Group/g"]).expect("a line is JSON");
        assert_eq!(group["member"].as_array().map(Vec::len), Some(3));
        assert_eq!(group["meta"]["tag"][0]["code"], "SUBSETTED");
    })
    .await;
}

#[tokio::test]
async fn until_leaves_out_what_changed_later() {
    with(&people(), |system| async move {
        let first = system.export("/Group/g/$export").await;
        let until = first.manifest["transactionTime"].as_str().expect("it is an instant").to_owned();
        system.load(&[r#"{"resourceType":"Organization","id":"payer","name":"new"}"#.to_owned()]).await;
        let second = system.export(&format!("/Group/g/$export?_until={until}")).await;
        let mut expected = first.reached.lines;
        expected.remove("Organization/payer");
        assert_eq!(second.reached.lines, expected);
        let window = system.export(&format!("/Group/g/$export?_since=2020-01-01T00:00:00Z&_until={until}")).await;
        assert_eq!(window.reached.lines, expected);
    })
    .await;
}

#[tokio::test]
async fn what_was_deleted_since_is_told_in_transactions() {
    with(&people(), |system| async move {
        let first = system.export("/Group/g/$export").await;
        assert_eq!(first.manifest["deleted"], json!([]));
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant").to_owned();
        system.load(&[patient("4"), plain("Location", "unknown")]).await;
        for gone in ["Patient/3", "Coverage/3", "Organization/other", "Patient/4"] {
            system.unload(gone).await;
        }
        system.unload("Organization/payer").await;
        system.load(&[plain("Organization", "payer")]).await;

        let second = system.export(&format!("/Group/g/$export?_since={since}")).await;
        assert_eq!(
            second.deleted.iter().collect::<Vec<_>>(),
            ["Coverage/3", "Organization/other", "Patient/3"],
            "a patient of no list is not told of, and what came back is not gone"
        );
        assert!(second.keys().contains(&"Organization/payer"));
        assert!(second.keys().iter().all(|key| !second.deleted.contains(*key)));
        assert_eq!(second.manifest["deleted"][0]["type"], "Bundle");

        let patients = system.export(&format!("/Group/g/$export?_since={since}&_type=Patient")).await;
        assert_eq!(patients.deleted.iter().collect::<Vec<_>>(), ["Patient/3"]);
        let server = system.export(&format!("/$export?_since={since}")).await;
        assert_eq!(
            server.deleted.iter().collect::<Vec<_>>(),
            ["Coverage/3", "Organization/other", "Patient/3", "Patient/4"]
        );
    })
    .await;
}

#[tokio::test]
async fn a_member_who_left_the_list_is_not_told_as_deleted() {
    with(&people(), |system| async move {
        let first = system.export("/Group/g/$export").await;
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant").to_owned();
        system.load(&[group(&[member("Patient/1", "Coverage/1", "Organization/clinic")])]).await;
        let second = system.export(&format!("/Group/g/$export?_since={since}")).await;
        assert_eq!((second.keys(), second.deleted.len()), (vec!["Group/g"], 0));
    })
    .await;
}

#[tokio::test]
async fn output_organized_by_patient_holds_a_block_for_each_and_every_resource_once() {
    let mut lines = people();
    lines.push(r#"{"resourceType":"RelatedPerson","id":"1","patient":{"reference":"Patient/1"}}"#.to_owned());
    lines[4] = coverage(
        "1",
        r#""status":"active","beneficiary":{"reference":"Patient/1"},"subscriber":{"reference":"RelatedPerson/1"},"payor":[{"reference":"Organization/payer"}]"#,
    );
    let small = |settings: &mut Settings| settings.slice_ids = 2;
    with_settings(&lines, small, |system| async move {
        let exported = system.export("/Group/g/$export?organizeOutputBy=Patient").await;
        assert_eq!(exported.reached, system.expected("g").await);
        let block = |patient: &str, more: &[&str]| {
            let lines = std::iter::once(patient).chain(more.iter().copied()).map(str::to_owned).collect();
            (patient.to_owned(), lines)
        };
        let expected: BTreeMap<String, Vec<String>> = [
            block("Patient/1", &["Coverage/1", "RelatedPerson/1"]),
            block("Patient/2", &["Coverage/2"]),
            block("Patient/3", &["Coverage/3"]),
        ]
        .into();
        assert_eq!(exported.blocks, expected);
        assert_eq!(exported.manifest["outputOrganizedBy"], "Patient");
    })
    .await;
}

#[tokio::test]
async fn every_member_is_accounted_for_in_the_manifest() {
    let lines = vec![
        group(&[
            member("Patient/1", "Coverage/1", "Organization/clinic"),
            member("Patient/1", "Coverage/1", "Organization/gone"),
            member("Patient/gone", "Coverage/gone", "Organization/gone"),
            member("Patient/2", "Coverage/1", "Organization/clinic"),
            r#"{"inactive":true,"entity":{"identifier":{"value":"7"}}}"#.to_owned(),
        ]),
        r#"{"resourceType":"Patient","id":"1","active":true}"#.to_owned(),
        r#"{"resourceType":"Patient","id":"2","active":false}"#.to_owned(),
        coverage("1", r#""payor":[{"reference":"Organization/lost"}]"#),
        plain("Organization", "clinic"),
    ];
    with(&lines, |system| async move {
        let exported = system.export(&filtered(&["Patient?active=true"])).await;
        let account = exported.manifest["extension"]
            .as_object()
            .and_then(|extension| extension.iter().find(|(url, _)| url.ends_with("/export-members")))
            .map(|(_, account)| account.clone())
            .expect("the manifest accounts for the members");
        let path = |tail: &str| {
            format!("Group.member.extension('http://hl7.org/fhir/us/davinci-atr/StructureDefinition/{tail}').value")
        };
        assert_eq!(
            account,
            json!({"entries": 5, "inactive": 1, "withoutPatient": 1, "patients": 3, "written": 1,
                "leftOut": {"_typeFilter": 1}, "missing": 1, "unreadable": 0,
                "missingReferences": {
                    "Group.member.entity": 2, "Coverage.payor": 1,
                    path("ext-coverageReference"): 1, path("ext-attributedProvider"): 1}})
        );
    })
    .await;
}

#[tokio::test]
async fn the_account_of_a_small_list_leaves_nobody_out() {
    with(&small_list(), |system| async move {
        let exported = system.export("/Group/g/$davinci-data-export").await;
        let extension = exported.manifest["extension"].as_object().expect("there is one").clone();
        let (url, account) = extension.iter().next().expect("it has an account");
        assert!(url.starts_with("https://export.example.org/payer/fhir/"), "{url}");
        assert_eq!((&account["entries"], &account["patients"], &account["written"]), (&json!(2), &json!(2), &json!(2)));
    })
    .await;
}

#[tokio::test]
async fn a_block_holds_of_an_unchanged_family_only_what_hangs_on_a_change() {
    let insured = |id: &str, person: &str| {
        coverage(
            id,
            &format!(
                r#""beneficiary":{{"reference":"Patient/1"}},"subscriber":{{"reference":"RelatedPerson/{person}"}}"#
            ),
        )
    };
    let person =
        |id: &str| format!(r#"{{"resourceType":"RelatedPerson","id":"{id}","patient":{{"reference":"Patient/1"}}}}"#);
    let lines = vec![
        group(&[
            member("Patient/1", "Coverage/1", "Organization/clinic"),
            member("Patient/1", "Coverage/2", "Organization/clinic"),
        ]),
        patient("1"),
        insured("1", "old"),
        insured("2", "2"),
        person("1"),
        person("2"),
        person("old"),
        plain("Organization", "clinic"),
    ];
    with(&lines, |system| async move {
        let first = system.export("/Group/g/$export").await;
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant").to_owned();
        system.load(&[insured("1", "1")]).await;
        let by_type = system.export(&format!("/Group/g/$export?_since={since}")).await;
        let by_patient = system.export(&format!("/Group/g/$export?_since={since}&organizeOutputBy=Patient")).await;
        assert_eq!(by_type.keys(), ["Coverage/1", "RelatedPerson/1"]);
        assert_eq!(by_patient.reached.lines, by_type.reached.lines);
        let block = ["Coverage/1", "RelatedPerson/1"].map(str::to_owned).to_vec();
        assert_eq!(by_patient.blocks, BTreeMap::from([("Patient/1".to_owned(), block)]));
    })
    .await;
}
