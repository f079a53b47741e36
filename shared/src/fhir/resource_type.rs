//! The resource types of FHIR R4.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// One of the resource types of FHIR R4 (R4 `ResourceType` value set), two bytes wide.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceType(u16);

/// A word that names no resource type of FHIR R4.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is not a resource type of FHIR R4")]
pub struct UnknownType(pub String);

impl ResourceType {
    /// `Group`
    pub const GROUP: Self = Self::named("Group");
    /// `Patient`
    pub const PATIENT: Self = Self::named("Patient");
    /// `Coverage`
    pub const COVERAGE: Self = Self::named("Coverage");
    /// `RelatedPerson`
    pub const RELATED_PERSON: Self = Self::named("RelatedPerson");
    /// `Practitioner`
    pub const PRACTITIONER: Self = Self::named("Practitioner");
    /// `PractitionerRole`
    pub const PRACTITIONER_ROLE: Self = Self::named("PractitionerRole");
    /// `Organization`
    pub const ORGANIZATION: Self = Self::named("Organization");
    /// `Location`
    pub const LOCATION: Self = Self::named("Location");
    /// `OperationOutcome`: the type of the lines of an `error` file.
    pub const OPERATION_OUTCOME: Self = Self::named("OperationOutcome");
    /// `Bundle`: a container, never an exported resource.
    pub const BUNDLE: Self = Self::named("Bundle");

    /// The types of the Da Vinci ATR guide, in the order in which a manifest lists them (standards §3.2).
    pub const ATTRIBUTION: [Self; 8] = [
        Self::GROUP,
        Self::PATIENT,
        Self::COVERAGE,
        Self::RELATED_PERSON,
        Self::PRACTITIONER,
        Self::PRACTITIONER_ROLE,
        Self::ORGANIZATION,
        Self::LOCATION,
    ];

    const fn named(name: &str) -> Self {
        let mut at = 0;
        while at < NAMES.len() {
            if same(NAMES[at].as_bytes(), name.as_bytes()) {
                #[expect(clippy::cast_possible_truncation, reason = "the table has fewer than 65,536 names")]
                return Self(at as u16);
            }
            at += 1;
        }
        panic!("no such resource type");
    }

    /// The name as FHIR spells it, for example `PractitionerRole`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// Whether the guide's attribution lists are made of this type, so that `_type` may ask for it.
    #[must_use]
    pub fn is_attribution(self) -> bool {
        Self::ATTRIBUTION.contains(&self)
    }
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl FromStr for ResourceType {
    type Err = UnknownType;

    fn from_str(name: &str) -> Result<Self, UnknownType> {
        // Nearly all that is asked for is one of these, and to compare lengths first is quicker than to search.
        if let Some(common) = Self::ATTRIBUTION.into_iter().find(|common| common.name() == name) {
            return Ok(common);
        }
        let at = NAMES.binary_search(&name).map_err(|_| UnknownType(name.to_owned()))?;
        Ok(Self(u16::try_from(at).expect("the table has fewer than 65,536 names")))
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for ResourceType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ResourceType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// In byte order, so that a name is found by halving.
const NAMES: [&str; 146] = [
    "Account",
    "ActivityDefinition",
    "AdverseEvent",
    "AllergyIntolerance",
    "Appointment",
    "AppointmentResponse",
    "AuditEvent",
    "Basic",
    "Binary",
    "BiologicallyDerivedProduct",
    "BodyStructure",
    "Bundle",
    "CapabilityStatement",
    "CarePlan",
    "CareTeam",
    "CatalogEntry",
    "ChargeItem",
    "ChargeItemDefinition",
    "Claim",
    "ClaimResponse",
    "ClinicalImpression",
    "CodeSystem",
    "Communication",
    "CommunicationRequest",
    "CompartmentDefinition",
    "Composition",
    "ConceptMap",
    "Condition",
    "Consent",
    "Contract",
    "Coverage",
    "CoverageEligibilityRequest",
    "CoverageEligibilityResponse",
    "DetectedIssue",
    "Device",
    "DeviceDefinition",
    "DeviceMetric",
    "DeviceRequest",
    "DeviceUseStatement",
    "DiagnosticReport",
    "DocumentManifest",
    "DocumentReference",
    "EffectEvidenceSynthesis",
    "Encounter",
    "Endpoint",
    "EnrollmentRequest",
    "EnrollmentResponse",
    "EpisodeOfCare",
    "EventDefinition",
    "Evidence",
    "EvidenceVariable",
    "ExampleScenario",
    "ExplanationOfBenefit",
    "FamilyMemberHistory",
    "Flag",
    "Goal",
    "GraphDefinition",
    "Group",
    "GuidanceResponse",
    "HealthcareService",
    "ImagingStudy",
    "Immunization",
    "ImmunizationEvaluation",
    "ImmunizationRecommendation",
    "ImplementationGuide",
    "InsurancePlan",
    "Invoice",
    "Library",
    "Linkage",
    "List",
    "Location",
    "Measure",
    "MeasureReport",
    "Media",
    "Medication",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationKnowledge",
    "MedicationRequest",
    "MedicationStatement",
    "MedicinalProduct",
    "MedicinalProductAuthorization",
    "MedicinalProductContraindication",
    "MedicinalProductIndication",
    "MedicinalProductIngredient",
    "MedicinalProductInteraction",
    "MedicinalProductManufactured",
    "MedicinalProductPackaged",
    "MedicinalProductPharmaceutical",
    "MedicinalProductUndesirableEffect",
    "MessageDefinition",
    "MessageHeader",
    "MolecularSequence",
    "NamingSystem",
    "NutritionOrder",
    "Observation",
    "ObservationDefinition",
    "OperationDefinition",
    "OperationOutcome",
    "Organization",
    "OrganizationAffiliation",
    "Parameters",
    "Patient",
    "PaymentNotice",
    "PaymentReconciliation",
    "Person",
    "PlanDefinition",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Provenance",
    "Questionnaire",
    "QuestionnaireResponse",
    "RelatedPerson",
    "RequestGroup",
    "ResearchDefinition",
    "ResearchElementDefinition",
    "ResearchStudy",
    "ResearchSubject",
    "RiskAssessment",
    "RiskEvidenceSynthesis",
    "Schedule",
    "SearchParameter",
    "ServiceRequest",
    "Slot",
    "Specimen",
    "SpecimenDefinition",
    "StructureDefinition",
    "StructureMap",
    "Subscription",
    "Substance",
    "SubstanceNucleicAcid",
    "SubstancePolymer",
    "SubstanceProtein",
    "SubstanceReferenceInformation",
    "SubstanceSourceMaterial",
    "SubstanceSpecification",
    "SupplyDelivery",
    "SupplyRequest",
    "Task",
    "TerminologyCapabilities",
    "TestReport",
    "TestScript",
    "ValueSet",
    "VerificationResult",
    "VisionPrescription",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again() {
        for name in NAMES {
            assert_eq!(name.parse::<ResourceType>().map(ResourceType::name), Ok(name));
        }
    }

    #[test]
    fn a_word_that_is_no_type_is_named_in_the_error() {
        let error = "patient".parse::<ResourceType>().expect_err("types are case-sensitive");
        assert_eq!(error.to_string(), "'patient' is not a resource type of FHIR R4");
    }
}
