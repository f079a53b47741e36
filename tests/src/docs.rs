//! The documentation is true: what it names is there.

pub mod fields;
mod tables;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::house::{files, workspace};

/// What stands between two backticks on a page of the documentation.
fn quoted(page: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join("docs").join(page)).expect("it is there");
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_test_and_file_that_conformance_names_exists() {
    let tests = all_tests();
    let (mut named, mut wrong) = (0, Vec::new());
    for text in quoted("CONFORMANCE.md") {
        if text.contains("::") {
            named += 1;
            wrong.extend((!tests.contains(&text)).then_some(text));
        } else if text.contains("/src/") || text.starts_with("docs/") || text.starts_with("tests/") {
            wrong.extend((!workspace().join(&text).exists()).then_some(text));
        }
    }
    assert!(named > 60, "the page names its tests as `file::function`: {named}");
    assert!(wrong.is_empty(), "these are not there: {wrong:#?}");
}

/// Tests are named as `file::function`, or as far as is needed to find them, with `…` for the rest.
#[test]
fn every_setting_metric_and_test_that_operations_names_exists() {
    let tests = all_tests();
    let source = |path: &str| fs::read_to_string(workspace().join("shared/src").join(path)).expect("it is there");
    let (settings, metrics) = (source("settings.rs"), source("metrics.rs"));
    let (mut named, mut wrong) = (0, Vec::new());
    for text in quoted("OPERATIONS.md") {
        let name = text.split(['{', '=']).next().unwrap_or_default();
        let is_there = if let Some(begin) = text.strip_suffix('…').filter(|text| text.contains("::")) {
            named += 1;
            tests.iter().any(|test| test.starts_with(begin))
        } else if text.contains("::") {
            tests.contains(&text)
        } else if name.starts_with("ATR_") {
            settings.contains(&format!("`{name}`"))
        } else if name.starts_with("atr_") {
            let name = name.strip_suffix("_count").unwrap_or(name);
            metrics.contains(&format!("\"{name}\""))
        } else {
            true
        };
        wrong.extend((!is_there).then_some(text));
    }
    assert!(named > 25, "the page names the tests that show what it says: {named}");
    assert!(wrong.is_empty(), "these are not there: {wrong:#?}");
}

#[test]
fn every_file_that_a_decision_names_exists() {
    let (mut named, mut wrong) = (0, Vec::new());
    for entry in fs::read_dir(workspace().join("docs/decisions")).expect("it is there") {
        let page = entry.expect("it can be read").file_name().into_string().expect("its name is text");
        for text in quoted(&format!("decisions/{page}")) {
            let rooms =
                ["tests/", "shared/", "api-service/", "export-worker/", "cli/", "bench/", "devstore/", "deploy/"];
            if rooms.iter().any(|room| text.starts_with(room)) && !text.contains(' ') {
                named += 1;
                wrong.extend((!workspace().join(&text).exists()).then(|| format!("{page}: {text}")));
            }
        }
    }
    assert!(named > 20, "decisions name the files that carry them out: {named}");
    assert!(wrong.is_empty(), "these are not there: {wrong:#?}");
}

fn all_tests() -> BTreeSet<String> {
    let rooms = ["shared/src", "api-service/src", "export-worker/src", "tests/src"];
    rooms.iter().flat_map(|room| files(&workspace().join(room))).flat_map(|file| tests(&file)).collect()
}

/// The tests in a file, as `file::function`.
fn tests(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("source files are text");
    // Tests that have outgrown their file are in `tests.rs` of the folder beside it.
    let named = if file.ends_with("tests.rs") { file.parent().expect("it is in a room") } else { file };
    let name = named.file_stem().and_then(|name| name.to_str()).expect("source files have names").to_owned();
    let mut lines = text.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if !line.starts_with("#[test]") && !line.starts_with("#[tokio::test") {
            continue;
        }
        let function = lines.find_map(|line| line.split_once("fn ").map(|(_, rest)| rest));
        let function = function.and_then(|rest| rest.split(['(', '<']).next()).expect("a test is a function");
        found.push(format!("{name}::{function}"));
    }
    found
}
