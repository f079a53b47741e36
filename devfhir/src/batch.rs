//! Batches of reads.

use serde::Deserialize;

use crate::answer::{Answer, Content, outcome};
use crate::bundle::{Bundle, Entry, response};
use crate::store::Store;

/// Answers a Bundle of reads `Type/id`, each in its place. What is no read is refused in its place.
pub fn answer(body: &[u8], store: &Store) -> Answer {
    let Ok(Asked { kind, entry }) = serde_json::from_slice::<Asked>(body) else {
        return Answer::refusal(400, "invalid", "failed to read the body as a Bundle");
    };
    if kind != "batch" {
        return Answer::refusal(400, "not-supported", "only a batch is answered");
    }
    let entries = entry.iter().map(|entry| one(&entry.request, store)).collect();
    let kind = "batch-response";
    Answer::of(Content::Bundle(Box::new(Bundle { kind, told: None, total: None, own: None, next: None, entries })))
}

fn one(request: &Request, store: &Store) -> Entry {
    let parts = request.url.split_once('/').filter(|(kind, id)| !kind.is_empty() && !id.contains(['/', '?']));
    let Some((kind, id)) = parts.filter(|_| request.method == "GET") else {
        return refused("400 Bad Request", "not-supported", "only reads are answered in a batch");
    };
    let Some(record) = store.record(kind, id) else {
        return refused("404 Not Found", "not-found", "there never was such a resource");
    };
    let version = record.newest();
    let Some(text) = version.text() else {
        return refused("410 Gone", "deleted", "the resource is deleted");
    };
    let about = format!(r#""response":{}"#, response("200 OK", Some(version)));
    Entry { full_url: None, resource: Some(text.clone()), about }
}

fn refused(status: &str, code: &str, words: &str) -> Entry {
    let outcome = outcome("error", code, words);
    let about = format!(r#""response":{{"status":"{status}","outcome":{outcome}}}"#);
    Entry { full_url: None, resource: None, about }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    entry: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    url: String,
}
