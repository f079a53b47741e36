//! One resource as a line of JSON, and the references in it that an attribution list follows (standards §3.9).

use std::borrow::Cow;
use std::str::Utf8Error;

use bytes::Bytes;
use serde::Deserialize;
use thiserror::Error;

use super::{IllegalId, Reference, ResourceKey, ResourceType, UnknownType, json};

/// A resource: its key and its JSON, as it was written, on one line without a line break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its type and id.
    pub key: ResourceKey,
    /// Its JSON, one line.
    pub body: Bytes,
}

/// Why a text is not a resource that this system can hold.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// Not UTF-8.
    #[error("it is not UTF-8 text")]
    Encoding(#[from] Utf8Error),
    /// Not JSON, or not of the shape that FHIR gives it. Line and column are those of the text.
    #[error("it is not the JSON of a FHIR resource: {}", json::reason(.0))]
    Json(#[from] serde_json::Error),
    /// No `resourceType`.
    #[error("it has no resourceType")]
    NoType,
    /// A `resourceType` that FHIR R4 does not have.
    #[error(transparent)]
    UnknownType(#[from] UnknownType),
    /// No `id`.
    #[error("it has no id")]
    NoId,
    /// An `id` that FHIR does not allow.
    #[error("its id is not legal: {0}")]
    IllegalId(#[from] IllegalId),
}

impl Resource {
    /// Reads type and id of one resource and puts it on one line.
    pub fn read(text: &Bytes) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(borrow, rename = "resourceType", default)]
            resource_type: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            id: Option<Cow<'a, str>>,
        }
        let json = std::str::from_utf8(text)?;
        let head: Head<'_> = json::object(json)?;
        let resource_type: ResourceType = head.resource_type.ok_or(Unreadable::NoType)?.parse()?;
        let id = head.id.ok_or(Unreadable::NoId)?.parse()?;
        let key = ResourceKey::new(resource_type, id);
        let line = match json::one_line(json.trim()) {
            Cow::Borrowed(line) => text.slice_ref(line.as_bytes()),
            Cow::Owned(line) => Bytes::from(line),
        };
        Ok(Self { key, body: line })
    }
}

/// The ways in which a member of the list names a resource: rows T2, T3, T4 and T6 of standards §3.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribution {
    /// `Group.member.entity`, the member's Patient (T2).
    Entity,
    /// `ext-coverageReference`, the Coverage that made the Patient a member (T3).
    Coverage,
    /// `ext-attributedProvider`, a Practitioner, PractitionerRole or Organization (T4).
    Provider,
    /// `atr-any-resource-extension`, anything the payer adds for the member (T6).
    AssociatedData,
}

impl Attribution {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Entity, Self::Coverage, Self::Provider, Self::AssociatedData];

    /// The FHIRPath of the element, for error lines.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Entity => "Group.member.entity",
            Self::Coverage => {
                "Group.member.extension('http://hl7.org/fhir/us/davinci-atr/StructureDefinition/ext-coverageReference').value"
            }
            Self::Provider => {
                "Group.member.extension('http://hl7.org/fhir/us/davinci-atr/StructureDefinition/ext-attributedProvider').value"
            }
            Self::AssociatedData => {
                "Group.member.extension('http://hl7.org/fhir/us/davinci-atr/StructureDefinition/atr-any-resource-extension').value"
            }
        }
    }

    /// A small number that a source may keep in place of the name.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The reverse of [`Attribution::code`].
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.code() == code)
    }

    fn of_extension(url: &str) -> Option<Self> {
        match url.strip_prefix("http://hl7.org/fhir/us/davinci-atr/StructureDefinition/")? {
            "ext-coverageReference" => Some(Self::Coverage),
            "ext-attributedProvider" => Some(Self::Provider),
            "atr-any-resource-extension" => Some(Self::AssociatedData),
            _ => None,
        }
    }
}

/// One `Group.member`, as far as the walk needs it.
#[derive(Debug)]
pub struct Member<'a> {
    /// What it names, in the order in which it is written, the entity first.
    pub references: Vec<(Attribution, Reference<'a>)>,
    /// `inactive`: no longer attributed.
    pub inactive: bool,
}

impl<'a> Member<'a> {
    /// Reads the JSON of one element of `Group.member`.
    pub fn read(json: &'a str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Extension<'a> {
            #[serde(borrow, default)]
            url: Option<Cow<'a, str>>,
            #[serde(borrow, default, rename = "valueReference")]
            value: Option<Reference<'a>>,
        }
        #[derive(Deserialize)]
        struct Element<'a> {
            #[serde(borrow, default)]
            entity: Option<Reference<'a>>,
            #[serde(borrow, default)]
            extension: Vec<Extension<'a>>,
            #[serde(default)]
            inactive: Option<bool>,
        }
        let element: Element<'a> = json::object(json)?;
        let named = element.extension.into_iter().filter_map(|extension| {
            let way = Attribution::of_extension(extension.url.as_deref()?)?;
            Some((way, extension.value?))
        });
        Ok(Self {
            references: element.entity.map(|entity| (Attribution::Entity, entity)).into_iter().chain(named).collect(),
            inactive: element.inactive.unwrap_or_default(),
        })
    }

    /// Whether it has an `entity`, without which it says nothing about anybody.
    #[must_use]
    pub fn has_entity(&self) -> bool {
        self.references.first().is_some_and(|(way, _)| *way == Attribution::Entity)
    }
}

/// The references of one resource that the walk follows, each with its FHIRPath: rows T5 and T7 of a Group, T8 to T11
/// of a Coverage, T12 to T14 of a PractitionerRole (standards §3.9). No other type leads further.
pub fn references(
    resource_type: ResourceType,
    json: &str,
) -> Result<Vec<(&'static str, Reference<'_>)>, serde_json::Error> {
    match resource_type {
        ResourceType::COVERAGE => of_coverage(json),
        ResourceType::PRACTITIONER_ROLE => of_practitioner_role(json),
        ResourceType::GROUP => of_group(json),
        _ => Ok(Vec::new()),
    }
}

fn of_coverage(json: &str) -> Result<Vec<(&'static str, Reference<'_>)>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Coverage<'a> {
        #[serde(borrow, default)]
        beneficiary: Option<Reference<'a>>,
        #[serde(borrow, default)]
        subscriber: Option<Reference<'a>>,
        #[serde(borrow, default)]
        policy_holder: Option<Reference<'a>>,
        #[serde(borrow, default)]
        payor: Vec<Reference<'a>>,
    }
    let coverage: Coverage<'_> = json::object(json)?;
    let single = [
        ("Coverage.beneficiary", coverage.beneficiary),
        ("Coverage.subscriber", coverage.subscriber),
        ("Coverage.policyHolder", coverage.policy_holder),
    ];
    let single = single.into_iter().filter_map(|(path, reference)| Some((path, reference?)));
    Ok(single.chain(coverage.payor.into_iter().map(|payor| ("Coverage.payor", payor))).collect())
}

fn of_practitioner_role(json: &str) -> Result<Vec<(&'static str, Reference<'_>)>, serde_json::Error> {
    #[derive(Deserialize)]
    struct PractitionerRole<'a> {
        #[serde(borrow, default)]
        practitioner: Option<Reference<'a>>,
        #[serde(borrow, default)]
        organization: Option<Reference<'a>>,
        #[serde(borrow, default)]
        location: Vec<Reference<'a>>,
    }
    let role: PractitionerRole<'_> = json::object(json)?;
    let single =
        [("PractitionerRole.practitioner", role.practitioner), ("PractitionerRole.organization", role.organization)];
    let single = single.into_iter().filter_map(|(path, reference)| Some((path, reference?)));
    Ok(single.chain(role.location.into_iter().map(|location| ("PractitionerRole.location", location))).collect())
}

fn of_group(json: &str) -> Result<Vec<(&'static str, Reference<'_>)>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Characteristic<'a> {
        #[serde(borrow, default)]
        value_reference: Option<Reference<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Group<'a> {
        #[serde(borrow, default)]
        managing_entity: Option<Reference<'a>>,
        #[serde(borrow, default)]
        characteristic: Vec<Characteristic<'a>>,
    }
    let group: Group<'_> = json::object(json)?;
    let entity = group.managing_entity.map(|entity| ("Group.managingEntity", entity));
    let characteristics = group.characteristic.into_iter().filter_map(|characteristic| characteristic.value_reference);
    Ok(entity.into_iter().chain(characteristics.map(|value| ("Group.characteristic.value", value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(resource_type: ResourceType, json: &str) -> Vec<String> {
        let found = references(resource_type, json).expect("the test writes valid JSON");
        found.into_iter().map(|(path, reference)| format!("{path} {}", reference.text())).collect()
    }

    #[test]
    fn a_coverage_leads_to_its_people_and_payers() {
        let json = r#"{"resourceType":"Coverage","payor":[{"reference":"Organization/1"},{"reference":"RelatedPerson/2"}],
            "policyHolder":{"reference":"Organization/3"},"subscriber":{"reference":"RelatedPerson/4"},
            "beneficiary":{"reference":"Patient/5"},"contract":[{"reference":"Contract/6"}]}"#;
        assert_eq!(
            paths(ResourceType::COVERAGE, json),
            [
                "Coverage.beneficiary Patient/5",
                "Coverage.subscriber RelatedPerson/4",
                "Coverage.policyHolder Organization/3",
                "Coverage.payor Organization/1",
                "Coverage.payor RelatedPerson/2",
            ]
        );
    }

    #[test]
    fn a_role_leads_to_practitioner_organization_and_locations() {
        let json = r#"{"practitioner":{"reference":"Practitioner/1"},"organization":{"reference":"Organization/2"},
            "location":[{"reference":"Location/3"},{"reference":"Location/4"}],"endpoint":[{"reference":"Endpoint/5"}]}"#;
        assert_eq!(
            paths(ResourceType::PRACTITIONER_ROLE, json),
            [
                "PractitionerRole.practitioner Practitioner/1",
                "PractitionerRole.organization Organization/2",
                "PractitionerRole.location Location/3",
                "PractitionerRole.location Location/4",
            ]
        );
    }

    #[test]
    fn a_group_leads_to_its_managing_entity_and_characteristics() {
        let json = r#"{"managingEntity":{"reference":"Organization/1"},"characteristic":[{"valueReference":{"reference":"Location/2"}},
            {"valueCodeableConcept":{}}],"member":[{"entity":{"reference":"Patient/1"}}]}"#;
        assert_eq!(
            paths(ResourceType::GROUP, json),
            ["Group.managingEntity Organization/1", "Group.characteristic.value Location/2"]
        );
    }

    #[test]
    fn no_other_type_leads_further() {
        assert!(paths(ResourceType::PATIENT, r#"{"generalPractitioner":[{"reference":"Practitioner/1"}]}"#).is_empty());
    }

    #[test]
    fn a_member_names_its_patient_coverage_provider_and_more() {
        let url = |tail: &str| format!("http://hl7.org/fhir/us/davinci-atr/StructureDefinition/{tail}");
        let json = format!(
            r#"{{"extension":[{{"url":"{}","valueCode":"new"}},{{"url":"{}","valueReference":{{"reference":"Coverage/1"}}}},
            {{"url":"{}","valueReference":{{"reference":"Organization/2"}}}},{{"url":"{}","valueReference":{{"reference":"Observation/3"}}}}],
            "entity":{{"reference":"Patient/4"}}}}"#,
            url("ext-changeType"),
            url("ext-coverageReference"),
            url("ext-attributedProvider"),
            url("atr-any-resource-extension"),
        );
        let member = Member::read(&json).expect("the test writes valid JSON");
        let named: Vec<_> = member.references.iter().map(|(way, reference)| (*way, reference.text())).collect();
        assert!(member.has_entity());
        assert_eq!(
            named,
            [
                (Attribution::Entity, "Patient/4"),
                (Attribution::Coverage, "Coverage/1"),
                (Attribution::Provider, "Organization/2"),
                (Attribution::AssociatedData, "Observation/3"),
            ]
        );
    }

    #[test]
    fn a_member_without_an_entity_says_so() {
        assert!(!Member::read("{}").expect("an empty member is JSON").has_entity());
    }

    #[test]
    fn a_resource_keeps_its_text() {
        let line = r#"{"resourceType":"Patient", "x":1.10,"id":"a"}"#;
        let resource = Resource::read(&Bytes::from_static(line.as_bytes())).expect("it is a resource");
        assert_eq!((resource.key.to_string().as_str(), resource.body.as_ref()), ("Patient/a", line.as_bytes()));
    }

    #[test]
    fn what_is_no_resource_is_refused_with_the_reason() {
        for (text, reason) in [
            ("{", "not the JSON"),
            ("[]", "not the JSON"),
            ("{}", "no resourceType"),
            (r#"{"resourceType":"X"}"#, "'X' is not a resource type"),
            (r#"{"resourceType":"Patient"}"#, "no id"),
            (r#"{"resourceType":"Patient","id":"a/b"}"#, "id is not legal"),
            (r#"{"resourceType":"Patient","id":7}"#, "not the JSON"),
            (r#"{"resourceType":"Patient","id":"a","id":"b"}"#, "a field is repeated"),
            (r#"{"resourceType":"Patient","id":"a"} x"#, "not the JSON"),
            ("\u{feff}{}", "not the JSON"),
        ] {
            let error = Resource::read(&Bytes::from(text.to_owned())).expect_err(text);
            assert!(error.to_string().contains(reason), "{text}: {error}");
        }
        assert!(matches!(Resource::read(&Bytes::from_static(b"{\"\xff\":1}")), Err(Unreadable::Encoding(_))));
    }
}
