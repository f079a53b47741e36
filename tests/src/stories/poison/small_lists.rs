//! Lists of nobody and of one, and lists that name themselves and each other, in every operation and form.

use serde_json::{Value, json};

use super::{account, told};
use crate::harness::system::{PUBLIC_BASE, with};
use crate::stories::{coverage, member, patient, plain};

const FORMS: [&str; 6] = [
    "",
    "?organizeOutputBy=Patient",
    "?_outputEncoding=gzip",
    "?_elements=id",
    "?_type=Patient,Group,Coverage",
    "?organizeOutputBy=Patient&_outputEncoding=gzip",
];

fn list(id: &str, members: &[String], more: &str) -> String {
    format!(
        r#"{{"resourceType":"Group","id":"{id}","type":"person","actual":true{more},"member":[{}]}}"#,
        members.join(",")
    )
}

#[tokio::test]
async fn a_list_of_nobody_is_exported_alone_and_says_so_in_every_form() {
    let nobody = r#"{"resourceType":"Group","id":"none","type":"person","actual":true}"#.to_owned();
    with(&[list("g", &[], ""), nobody, patient("1")], |system| async move {
        for id in ["g", "none"] {
            for operation in ["$export", "$davinci-data-export"] {
                for form in FORMS {
                    let exported = system.export(&format!("/Group/{id}/{operation}{form}")).await;
                    assert_eq!(exported.keys(), [format!("Group/{id}")], "{operation}{form}");
                    assert_eq!(told(&exported).len(), 1, "{operation}{form}");
                    assert!(told(&exported)[0].contains("has no members"));
                    assert_eq!(
                        (&account(&exported)["entries"], &account(&exported)["patients"]),
                        (&json!(0), &json!(0))
                    );
                    let since = exported.manifest["transactionTime"].as_str().expect("it is an instant");
                    let mark = if form.is_empty() { '?' } else { '&' };
                    let again = system.export(&format!("/Group/{id}/{operation}{form}{mark}_since={since}")).await;
                    assert_eq!(again.manifest["output"], json!([]), "nothing has changed");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_of_one_is_exported_whole_in_every_form() {
    let lines = [
        list("g", &[member("Patient/1", "Coverage/1", "Organization/1")], ""),
        patient("1"),
        coverage("1", r#""beneficiary":{"reference":"Patient/1"}"#),
        plain("Organization", "1"),
    ];
    with(&lines, |system| async move {
        for operation in ["$export", "$davinci-data-export"] {
            for form in FORMS {
                let path = format!("/Group/g/{operation}{form}");
                let exported = system.export(&path).await;
                let mut expected = vec!["Coverage/1", "Group/g", "Organization/1", "Patient/1"];
                if form.starts_with("?_type") {
                    expected.retain(|key| *key != "Organization/1");
                }
                assert_eq!(exported.keys(), expected, "{path}");
                assert_eq!((exported.issues.len(), &account(&exported)["written"]), (0, &json!(1)), "{path}");
                let since = exported.manifest["transactionTime"].as_str().expect("it is an instant");
                let mark = if form.is_empty() { '?' } else { '&' };
                let again = system.export(&format!("{path}{mark}_since={since}")).await;
                assert_eq!(again.manifest["output"], json!([]), "nothing has changed");
            }
        }
        let first = system.export("/Group/g/$export").await;
        let since = first.manifest["transactionTime"].as_str().expect("it is an instant");
        system.load(&[list("g", &[], "")]).await;
        let exported = system.export(&format!("/Group/g/$export?_since={since}")).await;
        assert_eq!((exported.keys(), exported.deleted.len()), (vec!["Group/g"], 0), "the one has left");
    })
    .await;
}

/// `Group/g` names itself in every way there is, and `Group/other`, which names it.
#[tokio::test]
async fn lists_that_name_themselves_and_each_other_end_and_are_told_once() {
    let any = |target: &str| {
        let url = "http://hl7.org/fhir/us/davinci-atr/StructureDefinition/atr-any-resource-extension";
        format!(
            r#"{{"extension":[{{"url":"{url}","valueReference":{{"reference":"{target}"}}}}],"entity":{{"reference":"Patient/1"}}}}"#
        )
    };
    let own = format!("{PUBLIC_BASE}/Group/g");
    let members = |itself: &str, other: &str| {
        vec![
            member(itself, "Coverage/1", itself),
            any(itself),
            any(&own),
            any(other),
            member(other, "Coverage/1", other),
            member("Patient/1", "Coverage/1", "Organization/1"),
        ]
    };
    let managed = |by: &str| {
        format!(
            r#","managingEntity":{{"reference":"{by}"}},"characteristic":[{{"valueReference":{{"reference":"{by}"}}}}]"#
        )
    };
    let lines = [
        list("g", &members("Group/g", "Group/other"), &managed("Group/g")),
        list("other", &members("Group/other", "Group/g"), &managed("Group/g")),
        patient("1"),
        coverage(
            "1",
            r#""beneficiary":{"reference":"Patient/1"},"payor":[{"reference":"Group/g"},{"reference":"Group/other"}]"#,
        ),
        plain("Organization", "1"),
    ];
    with(&lines, |system| async move {
        for (list, other) in [("g", "other"), ("other", "g")] {
            for form in FORMS {
                let exported = system.export(&format!("/Group/{list}/$export{form}")).await;
                let group = format!("Group/{list}");
                let mut expected = vec!["Coverage/1", group.as_str(), "Organization/1", "Patient/1"];
                if form.starts_with("?_type") {
                    expected.retain(|key| *key != "Organization/1");
                }
                assert_eq!(exported.keys(), expected, "{form}");
                let told: Vec<&Value> = exported.issues.iter().map(|issue| &issue["issue"][0]["diagnostics"]).collect();
                assert!(!told.is_empty(), "the other list is told of");
                for text in &told {
                    let text = text.as_str().expect("it is text");
                    assert!(text.contains(&format!("Group/{other}: another Group is not exported")), "{text}");
                }
                let distinct: std::collections::BTreeSet<String> = told.iter().map(ToString::to_string).collect();
                assert_eq!(distinct.len(), told.len(), "each once: {told:?}");
                let account = account(&exported);
                assert_eq!(
                    (&account["entries"], &account["patients"], &account["written"]),
                    (&json!(6), &json!(1), &json!(1))
                );
            }
        }
        let chosen = [json!({"name": "patient", "valueReference": {"reference": "Patient/1"}})];
        let exported = system.export_by("/Group/g/$export", &chosen).await;
        assert_eq!(exported.keys(), ["Coverage/1", "Group/g", "Organization/1", "Patient/1"]);
        assert_eq!(system.export("/$export").await.reached.lines, system.loaded().await);
    })
    .await;
}
