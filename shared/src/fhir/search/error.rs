//! Why a search is refused.

use thiserror::Error;

use super::{MAX_CLAUSES, MAX_VALUES, parameters};
use crate::fhir::ResourceType;

/// Why a search is refused: which parameter, what is wrong with it, what to do.
///
/// The texts name parameters and modifiers, never a value: it may be about a person.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SearchError {
    /// No `?`, so that nothing says which type is meant.
    #[error("a query names one resource type and its criteria: write it as Type?name=value")]
    NoType,
    /// The word before the `?` is no resource type of FHIR R4.
    #[error("'{0}' is not a resource type of FHIR R4: write the query as Type?name=value")]
    UnknownType(String),
    /// A type that this server does not hold.
    #[error("{0} cannot be searched here: use one of {types}", types = types())]
    UnsupportedType(ResourceType),
    /// The bytes behind the percent escapes are no text.
    #[error("a name or a value is not UTF-8 after its percent escapes are decoded: encode it as UTF-8")]
    Encoding,
    /// The type has no such parameter, or this server does not know it.
    #[error("'{name}' is not a search parameter of {resource_type} here: use one of {}", known(*resource_type))]
    UnknownParameter {
        /// The type that was searched for.
        resource_type: ResourceType,
        /// The name as it was given, cut short.
        name: String,
    },
    /// A parameter that shapes the result of a search, such as `_sort` (Bulk Data, `_typeFilter`).
    #[error("'{0}' shapes the result of a search and says nothing about which resources are found: leave it out")]
    ResultParameter(String),
    /// `patient.name` or `_has:…`.
    #[error(
        "'{0}' is a chained parameter, which this server does not follow: search by a parameter of the type itself"
    )]
    Chained(String),
    /// A modifier that the parameter does not take.
    #[error("'{name}' does not take the modifier ':{modifier}' here: use {supported}")]
    Modifier {
        /// The parameter.
        name: &'static str,
        /// The modifier as it was given, cut short.
        modifier: String,
        /// Those that it takes.
        supported: String,
    },
    /// No value, or nothing between two commas.
    #[error("'{0}' has an empty value: write {0}=value, and values with a comma between them")]
    Empty(&'static str),
    /// A value that is not of the form of its parameter.
    #[error("'{name}' has a value that cannot be used: {problem}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What is wrong and how it is written.
        problem: String,
    },
    /// More than [`MAX_CLAUSES`].
    #[error("a query has at most {MAX_CLAUSES} parameters: split it in several")]
    TooManyClauses,
    /// More than [`MAX_VALUES`].
    #[error("a query has at most {MAX_VALUES} values: split it in several")]
    TooManyValues,
}

/// So much of a name that came from outside as an error repeats.
pub(super) fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn types() -> String {
    ResourceType::ATTRIBUTION.map(ResourceType::name).join(", ")
}

fn known(resource_type: ResourceType) -> String {
    parameters(resource_type).iter().map(|parameter| parameter.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Query;
    use super::*;

    fn refusal(text: &str) -> String {
        Query::parse(text).expect_err("the test writes what is refused").to_string()
    }

    #[test]
    fn what_cannot_be_searched_is_refused_with_what_to_do() {
        for (text, says) in [
            ("active=true", "write it as Type?name=value"),
            ("Nonsense?a=b", "'Nonsense' is not a resource type of FHIR R4"),
            ("Observation?code=1", "Observation cannot be searched here: use one of Group, Patient, Coverage"),
            ("Patient?color=red", "'color' is not a search parameter of Patient here: use one of _id, _lastUpdated"),
            ("Group?member=Patient/1", "'member' is not a search parameter of Group"),
            ("Patient?_sort=name", "'_sort' shapes the result"),
            ("Patient?_include:iterate=Patient:link", "'_include' shapes the result"),
            ("Coverage?patient.name=a", "'patient.name' is a chained parameter"),
            ("Patient?_has:Coverage:patient:status=active", "is a chained parameter"),
            ("Patient?gender:text=f", "does not take the modifier ':text' here: use ':not', ':missing'"),
            ("Patient?identifier:exact=f", "use ':not', ':of-type', ':missing'"),
            ("Patient?name:not=f", "use ':contains', ':exact', ':missing'"),
            ("Coverage?patient:Group=1", "use ':identifier', ':Patient', ':missing'"),
            ("Coverage?patient=Group/1", "only Patient can be"),
            ("Patient?birthdate=soon", "'birthdate' has a value that cannot be used: write it as 2026, 2026-01"),
            ("Patient?name=", "'name' has an empty value"),
            ("Patient?name", "'name' has an empty value"),
            ("Patient?gender=male,,female", "'gender' has an empty value"),
            ("Patient?gender:missing=maybe", "':missing' is true or false"),
            ("Patient?identifier:of-type=NPI|1", "type-system|type-code|value"),
            ("Patient?name=%FF", "not UTF-8"),
            ("Group?characteristic-value=a", "write it as code$value"),
        ] {
            assert!(refusal(text).contains(says), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn no_refusal_repeats_a_value() {
        for text in [
            "Patient?birthdate=secret",
            "Patient?gender:missing=secret",
            "Coverage?patient=Group/secret",
            "Patient?identifier=se|c|r|secret",
            "Group?characteristic-value=secret",
        ] {
            assert!(!refusal(text).contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_query_is_bounded() {
        let clauses = |count| format!("Patient?{}", vec!["active=true"; count].join("&"));
        let values = |count| format!("Patient?_id={}", vec!["a"; count].join(","));
        assert!(Query::parse(&clauses(MAX_CLAUSES)).is_ok() && Query::parse(&values(MAX_VALUES)).is_ok());
        assert_eq!(Query::parse(&clauses(MAX_CLAUSES + 1)), Err(SearchError::TooManyClauses));
        assert_eq!(Query::parse(&values(MAX_VALUES + 1)), Err(SearchError::TooManyValues));
    }
}
