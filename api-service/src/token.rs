//! `[base]/auth/token`: access tokens for registered clients (standards §2.3).
//!
//! What a client does wrong is 400 with the error body of RFC 6749 §5.2: clients prove who they are in the body and not in a
//! header, so that 401 with its challenge has nothing to ask for. What this server cannot do is 503, or 404 where it gives
//! out no tokens. Nothing of an answer may be kept by anybody on the way (§5.1).

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, PRAGMA, RETRY_AFTER};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::{Value, json};
use shared::access::{IssuedToken, NotIssued, TokenError};
use shared::export::ClientId;
use url::form_urlencoded;

use crate::Api;
use crate::audit::{self, Action, Event, Refused};
use crate::error::{ApiError, PAUSE_SECONDS, shown};

/// `POST [base]/auth/token`.
pub async fn issue(
    api: web::Data<Api>,
    request: HttpRequest,
    body: Result<web::Bytes, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let endpoint = api.access.token_endpoint().ok_or(ApiError::IssuesNoTokens)?;
    let issued = match form(&request, body) {
        Ok(form) => endpoint.issue(&form).await,
        Err(problem) => {
            let (error, problem) = (TokenError::InvalidRequest, problem.to_owned());
            Err(NotIssued::Refused { error, problem, claimed: None })
        }
    };
    let (outcome, answer) = match issued {
        Ok(issued) if told(&api, &request, &issued).await => ("issued", given(&issued)),
        Ok(_) => {
            let mut answer = unavailable("the request cannot be recorded now");
            answer.extensions_mut().insert(audit::Unrecorded);
            ("unavailable", answer)
        }
        Err(NotIssued::Refused { error, problem, claimed }) => (error.code(), refused(error, &problem, claimed)),
        Err(NotIssued::Fault(fault)) => {
            tracing::error!(%fault, "a request for a token failed");
            ("unavailable", unavailable("a part of the server cannot be reached now"))
        }
    };
    api.metrics.tokens.with_label_values(&[outcome]).inc();
    Ok(answer)
}

/// Records that a token was issued; answers whether it may leave.
async fn told(api: &Api, request: &HttpRequest, issued: &IssuedToken) -> bool {
    let event = Event {
        client: Some(issued.client.clone()),
        scope: Some(issued.scope.clone()),
        ..audit::event(api, request, Action::Token, StatusCode::OK)
    };
    audit::record(api, &[event]).await.is_ok()
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

fn given(issued: &IssuedToken) -> HttpResponse {
    let body = json!({
        "access_token": issued.access_token,
        "token_type": "bearer",
        "expires_in": issued.expires_in,
        "scope": issued.scope,
    });
    answer(StatusCode::OK, &body)
}

fn refused(error: TokenError, problem: &str, claimed: Option<ClientId>) -> HttpResponse {
    let body = json!({"error": error.code(), "error_description": described(problem)});
    let mut answer = answer(StatusCode::BAD_REQUEST, &body);
    if let Some(client) = claimed {
        // Scopes are looked at when the client is proven.
        let is_proven = error == TokenError::InvalidScope;
        answer.extensions_mut().insert(if is_proven { Refused::Proven(client) } else { Refused::Claimed(client) });
    }
    answer
}

/// RFC 6749 has this code for another endpoint, and none for this.
fn unavailable(why: &str) -> HttpResponse {
    let problem = format!("{why}; try again in {PAUSE_SECONDS} seconds with a new client_assertion");
    let body = json!({"error": "temporarily_unavailable", "error_description": problem});
    let mut answer = answer(StatusCode::SERVICE_UNAVAILABLE, &body);
    answer.headers_mut().insert(RETRY_AFTER, PAUSE_SECONDS.into());
    answer
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
