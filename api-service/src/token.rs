//! `[base]/auth/token`: access tokens for registered clients (standards §2.3).
//!
//! Every refusal is 400 with the error body of RFC 6749 §5.2: clients prove who they are in the body and not in a header, so
//! that 401 with its challenge has nothing to ask for. Nothing of an answer may be kept by anybody on the way (§5.1).

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, PRAGMA, RETRY_AFTER};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::{Value, json};
use shared::access::{Granted, NotGranted, TokenError};
use url::form_urlencoded;

use crate::Api;
use crate::audit::{self, Action, Event, Named};
use crate::error::{ApiError, shown};

/// Seconds that a client is asked to wait when a part of the system cannot be reached.
const PAUSE_SECONDS: u32 = 5;

/// `POST [base]/auth/token`.
pub async fn grant(
    api: web::Data<Api>,
    request: HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let server = api.access.token_server().ok_or(ApiError::NoTokenServer)?;
    let granted = match form(&request, body) {
        Ok(form) => server.grant(&form).await,
        Err(problem) => {
            Err(NotGranted::Refused { error: TokenError::InvalidRequest, problem: problem.to_owned(), client: None })
        }
    };
    let outcome = match &granted {
        Ok(_) => "granted",
        Err(NotGranted::Refused { error, .. }) => error.code(),
        Err(NotGranted::Fault(_)) => "unavailable",
    };
    api.metrics.tokens.with_label_values(&[outcome]).inc();
    match granted {
        Ok(granted) => give(&api, &request, granted).await,
        Err(NotGranted::Refused { error, problem, client }) => {
            let body = json!({"error": error.code(), "error_description": described(&problem)});
            let mut response = answer(StatusCode::BAD_REQUEST, &body);
            if let Some(client) = client {
                response.extensions_mut().insert(Named(client));
            }
            Ok(response)
        }
        Err(NotGranted::Fault(fault)) => {
            tracing::error!(%fault, "a request for a token failed");
            // RFC 6749 has the code for another endpoint, and no other for this.
            let problem = "a part of the server cannot be reached now; try again with a new client_assertion";
            let body = json!({"error": "temporarily_unavailable", "error_description": problem});
            let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &body);
            response.headers_mut().insert(RETRY_AFTER, PAUSE_SECONDS.into());
            Ok(response)
        }
    }
}

/// The form of a request, or what is wrong with its body.
fn form(
    request: &HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
) -> Result<Vec<(String, String)>, &'static str> {
    let body = body.map_err(|_| "the body cannot be read, or is too long")?;
    let is_encoded = request.headers().contains_key(CONTENT_ENCODING);
    if is_encoded || !request.content_type().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err("the body must be application/x-www-form-urlencoded, as it is");
    }
    Ok(form_urlencoded::parse(&body).into_owned().collect())
}

async fn give(api: &Api, request: &HttpRequest, granted: Granted) -> Result<HttpResponse, ApiError> {
    let event = Event {
        client: Some(granted.client),
        scope: Some(granted.scope.clone()),
        ..audit::event(api, request, Action::Token, StatusCode::OK)
    };
    audit::record(api, &[event]).await?;
    let body = json!({
        "access_token": granted.access_token,
        "token_type": "bearer",
        "expires_in": granted.expires_in,
        "scope": granted.scope,
    });
    Ok(answer(StatusCode::OK, &body))
}

fn answer(status: StatusCode, body: &Value) -> HttpResponse {
    HttpResponseBuilder::new(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((PRAGMA, "no-cache"))
        .content_type("application/json")
        .body(body.to_string())
}

/// A description as RFC 6749 §5.2 allows it: printable ASCII without quotes and backslashes.
fn described(problem: &str) -> String {
    let is_allowed = |character: &char| matches!(character, ' '..='~') && !matches!(character, '"' | '\\');
    shown(problem).chars().filter(is_allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_holds_only_what_it_may() {
        assert_eq!(described("é \"a\" \\ b\n'c'"), " a  b'c'");
    }
}
