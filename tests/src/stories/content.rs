//! What stands in the files.

use std::collections::BTreeSet;

use super::{coverage, group, member, patient, plain, small_list};
use crate::harness::random::list;
use crate::harness::store::Store;
use crate::harness::system::{on_store, with, with_settings};

#[tokio::test]
async fn an_export_is_the_closure_of_its_list_as_it_was_loaded() {
    let lines = small_list();
    with(&lines, |system| async move {
        let exported = system.export("/Group/g/$davinci-data-export").await;
        let expected = system.expected("g").await;
        assert_eq!(exported.reached, expected);
        assert!(!exported.reached.lines.contains_key("Patient/not-on-the-list"));
        assert!(
            exported.reached.lines["Patient/1"].contains("1.10")
                && exported.reached.lines["Coverage/1"].contains("25.00")
        );
    })
    .await;
}

#[tokio::test]
async fn types_limit_what_is_written_and_never_what_is_walked() {
    let lines = small_list();
    with(&lines, |system| async move {
        let exported = system.export("/Group/g/$export?_type=Location,RelatedPerson").await;
        let expected = system.expected("g").await.only(&["Location", "RelatedPerson"]);
        assert_eq!(exported.reached, expected);
        assert_eq!(exported.counts.keys().collect::<Vec<_>>(), ["Location", "RelatedPerson"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_told_once_with_list_path_and_target() {
    let lines = vec![
        group(&[
            member("Patient/1", "Coverage/1", "Organization/gone"),
            member("Patient/gone", "Coverage/2", "Organization/gone"),
        ]),
        patient("1"),
        coverage("1", r#""payor":[{"reference":"Organization/lost"}]"#),
        coverage("2", r#""payor":[{"reference":"Organization/lost"}],"beneficiary":{"reference":"Patient/gone"}"#),
    ];
    with(&lines, |system| async move {
        let exported = system.export("/Group/g/$davinci-data-export").await;
        let expected = system.expected("g").await;
        assert_eq!(exported.reached, expected);
        assert_eq!(
            exported.reached.missing,
            BTreeSet::from(["Organization/gone", "Organization/lost", "Patient/gone"].map(str::to_owned))
        );
    })
    .await;
}

#[tokio::test]
async fn lists_of_every_kind_are_exported_whole_in_small_slices_by_two_workers() {
    for seed in 0..4 {
        let lines = list(seed);
        let small = |settings: &mut shared::settings::Settings| {
            settings.slice_ids = 3;
            settings.page_ids = 2;
            settings.window = 3;
        };
        with_settings(&lines, small, |system| async move {
            let exported = system.export("/Group/g/$export").await;
            assert_eq!(exported.reached, system.expected("g").await, "seed {seed}");
        })
        .await;
    }
}

#[tokio::test]
async fn the_same_files_come_from_an_independent_object_store() {
    let lines = list(7);
    let store = Store::seaweedfs().await.expect("SeaweedFS is there (tests/run)");
    on_store(
        store,
        &lines,
        |_| {},
        |system| async move {
            let exported = system.export("/Group/g/$export").await;
            assert_eq!(exported.reached, system.expected("g").await);
        },
    )
    .await;
}

#[tokio::test]
async fn a_list_without_members_is_exported_alone() {
    let lines = vec![r#"{"resourceType":"Group","id":"g","type":"person","actual":true}"#.to_owned(), patient("1")];
    with(&lines, |system| async move {
        let exported = system.export("/Group/g/$davinci-data-export").await;
        assert_eq!(exported.reached.lines.keys().collect::<Vec<_>>(), ["Group/g"]);
        assert_eq!(
            exported.reached.lines["Group/g"],
            r#"{"resourceType":"Group","id":"g","type":"person","actual":true}"#
        );
    })
    .await;
}

#[tokio::test]
async fn members_without_an_entity_are_reported_and_the_others_exported() {
    let lines = vec![
        group(&[
            "{}".to_owned(),
            r#"{"entity":{"display":"?"}}"#.to_owned(),
            r#"{"entity":{"reference":"Patient/1"}}"#.to_owned(),
        ]),
        patient("1"),
    ];
    with(&lines, |system| async move {
        let exported = system.export("/Group/g/$davinci-data-export").await;
        assert_eq!(exported.reached.lines.keys().collect::<Vec<_>>(), ["Group/g", "Patient/1"]);
        let error = exported.manifest["error"][0]["url"].as_str().expect("there is an error file");
        let text = reqwest::get(error).await.expect("the store answers").text().await.expect("it is text");
        assert!(
            text.contains("member[0] has no entity") && text.contains("neither a reference nor an identifier"),
            "{text}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_list_that_names_itself_is_exported_once() {
    let lines = vec![
        group(&[
            r#"{"entity":{"reference":"Group/g"}}"#.to_owned(),
            r#"{"entity":{"reference":"Group/other"}}"#.to_owned(),
        ]),
        plain("Group", "other"),
    ];
    with(&lines, |system| async move {
        let exported = system.export("/Group/g/$export").await;
        assert_eq!(exported.reached.lines.keys().collect::<Vec<_>>(), ["Group/g"]);
        assert_eq!(exported.manifest["error"][0]["count"], 1, "the other list is told of");
    })
    .await;
}

#[tokio::test]
async fn a_coverage_whose_references_cannot_be_read_is_written_and_reported() {
    let lines = vec![
        group(&[member("Patient/1", "Coverage/1", "Practitioner/1")]),
        patient("1"),
        coverage("1", r#""payor":"Organization/1""#),
        plain("Practitioner", "1"),
    ];
    with(&lines, |system| async move {
        let exported = system.export("/Group/g/$davinci-data-export").await;
        assert!(exported.reached.lines.contains_key("Coverage/1"));
        assert_eq!(exported.manifest["error"][0]["count"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_has_grown_large_is_followed_by_another() {
    let members: Vec<String> = (0..50).map(|n| format!(r#"{{"entity":{{"reference":"Patient/{n}"}}}}"#)).collect();
    let mut lines: Vec<String> = (0..50).map(|n| patient(&n.to_string())).collect();
    lines.push(group(&members));
    with_settings(
        &lines,
        |settings| settings.file_bytes = 1_000,
        |system| async move {
            let exported = system.export("/Group/g/$export").await;
            assert_eq!(exported.reached, system.expected("g").await);
            let files = exported.manifest["output"].as_array().expect("it is there").len();
            assert!(files > 4, "{files} files");
        },
    )
    .await;
}

#[tokio::test]
async fn a_url_of_this_server_names_its_resource_though_the_loader_did_not_know_it() {
    let url = crate::harness::system::PUBLIC_BASE;
    let lines = vec![
        group(&[member(
            &format!("{url}/Patient/1"),
            &format!("{url}/Coverage/1/_history/3"),
            &format!("{url}/Organization/gone"),
        )]),
        patient("1"),
        coverage("1", r#""subscriber":{"reference":"RelatedPerson/1"}"#),
        plain("RelatedPerson", "1"),
    ];
    with(&lines, |system| async move {
        let exported = system.export("/Group/g/$davinci-data-export").await;
        assert_eq!(exported.reached, system.expected("g").await);
        assert_eq!(exported.reached.lines.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn what_changes_after_the_plan_is_not_in_the_files() {
    let lines = small_list();
    with(&lines, |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export").await;
        let expected = system.expected("g").await;
        system.plan_by_hand(&polling).await;
        system
            .load(&[
                group(&[member("Patient/not-on-the-list", "Coverage/2", "Organization/clinic")]),
                r#"{"resourceType":"Patient","id":"1","active":false}"#.to_owned(),
                r#"{"resourceType":"Organization","id":"payer","name":"changed"}"#.to_owned(),
                coverage("1", r#""payor":[{"reference":"Organization/late"}]"#),
                plain("Organization", "late"),
            ])
            .await;
        for gone in ["Patient/2", "RelatedPerson/1", "Location/1"] {
            system.unload(gone).await;
        }
        system.start_worker().await;
        assert_eq!(system.exported(&polling).await.reached, expected);
    })
    .await;
}
