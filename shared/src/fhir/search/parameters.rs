//! The search parameters of each type, on one page.
//!
//! They are those of FHIR R4 of the kinds below, as far as one resource can answer them. Left out are `phonetic` and
//! `near`, which need more than a comparison, and `member` of Group, because a Group is searched without its members.

use super::parameter::{Detail, Parameter, ParameterKind};
use super::path::DECEASED;
use crate::fhir::ResourceType;

/// The search parameters of a type; none for a type that is no part of attribution lists.
#[must_use]
pub fn parameters(resource_type: ResourceType) -> &'static [Parameter] {
    match resource_type {
        ResourceType::GROUP => GROUP,
        ResourceType::PATIENT => PATIENT,
        ResourceType::COVERAGE => COVERAGE,
        ResourceType::RELATED_PERSON => RELATED_PERSON,
        ResourceType::PRACTITIONER => PRACTITIONER,
        ResourceType::PRACTITIONER_ROLE => PRACTITIONER_ROLE,
        ResourceType::ORGANIZATION => ORGANIZATION,
        ResourceType::LOCATION => LOCATION,
        _ => &[],
    }
}

/// The canonical URL of a search parameter of R4.
macro_rules! r4 {
    ($id:literal) => {
        Some(concat!("http://hl7.org/fhir/SearchParameter/", $id))
    };
}

type Definition = Option<&'static str>;

const fn row(name: &'static str, kind: ParameterKind, definition: Definition, path: &'static str) -> Parameter {
    Parameter { name, kind, definition, path, detail: Detail::Nothing }
}

const fn token(name: &'static str, definition: Definition, path: &'static str) -> Parameter {
    row(name, ParameterKind::Token, definition, path)
}

const fn code(name: &'static str, definition: Definition, path: &'static str, system: &'static str) -> Parameter {
    Parameter { detail: Detail::CodesOf(system), ..token(name, definition, path) }
}

const fn identifier(definition: Definition) -> Parameter {
    Parameter { detail: Detail::Identifiers, ..token("identifier", definition, "identifier") }
}

const fn string(name: &'static str, definition: Definition, path: &'static str) -> Parameter {
    row(name, ParameterKind::String, definition, path)
}

const fn date(name: &'static str, definition: Definition, path: &'static str) -> Parameter {
    row(name, ParameterKind::Date, definition, path)
}

const fn reference(
    name: &'static str,
    definition: Definition,
    path: &'static str,
    types: &'static [&'static str],
) -> Parameter {
    Parameter { detail: Detail::References(types), ..row(name, ParameterKind::Reference, definition, path) }
}

const GENDER: &str = "http://hl7.org/fhir/administrative-gender";
const ADDRESS_USE: &str = "http://hl7.org/fhir/address-use";

const MANAGERS: &[&str] = &["Organization", "RelatedPerson", "Practitioner", "PractitionerRole"];
const GENERAL_PRACTITIONERS: &[&str] = &["Practitioner", "PractitionerRole", "Organization"];
const PAYERS: &[&str] = &["Organization", "Patient", "RelatedPerson"];

const PHONES: &str = "telecom[system=phone]";
const EMAILS: &str = "telecom[system=email]";

/// The period in which the contract behind an attribution list is valid.
const CONTRACT_VALIDITY: &str = concat!(
    "extension[url=http://hl7.org/fhir/us/davinci-atr/StructureDefinition/ext-contractValidityPeriod]",
    ".valuePeriod"
);

// Every type has these five (R4 search, "Parameters for all resources").
const ID: Parameter = token("_id", r4!("Resource-id"), "id");
const LAST_UPDATED: Parameter = date("_lastUpdated", r4!("Resource-lastUpdated"), "meta.lastUpdated");
const PROFILE: Parameter = row("_profile", ParameterKind::Uri, r4!("Resource-profile"), "meta.profile");
const SECURITY: Parameter = token("_security", r4!("Resource-security"), "meta.security");
const TAG: Parameter = token("_tag", r4!("Resource-tag"), "meta.tag");

/// The five, and what a type has besides.
macro_rules! table {
    ($($row:expr),* $(,)?) => {
        &[ID, LAST_UPDATED, PROFILE, SECURITY, TAG, $($row),*]
    };
}

const GROUP: &[Parameter] = table![
    token("actual", r4!("Group-actual"), "actual"),
    token("characteristic", r4!("Group-characteristic"), "characteristic.code"),
    row("characteristic-value", ParameterKind::Composite, r4!("Group-characteristic-value"), "characteristic"),
    token("code", r4!("Group-code"), "code"),
    token("exclude", r4!("Group-exclude"), "characteristic.exclude"),
    identifier(r4!("Group-identifier")),
    reference("managing-entity", r4!("Group-managing-entity"), "managingEntity", MANAGERS),
    string("name", None, "name"),
    date("period", None, CONTRACT_VALIDITY),
    code("type", r4!("Group-type"), "type", "http://hl7.org/fhir/group-type"),
    token("value", r4!("Group-value"), "characteristic.valueCodeableConcept | characteristic.valueBoolean"),
];

const PATIENT: &[Parameter] = table![
    token("active", r4!("Patient-active"), "active"),
    string("address", r4!("individual-address"), "address"),
    string("address-city", r4!("individual-address-city"), "address.city"),
    string("address-country", r4!("individual-address-country"), "address.country"),
    string("address-postalcode", r4!("individual-address-postalcode"), "address.postalCode"),
    string("address-state", r4!("individual-address-state"), "address.state"),
    code("address-use", r4!("individual-address-use"), "address.use", ADDRESS_USE),
    date("birthdate", r4!("individual-birthdate"), "birthDate"),
    date("death-date", r4!("Patient-death-date"), "deceasedDateTime"),
    token("deceased", r4!("Patient-deceased"), DECEASED),
    token("email", r4!("individual-email"), EMAILS),
    string("family", r4!("individual-family"), "name.family"),
    code("gender", r4!("individual-gender"), "gender", GENDER),
    reference(
        "general-practitioner",
        r4!("Patient-general-practitioner"),
        "generalPractitioner",
        GENERAL_PRACTITIONERS
    ),
    string("given", r4!("individual-given"), "name.given"),
    identifier(r4!("Patient-identifier")),
    token("language", r4!("Patient-language"), "communication.language"),
    reference("link", r4!("Patient-link"), "link.other", &["Patient", "RelatedPerson"]),
    string("name", r4!("Patient-name"), "name"),
    reference("organization", r4!("Patient-organization"), "managingOrganization", &["Organization"]),
    token("phone", r4!("individual-phone"), PHONES),
    token("telecom", r4!("individual-telecom"), "telecom"),
];

const COVERAGE: &[Parameter] = table![
    reference("beneficiary", r4!("Coverage-beneficiary"), "beneficiary", &["Patient"]),
    token("class-type", r4!("Coverage-class-type"), "class.type"),
    string("class-value", r4!("Coverage-class-value"), "class.value"),
    string("dependent", r4!("Coverage-dependent"), "dependent"),
    identifier(r4!("Coverage-identifier")),
    reference("patient", r4!("Coverage-patient"), "beneficiary", &["Patient"]),
    reference("payor", r4!("Coverage-payor"), "payor", PAYERS),
    reference("policy-holder", r4!("Coverage-policy-holder"), "policyHolder", PAYERS),
    code("status", r4!("Coverage-status"), "status", "http://hl7.org/fhir/fm-status"),
    reference("subscriber", r4!("Coverage-subscriber"), "subscriber", &["Patient", "RelatedPerson"]),
    token("type", r4!("Coverage-type"), "type"),
];

const RELATED_PERSON: &[Parameter] = table![
    token("active", r4!("RelatedPerson-active"), "active"),
    string("address", r4!("individual-address"), "address"),
    string("address-city", r4!("individual-address-city"), "address.city"),
    string("address-country", r4!("individual-address-country"), "address.country"),
    string("address-postalcode", r4!("individual-address-postalcode"), "address.postalCode"),
    string("address-state", r4!("individual-address-state"), "address.state"),
    code("address-use", r4!("individual-address-use"), "address.use", ADDRESS_USE),
    date("birthdate", r4!("individual-birthdate"), "birthDate"),
    token("email", r4!("individual-email"), EMAILS),
    code("gender", r4!("individual-gender"), "gender", GENDER),
    identifier(r4!("RelatedPerson-identifier")),
    string("name", r4!("RelatedPerson-name"), "name"),
    reference("patient", r4!("RelatedPerson-patient"), "patient", &["Patient"]),
    token("phone", r4!("individual-phone"), PHONES),
    token("relationship", r4!("RelatedPerson-relationship"), "relationship"),
    token("telecom", r4!("individual-telecom"), "telecom"),
];

const PRACTITIONER: &[Parameter] = table![
    token("active", r4!("Practitioner-active"), "active"),
    string("address", r4!("individual-address"), "address"),
    string("address-city", r4!("individual-address-city"), "address.city"),
    string("address-country", r4!("individual-address-country"), "address.country"),
    string("address-postalcode", r4!("individual-address-postalcode"), "address.postalCode"),
    string("address-state", r4!("individual-address-state"), "address.state"),
    code("address-use", r4!("individual-address-use"), "address.use", ADDRESS_USE),
    token("communication", r4!("Practitioner-communication"), "communication"),
    token("email", r4!("individual-email"), EMAILS),
    string("family", r4!("individual-family"), "name.family"),
    code("gender", r4!("individual-gender"), "gender", GENDER),
    string("given", r4!("individual-given"), "name.given"),
    identifier(r4!("Practitioner-identifier")),
    string("name", r4!("Practitioner-name"), "name"),
    token("phone", r4!("individual-phone"), PHONES),
    token("telecom", r4!("individual-telecom"), "telecom"),
];

const PRACTITIONER_ROLE: &[Parameter] = table![
    token("active", r4!("PractitionerRole-active"), "active"),
    date("date", r4!("PractitionerRole-date"), "period"),
    token("email", r4!("individual-email"), EMAILS),
    reference("endpoint", r4!("PractitionerRole-endpoint"), "endpoint", &["Endpoint"]),
    identifier(r4!("PractitionerRole-identifier")),
    reference("location", r4!("PractitionerRole-location"), "location", &["Location"]),
    reference("organization", r4!("PractitionerRole-organization"), "organization", &["Organization"]),
    token("phone", r4!("individual-phone"), PHONES),
    reference("practitioner", r4!("PractitionerRole-practitioner"), "practitioner", &["Practitioner"]),
    token("role", r4!("PractitionerRole-role"), "code"),
    reference("service", r4!("PractitionerRole-service"), "healthcareService", &["HealthcareService"]),
    token("specialty", r4!("PractitionerRole-specialty"), "specialty"),
    token("telecom", r4!("individual-telecom"), "telecom"),
];

const ORGANIZATION: &[Parameter] = table![
    token("active", r4!("Organization-active"), "active"),
    string("address", r4!("Organization-address"), "address"),
    string("address-city", r4!("Organization-address-city"), "address.city"),
    string("address-country", r4!("Organization-address-country"), "address.country"),
    string("address-postalcode", r4!("Organization-address-postalcode"), "address.postalCode"),
    string("address-state", r4!("Organization-address-state"), "address.state"),
    code("address-use", r4!("Organization-address-use"), "address.use", ADDRESS_USE),
    reference("endpoint", r4!("Organization-endpoint"), "endpoint", &["Endpoint"]),
    identifier(r4!("Organization-identifier")),
    string("name", r4!("Organization-name"), "name | alias"),
    reference("partof", r4!("Organization-partof"), "partOf", &["Organization"]),
    token("type", r4!("Organization-type"), "type"),
];

const LOCATION: &[Parameter] = table![
    string("address", r4!("Location-address"), "address"),
    string("address-city", r4!("Location-address-city"), "address.city"),
    string("address-country", r4!("Location-address-country"), "address.country"),
    string("address-postalcode", r4!("Location-address-postalcode"), "address.postalCode"),
    string("address-state", r4!("Location-address-state"), "address.state"),
    code("address-use", r4!("Location-address-use"), "address.use", ADDRESS_USE),
    reference("endpoint", r4!("Location-endpoint"), "endpoint", &["Endpoint"]),
    identifier(r4!("Location-identifier")),
    string("name", r4!("Location-name"), "name | alias"),
    token("operational-status", r4!("Location-operational-status"), "operationalStatus"),
    reference("organization", r4!("Location-organization"), "managingOrganization", &["Organization"]),
    reference("partof", r4!("Location-partof"), "partOf", &["Location"]),
    code("status", r4!("Location-status"), "status", "http://hl7.org/fhir/location-status"),
    token("type", r4!("Location-type"), "type"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_of_an_attribution_list_has_parameters_each_named_once() {
        for resource_type in ResourceType::ATTRIBUTION {
            let table = parameters(resource_type);
            let names: BTreeSet<_> = table.iter().map(|parameter| parameter.name).collect();
            assert!(names.contains("_id") && names.contains("identifier"), "{resource_type}");
            assert_eq!(names.len(), table.len(), "{resource_type}");
        }
        assert!(parameters(ResourceType::BUNDLE).is_empty());
    }

    #[test]
    fn only_the_name_and_the_period_of_a_group_have_no_definition() {
        let undefined: Vec<_> = ResourceType::ATTRIBUTION
            .into_iter()
            .flat_map(|of| parameters(of).iter().map(move |parameter| (of, parameter)))
            .filter(|(_, parameter)| parameter.definition.is_none())
            .map(|(of, parameter)| (of, parameter.name))
            .collect();
        assert_eq!(undefined, [(ResourceType::GROUP, "name"), (ResourceType::GROUP, "period")]);
    }

    #[test]
    fn every_reference_leads_to_types_that_fhir_has() {
        for parameter in ResourceType::ATTRIBUTION.into_iter().flat_map(parameters) {
            if let Detail::References(types) = parameter.detail {
                assert!(types.iter().all(|name| name.parse::<ResourceType>().is_ok()), "{}", parameter.name);
            }
        }
    }
}
