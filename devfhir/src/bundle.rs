//! Bundles, written around the texts of the resources as they are stored.

use std::sync::Arc;

use crate::answer::{add_member, etag, quoted};
use crate::clock::Moment;
use crate::store::{Change, Version, Written};

/// A Bundle that is going to be answered.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub kind: &'static str,
    /// The time told: all that was written until then is taken into account.
    pub told: Option<Moment>,
    pub total: Option<usize>,
    /// Where this page is, and where the next one is.
    pub own: Option<String>,
    pub next: Option<String>,
    pub entries: Vec<Entry>,
}

/// A row of a Bundle.
#[derive(Clone, Debug)]
pub struct Entry {
    pub full_url: Option<String>,
    pub resource: Option<Arc<str>>,
    /// The other members, as JSON: `"search":{…}` or `"request":{…},"response":{…}`.
    pub about: String,
}

impl Bundle {
    /// As JSON.
    pub fn text(&self) -> String {
        let long = |entry: &Entry| entry.resource.as_ref().map_or(0, |text| text.len()) + 300;
        let mut text = String::with_capacity(self.entries.iter().map(long).sum::<usize>() + 500);
        text.push_str(r#"{"resourceType":"Bundle""#);
        if let Some(told) = self.told {
            add_member(&mut text, "meta", &format!(r#"{{"lastUpdated":"{}"}}"#, told.instant()));
        }
        add_member(&mut text, "type", &quoted(self.kind));
        if let Some(total) = self.total {
            add_member(&mut text, "total", &total.to_string());
        }
        let links = [("self", &self.own), ("next", &self.next)];
        let links = links.into_iter().filter_map(|(relation, url)| Some((relation, url.as_ref()?)));
        let links: Vec<_> =
            links.map(|(relation, url)| format!(r#"{{"relation":"{relation}","url":{}}}"#, quoted(url))).collect();
        if !links.is_empty() {
            add_member(&mut text, "link", &format!("[{}]", links.join(",")));
        }
        for (at, entry) in self.entries.iter().enumerate() {
            text.push_str(if at == 0 { r#","entry":["# } else { "," });
            entry.write(&mut text);
        }
        text.push_str(if self.entries.is_empty() { "}" } else { "]}" });
        text
    }
}

impl Entry {
    /// A row that a search found, as this text of it.
    pub fn found(base: &str, version: &Version, text: Arc<str>) -> Self {
        Self {
            full_url: Some(format!("{base}/{}/{}", version.kind, version.id)),
            resource: Some(text),
            about: r#""search":{"mode":"match"}"#.to_owned(),
        }
    }

    /// A row of a history.
    pub fn past(base: &str, version: &Version) -> Self {
        let place = format!("{}/{}", version.kind, version.id);
        let (method, status) = match &version.change {
            Change::Deleted => ("DELETE", "204"),
            Change::Written { how: Written::New, .. } => ("POST", "201"),
            Change::Written { how: Written::Again, .. } => ("PUT", "201"),
            Change::Written { how: Written::Update, .. } => ("PUT", "200"),
        };
        let request = format!(r#"{{"method":"{method}","url":{}}}"#, quoted(&place));
        let response = response(status, Some(version));
        Self {
            full_url: Some(format!("{base}/{place}")),
            resource: version.text().cloned(),
            about: format!(r#""request":{request},"response":{response}"#),
        }
    }

    fn write(&self, text: &mut String) {
        let mut members = Vec::with_capacity(3);
        if let Some(url) = &self.full_url {
            members.push(format!(r#""fullUrl":{}"#, quoted(url)));
        }
        if !self.about.is_empty() {
            members.push(self.about.clone());
        }
        text.push('{');
        text.push_str(&members.join(","));
        if let Some(resource) = &self.resource {
            text.push_str(if members.is_empty() { r#""resource":"# } else { r#","resource":"# });
            text.push_str(resource);
        }
        text.push('}');
    }
}

/// The `response` of a row: of a history, or of a batch. A deletion has no version, and so no etag.
pub fn response(status: &str, version: Option<&Version>) -> String {
    let mut response = format!(r#"{{"status":"{status}""#);
    if let Some(version) = version {
        add_member(&mut response, "lastModified", &quoted(&version.stamp.instant()));
    }
    if let Some(version) = version.and_then(Version::version) {
        add_member(&mut response, "etag", &quoted(&etag(version)));
    }
    response.push('}');
    response
}
