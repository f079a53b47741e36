//! `_since`: what changed, who joined, and what hangs on them.

use super::{coverage, group, member, patient, plain};
use crate::harness::system::with;

fn world() -> Vec<String> {
    vec![
        group(&[member("Patient/1", "Coverage/1", "Organization/clinic")]),
        patient("1"),
        patient("2"),
        coverage("1", r#""payor":[{"reference":"Organization/payer"}]"#),
        coverage(
            "2",
            r#""payor":[{"reference":"Organization/payer"},{"reference":"Organization/second"}],"subscriber":{"reference":"RelatedPerson/2"}"#,
        ),
        plain("Organization", "payer"),
        plain("Organization", "second"),
        plain("Organization", "clinic"),
        plain("RelatedPerson", "2"),
    ]
}

#[tokio::test]
async fn nothing_is_written_when_nothing_has_changed() {
    with(&world(), |system| async move {
        let first = system.export("/Group/g/$export").await;
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant");
        let second = system.export(&format!("/Group/g/$export?_since={since}")).await;
        assert_eq!(second.manifest["output"], serde_json::json!([]));
    })
    .await;
}

#[tokio::test]
async fn what_changed_is_written_and_the_rest_is_not() {
    with(&world(), |system| async move {
        let first = system.export("/Group/g/$export").await;
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant");
        system.load(&[r#"{"resourceType":"Organization","id":"payer","name":"new"}"#.to_owned(), patient("1")]).await;
        let second = system.export(&format!("/Group/g/$export?_since={since}")).await;
        assert_eq!(
            second.reached.lines.keys().collect::<Vec<_>>(),
            ["Organization/payer"],
            "an unchanged load is no change"
        );
    })
    .await;
}

#[tokio::test]
async fn who_joined_comes_in_full_with_all_that_hangs_on_them() {
    with(&world(), |system| async move {
        let first = system.export("/Group/g/$export").await;
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant");
        system
            .load(&[group(&[
                member("Patient/1", "Coverage/1", "Organization/clinic"),
                member("Patient/2", "Coverage/2", "Organization/clinic"),
            ])])
            .await;
        let second = system.export(&format!("/Group/g/$export?_since={since}")).await;
        assert_eq!(
            second.reached.lines.keys().collect::<Vec<_>>(),
            ["Coverage/2", "Group/g", "Organization/payer", "Organization/second", "Patient/2", "RelatedPerson/2"]
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_gone_and_still_referred_to_is_told_once_whoever_named_it() {
    let mut world = world();
    world[3] =
        coverage("1", r#""subscriber":{"reference":"Patient/2"},"policyHolder":{"reference":"RelatedPerson/2"}"#);
    with(&world, |system| async move {
        let first = system.export("/Group/g/$export").await;
        assert!(first.keys().contains(&"Patient/2") && first.keys().contains(&"RelatedPerson/2"));
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant");
        // No member, nobody's relative that the list knows, a member, and a provider of the list.
        let gone = ["Organization/clinic", "Patient/1", "Patient/2", "RelatedPerson/2"];
        for gone in gone {
            system.unload(gone).await;
        }
        let second = system.export(&format!("/Group/g/$export?_since={since}")).await;
        assert_eq!(second.deleted.iter().collect::<Vec<_>>(), gone);
        let people = system.export(&format!("/Group/g/$export?_since={since}&_type=RelatedPerson")).await;
        assert_eq!(people.deleted.iter().collect::<Vec<_>>(), ["RelatedPerson/2"]);
        let since = second.manifest["transactionTime"].as_str().expect("it is an instant");
        let third = system.export(&format!("/Group/g/$export?_since={since}")).await;
        assert_eq!(third.deleted.len(), 0, "it is missing still, and was not deleted since");
    })
    .await;
}

#[tokio::test]
async fn what_changes_between_kick_off_and_plan_is_in_the_files() {
    with(&world(), |system| async move {
        system.stop_workers().await;
        let polling = system.kick_off("/Group/g/$export").await;
        system.load(&[r#"{"resourceType":"Patient","id":"1","active":false}"#.to_owned()]).await;
        system.start_worker().await;
        let exported = system.exported(&polling).await;
        assert!(exported.reached.lines["Patient/1"].contains("false"), "the time is fixed when the job is planned");
    })
    .await;
}
