//! The alerts: their rules are sound, each is tried both ways, and each has its section in the operator's book.

use std::collections::BTreeSet;
use std::fs;

use super::exposed::exposed;
use super::promql::asked;
use super::promtool::promtool;
use super::rules::{folder, rule_tests, rules, test_files};
use crate::house::workspace;

#[test]
fn promtool_takes_the_rules() {
    promtool(&["check", "rules", "rules.yaml"], &folder(), "").unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn alerts_fire_when_they_should_and_are_silent_when_they_should_be() {
    for file in test_files() {
        let file = file.canonicalize().expect("it was listed just now");
        promtool(&["test", "rules", &file.to_string_lossy()], &folder(), "").unwrap_or_else(|said| panic!("{said}"));
    }
}

#[test]
fn each_alert_fires_in_one_test_and_is_silent_all_through_another() {
    let tests = rule_tests();
    for alert in rules().into_iter().filter_map(|rule| rule.alert) {
        let (mut fires, mut is_silent) = (false, false);
        for test in &tests {
            let looks: Vec<_> = test.alert_rule_test.iter().filter(|look| look.alert == alert).collect();
            fires |= looks.iter().any(|look| !look.firing.is_empty());
            is_silent |= !looks.is_empty() && looks.iter().all(|look| look.firing.is_empty());
        }
        assert!(fires, "{alert}: add a test to deploy/prometheus/tests in which it fires");
        assert!(is_silent, "{alert}: add a test to deploy/prometheus/tests in which it might fire and does not");
    }
}

#[test]
fn each_alert_says_what_it_is_about_who_is_told_and_where_to_read_on() {
    for rule in rules() {
        let Some(alert) = rule.alert else { continue };
        assert!(["page", "ticket"].contains(&rule.labels.severity.as_str()), "{alert}: its severity is page or ticket");
        assert!(!rule.annotations.summary.is_empty(), "{alert}: its summary is what a pager shows");
        assert!(rule.annotations.description.ends_with('.'), "{alert}: its description is a sentence");
        assert_eq!(rule.annotations.runbook_url, format!("docs/OPERATIONS.md#{}", anchor(&alert)), "{alert}");
    }
}

#[test]
fn each_alert_has_a_section_in_the_operators_book_and_each_section_an_alert() {
    let page = fs::read_to_string(workspace().join("docs/OPERATIONS.md")).expect("it is there");
    let (_, part) = page.split_once("\n## Alerts\n").expect("the page has a part about alerts");
    let part = part.split("\n## ").next().unwrap_or_default();
    let sections: BTreeSet<String> = part.lines().filter_map(|line| line.strip_prefix("### ")).map(anchor).collect();
    let alerts: BTreeSet<String> =
        rules().into_iter().filter_map(|rule| rule.alert).map(|alert| anchor(&alert)).collect();
    assert_eq!(sections, alerts, "the sections of `## Alerts` are on the left, the alerts on the right");
    // GitHub gives the second of two headings another anchor.
    let headings =
        page.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches(['#', ' '])));
    let mut seen = BTreeSet::new();
    let twice: Vec<String> = headings.filter(|heading| !seen.insert(heading.clone())).collect();
    assert!(twice.is_empty(), "these headings are there twice: {twice:?}");
}

/// What is told of one system must not hang on another.
#[test]
fn each_rule_keeps_namespaces_apart() {
    for rule in rules() {
        let name = rule.alert.or(rule.record).expect("a rule has a name");
        let mixing = asked(&rule.expr).mixing;
        assert!(mixing.is_empty(), "{name}: write `by (namespace, …)` at {mixing:?}");
    }
}

#[tokio::test]
async fn rules_and_their_tests_ask_for_nothing_but_what_is_exposed() {
    let exposed = exposed().await;
    let queries = rules().into_iter().map(|rule| rule.expr);
    let series = rule_tests().into_iter().flat_map(|test| test.input_series).map(|series| series.series);
    let misses: BTreeSet<String> = queries.chain(series).flat_map(|query| exposed.misses(&query)).collect();
    assert!(misses.is_empty(), "{misses:#?}");
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn an_anchor_is_a_heading_in_small_letters_with_dashes() {
    assert_eq!(anchor("What goes, and when"), "what-goes-and-when");
    assert_eq!(anchor("AtrNoApi"), "atrnoapi");
}
