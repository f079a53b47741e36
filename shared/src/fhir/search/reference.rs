//! References to other resources (R4 search, "reference").
//!
//! They are compared on type and id: versions are left off, and a reference without a base is the same as one with any
//! base, because a query does not know under which URLs its server is known. Two with a base must have the same.

use serde_json::Value;

use crate::fhir::{ResourceId, ResourceType};

/// A reference that is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `id`, `Type/id` or a URL that ends so.
    Resource {
        /// What stands before the type, if anything does.
        base: Option<String>,
        /// The types that it may be of; `None` for any.
        types: Option<Vec<ResourceType>>,
        /// The logical id.
        id: ResourceId,
    },
    /// Any other URL, or a urn: it is compared as it is.
    Uri(String),
}

/// A reference taken apart.
struct Parts<'a> {
    base: Option<&'a str>,
    resource_type: ResourceType,
    id: ResourceId,
}

impl Wanted {
    /// Reads one unescaped value, which may refer to resources of these types only; `None` for any. Fails with what is
    /// wrong.
    pub(super) fn parse(text: &str, types: Option<&[ResourceType]>) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Resource { base: None, types: types.map(<[ResourceType]>::to_vec), id });
        }
        let Some(parts) = parts(text) else {
            let is_uri = text.contains(':') && !text.contains(char::is_whitespace);
            let refused = || "write it as id, Type/id or a URL, with a resource type and an id of FHIR R4".to_owned();
            return if is_uri { Ok(Self::Uri(text.to_owned())) } else { Err(refused()) };
        };
        if let Some(types) = types.filter(|types| !types.contains(&parts.resource_type)) {
            let names: Vec<_> = types.iter().map(|of| of.name()).collect();
            return Err(format!("it refers to a {}, but only {} can be", parts.resource_type, names.join(", ")));
        }
        let base = parts.base.map(str::to_owned);
        Ok(Self::Resource { base, types: Some(vec![parts.resource_type]), id: parts.id })
    }

    /// Whether a Reference of a resource is the one that is searched for.
    pub(super) fn is(&self, reference: &Value) -> bool {
        let Some(text) = reference.get("reference").and_then(Value::as_str) else {
            return false;
        };
        match self {
            Self::Uri(uri) => text == uri,
            Self::Resource { base, types, id } => parts(text).is_some_and(|parts| {
                let is_same_base = match (base.as_deref(), parts.base) {
                    (Some(wanted), Some(base)) => wanted == base,
                    _ => true,
                };
                let is_of_type = types.as_ref().is_none_or(|types| types.contains(&parts.resource_type));
                is_same_base && is_of_type && *id == parts.id
            }),
        }
    }
}

/// Takes `Type/id`, `Type/id/_history/version` or a URL that ends so apart; `None` for any other text.
fn parts(text: &str) -> Option<Parts<'_>> {
    let unversioned = match text.rsplit_once("/_history/") {
        Some((before, version)) if version.parse::<ResourceId>().is_ok() => before,
        _ => text,
    };
    let (before, id) = unversioned.rsplit_once('/')?;
    let (base, name) = before.rsplit_once('/').map_or((None, before), |(base, name)| (Some(base), name));
    if base.is_some_and(|base| !base.contains("://")) {
        return None;
    }
    Some(Parts { base, resource_type: name.parse().ok()?, id: id.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finds(search: &str, reference: &str) -> bool {
        let wanted = Wanted::parse(search, Some(&[ResourceType::PATIENT, ResourceType::ORGANIZATION]));
        wanted.expect("the test writes a reference").is(&json!({"reference": reference}))
    }

    #[test]
    fn type_and_id_decide_and_a_base_only_where_both_have_one() {
        for (search, reference, is_found) in [
            ("1", "Patient/1", true),
            ("1", "Organization/1", true),
            ("1", "Location/1", false),
            ("1", "https://a.org/fhir/Patient/1", true),
            ("1", "Patient/12", false),
            ("1", "#1", false),
            ("Patient/1", "Patient/1/_history/3", true),
            ("Patient/1/_history/2", "Patient/1", true),
            ("Patient/1", "Organization/1", false),
            ("Patient/1", "https://a.org/fhir/Patient/1", true),
            ("https://a.org/fhir/Patient/1", "Patient/1", true),
            ("https://a.org/fhir/Patient/1", "https://a.org/fhir/Patient/1/_history/2", true),
            ("https://a.org/fhir/Patient/1", "https://b.org/fhir/Patient/1", false),
            ("urn:uuid:0c3151bd", "urn:uuid:0c3151bd", true),
            ("urn:uuid:0c3151bd", "urn:uuid:0c3151be", false),
            ("https://a.org/x", "https://a.org/x", true),
        ] {
            assert_eq!(finds(search, reference), is_found, "{search} and {reference}");
        }
    }

    #[test]
    fn a_reference_that_the_parameter_cannot_have_is_refused() {
        assert_eq!(
            Wanted::parse("Location/1", Some(&[ResourceType::PATIENT])),
            Err("it refers to a Location, but only Patient can be".to_owned())
        );
        for text in ["Patient/", "Patient/a_b", "patient/1", "a/Patient/1", "a b", "http://a b"] {
            assert!(Wanted::parse(text, None).is_err(), "{text}");
        }
    }
}
