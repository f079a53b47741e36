//! Bundles: the answers to a search and to a question for the history of a resource (R4 `Bundle`). Pure.

pub mod paging;

use serde::Serialize;
use serde_json::value::RawValue;
use shared::fault::{Fault, FaultKind};
use shared::fhir::{Instant, ResourceKey};

/// A Bundle of type `searchset` or `history`.
#[derive(Debug, Serialize)]
pub struct Bundle {
    #[serde(rename = "resourceType")]
    resource_type: &'static str,
    r#type: &'static str,
    /// How many there are in all; left out when that would have to be counted first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    link: Vec<Link>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    entry: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Link {
    relation: &'static str,
    url: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    full_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<Search>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response>,
}

#[derive(Debug, Serialize)]
struct Search {
    mode: &'static str,
}

#[derive(Debug, Serialize)]
struct Request {
    method: &'static str,
    url: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    last_modified: String,
}

/// What happened to a resource.
#[derive(Debug)]
pub enum Change {
    /// It came to be, for the first time or again after a deletion: as this version, which is this JSON.
    Created {
        /// The version's number.
        version: u64,
        /// The resource.
        json: String,
    },
    /// It was changed: to this version, which is this JSON.
    Updated {
        /// The version's number.
        version: u64,
        /// The resource.
        json: String,
    },
    /// It was deleted.
    Deleted,
}

impl Bundle {
    /// The empty answer to a search that this URL repeats.
    pub fn searchset(itself: String) -> Self {
        Self::of("searchset", itself)
    }

    /// An empty history that this URL leads to.
    pub fn history(itself: String) -> Self {
        Self::of("history", itself)
    }

    fn of(kind: &'static str, itself: String) -> Self {
        let link = vec![Link { relation: "self", url: itself }];
        Self { resource_type: "Bundle", r#type: kind, total: None, link, entry: Vec::new() }
    }

    /// Says where the next page is.
    pub fn continue_at(&mut self, url: String) {
        self.link.push(Link { relation: "next", url });
    }

    /// Adds a resource that the search has found. Fails with `Corrupt` when it is not JSON.
    pub fn push_match(&mut self, full_url: String, json: String) -> Result<(), Fault> {
        let resource = Some(raw(json)?);
        let search = Some(Search { mode: "match" });
        self.entry.push(Entry { full_url, resource, search, request: None, response: None });
        Ok(())
    }

    /// Adds what happened to a resource at a time. Fails with `Corrupt` when it is not JSON.
    pub fn push_change(&mut self, base: &str, key: &ResourceKey, at: Instant, change: Change) -> Result<(), Fault> {
        let (method, status, etag, resource) = match change {
            Change::Created { version, json } => ("POST", "201 Created", Some(etag(version)), Some(raw(json)?)),
            Change::Updated { version, json } => ("PUT", "200 OK", Some(etag(version)), Some(raw(json)?)),
            Change::Deleted => ("DELETE", "204 No Content", None, None),
        };
        // A creation is sent to the type (R4 `Bundle.entry.request.url`).
        let sent_to = if method == "POST" { key.resource_type.to_string() } else { key.to_string() };
        let request = Some(Request { method, url: sent_to });
        let response = Some(Response { status, etag, last_modified: at.to_string() });
        self.entry.push(Entry { full_url: format!("{base}/{key}"), resource, search: None, request, response });
        Ok(())
    }

    /// The Bundle as text.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a Bundle is made of strings, numbers and JSON")
    }
}

/// The ETag of a version (R4 http, "Resource Metadata and Versioning").
pub fn etag(version: u64) -> String {
    format!("W/\"{version}\"")
}

fn raw(json: String) -> Result<Box<RawValue>, Fault> {
    // The cause would repeat what stands in the resource.
    RawValue::from_string(json)
        .map_err(|_| Fault::new(FaultKind::Corrupt, "failed to put a resource into a Bundle: it is not JSON"))
}

#[cfg(test)]
mod tests {
    use shared::fhir::ResourceType;

    use super::*;

    #[test]
    fn a_searchset_has_its_matches_as_they_are_and_says_where_it_goes_on() {
        let mut bundle = Bundle::searchset("https://b/Group?name=a".to_owned());
        bundle.push_match("https://b/Group/g".to_owned(), r#"{"id":"g", "x":1.10}"#.to_owned()).expect("it is JSON");
        bundle.continue_at("https://b/Group?name=a&_after=g".to_owned());
        assert_eq!(
            bundle.json(),
            r#"{"resourceType":"Bundle","type":"searchset","link":[{"relation":"self","url":"https://b/Group?name=a"},{"relation":"next","url":"https://b/Group?name=a&_after=g"}],"entry":[{"fullUrl":"https://b/Group/g","resource":{"id":"g", "x":1.10},"search":{"mode":"match"}}]}"#
        );
    }

    #[test]
    fn an_empty_searchset_has_a_total_and_no_entries() {
        let mut bundle = Bundle::searchset("https://b/Group".to_owned());
        bundle.total = Some(0);
        assert_eq!(
            bundle.json(),
            r#"{"resourceType":"Bundle","type":"searchset","total":0,"link":[{"relation":"self","url":"https://b/Group"}]}"#
        );
    }

    #[test]
    fn a_history_shows_deletions_as_requests_without_a_resource() {
        let at = Instant::from_unix_millis(1_767_607_200_000);
        let mut bundle = Bundle::history("https://b/Patient/p/_history".to_owned());
        let key = ResourceKey::new(ResourceType::PATIENT, "p".parse().expect("it is an id"));
        bundle.push_change("https://b", &key, at, Change::Deleted).expect("there is no JSON to fail");
        let created = Change::Created { version: 1, json: "{}".to_owned() };
        bundle.push_change("https://b", &key, at, created).expect("it is JSON");
        assert_eq!(
            bundle.json(),
            r#"{"resourceType":"Bundle","type":"history","link":[{"relation":"self","url":"https://b/Patient/p/_history"}],"entry":[{"fullUrl":"https://b/Patient/p","request":{"method":"DELETE","url":"Patient/p"},"response":{"status":"204 No Content","lastModified":"2026-01-05T10:00:00.000Z"}},{"fullUrl":"https://b/Patient/p","resource":{},"request":{"method":"POST","url":"Patient"},"response":{"status":"201 Created","etag":"W/\"1\"","lastModified":"2026-01-05T10:00:00.000Z"}}]}"#
        );
    }

    #[test]
    fn what_is_no_json_is_refused_without_a_word_of_it() {
        let mut bundle = Bundle::searchset(String::new());
        let fault = bundle.push_match(String::new(), "{secret".to_owned()).expect_err("it is not JSON");
        assert!(!fault.to_string().contains("secret"));
    }
}
