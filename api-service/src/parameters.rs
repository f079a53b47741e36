//! The parameters of a kick-off, from a query or from a `Parameters` resource, as one valid request. Pure.

use std::collections::BTreeSet;

use serde_json::Value;
use shared::export::Operation;
use shared::fhir::{Instant, IssueCode, ResourceType};
use url::form_urlencoded;

use crate::error::ApiError;

/// The spellings of NDJSON that every server takes (standards §1.2, `_outputFormat`).
const NDJSON: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// The spellings of the ATR export type that are met (standards §5.24).
const EXPORT_TYPES: [&str; 2] = ["hl7.fhir.us.davinci-atr", "http://hl7.org/fhir/us/davinci-atr"];

/// What `_type` must hold on `$davinci-data-export` (standards §3.2, "minimum").
const MINIMUM: [ResourceType; 3] = [ResourceType::GROUP, ResourceType::PATIENT, ResourceType::COVERAGE];

/// The parameters, checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// `_type`.
    pub types: Option<BTreeSet<ResourceType>>,
    /// `_since`.
    pub since: Option<Instant>,
}

/// Names and values as they came, in their order.
pub type Pairs = Vec<(String, String)>;

/// The pairs of a query string.
pub fn of_query(query: &str) -> Pairs {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The pairs of a `Parameters` resource; an empty body is an empty list.
pub fn of_body(body: &[u8]) -> Result<Pairs, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(Pairs::new());
    }
    let wrong = |what: String| ApiError::Body(format!("the body is not a Parameters resource: {what}"));
    let resource: Value = serde_json::from_slice(body).map_err(|error| wrong(format!("it is not JSON: {error}")))?;
    if resource["resourceType"] != "Parameters" {
        return Err(wrong("its resourceType is not 'Parameters'".to_owned()));
    }
    let none = Vec::new();
    let elements = match &resource["parameter"] {
        Value::Null => &none,
        Value::Array(elements) => elements,
        _ => return Err(wrong("its parameter is not an array".to_owned())),
    };
    elements.iter().enumerate().map(|(at, element)| of_element(at, element)).collect()
}

/// One `Parameters.parameter`. The type of the value is not looked at: programs in the field write the same parameter as
/// a string, a code, a canonical or a uri (standards §5.24).
fn of_element(at: usize, element: &Value) -> Result<(String, String), ApiError> {
    let wrong = |what: &str| ApiError::Body(format!("the body is not a Parameters resource: parameter[{at}] {what}"));
    let element = element.as_object().ok_or_else(|| wrong("is not an object"))?;
    let name = element.get("name").and_then(Value::as_str).ok_or_else(|| wrong("has no name"))?;
    let mut values = element.iter().filter(|(key, _)| key.starts_with("value"));
    let value = match (values.next(), values.next()) {
        (Some((_, Value::String(text))), None) => text.clone(),
        (Some((_, Value::Bool(flag))), None) => flag.to_string(),
        (Some((_, Value::Number(number))), None) => number.to_string(),
        // A reference keeps its parameter recognizable, so that it is refused by name and not by form.
        (Some((_, Value::Object(reference))), None) => {
            reference.get("reference").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
        (None, _) => return Err(wrong("has no value[x]")),
        _ => return Err(wrong("must have exactly one value[x], a string, code, uri, canonical, instant or boolean")),
    };
    Ok((name.to_owned(), value))
}

impl Parameters {
    /// Checks the pairs of a kick-off at `now`.
    pub fn check(pairs: &[(String, String)], operation: Operation, now: Instant) -> Result<Self, ApiError> {
        let mut parameters = Self::default();
        let mut seen = BTreeSet::new();
        for (name, value) in pairs {
            let first = seen.insert(name.as_str());
            match name.as_str() {
                // Repeats count as one list (standards §1.2, "Repeated parameters").
                "_type" => parameters.types.get_or_insert_default().extend(types(value)?),
                "_since" | "_outputFormat" | "exportType" if !first => {
                    return Err(refused(
                        name,
                        IssueCode::Value,
                        format!("{name} is given more than once; give it once"),
                    ));
                }
                "_since" => parameters.since = Some(since(value, now)?),
                "_outputFormat" => output_format(value)?,
                "exportType" => export_type(value)?,
                _ => {
                    let text = format!(
                        "the parameter '{name}' is not supported; {} takes _type, _since, _outputFormat and exportType",
                        operation.name()
                    );
                    return Err(refused(name, IssueCode::NotSupported, text));
                }
            }
        }
        if let (Operation::DavinciDataExport, Some(types)) = (operation, &parameters.types)
            && let Some(missing) = MINIMUM.iter().find(|needed| !types.contains(needed))
        {
            let text = format!(
                "_type must hold Group, Patient and Coverage on $davinci-data-export, and {missing} is missing; add it, or leave _type out to get all types"
            );
            return Err(refused("_type", IssueCode::Required, text));
        }
        Ok(parameters)
    }
}

fn refused(name: &str, code: IssueCode, problem: String) -> ApiError {
    ApiError::Parameter { name: name.to_owned(), code, problem }
}

fn types(value: &str) -> Result<Vec<ResourceType>, ApiError> {
    let supported = || ResourceType::ATTRIBUTION.map(ResourceType::name).join(", ");
    let one = |name: &str| match name.parse::<ResourceType>() {
        Ok(resource_type) if resource_type.is_attribution() => Ok(resource_type),
        Ok(_) => Err(format!("_type names {name}, which attribution lists do not hold; choose from {}", supported())),
        Err(_) => Err(format!("_type names '{name}', which is not a resource type; choose from {}", supported())),
    };
    let named = value.split(',').map(str::trim).map(one).collect::<Result<_, _>>();
    named.map_err(|problem| refused("_type", IssueCode::Value, problem))
}

fn since(value: &str, now: Instant) -> Result<Instant, ApiError> {
    // A plus that was not written as %2B arrives as a space, and an instant has no other space.
    let since: Instant = value
        .replace(' ', "+")
        .parse()
        .map_err(|error| refused("_since", IssueCode::Value, format!("_since: {error}")))?;
    if since > now {
        return Err(refused("_since", IssueCode::Value, format!("_since lies in the future: the time here is {now}")));
    }
    Ok(since)
}

fn output_format(value: &str) -> Result<(), ApiError> {
    if NDJSON.contains(&value.replace(' ', "+").as_str()) {
        return Ok(());
    }
    let text = format!("the output format '{value}' is not supported; use {}", NDJSON.join(", "));
    Err(refused("_outputFormat", IssueCode::NotSupported, text))
}

fn export_type(value: &str) -> Result<(), ApiError> {
    if EXPORT_TYPES.contains(&value) {
        return Ok(());
    }
    let text = format!("the export type '{value}' is not supported; use {}", EXPORT_TYPES[0]);
    Err(refused("exportType", IssueCode::NotSupported, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_unix_millis(1_767_607_200_000);

    fn check(operation: Operation, query: &str) -> Result<Parameters, String> {
        Parameters::check(&of_query(query), operation, NOW).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_asked_is_everything() {
        assert_eq!(check(Operation::DavinciDataExport, ""), Ok(Parameters::default()));
    }

    #[test]
    fn every_spelling_of_ndjson_is_taken_with_a_plus_that_became_a_space_too() {
        for query in ["ndjson", "application/ndjson", "application/fhir%2Bndjson", "application/fhir+ndjson"] {
            assert!(check(Operation::Export, &format!("_outputFormat={query}")).is_ok(), "{query}");
        }
    }

    #[test]
    fn repeated_types_are_one_list() {
        let types = check(Operation::Export, "_type=Patient,Group&_type=Coverage").expect("they are types").types;
        assert_eq!(types, Some([ResourceType::PATIENT, ResourceType::GROUP, ResourceType::COVERAGE].into()));
    }

    #[test]
    fn a_zone_survives_a_plus_that_became_a_space() {
        let since = check(Operation::Export, "_since=2026-01-01T00:00:00+01:00").expect("it is an instant").since;
        assert_eq!(since.map(|since| since.to_string()), Some("2025-12-31T23:00:00.000Z".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_sentence() {
        for (operation, query, part) in [
            (Operation::Export, "_since=yesterday", "is not an instant"),
            (Operation::Export, "_since=2026-01-05", "is not an instant"),
            (Operation::Export, "_since=2030-01-01T00:00:00Z", "in the future"),
            (Operation::Export, "_since=2020-01-01T00:00:00Z&_since=2020-01-01T00:00:00Z", "more than once"),
            (Operation::Export, "_type=", "''"),
            (Operation::Export, "_type=Patient,", "''"),
            (Operation::Export, "_type=Patients", "'Patients', which is not a resource type"),
            (Operation::Export, "_type=Observation", "which attribution lists do not hold"),
            (Operation::Export, "_outputFormat=text/csv", "'text/csv' is not supported"),
            (Operation::Export, "exportType=hl7.fhir.us.davinci-pdex", "is not supported"),
            (Operation::Export, "_elements=id", "'_elements' is not supported"),
            (Operation::DavinciDataExport, "_type=Group,Patient", "Coverage is missing"),
        ] {
            let problem = check(operation, query).expect_err(query);
            assert!(problem.contains(part), "{query}: {problem}");
        }
    }

    #[test]
    fn a_parameters_resource_says_the_same_as_a_query() {
        let body = br#"{"resourceType":"Parameters","parameter":[{"name":"exportType","valueCanonical":"hl7.fhir.us.davinci-atr"},
            {"name":"_type","valueString":"Group,Patient"},{"name":"_since","valueInstant":"2026-01-01T00:00:00Z"}]}"#;
        let expected = of_query("exportType=hl7.fhir.us.davinci-atr&_type=Group,Patient&_since=2026-01-01T00:00:00Z");
        assert_eq!(of_body(body).ok(), Some(expected));
        assert_eq!(of_body(b" ").ok(), Some(Pairs::new()));
        assert_eq!(of_body(br#"{"resourceType":"Parameters"}"#).ok(), Some(Pairs::new()));
    }

    #[test]
    fn a_body_that_is_no_parameters_resource_is_refused() {
        for body in [
            "{",
            "[]",
            "null",
            "7",
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":"Parameters","parameter":{}}"#,
            r#"{"resourceType":"Parameters","parameter":[7]}"#,
            r#"{"resourceType":"Parameters","parameter":[{"valueString":"x"}]}"#,
            r#"{"resourceType":"Parameters","parameter":[{"name":"_type"}]}"#,
            r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":"Group","valueCode":"Group"}]}"#,
        ] {
            assert!(matches!(of_body(body.as_bytes()), Err(ApiError::Body(_))), "{body}");
        }
    }
}
