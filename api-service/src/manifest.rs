//! The manifest: computed from the job and its outputs at every poll, never stored (design §4.4). Pure.
//!
//! Beyond the standard (standards §1.5) it says two things in `extension`, an object whose keys are URLs below the base:
//!
//! - `[base]/StructureDefinition/export-file` at each file: `bytes` is the length of its text and `sha256` the digest of its
//!   text, as 64 hexadecimal digits. Of a file that is stored and sent compressed, `contentEncoding` is `gzip` and
//!   `storedBytes` the length of what is sent.
//! - `[base]/StructureDefinition/export-members` at the manifest of a list: what became of its members. `entries` are the
//!   elements of `Group.member`, `inactive` and `withoutPatient` (of this server) those among them. They lead to `patients`,
//!   each counted once: `written`, `leftOut` by the parameter that did it, or `missing`, so that `patients` is the sum of the
//!   three. `missingReferences` counts by path the references of exported resources that lead to nothing.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use shared::export::{Encoding, Job, Output, OutputKey, OutputKind, Tally};
use shared::fhir::ResourceType;

/// A file and the link to it.
pub struct Link {
    /// The file.
    pub output: Output,
    /// Where a client gets it.
    pub url: String,
}

/// What a manifest holds.
pub struct Contents {
    /// The files, in any order.
    pub links: Vec<Link>,
    /// Where the manifest goes on.
    pub next: Option<String>,
    /// What became of the members of the list.
    pub account: Option<Tally>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    transaction_time: String,
    request: &'a str,
    requires_access_token: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_organized_by: Option<ResourceType>,
    output: Vec<Item>,
    deleted: Vec<Item>,
    error: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<[Next; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<BTreeMap<String, Value>>,
}

#[derive(Serialize)]
struct Next {
    relation: &'static str,
    url: String,
}

#[derive(Serialize)]
struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<ResourceType>,
    url: String,
    count: u64,
    extension: BTreeMap<String, File>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    bytes: u64,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<Encoding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<u64>,
}

/// The manifest of a job as JSON (standards §1.5): all arrays are there, also when they are empty; files of one type stand
/// together, the types in the order of the ATR guide. `base` is the FHIR base without a slash at the end.
pub fn manifest(job: &Job, base: &str, contents: Contents, requires_access_token: bool) -> String {
    let Contents { mut links, next, account } = contents;
    let rank = |resource_type: ResourceType| {
        ResourceType::ATTRIBUTION
            .iter()
            .position(|listed| *listed == resource_type)
            .unwrap_or(ResourceType::ATTRIBUTION.len())
    };
    links.sort_by_key(|Link { output, .. }| (rank(output.key.resource_type), output.key.clone()));
    let file_key = format!("{base}/StructureDefinition/export-file");
    let (mut output, mut deleted, mut error) = (Vec::new(), Vec::new(), Vec::new());
    for link in links {
        let files = match link.output.kind {
            OutputKind::Output => &mut output,
            OutputKind::Deleted => &mut deleted,
            OutputKind::Error => &mut error,
        };
        files.push(item(link, job.request.delivery.encoding, &file_key));
    }
    let members_key = format!("{base}/StructureDefinition/export-members");
    let manifest = Manifest {
        transaction_time: job.transaction_time.unwrap_or(job.created_at).to_string(),
        request: &job.request.url,
        requires_access_token,
        output_organized_by: job.request.delivery.organized_by_patient.then_some(ResourceType::PATIENT),
        output,
        deleted,
        error,
        link: next.map(|url| [Next { relation: "next", url }]),
        extension: account.map(|account| [(members_key, members(&account))].into()),
    };
    serde_json::to_string(&manifest).expect("a manifest is made of strings and numbers")
}

fn item(Link { output, url }: Link, encoding: Encoding, key: &str) -> Item {
    let Output { key: OutputKey { resource_type, .. }, kind, lines, bytes, stored_bytes, sha256 } = output;
    // Files of several types have none (Bulk Data STU3, `organizeOutputBy`).
    let is_mixed = kind == OutputKind::Output && resource_type == ResourceType::BUNDLE;
    let is_encoded = encoding != Encoding::Identity;
    let file = File {
        bytes,
        sha256,
        content_encoding: is_encoded.then_some(encoding),
        stored_bytes: is_encoded.then_some(stored_bytes),
    };
    Item { r#type: (!is_mixed).then_some(resource_type), url, count: lines, extension: [(key.to_owned(), file)].into() }
}

fn members(account: &Tally) -> Value {
    json!({
        "entries": account.entries,
        "inactive": account.inactive,
        "withoutPatient": account.without_patient,
        "patients": account.patients,
        "written": account.written,
        "leftOut": account.left_out,
        "missing": account.missing,
        "unreadable": account.unreadable,
        "missingReferences": account.missing_references,
    })
}

#[cfg(test)]
mod tests;
