//! The house keeps its order: which rooms may know of which (design §2).

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The Rust files of a room, which is a file, a folder, or both (`jobs` is `jobs.rs` and `jobs/`).
pub fn files(room: &Path) -> Vec<PathBuf> {
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
