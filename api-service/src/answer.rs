//! Answers that are FHIR resources: in which media type, and as which text.

use actix_web::HttpRequest;
use actix_web::http::header;
use serde::Serialize;
use serde_json::Value;

use crate::accept;
use crate::error::ApiError;
use crate::headers::joined;

/// The media type of the answer to a request: what `_format` says, else what `Accept` prefers (R4 "Content Types and
/// encodings"). Fails with 406 when the client takes nothing that there is.
pub fn media_type(request: &HttpRequest, pairs: &[(String, String)]) -> Result<&'static str, ApiError> {
    let format = pairs.iter().find(|(name, _)| name == "_format").map(|(_, value)| value.as_str());
    let accept = joined(request, &header::ACCEPT);
    chosen(format, &accept).ok_or_else(|| ApiError::NotAcceptable(format.unwrap_or(&accept).to_owned()))
}

fn chosen(format: Option<&str>, accept: &str) -> Option<&'static str> {
    match format {
        None => accept::preferred(accept, &accept::JSON),
        Some("json") => accept::JSON.first().copied(),
        Some("") => None,
        // A plus that was not written as %2B arrives as a space.
        Some(format) => accept::preferred(&format.replace("fhir json", "fhir+json"), &accept::JSON),
    }
}

/// The JSON of a resource of this type with these elements. The type stands first, where readers look for it.
pub fn resource(resource_type: &'static str, elements: Value) -> String {
    #[derive(Serialize)]
    struct Resource {
        #[serde(rename = "resourceType")]
        resource_type: &'static str,
        #[serde(flatten)]
        elements: Value,
    }
    serde_json::to_string(&Resource { resource_type, elements }).expect("the elements are an object with names as keys")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_format_parameter_wins_over_accept() {
        let (fhir, plain) = (Some("application/fhir+json"), Some("application/json"));
        for (format, accept, expected) in [
            (None, "", fhir),
            (None, "application/json", plain),
            (None, "text/html", None),
            (Some("json"), "text/html", fhir),
            (Some("application/json"), "application/fhir+json", plain),
            (Some("application/fhir+json"), "application/json", fhir),
            (Some("application/fhir json"), "", fhir),
            (Some("application/fhir json; fhirVersion=4.0"), "", fhir),
            (Some("xml"), "application/json", None),
            (Some(""), "application/json", None),
        ] {
            assert_eq!(chosen(format, accept), expected, "{format:?} {accept}");
        }
    }

    #[test]
    fn the_type_of_a_resource_stands_first() {
        let text = resource("Basic", json!({"active": true, "id": "a"}));
        assert_eq!(text, r#"{"resourceType":"Basic","active":true,"id":"a"}"#);
    }
}
