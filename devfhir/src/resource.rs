//! What the server knows of a resource besides its text: read once, when it is loaded.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::stamp::{Gap, present};

/// A resource as it was loaded.
pub struct Resource<'a> {
    pub text: &'a str,
    pub kind: String,
    pub id: String,
    pub gap: Gap,
    pub known: Known,
}

/// What can be searched for besides ids and times.
#[derive(Debug, Default)]
pub struct Known {
    pub identifiers: Vec<Identifier>,
    /// The references `Patient/x` of a Group's members.
    pub members: HashSet<Box<str>>,
}

/// An identifier as far as a search looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Identifier {
    pub system: Option<String>,
    pub value: Option<String>,
}

impl<'a> Resource<'a> {
    /// Reads one that is to be stored by the server with this base.
    ///
    /// # Panics
    /// If it is no resource with an id, or comes with a stamp of its own: a test loads what it wrote itself.
    pub fn read(text: &'a str, base: &str) -> Self {
        let shape: Shape<'_> = serde_json::from_str(text).expect("what is loaded is a resource with an id");
        let identifiers = shape.identifier.map(identifiers).unwrap_or_default();
        let members = match shape.member {
            Some(members) if shape.resource_type == "Group" => entities(members, base),
            _ => HashSet::new(),
        };
        let gap = Gap::of(text, shape.meta);
        let known = Known { identifiers, members };
        Self { text, kind: shape.resource_type, id: shape.id, gap, known }
    }
}

/// `Patient/x`, however the server with this base is told of it.
pub fn reference<'a>(text: &'a str, base: &str) -> &'a str {
    let relative = text.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')).unwrap_or(text);
    relative.split_once("/_history/").map_or(relative, |(unversioned, _)| unversioned)
}

/// Some types have one identifier, most have a list; what is neither cannot be searched for.
fn identifiers(raw: &RawValue) -> Vec<Identifier> {
    if raw.get().starts_with('[') {
        return serde_json::from_str(raw.get()).unwrap_or_default();
    }
    serde_json::from_str(raw.get()).map(|one| vec![one]).unwrap_or_default()
}

fn entities(raw: &RawValue, base: &str) -> HashSet<Box<str>> {
    let members: Vec<Member> = serde_json::from_str(raw.get()).unwrap_or_default();
    let references = members.into_iter().filter_map(|member| member.entity.reference);
    references.map(|text| Box::from(reference(&text, base))).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    resource_type: String,
    id: String,
    #[serde(borrow, default, deserialize_with = "present")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    identifier: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    member: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Member {
    #[serde(default)]
    entity: Entity,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entity {
    reference: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_known_by_type_and_id_however_they_are_referred_to() {
        let text = r#"{"resourceType":"Group","id":"g","member":[
            {"entity":{"reference":"Patient/a"}},
            {"entity":{"reference":"http://here/fhir/Patient/b"}},
            {"entity":{"reference":"Patient/c/_history/3"},"inactive":true},
            {"entity":{"reference":"http://there/fhir/Patient/d"}},
            {"entity":{"display":"nobody"}},
            {}
        ]}"#;
        let mut members: Vec<_> = Resource::read(text, "http://here/fhir").known.members.into_iter().collect();
        members.sort();
        assert_eq!(members, ["Patient/a", "Patient/b", "Patient/c", "http://there/fhir/Patient/d"].map(Box::from));
    }

    #[test]
    fn identifiers_may_be_one_or_many() {
        let expected = [Identifier { system: Some("s".to_owned()), value: Some("v".to_owned()) }];
        for identifier in [r#"{"system":"s","value":"v","use":"official"}"#, r#"[{"system":"s","value":"v"}]"#] {
            let text = format!(r#"{{"resourceType":"Bundle","id":"b","identifier":{identifier}}}"#);
            assert_eq!(Resource::read(&text, "").known.identifiers, expected);
        }
    }
}
