//! What a client has when an export is complete: the manifest, and what the files say.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::errors;
use crate::oracle::{Reached, key_of, type_of};

/// A finished export: its manifest and what the files say.
pub struct Exported {
    /// The manifest.
    pub manifest: Value,
    /// All lines of all files.
    pub reached: Reached,
    /// How many lines the manifest says each type has.
    pub counts: BTreeMap<String, u64>,
    /// The `Type/id` of what the files of deletions delete.
    pub deleted: BTreeSet<String>,
    /// The resources in the blocks of files that are organized by patient, by patient.
    pub blocks: BTreeMap<String, Vec<String>>,
    /// What the error files say, each line.
    pub issues: Vec<Value>,
}

impl Exported {
    /// Reads all files that a manifest names. Panics when one of them is not what the manifest says.
    pub async fn read(manifest: Value, download: impl AsyncFn(&Value) -> Response) -> Self {
        let mut exported = Self {
            reached: Reached::default(),
            counts: BTreeMap::new(),
            deleted: BTreeSet::new(),
            blocks: BTreeMap::new(),
            issues: Vec::new(),
            manifest,
        };
        for array in ["output", "deleted", "error"] {
            for item in exported.manifest[array].as_array().expect("the arrays are always there").clone() {
                exported.add(array, &item, download(&item).await).await;
            }
        }
        exported
    }

    /// The `Type/id` of all resources in `output`.
    pub fn keys(&self) -> Vec<&str> {
        self.reached.lines.keys().map(String::as_str).collect()
    }

    /// Reads a file that an item of the manifest names.
    async fn add(&mut self, array: &str, item: &Value, response: Response) {
        assert_eq!(response.status(), StatusCode::OK, "a link works as it is");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/fhir+ndjson");
        let text = text_of(response).await;
        assert_eq!(Some(text.lines().count() as u64), item["count"].as_u64(), "count is the number of lines");
        assert!(text.ends_with('\n') && !text.contains("\n\n"), "NDJSON has a line for each resource and no other");
        match array {
            "error" => return self.add_errors(&text),
            "deleted" => return self.add_deletions(&text),
            _ => {}
        }
        let Some(resource_type) = item["type"].as_str() else { return self.add_blocks(&text) };
        *self.counts.entry(resource_type.to_owned()).or_default() += text.lines().count() as u64;
        for line in text.lines() {
            let key = key_of(line);
            assert_eq!(type_of(&key), resource_type, "a file holds one type");
            assert!(self.reached.lines.insert(key.clone(), line.to_owned()).is_none(), "{key} stands twice");
        }
    }

    fn add_errors(&mut self, text: &str) {
        for line in text.lines() {
            errors::read(line, &mut self.reached).expect("error lines can be read");
            self.issues.push(serde_json::from_str(line).expect("they are JSON"));
        }
    }

    fn add_deletions(&mut self, text: &str) {
        for line in text.lines() {
            let bundle: Value = serde_json::from_str(line).expect("a line is JSON");
            assert_eq!((&bundle["resourceType"], &bundle["type"]), (&json!("Bundle"), &json!("transaction")));
            for entry in bundle["entry"].as_array().expect("a transaction has entries") {
                assert_eq!(entry["request"]["method"], "DELETE");
                let url = entry["request"]["url"].as_str().expect("a request has a url").to_owned();
                assert!(self.deleted.insert(url), "a deletion is told once");
            }
        }
    }

    fn add_blocks(&mut self, text: &str) {
        let mut block = None;
        for line in text.lines() {
            let json: Value = serde_json::from_str(line).expect("a line is JSON");
            if json["resourceType"] == "Parameters" {
                let patient =
                    json["parameter"][0]["valueReference"]["reference"].as_str().expect("a header names its patient");
                assert!(self.blocks.insert(patient.to_owned(), Vec::new()).is_none(), "a patient has one block");
                block = Some(patient.to_owned());
                continue;
            }
            let key = key_of(line);
            let patient = block.as_ref().expect("a file of blocks begins with a header");
            self.blocks.entry(patient.clone()).or_default().push(key.clone());
            assert!(self.reached.lines.insert(key.clone(), line.to_owned()).is_none(), "{key} stands twice");
        }
    }
}

/// The text of a file, which may be compressed.
async fn text_of(response: Response) -> String {
    let is_compressed = response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let stored = response.bytes().await.expect("the store answers");
    let mut text = String::new();
    let read = if is_compressed {
        GzDecoder::new(&stored[..]).read_to_string(&mut text)
    } else {
        (&stored[..]).read_to_string(&mut text)
    };
    read.expect("a file is text");
    text
}
