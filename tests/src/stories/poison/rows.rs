//! Rows of the source that are not JSON, or not what they say: written past the loader, or before PostgreSQL refused them.

use std::collections::BTreeSet;

use serde_json::json;
use shared::settings::Settings;

use super::{account, sql, told};
use crate::harness::exported::Exported;
use crate::harness::system::{System, with, with_settings};
use crate::stories::{coverage, group, member, patient, plain, small_list};

/// The ids of the Patients and Coverages of the list; that of `good` stays as it is.
const IDS: [&str; 8] = ["good", "word", "cut", "broken", "pretty", "empty", "other", "array"];

/// What somebody has made of their Patients and Coverages.
const BODIES: [(&str, &str); 7] = [
    ("word", "not json"),
    ("cut", r#"{"resourceType":"TYPE","id":"cut","active":true,"meta":{"versionId":"1"#),
    ("broken", "{\"resourceType\":\"TYPE\",\"id\":\"broken\",\"language\":\"a\nb\"}"),
    ("pretty", "{\n  \"resourceType\": \"TYPE\",\n  \"id\": \"pretty\",\n  \"language\": \"a b\"\r\n}\n"),
    ("empty", ""),
    ("other", r#"{"resourceType":"TYPE","id":"good"}"#),
    ("array", r#"["TYPE"]"#),
];

/// What of that cannot be exported.
const BAD: [&str; 6] = ["array", "broken", "cut", "empty", "other", "word"];

fn lines() -> Vec<String> {
    let member = |id: &&str| member(&format!("Patient/{id}"), &format!("Coverage/{id}"), "Organization/payer");
    let fields = |id: &str| {
        format!(r#""beneficiary":{{"reference":"Patient/{id}"}},"payor":[{{"reference":"Organization/beyond"}}]"#)
    };
    let mut lines = vec![group(&IDS.iter().map(member).collect::<Vec<_>>())];
    lines.extend(IDS.iter().map(|id| patient(id)));
    lines.extend(IDS.iter().map(|id| coverage(id, &fields(id))));
    lines.extend([plain("Organization", "payer"), plain("Organization", "beyond")]);
    lines
}

/// Writes past the loader, as was possible before migration 0005.
async fn spoil(system: &System) {
    let mut statements = "ALTER TABLE resource DROP CONSTRAINT resource_is_json;".to_owned();
    for resource_type in ["Patient", "Coverage"] {
        for (id, body) in BODIES {
            let body = body.replace("TYPE", resource_type);
            let key = format!("resource_type = '{resource_type}' AND id = '{id}'");
            statements += ["UPDATE resource SET body = $x$", &body, "$x$ WHERE ", &key, ";"].concat().as_str();
        }
    }
    statements += "UPDATE resource SET body = '{' WHERE resource_type = 'Organization' AND id = 'beyond';";
    sql(system, &statements).await.expect("the tables are there");
}

fn small(settings: &mut Settings) {
    settings.slice_ids = 3;
    settings.page_ids = 2;
}

/// Each of these is told once, and nothing else.
fn assert_told(exported: &Exported, expected: &[String], what: &str) {
    let told: Vec<&str> = told(exported);
    let named: BTreeSet<&str> = told.iter().filter_map(|text| text.split(' ').nth(1)).collect();
    assert_eq!(named, expected.iter().map(String::as_str).collect::<BTreeSet<_>>(), "{what}");
    assert_eq!(told.len(), expected.len(), "{what}: each once: {told:?}");
    assert!(told.iter().all(|text| text.contains("cannot be exported: ") && !text.contains("language")), "{told:?}");
}

fn bad(types: &[&str]) -> Vec<String> {
    types.iter().flat_map(|of_type| BAD.map(|id| format!("{of_type}/{id}"))).collect()
}

#[tokio::test]
async fn a_bad_row_is_told_of_and_spoils_neither_its_file_nor_its_job() {
    with_settings(&lines(), small, |system| async move {
        spoil(&system).await;
        for query in ["", "?organizeOutputBy=Patient", "?_elements=id", "?_typeFilter=Patient%3F_id%3Dgood%2Cpretty"] {
            let exported = system.export(&format!("/Group/g/$export{query}")).await;
            let mut expected = bad(&["Patient", "Coverage"]);
            expected.push("Organization/beyond".to_owned());
            assert_told(&exported, &expected, query);
            let keys = exported.keys();
            let sound =
                ["Coverage/good", "Coverage/pretty", "Group/g", "Organization/payer", "Patient/good", "Patient/pretty"];
            assert_eq!(keys, sound, "{query}");
            let members = account(&exported);
            assert_eq!(
                (&members["patients"], &members["written"], &members["unreadable"], &members["missing"]),
                (&json!(8), &json!(2), &json!(6), &json!(0)),
                "{query}"
            );
        }
        let exported = system.export("/Group/g/$export").await;
        let pretty = r#"{"resourceType":"Patient","id":"pretty","language":"a b"}"#;
        assert_eq!(exported.reached.lines["Patient/pretty"], pretty, "it is put on one line");
        assert_eq!(exported.reached.lines["Patient/good"], patient("good"), "and the others are as they were written");
    })
    .await;
}

#[tokio::test]
async fn a_bad_row_is_told_of_at_every_level() {
    with_settings(&lines(), small, |system| async move {
        spoil(&system).await;
        let mut everything = bad(&["Patient", "Coverage"]);
        everything.push("Organization/beyond".to_owned());
        for level in ["/$export", "/Patient/$export"] {
            let exported = system.export(level).await;
            assert_told(&exported, &everything, level);
            assert!(exported.keys().contains(&"Patient/pretty"), "{level}");
        }
        let chosen = ["good", "word"]
            .map(|id| json!({"name": "patient", "valueReference": {"reference": format!("Patient/{id}")}}));
        let exported = system.export_by("/Group/g/$export", &chosen).await;
        let of_list = ["Patient/word", "Coverage/word", "Organization/beyond"].map(str::to_owned);
        assert_told(&exported, &of_list, "patients of a list");
        // A Coverage that cannot be read may be anybody's, so not even its id is told.
        let exported = system.export_by("/Patient/$export", &chosen).await;
        assert_told(&exported, &["Patient/word", "Organization/beyond"].map(str::to_owned), "patients");
        assert!(exported.keys().contains(&"Coverage/good"));
    })
    .await;
}

#[tokio::test]
async fn a_bad_member_is_left_out_of_the_group_and_told_of() {
    with(&small_list(), |system| async move {
        let entity = |id: &str| format!("{{\n\"entity\" : {{\"reference\":\"Patient/{id}\"}}}}");
        let statements = format!(
            "ALTER TABLE attribution_member DROP CONSTRAINT member_is_json;
            UPDATE attribution_member SET body = $x$secret {{$x$ WHERE ordinal = 0;
            UPDATE attribution_member SET body = $x${}$x$ WHERE ordinal = 1;",
            entity("2")
        );
        sql(&system, &statements).await.expect("the tables are there");
        let one_line = r#""member":[{"entity":{"reference":"Patient/2"}}]"#;
        for path in ["/Group/g/$export", "/$export?_type=Group"] {
            let exported = system.export(path).await;
            let told = told(&exported);
            assert!(told.len() == 1 && told[0].contains("member[0] cannot be read"), "{told:?}");
            assert!(!told[0].contains("secret"), "{told:?}");
            assert!(exported.reached.lines["Group/g"].contains(one_line), "{path}");
        }
        let members = system.export("/Group/g/$export").await;
        assert_eq!((&account(&members)["entries"], &account(&members)["withoutPatient"]), (&json!(2), &json!(1)));
        let chosen =
            ["1", "2"].map(|id| json!({"name": "patient", "valueReference": {"reference": format!("Patient/{id}")}}));
        let exported = system.export_by("/Group/g/$export", &chosen).await;
        assert!(exported.reached.lines["Group/g"].contains(one_line));
        assert!(told(&exported).iter().any(|text| text.contains("member cannot be read")));
    })
    .await;
}

#[tokio::test]
async fn a_group_that_is_no_json_is_told_of_and_its_members_are_exported() {
    for (before, after) in [
        ("secret", "]}"),
        (r#"{"resourceType":"Group","id":"g""#, ""),
        (r#"{"resourceType":"Group","id":"g"}"#, ""),
        (r#"{"resourceType":"Group","id":"another","member":["#, "]}"),
        ("", ""),
    ] {
        with(&small_list(), |system| async move {
            let statements = format!(
                "ALTER TABLE attribution_list DROP CONSTRAINT list_is_json;
                UPDATE attribution_list SET before = $x${before}$x$, after = $x${after}$x$;"
            );
            sql(&system, &statements).await.expect("the tables are there");
            let chosen = [json!({"name": "patient", "valueReference": {"reference": "Patient/1"}})];
            for exported in
                [system.export("/Group/g/$export").await, system.export_by("/Group/g/$export", &chosen).await]
            {
                assert!(exported.keys().contains(&"Patient/1") && !exported.keys().contains(&"Group/g"), "{before}");
                assert_told(&exported, &["Group/g".to_owned()], before);
            }
            let exported = system.export("/$export").await;
            assert!(exported.keys().contains(&"Patient/1") && !exported.keys().contains(&"Group/g"), "{before}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_group_with_white_space_in_its_head_is_one_line() {
    with(&small_list(), |system| async move {
        let statements = "UPDATE attribution_list SET before = E'{\n\"resourceType\":\"Group\",\n\"id\":\"g\",\"member\":[', \
            after = E'\n],\"actual\":true\n}\n'";
        sql(&system, statements).await.expect("it is JSON");
        let exported = system.export("/Group/g/$export").await;
        let line = &exported.reached.lines["Group/g"];
        assert!(line.starts_with(r#"{"resourceType":"Group","id":"g","member":[{"#) && line.ends_with(r#"}],"actual":true}"#), "{line}");
        assert_eq!(exported.issues.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_no_json_is_refused_when_it_is_written_and_a_bad_row_can_be_mended() {
    with(&small_list(), |system| async move {
        for statement in [
            "UPDATE resource SET body = 'not json' WHERE id = '1'",
            r#"UPDATE resource SET body = '{"resourceType":"Patient","id":"1","active":tru}' WHERE id = '1'"#,
            "UPDATE resource SET body = '[]' WHERE id = '1'",
            "UPDATE attribution_member SET body = '{'",
            "UPDATE attribution_list SET before = ''",
        ] {
            assert!(sql(&system, statement).await.is_err(), "{statement}");
        }
        // As before the migration: the row is there, and the constraint does not look back.
        let constraint = |table: &str, name: &str, spoil: &str| {
            format!(
                "DO $do$ DECLARE meaning text; BEGIN
                    SELECT pg_get_constraintdef(oid) INTO meaning FROM pg_constraint
                    WHERE conname = '{name}' AND conrelid = '{table}'::regclass;
                    ALTER TABLE {table} DROP CONSTRAINT {name};
                    {spoil};
                    EXECUTE 'ALTER TABLE {table} ADD CONSTRAINT {name} ' || meaning;
                END $do$;"
            )
        };
        let spoil = [
            constraint("resource", "resource_is_json", "UPDATE resource SET body = 'x' WHERE id = '1'"),
            constraint("attribution_member", "member_is_json", "UPDATE attribution_member SET body = 'x'"),
            constraint("attribution_list", "list_is_json", "UPDATE attribution_list SET before = 'x'"),
        ];
        sql(&system, &spoil.concat()).await.expect("rows that are there stay");
        assert!(!told(&system.export("/Group/g/$export").await).is_empty());
        system.load(&small_list()).await;
        let exported = system.export("/Group/g/$export").await;
        assert_eq!(exported.reached, system.expected("g").await, "a load mends it");
        assert_eq!(exported.issues.len(), 0);
    })
    .await;
}
