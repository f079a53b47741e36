//! The levels of an export: the whole server, all patients, a list.

use reqwest::StatusCode;
use serde_json::json;
use shared::settings::Settings;

use super::{coverage, group, member, patient, plain, small_list};
use crate::harness::random::list;
use crate::harness::system::{issue, with, with_settings};
use crate::oracle::type_of;

const TYPES: [&str; 8] =
    ["Group", "Patient", "Coverage", "RelatedPerson", "Practitioner", "PractitionerRole", "Organization", "Location"];

#[tokio::test]
async fn the_system_level_exports_all_that_the_server_holds_of_the_eight_types() {
    let mut lines = list(3);
    lines.push(plain("Observation", "1"));
    let small = |settings: &mut Settings| {
        settings.slice_ids = 3;
        settings.page_ids = 2;
    };
    with_settings(&lines, small, |system| async move {
        let exported = system.export("/$export").await;
        let mut expected = system.loaded().await;
        expected.retain(|key, _| TYPES.contains(&type_of(key)));
        assert_eq!(exported.reached.lines, expected);
        assert_eq!(exported.manifest["error"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn the_patient_level_exports_all_patients_and_what_explains_them() {
    with(&small_list(), |system| async move {
        let exported = system.export("/Patient/$export").await;
        assert_eq!(exported.reached.lines, system.loaded().await);
        let some = system.export("/Patient/$export?_type=Patient,Location").await;
        assert_eq!(some.keys(), ["Location/1", "Patient/1", "Patient/2", "Patient/not-on-the-list"]);
    })
    .await;
}

#[tokio::test]
async fn every_level_takes_get_and_post() {
    with(&small_list(), |system| async move {
        for level in ["/$export", "/Patient/$export", "/Group/g/$export", "/Group/g/$davinci-data-export"] {
            let by_get = system.export(&format!("{level}?_type=Group,Patient,Coverage")).await;
            let types = [json!({"name": "_type", "valueString": "Group,Patient,Coverage"})];
            let by_post = system.export_by(level, &types).await;
            assert_eq!(by_get.reached, by_post.reached, "{level}");
            assert!(by_get.keys().contains(&"Patient/1"), "{level}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_without_resources_exports_nothing_with_success() {
    with(&[], |system| async move {
        let exported = system.export("/$export").await;
        assert_eq!((&exported.manifest["output"], &exported.manifest["error"]), (&json!([]), &json!([])));
    })
    .await;
}

/// Two families: 1 is insured by herself, 3 by 2, who is on the list as well; 4 is on no list.
fn families() -> Vec<String> {
    vec![
        group(&[
            member("Patient/1", "Coverage/1", "Organization/clinic"),
            member("Patient/2", "Coverage/2", "Practitioner/1"),
            member("Patient/3", "Coverage/3", "Organization/clinic"),
        ]),
        patient("1"),
        patient("2"),
        patient("3"),
        patient("4"),
        coverage(
            "1",
            r#""beneficiary":{"reference":"Patient/1"},"subscriber":{"reference":"RelatedPerson/1"},"payor":[{"reference":"Organization/payer"}]"#,
        ),
        coverage("2", r#""beneficiary":{"reference":"Patient/2"},"payor":[{"reference":"Organization/other"}]"#),
        coverage(
            "3",
            r#""beneficiary":{"reference":"Patient/3"},"subscriber":{"reference":"Patient/2"},"payor":[{"reference":"Organization/payer"}]"#,
        ),
        r#"{"resourceType":"RelatedPerson","id":"1","patient":{"reference":"Patient/1"}}"#.to_owned(),
        r#"{"resourceType":"RelatedPerson","id":"4","patient":{"reference":"Patient/4"}}"#.to_owned(),
        plain("Organization", "payer"),
        plain("Organization", "other"),
        plain("Organization", "clinic"),
        plain("Practitioner", "1"),
    ]
}

#[tokio::test]
async fn some_patients_of_a_list_come_with_a_group_of_just_them_and_nobody_elses_resources() {
    with(&families(), |system| async move {
        let patients = [
            json!({"name": "patient", "valueReference": {"reference": "Patient/1"}}),
            json!({"name": "patient", "valueReference": {"reference": "Patient/3"}}),
        ];
        let exported = system.export_by("/Group/g/$davinci-data-export", &patients).await;
        assert_eq!(
            exported.keys(),
            [
                "Coverage/1",
                "Coverage/3",
                "Group/g",
                "Organization/clinic",
                "Organization/payer",
                "Patient/1",
                "Patient/3",
                "RelatedPerson/1",
            ]
        );
        let group = &exported.reached.lines["Group/g"];
        assert!(group.contains("Patient/1") && group.contains("Patient/3") && !group.contains("Patient/2"), "{group}");
        assert!(group.contains("SUBSETTED"), "{group}");
    })
    .await;
}

#[tokio::test]
async fn some_patients_of_the_server_come_with_what_is_theirs_and_nothing_of_others() {
    with(&families(), |system| async move {
        let patients = [json!({"name": "patient", "valueReference": {"reference": "Patient/1"}})];
        let exported = system.export_by("/Patient/$export", &patients).await;
        assert_eq!(exported.keys(), ["Coverage/1", "Organization/payer", "Patient/1", "RelatedPerson/1"]);
        let types = json!({"name": "_type", "valueString": "Coverage"});
        let exported = system.export_by("/Patient/$export", &[patients[0].clone(), types]).await;
        assert_eq!(exported.keys(), ["Coverage/1"]);
    })
    .await;
}

#[tokio::test]
async fn made_up_patients_are_reported_and_not_fatal() {
    with(&families(), |system| async move {
        let patients = [
            json!({"name": "patient", "valueReference": {"reference": "Patient/1"}}),
            json!({"name": "patient", "valueReference": {"reference": "Patient/made-up"}}),
            json!({"name": "patient", "valueReference": {"reference": "Patient/4"}}),
        ];
        for (path, reported) in [("/Group/g/$davinci-data-export", 2), ("/Group/g/$export", 2), ("/Patient/$export", 1)]
        {
            let exported = system.export_by(path, &patients).await;
            assert!(exported.keys().contains(&"Patient/1") && !exported.keys().contains(&"Patient/2"), "{path}");
            assert_eq!(exported.issues.len(), reported, "{path}: {:?}", exported.issues);
        }
        let nobody = system.export_by("/Group/g/$export", &patients[1..2]).await;
        assert_eq!(nobody.keys(), ["Group/g"]);
        assert!(!nobody.reached.lines["Group/g"].contains("member"), "FHIR has no empty arrays");
    })
    .await;
}

#[tokio::test]
async fn patient_is_refused_at_system_level_and_in_the_query_of_export() {
    with(&families(), |system| async move {
        let patients = [json!({"name": "patient", "valueReference": {"reference": "Patient/1"}})];
        let refused = system.post("/$export", &patients).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert!(issue(refused).await.1.contains("patient"));
        let refused = system.get("/Group/g/$export?patient=Patient/1").await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        assert!(issue(refused).await.1.contains("POST"));
        let exported = system.export("/Group/g/$davinci-data-export?patient=Patient/1,Patient/2").await;
        assert!(exported.keys().contains(&"Patient/2") && !exported.keys().contains(&"Patient/3"));
    })
    .await;
}

#[tokio::test]
async fn what_a_chosen_member_names_beside_is_written_only_if_it_is_nobody_elses() {
    let url = "http://hl7.org/fhir/us/davinci-atr/StructureDefinition/atr-any-resource-extension";
    let beside = |target: &str| {
        format!(
            r#"{{"extension":[{{"url":"{url}","valueReference":{{"reference":"{target}"}}}}],"entity":{{"reference":"Patient/1"}}}}"#
        )
    };
    let members = ["Group/g", "Group/other", "Patient/2", "Observation/2", "Location/1"].map(beside);
    let mut list = group(&members);
    list.insert_str(
        list.len() - 1,
        r#","text":{"div":"Patient 2"},"contained":[{"resourceType":"Patient","id":"p2"}]"#,
    );
    let lines = vec![
        list,
        r#"{"resourceType":"Group","id":"other","member":[]}"#.to_owned(),
        patient("1"),
        patient("2"),
        r#"{"resourceType":"Observation","id":"2","subject":{"reference":"Patient/2"}}"#.to_owned(),
        plain("Location", "1"),
    ];
    with(&lines, |system| async move {
        let patients = [json!({"name": "patient", "valueReference": {"reference": "Patient/1"}})];
        let exported = system.export_by("/Group/g/$export", &patients).await;
        assert_eq!(exported.keys(), ["Group/g", "Location/1", "Patient/1"]);
        let group = &exported.reached.lines["Group/g"];
        assert!(!group.contains("contained") && !group.contains("div"), "{group}");
    })
    .await;
}

#[tokio::test]
async fn a_chosen_patient_who_has_not_changed_is_left_out_whatever_refers_to_them() {
    with(&families(), |system| async move {
        let first = system.export("/Group/g/$export").await;
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant").to_owned();
        system.load(&[coverage("1", r#""status":"active","beneficiary":{"reference":"Patient/1"},"payor":[{"reference":"Organization/payer"}]"#)]).await;
        let parameters = [
            json!({"name": "patient", "valueReference": {"reference": "Patient/1"}}),
            json!({"name": "_since", "valueInstant": since}),
        ];
        let exported = system.export_by("/Group/g/$export", &parameters).await;
        assert_eq!(exported.keys(), ["Coverage/1", "Organization/payer"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_of_chosen_patients_of_the_server_is_told() {
    let mut lines = families();
    lines.retain(|line| !line.contains(r#""RelatedPerson","id":"1""#));
    with(&lines, |system| async move {
        let patients = [json!({"name": "patient", "valueReference": {"reference": "Patient/1"}})];
        let exported = system.export_by("/Patient/$export", &patients).await;
        assert_eq!(exported.reached.missing.iter().collect::<Vec<_>>(), ["RelatedPerson/1"]);
    })
    .await;
}
