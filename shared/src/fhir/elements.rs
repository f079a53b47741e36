//! `_elements`: which elements of a resource are written (Bulk Data STU2 and STU3, standards §1.2).

pub(super) mod table;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ResourceType, edit};

/// Names of root elements, for all types or for one (Bulk Data, `_elements`). None at all means every element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Elements(Vec<(Option<ResourceType>, String)>);

/// A text that names no root element of the types at hand.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UnknownElement {
    /// Nothing between two commas, or nothing at all.
    #[error("an element has no name: write root elements between commas, as in 'id,Patient.name'")]
    Empty,
    /// An element inside another one.
    #[error("'{0}' leads into an element: write its root element only, as in 'Patient.name'")]
    Nested(String),
    /// A type that is not exported.
    #[error("'{0}' names a type that is not exported here: write one of {types}", types = types())]
    Type(String),
    /// A name that FHIR R4 does not have at the root of that type, or of any type.
    #[error("'{0}' is no root element in FHIR R4: write a root element as 'name' or 'Type.name'")]
    Name(String),
}

fn types() -> String {
    ResourceType::ATTRIBUTION.map(ResourceType::name).join(", ")
}

impl Elements {
    /// Reads one value of the parameter, a list with commas such as `Patient.name, birthDate`, and adds its elements
    /// to those that are here. Adds nothing when one of them is not known.
    ///
    /// An element is `name`, which concerns all types, or `Type.name` with one of [`ResourceType::ATTRIBUTION`]. One
    /// with a choice of types may be written either way: `deceased`, or as in JSON `deceasedBoolean`.
    pub fn extend(&mut self, list: &str) -> Result<(), UnknownElement> {
        let read = list.split(',').map(|item| element(item.trim())).collect::<Result<Vec<_>, _>>()?;
        for element in read {
            if !self.0.contains(&element) {
                self.0.push(element);
            }
        }
        Ok(())
    }

    /// Whether no element is named, so that every element is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything is left out of resources of this type. `Patient.name` alone concerns no other type, so those
    /// stay whole; `name` concerns all, also those that have no such element. A type that is none of
    /// [`ResourceType::ATTRIBUTION`] stays whole: what it could not be without is not known here.
    #[must_use]
    pub fn cuts(&self, resource_type: ResourceType) -> bool {
        resource_type.is_attribution() && self.concerning(resource_type).next().is_some()
    }

    /// The resource with the elements that are named, those that R4 does not let it be without (`resourceType`, `id`,
    /// `meta`, the mandatory ones, and those that change what the rest means), and the tag `SUBSETTED`; in one line and
    /// in the order in which it came. One that is not cut comes back without the tag.
    ///
    /// Fails when the text is no JSON object, or its `meta` has another shape than FHIR gives it.
    pub fn subset(&self, resource_type: ResourceType, json: &str) -> Result<String, serde_json::Error> {
        if !self.cuts(resource_type) {
            return edit::without(json, &[]);
        }
        edit::kept(json, |field| {
            table::of_field(resource_type, field).is_some_and(|element| {
                element.is_always_there() || self.concerning(resource_type).any(|name| name == element.name)
            })
        })
    }

    fn concerning(&self, resource_type: ResourceType) -> impl Iterator<Item = &str> {
        let concerns = move |only: Option<ResourceType>| only.is_none_or(|only| only == resource_type);
        self.0.iter().filter(move |(only, _)| concerns(*only)).map(|(_, name)| name.as_str())
    }
}

fn element(item: &str) -> Result<(Option<ResourceType>, String), UnknownElement> {
    if item.is_empty() {
        return Err(UnknownElement::Empty);
    }
    // The text comes from outside and goes into an answer, so a long one is cut short.
    let shown = || item.chars().take(64).collect::<String>();
    let (only, name) = match item.split_once('.') {
        None => (None, item),
        Some((_, rest)) if rest.contains('.') => return Err(UnknownElement::Nested(shown())),
        Some((name_of_type, name)) => {
            let only = name_of_type.parse().ok().filter(|only: &ResourceType| only.is_attribution());
            (Some(only.ok_or_else(|| UnknownElement::Type(shown()))?), name)
        }
    };
    let types = only.as_ref().map_or(&ResourceType::ATTRIBUTION[..], std::slice::from_ref);
    let known = types.iter().find_map(|resource_type| table::named(*resource_type, name));
    let known = known.ok_or_else(|| UnknownElement::Name(shown()))?;
    Ok((only, known.name.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fhir::json;

    fn elements(list: &str) -> Elements {
        let mut elements = Elements::default();
        elements.extend(list).expect("the test names elements that there are");
        elements
    }

    fn subset(list: &str, resource_type: ResourceType, json: &str) -> String {
        let subset = elements(list).subset(resource_type, json).expect("the test writes JSON objects");
        subset.replace(
            r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#,
            "TAG",
        )
    }

    #[test]
    fn the_named_elements_are_written_and_what_a_resource_cannot_be_without() {
        for (list, resource_type, json, written) in [
            (
                "Patient.name, birthDate",
                ResourceType::PATIENT,
                r#"{"resourceType":"Patient","id":"1","text":{},"name":[{"family":"a"}],"gender":"x","birthDate":"1970","_birthDate":{}}"#,
                r#"{"resourceType":"Patient","id":"1","meta":{"tag":[TAG]},"name":[{"family":"a"}],"birthDate":"1970","_birthDate":{}}"#,
            ),
            (
                "id",
                ResourceType::COVERAGE,
                r#"{"resourceType":"Coverage","payor":[],"id":"1","meta":{},"status":"active","_status":{},"type":{},"beneficiary":{"x":1.0},"made-up":1}"#,
                r#"{"resourceType":"Coverage","payor":[],"id":"1","meta":{"tag":[TAG]},"status":"active","_status":{},"beneficiary":{"x":1.0}}"#,
            ),
            (
                "name",
                ResourceType::GROUP,
                r#"{"resourceType":"Group","id":"1","meta":{},"type":"person","actual":true,"name":"n","member":[{}],"extension":[]}"#,
                r#"{"resourceType":"Group","id":"1","meta":{"tag":[TAG]},"type":"person","actual":true,"name":"n"}"#,
            ),
            (
                "birthDate",
                ResourceType::RELATED_PERSON,
                r#"{"resourceType":"RelatedPerson","id":"1","meta":{},"patient":{},"name":[]}"#,
                r#"{"resourceType":"RelatedPerson","id":"1","meta":{"tag":[TAG]},"patient":{}}"#,
            ),
            (
                "Location.name",
                ResourceType::LOCATION,
                r#"{"resourceType":"Location","id":"1","meta":{},"modifierExtension":[{}],"implicitRules":"r","name":"n","extension":[]}"#,
                r#"{"resourceType":"Location","id":"1","meta":{"tag":[TAG]},"modifierExtension":[{}],"implicitRules":"r","name":"n"}"#,
            ),
        ] {
            assert_eq!(subset(list, resource_type, json), written, "{list}");
        }
    }

    #[test]
    fn a_choice_of_types_is_written_in_whichever_type_it_has() {
        for list in ["deceased", "Patient.deceasedBoolean"] {
            let json = r#"{"id":"1","meta":{},"deceasedDateTime":"2020","multipleBirthInteger":2}"#;
            assert_eq!(
                subset(list, ResourceType::PATIENT, json),
                r#"{"id":"1","meta":{"tag":[TAG]},"deceasedDateTime":"2020"}"#
            );
        }
    }

    #[test]
    fn an_element_of_one_type_leaves_the_other_types_whole() {
        let elements = elements("Patient.name");
        assert!(elements.cuts(ResourceType::PATIENT));
        assert!(!elements.cuts(ResourceType::COVERAGE));
        let json = r#"{"resourceType":"Coverage","id":"1","type":{}}"#;
        assert_eq!(elements.subset(ResourceType::COVERAGE, json).expect("it is a JSON object"), json);
    }

    #[test]
    fn an_element_without_a_type_concerns_every_type_also_those_that_do_not_have_it() {
        let elements = elements("birthDate");
        assert!(ResourceType::ATTRIBUTION.into_iter().all(|resource_type| elements.cuts(resource_type)));
    }

    #[test]
    fn no_element_at_all_leaves_everything_whole() {
        assert!(Elements::default().is_empty());
        assert!(!Elements::default().cuts(ResourceType::PATIENT));
    }

    #[test]
    fn a_head_of_a_group_is_opened_again_only_when_its_members_are_named() {
        let head =
            r#"{"resourceType":"Group","id":"g","meta":{},"type":"person","actual":true,"member":[],"name":"n"}"#;
        for (list, has_place) in [("member", true), ("Group.name", false)] {
            let head = elements(list).subset(ResourceType::GROUP, head).expect("it is a JSON object");
            assert_eq!(json::open_group(&head).expect("it is a Group").has_place_for_members(), has_place, "{list}");
        }
    }

    #[test]
    fn what_is_no_root_element_is_refused_with_what_to_write() {
        for (list, reason) in [
            ("", "an element has no name"),
            ("id,,name", "an element has no name"),
            ("id,", "an element has no name"),
            ("Patient.name.family", "'Patient.name.family' leads into an element"),
            (
                "Observation.code",
                "'Observation.code' names a type that is not exported here: write one of Group, Patient",
            ),
            ("patient.name", "'patient.name' names a type"),
            (".name", "'.name' names a type"),
            ("Patient.", "'Patient.' is no root element"),
            ("Patient.payor", "'Patient.payor' is no root element"),
            ("nonsense", "'nonsense' is no root element"),
            ("_birthDate", "'_birthDate' is no root element"),
            ("deceased[x]", "'deceased[x]' is no root element"),
            ("*", "'*' is no root element"),
        ] {
            let error = Elements::default().extend(list).expect_err(list).to_string();
            assert!(error.contains(reason), "{list}: {error}");
        }
    }

    #[test]
    fn a_list_with_an_unknown_element_adds_nothing() {
        let mut elements = elements("id");
        assert!(elements.extend("name,nonsense").is_err());
        assert_eq!(elements, super::tests::elements("id"));
    }

    #[test]
    fn lists_are_added_up_and_an_element_counts_once() {
        let mut elements = elements("id, name");
        elements.extend("name,Patient.name").expect("these are elements");
        assert_eq!(elements, super::tests::elements("id,name,Patient.name"));
    }

    #[test]
    fn elements_come_back_from_where_a_job_keeps_them() {
        let elements = elements("id,Patient.deceasedBoolean");
        let kept = serde_json::to_string(&elements).expect("names and types are JSON");
        assert_eq!(kept, r#"[[null,"id"],["Patient","deceased"]]"#);
        assert_eq!(serde_json::from_str::<Elements>(&kept).expect("it was written so"), elements);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(list in ".{0,80}") {
            let mut elements = Elements::default();
            prop_assert_eq!(elements.extend(&list).is_err(), elements.is_empty());
        }
    }
}
