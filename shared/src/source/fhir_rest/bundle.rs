//! A page of what the server found: a Bundle of the type `searchset`, `history` or `batch-response`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fhir::{Instant, Resource, ResourceKey, json};
use crate::source::meta::Meta;

/// A page.
#[derive(Debug, Default)]
pub struct Page {
    /// Its entries, in their order.
    pub entries: Vec<Entry>,
    /// Where the next page is, as the server writes it.
    pub next: Option<String>,
    /// The time that the server gives to the page itself.
    pub told_at: Option<Instant>,
}

/// One of its entries.
#[derive(Debug, Default)]
pub struct Entry {
    /// The resource; `None` when there is none, or what is there has no type and id.
    pub resource: Option<Found>,
    /// Whether there is any resource, one without an id too.
    pub has_resource: bool,
    /// In a history: the resource that was deleted, and when.
    pub deletion: Option<(Option<ResourceKey>, Option<Instant>)>,
}

/// A resource as the server holds it, and what it says of this version.
#[derive(Clone, Debug)]
pub struct Found {
    /// The resource.
    pub resource: Resource,
    /// Its `meta`.
    pub meta: Meta,
}

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow, rename = "resourceType", default)]
    resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    meta: Option<BundleMeta<'a>>,
    #[serde(borrow, default)]
    link: Vec<Link<'a>>,
    #[serde(borrow, default)]
    entry: Vec<RawEntry<'a>>,
}

#[derive(Deserialize)]
struct BundleMeta<'a> {
    #[serde(borrow, rename = "lastUpdated", default)]
    last_updated: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow, default)]
    relation: Cow<'a, str>,
    #[serde(borrow, default)]
    url: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawEntry<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request: Option<Request<'a>>,
    #[serde(borrow, default)]
    response: Option<Response<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    url: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow, rename = "lastModified", default)]
    last_modified: Option<Cow<'a, str>>,
}

impl Page {
    /// Reads a Bundle. The reason why it is none has nothing of its content.
    pub fn read(text: &Bytes) -> Result<Self, String> {
        let json = std::str::from_utf8(text).map_err(|_| "its answer is not UTF-8 text".to_owned())?;
        let unreadable = |error| format!("its answer is no Bundle: {}", json::reason(&error));
        let bundle: Bundle<'_> = json::object(json).map_err(unreadable)?;
        if bundle.resource_type != "Bundle" {
            return Err("its answer is no Bundle".to_owned());
        }
        let next = bundle.link.into_iter().find(|link| link.relation == "next").map(|link| link.url.into_owned());
        let told_at = bundle.meta.and_then(|meta| meta.last_updated?.parse().ok());
        let entries = bundle.entry.into_iter().map(|entry| Entry::read(text, &entry)).collect();
        Ok(Self { entries, next, told_at })
    }
}

impl Entry {
    fn read(text: &Bytes, raw: &RawEntry<'_>) -> Self {
        let resource = raw.resource.and_then(|resource| Found::read(&text.slice_ref(resource.get().as_bytes())));
        let deletion = raw.request.as_ref().filter(|request| request.method == "DELETE").map(|request| {
            let modified = raw.response.as_ref().and_then(|response| response.last_modified.as_deref());
            (key_of(&request.url), modified.and_then(|at| at.parse().ok()))
        });
        Self { resource, has_resource: raw.resource.is_some_and(|resource| resource.get().starts_with('{')), deletion }
    }
}

impl Found {
    /// A resource, when the text has a type and an id.
    pub fn read(text: &Bytes) -> Option<Self> {
        let resource = Resource::read(text).ok()?;
        let meta = Meta::of(&resource.body);
        Some(Self { resource, meta })
    }
}

/// The resource that the URL of a request in a history names: `Patient/1`, perhaps below a base or with a version.
fn key_of(url: &str) -> Option<ResourceKey> {
    let url = url.split(['?', '#']).next()?;
    let path = url.split("/_history").next()?.trim_matches('/');
    let mut steps = path.rsplit('/');
    let id = steps.next()?.parse().ok()?;
    Some(ResourceKey::new(steps.next()?.parse().ok()?, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Page, String> {
        Page::read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_page_has_its_resources_as_they_are_written_and_the_way_to_the_next_one() {
        let page = read(
            r#"{"resourceType":"Bundle","meta":{"lastUpdated":"2026-01-05T10:00:00Z"},
               "link":[{"relation":"self","url":"a"},{"relation":"next","url":"b?c=d\u0026e"}],"entry":[
               {"resource":{"resourceType":"Patient","id":"1","meta":{"versionId":"7","lastUpdated":"2026-01-04T10:00:00+01:00"},"n":1.10}},
               {"resource":{"resourceType":"OperationOutcome","issue":[]},"search":{"mode":"outcome"}}]}"#,
        )
        .expect("it is a Bundle");
        assert_eq!(page.next.as_deref(), Some("b?c=d&e"));
        assert_eq!(page.told_at, Some("2026-01-05T10:00:00Z".parse().expect("an instant")));
        let [patient, outcome] = &page.entries[..] else { panic!("{page:?}") };
        let patient = patient.resource.as_ref().expect("it is there");
        assert!(patient.resource.body.ends_with(br#""n":1.10}"#));
        assert_eq!(patient.meta.version.as_deref(), Some("7"));
        assert_eq!(patient.meta.last_updated, Some("2026-01-04T09:00:00Z".parse().expect("an instant")));
        assert!(outcome.resource.is_none());
    }

    #[test]
    fn a_deletion_names_its_resource_in_every_form_of_url() {
        for url in ["Patient/1", "/Patient/1", "https://x.org/fhir/Patient/1", "Patient/1/_history/3"] {
            let page = read(&format!(
                r#"{{"resourceType":"Bundle","entry":[{{"request":{{"method":"DELETE","url":"{url}"}},
                   "response":{{"status":"204","lastModified":"2026-01-05T10:00:00Z"}}}}]}}"#
            ))
            .expect("it is a Bundle");
            let (key, at) = page.entries[0].deletion.clone().expect("it is a deletion");
            assert_eq!(key.expect("it names one").to_string(), "Patient/1", "{url}");
            assert!(at.is_some());
        }
    }

    #[test]
    fn what_is_no_bundle_is_refused_without_its_content() {
        for text in ["", "Mary", "[1]", r#"{"resourceType":"Mary"}"#, r#"{"resourceType":"Bundle","entry":"Mary"}"#] {
            let why = read(text).expect_err(text);
            assert!(!why.contains("Mary"), "{why}");
        }
    }
}
