//! The parameters of a kick-off as they came: names and values, from a query or from a `Parameters` resource.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::error::ApiError;

/// Names and values, in their order.
pub type Pairs = Vec<(String, String)>;

/// The pairs of a query string. Bytes that are no UTF-8 come out as U+FFFD, which no parameter takes.
pub fn of_query(query: &str) -> Pairs {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The pairs of a `Parameters` resource; an empty body is an empty list.
pub fn of_body(body: &[u8]) -> Result<Pairs, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(Pairs::new());
    }
    let wrong = |what: String| ApiError::Body(format!("the body is not a Parameters resource: {what}"));
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(wrong("it is not a JSON object".to_owned()));
    }
    let resource: Body = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    if resource.resource_type != "Parameters" {
        return Err(wrong("its resourceType is not 'Parameters'".to_owned()));
    }
    resource.parameter.iter().enumerate().map(|(at, element)| of_element(at, element)).collect()
}

/// A `Parameters` resource. A field that stands twice or that it does not have is refused: if it was to say whose data may
/// be sent, passing it over would send everybody's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    parameter: Vec<Value>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "meta")]
    _meta: IgnoredAny,
    #[serde(default, rename = "language")]
    _language: IgnoredAny,
}

/// One `Parameters.parameter`.
fn of_element(at: usize, element: &Value) -> Result<(String, String), ApiError> {
    let wrong = |what: &str| ApiError::Body(format!("the body is not a Parameters resource: parameter[{at}] {what}"));
    let element = element.as_object().ok_or_else(|| wrong("is not an object"))?;
    let name = element.get("name").and_then(Value::as_str).ok_or_else(|| wrong("has no name"))?;
    let mut values = element.iter().filter(|(key, _)| key.len() > "value".len() && key.starts_with("value"));
    let (Some((key, value)), None) = (values.next(), values.next()) else {
        return Err(wrong("must have exactly one value[x]"));
    };
    let value = text_of(key, value).ok_or_else(|| {
        wrong("has a value of another type than string, code, uri, canonical, instant, boolean, Reference and Coding")
    })?;
    Ok((name.to_owned(), value))
}

/// A value as a query would have it. Which of the primitive types it is does not matter: programs in the field write the
/// same parameter as a string, a code, a canonical or a uri (standards §5.24).
fn text_of(key: &str, value: &Value) -> Option<String> {
    let text = |object: &Map<String, Value>, name: &str| {
        // Empty when it is not there, so that the parameter is refused by its name.
        object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(reference) if key == "valueReference" => Some(text(reference, "reference")),
        Value::Object(coding) if key == "valueCoding" => Some(text(coding, "code")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_value_says_the_same_as_a_query() {
        for (value, text) in [
            (r#""valueString":"a,b""#, "a,b"),
            (r#""valueCode":"a""#, "a"),
            (r#""valueUri":"urn:a""#, "urn:a"),
            (r#""valueUrl":"https://a""#, "https://a"),
            (r#""valueCanonical":"hl7.fhir.us.davinci-atr""#, "hl7.fhir.us.davinci-atr"),
            (r#""valueInstant":"2026-01-01T00:00:00Z""#, "2026-01-01T00:00:00Z"),
            (r#""valueBoolean":true"#, "true"),
            (r#""valueInteger":7"#, "7"),
            (r#""valueReference":{"reference":"Patient/1"}"#, "Patient/1"),
            (r#""valueReference":{"display":"somebody"}"#, ""),
            (r#""valueCoding":{"system":"s","code":"LatestProvenanceResources"}"#, "LatestProvenanceResources"),
        ] {
            let body = format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"n",{value}}}]}}"#);
            let pairs = of_body(body.as_bytes()).map_err(|error| error.to_string());
            assert_eq!(pairs, Ok(vec![("n".to_owned(), text.to_owned())]), "{value}");
        }
    }

    #[test]
    fn a_body_without_parameters_says_nothing() {
        for body in ["", " \r\n", r#"{"resourceType":"Parameters"}"#, r#"{"resourceType":"Parameters","parameter":[]}"#]
        {
            assert_eq!(of_body(body.as_bytes()).map_err(|error| error.to_string()), Ok(Pairs::new()), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_no_parameters_resource_is_refused() {
        for body in [
            "{",
            "[]",
            "null",
            "7",
            "\u{feff}{}",
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":"Parameters","parameter":{}}"#,
            r#"{"resourceType":"Parameters","parameter":[7]}"#,
            r#"{"resourceType":"Parameters","parameter":[{"valueString":"x"}]}"#,
            r#"{"resourceType":"Parameters","parameter":[{"name":"_type"}]}"#,
            r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":["Group"]}]}"#,
            r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valuePeriod":{"start":"2026"}}]}"#,
            r#"{"resourceType":"Parameters","parameter":[{"name":"_type","valueString":"Group","valueCode":"Group"}]}"#,
        ] {
            assert!(matches!(of_body(body.as_bytes()), Err(ApiError::Body(_))), "{body}");
        }
    }

    #[test]
    fn a_query_is_decoded_once() {
        let pairs = of_query("_typeFilter=Patient%3Ffamily%3Da%2526b&_outputFormat=application/fhir+ndjson&x&%FF=1");
        let expected =
            [("_typeFilter", "Patient?family=a%26b"), ("_outputFormat", "application/fhir ndjson"), ("x", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs[..3], expected);
    }
}
