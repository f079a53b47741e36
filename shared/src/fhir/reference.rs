//! What a FHIR `Reference` points at.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use super::{ResourceId, ResourceKey, ResourceType};

/// The fields of a `Reference` that say where it leads (R4 `references.html`).
#[derive(Clone, Debug, Deserialize)]
pub struct Reference<'a> {
    #[serde(borrow, default)]
    reference: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    identifier: Option<&'a RawValue>,
}

/// Where a reference leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A resource of this server. A version in the reference is dropped: an export holds the latest one (standards §5.10).
    Local(ResourceKey),
    /// `#id`: a resource inside the one that refers to it; it is exported with its parent (standards §5.11).
    Contained,
}

/// Why a reference leads to no resource of this server.
///
/// The text names the form, never the reference itself: it may be about a person.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum Unresolvable {
    /// An absolute URL of another server (standards §5.13).
    #[error("it is a URL of another server, which is not followed")]
    Foreign,
    /// `urn:uuid:` or `urn:oid:`, which mean something inside a Bundle only (standards §5.11).
    #[error("a urn is known only inside the Bundle that it came in")]
    Urn,
    /// An identifier without a `reference` (standards §5.12).
    #[error("it names its target by identifier only")]
    Logical,
    /// Neither `reference` nor `identifier`.
    #[error("it has neither a reference nor an identifier")]
    Empty,
    /// Anything else, for example a search or an illegal id.
    #[error("it is not of the form Type/id with a resource type and an id of FHIR R4")]
    Malformed,
}

/// The base URLs under which this server's own resources are known.
///
/// An absolute reference that begins with one of them means the same resource as the relative one (standards §5.9).
#[derive(Clone, Debug, Default)]
pub struct OwnBases(Vec<String>);

impl OwnBases {
    /// Takes base URLs with or without a slash at the end.
    pub fn new(bases: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(bases.into_iter().map(|base| format!("{}/", base.as_ref().trim_end_matches('/'))).collect())
    }

    /// These, and one more.
    #[must_use]
    pub fn with(mut self, base: &str) -> Self {
        self.0.push(format!("{}/", base.trim_end_matches('/')));
        self
    }

    /// Those that are not this one, each with a slash at its end.
    pub fn others<'a>(&'a self, base: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(String::as_str).filter(move |own| own.trim_end_matches('/') != base.trim_end_matches('/'))
    }

    fn strip<'a>(&self, url: &'a str) -> Option<&'a str> {
        self.0.iter().find_map(|base| url.strip_prefix(base.as_str()))
    }
}

impl<'a> Reference<'a> {
    /// A reference with its `reference` only.
    pub fn literal(reference: impl Into<Cow<'a, str>>) -> Self {
        Self { reference: Some(reference.into()), identifier: None }
    }

    /// The `reference` as it is written; empty when there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        self.reference.as_deref().unwrap_or_default()
    }

    /// Whether it is written as a URL with a scheme and a host.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.text().contains("://")
    }

    /// Finds out where the reference leads.
    pub fn target(&self, own: &OwnBases) -> Result<Target, Unresolvable> {
        let Some(text) = self.reference.as_deref().filter(|text| !text.is_empty()) else {
            return Err(if self.identifier.is_some() { Unresolvable::Logical } else { Unresolvable::Empty });
        };
        if text.starts_with('#') {
            return Ok(Target::Contained);
        }
        if let Some(relative) = own.strip(text) {
            return local(relative);
        }
        if text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("urn:")) {
            return Err(Unresolvable::Urn);
        }
        if text.contains("://") {
            return Err(Unresolvable::Foreign);
        }
        local(text)
    }
}

fn local(relative: &str) -> Result<Target, Unresolvable> {
    let mut steps = relative.split('/');
    let (Some(name), Some(id)) = (steps.next(), steps.next()) else {
        return Err(Unresolvable::Malformed);
    };
    match (steps.next(), steps.next(), steps.next()) {
        (None, ..) => {}
        (Some("_history"), Some(version), None) if version.parse::<ResourceId>().is_ok() => {}
        _ => return Err(Unresolvable::Malformed),
    }
    let resource_type: ResourceType = name.parse().map_err(|_| Unresolvable::Malformed)?;
    let id: ResourceId = id.parse().map_err(|_| Unresolvable::Malformed)?;
    Ok(Target::Local(ResourceKey::new(resource_type, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(json: &str) -> Result<String, Unresolvable> {
        let own = OwnBases::new(["https://api.example.org/fhir"]);
        let reference: Reference<'_> = serde_json::from_str(json).expect("the test writes valid JSON");
        reference.target(&own).map(|target| match target {
            Target::Local(key) => key.to_string(),
            Target::Contained => "contained".to_owned(),
        })
    }

    #[test]
    fn every_form_of_a_reference_is_told_apart() {
        for (json, expected) in [
            (r#"{"reference":"Patient/1"}"#, Ok("Patient/1")),
            (r#"{"reference":"Patient/1/_history/2"}"#, Ok("Patient/1")),
            (r#"{"reference":"https://api.example.org/fhir/Patient/1"}"#, Ok("Patient/1")),
            (r#"{"reference":"https://api.example.org/fhir/Patient/1/_history/2"}"#, Ok("Patient/1")),
            (r#"{"reference":"Pati\u0065nt/1"}"#, Ok("Patient/1")),
            (r##"{"reference":"#p1"}"##, Ok("contained")),
            (r#"{"reference":"https://elsewhere.example.org/fhir/Patient/1"}"#, Err(Unresolvable::Foreign)),
            (r#"{"reference":"https://api.example.org/fhirs/Patient/1"}"#, Err(Unresolvable::Foreign)),
            (r#"{"reference":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}"#, Err(Unresolvable::Urn)),
            (r#"{"type":"Patient","identifier":{"value":"9"}}"#, Err(Unresolvable::Logical)),
            (r#"{"display":"somebody"}"#, Err(Unresolvable::Empty)),
            (r#"{"reference":""}"#, Err(Unresolvable::Empty)),
            (r#"{"reference":"Patient?identifier=1"}"#, Err(Unresolvable::Malformed)),
            (r#"{"reference":"Patient/1/extra"}"#, Err(Unresolvable::Malformed)),
            (r#"{"reference":"/Patient/1"}"#, Err(Unresolvable::Malformed)),
            (r#"{"reference":"Patient"}"#, Err(Unresolvable::Malformed)),
            (r#"{"reference":"Patient/a%20b"}"#, Err(Unresolvable::Malformed)),
            (r#"{"reference":"Nonsense/1"}"#, Err(Unresolvable::Malformed)),
        ] {
            assert_eq!(target(json), expected.map(str::to_owned), "{json}");
        }
    }
}
