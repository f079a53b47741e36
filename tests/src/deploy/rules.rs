//! The rules and their tests, as their files have them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::house::workspace;

/// A rule that records a series, or one that raises an alert.
#[derive(Debug, Deserialize)]
pub struct Rule {
    /// The series.
    pub record: Option<String>,
    /// The alert.
    pub alert: Option<String>,
    /// The query.
    pub expr: String,
    /// Labels of the alert.
    #[serde(default)]
    pub labels: Labels,
    /// What is said of the alert.
    #[serde(default)]
    pub annotations: Annotations,
}

/// Labels of an alert.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Who is told, and when.
    pub severity: String,
}

/// What is said of an alert.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotations {
    /// In a line.
    pub summary: String,
    /// In a sentence or two.
    pub description: String,
    /// What to do about it.
    pub runbook_url: String,
}

/// A test of rules: series, and what comes of them.
#[derive(Debug, Deserialize)]
pub struct RuleTest {
    /// The series.
    pub input_series: Vec<Series>,
    /// The alerts at certain times.
    pub alert_rule_test: Vec<Expected>,
}

/// A series of a test.
#[derive(Debug, Deserialize)]
pub struct Series {
    /// Its name and labels.
    pub series: String,
}

/// What is expected of an alert at a time.
#[derive(Debug, Deserialize)]
pub struct Expected {
    /// Its name.
    #[serde(rename = "alertname")]
    pub alert: String,
    /// Each time that it fires then.
    #[serde(rename = "exp_alerts")]
    pub firing: Vec<serde_json::Value>,
}

/// The folder of both.
pub fn folder() -> PathBuf {
    workspace().join("deploy/prometheus")
}

/// All rules.
pub fn rules() -> Vec<Rule> {
    #[derive(Deserialize)]
    struct File {
        groups: Vec<Group>,
    }
    #[derive(Deserialize)]
    struct Group {
        rules: Vec<Rule>,
    }
    let file: File = read(&folder().join("rules.yaml"));
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// The files of tests.
pub fn test_files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join("tests")).expect("it is there");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    assert!(!files.is_empty(), "there are tests of the rules");
    files
}

/// All tests.
pub fn rule_tests() -> Vec<RuleTest> {
    #[derive(Deserialize)]
    struct File {
        tests: Vec<RuleTest>,
    }
    test_files().iter().flat_map(|path| read::<File>(path).tests).collect()
}

fn read<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).expect("it is there");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
