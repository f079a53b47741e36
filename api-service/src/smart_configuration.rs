//! `[base]/.well-known/smart-configuration`: where and how a client gets a token (standards §2.5).

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use shared::access::assertion::ALGORITHMS;
use shared::fhir::ResourceType;
use url::Url;

use crate::Api;
use crate::error::ApiError;

/// `GET [base]/.well-known/smart-configuration`: JSON, whatever `Accept` says. A server that asks for no token has none:
/// a client that believed in an endpoint that is not there would fail.
pub async fn configuration(api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let token_endpoint = api.token_endpoint.as_ref().ok_or(ApiError::AsksForNoTokens)?;
    Ok(HttpResponse::Ok().content_type("application/json").body(document(token_endpoint).to_string()))
}

fn document(token_endpoint: &Url) -> Value {
    json!({
        "token_endpoint": token_endpoint.as_str(),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS.map(|algorithm| format!("{algorithm:?}")),
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": scopes(),
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        "code_challenge_methods_supported": ["S256"],
    })
}

/// The scopes for all types and for each, in the form of SMART 1 and of SMART 2 (standards §2.4).
fn scopes() -> Vec<String> {
    let names = ResourceType::ATTRIBUTION.map(ResourceType::name);
    std::iter::once("*")
        .chain(names)
        .flat_map(|name| [format!("system/{name}.read"), format!("system/{name}.rs")])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_client_finds_all_that_the_atr_guide_asks_for() {
        let token_endpoint = Url::parse("https://login.example.org/token").expect("it is a URL");
        let document = document(&token_endpoint);
        assert_eq!(document["token_endpoint"], "https://login.example.org/token");
        assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["private_key_jwt"]));
        assert_eq!(document["token_endpoint_auth_signing_alg_values_supported"], json!(["RS384", "ES384"]));
        let scopes = document["scopes_supported"].as_array().expect("scopes are an array");
        for scope in ["system/*.read", "system/*.rs", "system/Group.read", "system/Location.rs"] {
            assert!(scopes.contains(&json!(scope)), "{scope}");
        }
        assert_eq!(scopes.len(), 18);
    }

    #[test]
    fn nothing_is_claimed_that_needs_a_browser() {
        let document = document(&Url::parse("https://login.example.org/token").expect("it is a URL"));
        assert!(document.get("authorization_endpoint").is_none() && document.get("issuer").is_none());
    }
}
