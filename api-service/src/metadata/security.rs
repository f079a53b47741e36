//! `CapabilityStatement.rest.security`: how callers make themselves known.

use serde_json::{Value, json};
use url::Url;

/// The element, for a server that asks for the tokens of this endpoint, or for none.
pub fn security(token_endpoint: Option<&Url>) -> Value {
    let Some(token_endpoint) = token_endpoint else {
        return json!({
            "cors": false,
            "description": "This server asks for no access token: whoever reaches it may call it.",
        });
    };
    json!({
        "extension": [{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [{"url": "token", "valueUri": token_endpoint.as_str()}],
        }],
        "cors": false,
        "service": [{
            "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                "code": "SMART-on-FHIR",
                "display": "SMART-on-FHIR",
            }],
            "text": "SMART Backend Services",
        }],
        "description": "SMART Backend Services: a client signs an assertion with its registered key, gets an access token \
                        at the token endpoint and sends it with each request. See .well-known/smart-configuration.",
    })
}
