//! The house keeps its order: which rooms may know of which (design §2).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Rust files of a room, which is a file, a folder, or both (`jobs` is `jobs.rs` and `jobs/`).
fn files(room: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Some(room.with_extension("rs")).into_iter().filter(|file| file.is_file()).collect();
    let mut folders = vec![room.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry.expect("the workspace can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{} is not there", room.display());
    found
}

/// Fails when a line of code of a room names one of the others.
fn must_not_know(room: &str, others: &[&str]) {
    for file in files(&workspace().join(room)) {
        let text = fs::read_to_string(&file).expect("source files are text");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for other in others {
                assert!(!line.contains(other), "{}:{} knows of {other}", file.display(), number + 1);
            }
        }
    }
}

#[test]
fn the_vocabulary_knows_nothing_but_itself() {
    let rooms = [
        "crate::jobs",
        "crate::queue",
        "crate::outputs",
        "crate::source",
        "crate::access",
        "crate::platform",
        "crate::settings",
    ];
    let effects = ["tokio", "async ", "std::fs", "std::net", "SystemTime", "crate::clock"];
    must_not_know("shared/src/export", &[&rooms[..], &effects[..]].concat());
    must_not_know("shared/src/fhir", &[&rooms[..], &effects[..], &["crate::export"]].concat());
}

#[test]
fn a_port_knows_of_no_other_port() {
    let ports = ["jobs", "queue", "outputs", "source", "access"];
    for port in ports {
        let others: Vec<String> =
            ports.iter().filter(|other| **other != port).map(|other| format!("crate::{other}")).collect();
        let others: Vec<&str> =
            others.iter().map(String::as_str).chain(["crate::platform", "crate::settings"]).collect();
        must_not_know(&format!("shared/src/{port}"), &others);
    }
}

#[test]
fn the_services_never_see_each_other() {
    must_not_know("api-service/src", &["export_worker", "redis", "lapin", "postgres", "aws_sdk"]);
    must_not_know("export-worker/src", &["api_service", "redis", "lapin", "postgres", "aws_sdk"]);
}

#[test]
fn every_test_and_file_that_conformance_names_exists() {
    let page = fs::read_to_string(workspace().join("docs/CONFORMANCE.md")).expect("it is there");
    let rooms = ["shared/src", "api-service/src", "export-worker/src", "tests/src"];
    let tests: BTreeSet<String> =
        rooms.iter().flat_map(|room| files(&workspace().join(room))).flat_map(|file| tests(&file)).collect();
    let quoted = page.split('`').skip(1).step_by(2);
    let (mut named, mut wrong) = (0, Vec::new());
    for text in quoted {
        if text.contains("::") {
            named += 1;
            wrong.extend((!tests.contains(text)).then_some(text));
        } else if text.contains("/src/") || text.starts_with("docs/") || text.starts_with("tests/") {
            wrong.extend((!workspace().join(text).exists()).then_some(text));
        }
    }
    assert!(named > 60, "the page names its tests as `file::function`: {named}");
    assert!(wrong.is_empty(), "these are not there: {wrong:#?}");
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
