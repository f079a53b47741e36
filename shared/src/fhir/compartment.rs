//! The compartment of a Patient: which resources are about which Patients (R4 `CompartmentDefinition/patient`).

use serde::Deserialize;

use super::{OwnBases, Reference, ResourceId, ResourceType, Target, json, references};

/// The Patients of this server in whose compartments a resource is, each once, the closest first:
///
/// - a Patient is in its own;
/// - a Coverage in those of `beneficiary`, `subscriber`, `policyHolder` and `payor`;
/// - a RelatedPerson in that of `patient`;
/// - a Group is in those of its members, whom only the source of the list knows: none here;
/// - any other type of an attribution list in none.
///
/// A reference that leads to no Patient of this server counts for nothing. Fails when the text is no JSON object, or an
/// element that is read has another shape than FHIR gives it.
pub fn patients(resource_type: ResourceType, json: &str, own: &OwnBases) -> Result<Vec<ResourceId>, serde_json::Error> {
    match resource_type {
        ResourceType::PATIENT => id(json).map(Vec::from_iter),
        ResourceType::COVERAGE => {
            let named = references(resource_type, json)?;
            Ok(of_this_server(named.iter().map(|(_, reference)| reference), own))
        }
        ResourceType::RELATED_PERSON => Ok(of_this_server(patient(json)?.iter(), own)),
        _ => Ok(Vec::new()),
    }
}

fn id(json: &str) -> Result<Option<ResourceId>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Patient {
        #[serde(default)]
        id: Option<ResourceId>,
    }
    Ok(json::object::<Patient>(json)?.id)
}

fn patient(json: &str) -> Result<Option<Reference<'_>>, serde_json::Error> {
    #[derive(Deserialize)]
    struct RelatedPerson<'a> {
        #[serde(borrow, default)]
        patient: Option<Reference<'a>>,
    }
    Ok(json::object::<RelatedPerson<'_>>(json)?.patient)
}

fn of_this_server<'a>(references: impl Iterator<Item = &'a Reference<'a>>, own: &OwnBases) -> Vec<ResourceId> {
    let mut patients = Vec::new();
    for reference in references {
        if let Ok(Target::Local(key)) = reference.target(own)
            && key.resource_type == ResourceType::PATIENT
            && !patients.contains(&key.id)
        {
            patients.push(key.id);
        }
    }
    patients
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(resource_type: ResourceType, json: &str) -> String {
        let own = OwnBases::new(["https://api.example.org/fhir"]);
        let patients = patients(resource_type, json, &own).expect("the test writes JSON objects");
        patients.iter().map(ResourceId::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_patient_is_in_its_own_compartment() {
        assert_eq!(of(ResourceType::PATIENT, r#"{"id":"1","link":[{"other":{"reference":"Patient/2"}}]}"#), "1");
        assert_eq!(of(ResourceType::PATIENT, "{}"), "");
    }

    #[test]
    fn a_coverage_is_in_those_of_its_people_each_once() {
        let json = r#"{"policyHolder":{"reference":"Patient/1"},"subscriber":{"reference":"Patient/2"},
            "beneficiary":{"reference":"https://api.example.org/fhir/Patient/1"},
            "payor":[{"reference":"Organization/3"},{"reference":"Patient/4/_history/5"}]}"#;
        assert_eq!(of(ResourceType::COVERAGE, json), "1 2 4");
    }

    #[test]
    fn a_related_person_is_in_that_of_its_patient() {
        assert_eq!(of(ResourceType::RELATED_PERSON, r#"{"id":"9","patient":{"reference":"Patient/1"}}"#), "1");
        assert_eq!(of(ResourceType::RELATED_PERSON, r#"{"id":"9"}"#), "");
    }

    #[test]
    fn a_reference_that_leads_to_no_patient_of_this_server_counts_for_nothing() {
        for reference in ["#p1", "urn:uuid:1", "https://elsewhere.example.org/Patient/1", "Group/1", "Patient?name=x"] {
            let json = format!(r#"{{"beneficiary":{{"reference":"{reference}"}}}}"#);
            assert_eq!(of(ResourceType::COVERAGE, &json), "", "{reference}");
        }
    }

    #[test]
    fn the_head_of_a_group_and_the_providers_are_in_none() {
        for resource_type in [ResourceType::GROUP, ResourceType::PRACTITIONER_ROLE, ResourceType::ORGANIZATION] {
            assert_eq!(of(resource_type, r#"{"id":"1","managingEntity":{"reference":"Patient/1"}}"#), "");
        }
    }

    #[test]
    fn what_has_another_shape_is_refused() {
        let own = OwnBases::default();
        assert!(patients(ResourceType::COVERAGE, "[]", &own).is_err());
        assert!(patients(ResourceType::PATIENT, r#"{"id":"a/b"}"#, &own).is_err());
        assert!(patients(ResourceType::RELATED_PERSON, r#"{"patient":7}"#, &own).is_err());
    }
}
