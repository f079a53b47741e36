//! The root elements of the eight types of an attribution list, as the StructureDefinitions of FHIR R4 (4.0.1) give
//! them: which there are, which must be there, and which belong to a summary.

use crate::fhir::ResourceType;

/// One root element of a resource.
#[derive(Debug)]
pub struct Element {
    /// Its name, without the type that a choice ends with: `deceased`.
    pub name: &'static str,
    /// The names in JSON of an element with a choice of types; empty when that is `name` itself.
    choices: &'static [&'static str],
    place: Place,
}

/// How much of a resource can be left out before an element goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Never left out.
    Always,
    /// In a summary (`isSummary`).
    Summary,
    /// In the whole resource only.
    Whole,
}

impl Element {
    const fn always(name: &'static str) -> Self {
        Self { name, choices: &[], place: Place::Always }
    }

    const fn summary(name: &'static str) -> Self {
        Self { name, choices: &[], place: Place::Summary }
    }

    const fn whole(name: &'static str) -> Self {
        Self { name, choices: &[], place: Place::Whole }
    }

    const fn of(self, choices: &'static [&'static str]) -> Self {
        Self { choices, ..self }
    }

    /// Whether it stays however much is left out.
    #[must_use]
    pub fn is_always_there(&self) -> bool {
        self.place == Place::Always
    }

    /// Whether it belongs to a summary.
    #[must_use]
    pub fn is_in_summary(&self) -> bool {
        self.place != Place::Whole
    }

    fn is_written_as(&self, field: &str) -> bool {
        if self.choices.is_empty() { self.name == field } else { self.choices.contains(&field) }
    }
}

/// The element that a field of the JSON of a resource holds: `deceased` for `deceasedBoolean`. `None` for a field that
/// R4 does not have, and for every field of a type that is none of the eight.
#[must_use]
pub fn of_field(resource_type: ResourceType, field: &str) -> Option<&'static Element> {
    elements(resource_type).find(|element| element.is_written_as(field))
}

/// The element of that name, or with that field.
#[must_use]
pub fn named(resource_type: ResourceType, name: &str) -> Option<&'static Element> {
    elements(resource_type).find(|element| element.name == name || element.is_written_as(name))
}

fn elements(resource_type: ResourceType) -> impl Iterator<Item = &'static Element> {
    let own: &[Element] = match resource_type {
        ResourceType::GROUP => &GROUP,
        ResourceType::PATIENT => &PATIENT,
        ResourceType::COVERAGE => &COVERAGE,
        ResourceType::RELATED_PERSON => &RELATED_PERSON,
        ResourceType::PRACTITIONER => &PRACTITIONER,
        ResourceType::PRACTITIONER_ROLE => &PRACTITIONER_ROLE,
        ResourceType::ORGANIZATION => &ORGANIZATION,
        ResourceType::LOCATION => &LOCATION,
        _ => &[],
    };
    let common: &[Element] = if own.is_empty() { &[] } else { &COMMON };
    own.iter().chain(common)
}

/// Resource and DomainResource. `resourceType` belongs to the JSON and not to the model; some clients list it.
/// `implicitRules` and `modifierExtension` change what the rest means, so nothing may be read without them.
static COMMON: [Element; 9] = [
    Element::always("resourceType"),
    Element::always("id"),
    Element::always("meta"),
    Element::always("implicitRules"),
    Element::always("modifierExtension"),
    Element::whole("language"),
    Element::whole("text"),
    Element::whole("contained"),
    Element::whole("extension"),
];

static GROUP: [Element; 10] = [
    Element::always("type"),
    Element::always("actual"),
    Element::summary("identifier"),
    Element::summary("active"),
    Element::summary("code"),
    Element::summary("name"),
    Element::summary("quantity"),
    Element::summary("managingEntity"),
    Element::whole("characteristic"),
    Element::whole("member"),
];

static PATIENT: [Element; 16] = [
    Element::summary("identifier"),
    Element::summary("active"),
    Element::summary("name"),
    Element::summary("telecom"),
    Element::summary("gender"),
    Element::summary("birthDate"),
    Element::summary("deceased").of(&["deceasedBoolean", "deceasedDateTime"]),
    Element::summary("address"),
    Element::summary("managingOrganization"),
    Element::summary("link"),
    Element::whole("maritalStatus"),
    Element::whole("multipleBirth").of(&["multipleBirthBoolean", "multipleBirthInteger"]),
    Element::whole("photo"),
    Element::whole("contact"),
    Element::whole("communication"),
    Element::whole("generalPractitioner"),
];

static COVERAGE: [Element; 17] = [
    Element::always("status"),
    Element::always("beneficiary"),
    Element::always("payor"),
    Element::summary("identifier"),
    Element::summary("type"),
    Element::summary("policyHolder"),
    Element::summary("subscriber"),
    Element::summary("subscriberId"),
    Element::summary("dependent"),
    Element::summary("period"),
    Element::summary("order"),
    Element::summary("network"),
    Element::whole("relationship"),
    Element::whole("class"),
    Element::whole("costToBeneficiary"),
    Element::whole("subrogation"),
    Element::whole("contract"),
];

static RELATED_PERSON: [Element; 12] = [
    Element::always("patient"),
    Element::summary("identifier"),
    Element::summary("active"),
    Element::summary("relationship"),
    Element::summary("name"),
    Element::summary("telecom"),
    Element::summary("gender"),
    Element::summary("birthDate"),
    Element::summary("address"),
    Element::whole("photo"),
    Element::whole("period"),
    Element::whole("communication"),
];

static PRACTITIONER: [Element; 10] = [
    Element::summary("identifier"),
    Element::summary("active"),
    Element::summary("name"),
    Element::summary("telecom"),
    Element::summary("address"),
    Element::summary("gender"),
    Element::summary("birthDate"),
    Element::whole("photo"),
    Element::whole("qualification"),
    Element::whole("communication"),
];

static PRACTITIONER_ROLE: [Element; 14] = [
    Element::summary("identifier"),
    Element::summary("active"),
    Element::summary("period"),
    Element::summary("practitioner"),
    Element::summary("organization"),
    Element::summary("code"),
    Element::summary("specialty"),
    Element::summary("location"),
    Element::summary("telecom"),
    Element::whole("healthcareService"),
    Element::whole("availableTime"),
    Element::whole("notAvailable"),
    Element::whole("availabilityExceptions"),
    Element::whole("endpoint"),
];

static ORGANIZATION: [Element; 10] = [
    Element::summary("identifier"),
    Element::summary("active"),
    Element::summary("type"),
    Element::summary("name"),
    Element::summary("partOf"),
    Element::whole("alias"),
    Element::whole("telecom"),
    Element::whole("address"),
    Element::whole("contact"),
    Element::whole("endpoint"),
];

static LOCATION: [Element; 17] = [
    Element::summary("identifier"),
    Element::summary("status"),
    Element::summary("operationalStatus"),
    Element::summary("name"),
    Element::summary("description"),
    Element::summary("mode"),
    Element::summary("type"),
    Element::summary("physicalType"),
    Element::summary("managingOrganization"),
    Element::whole("alias"),
    Element::whole("telecom"),
    Element::whole("address"),
    Element::whole("position"),
    Element::whole("partOf"),
    Element::whole("hoursOfOperation"),
    Element::whole("availabilityExceptions"),
    Element::whole("endpoint"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_element_stands_in_the_table_twice() {
        for resource_type in ResourceType::ATTRIBUTION {
            let mut names: Vec<_> = elements(resource_type).map(|element| element.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{resource_type}");
        }
    }

    #[test]
    fn a_choice_of_types_is_found_by_its_fields_and_by_its_name() {
        for name in ["deceased", "deceasedBoolean", "deceasedDateTime"] {
            assert_eq!(named(ResourceType::PATIENT, name).map(|element| element.name), Some("deceased"), "{name}");
        }
        assert!(of_field(ResourceType::PATIENT, "deceased").is_none(), "no field of the JSON is written so");
    }

    #[test]
    fn a_type_that_no_list_is_made_of_has_no_elements() {
        assert!(named(ResourceType::BUNDLE, "id").is_none());
    }
}
