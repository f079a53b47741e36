//! Every error of the API on one page: its HTTP status, its FHIR issue type, its sentence.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use shared::access::{Permission, Refusal};
use shared::fault::{Fault, FaultKind};
use shared::fhir::{Issue, IssueCode, ResourceType};
use thiserror::Error;

use crate::audit::{self, Refused};

/// Seconds that a client is asked to wait when a part of the system cannot be reached.
pub const PAUSE_SECONDS: u32 = 5;

/// Why a request is not answered as asked. Each is an OperationOutcome (Bulk Data, "Response - Error").
#[derive(Debug, Error)]
pub enum ApiError {
    /// The URL leads nowhere.
    #[error(
        "there is nothing at this URL: exports start at $export, Patient/$export, Group/[id]/$export and Group/[id]/$davinci-data-export below the base URL, and metadata says what else there is"
    )]
    NoRoute,
    /// The URL is known, the method is not.
    #[error("{method} is not possible here; use {allowed}")]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The methods that are.
        allowed: &'static str,
    },
    /// Headers that a kick-off must have (Bulk Data, "Kick-off request - Headers"): each its name, and how to send it.
    #[error("a kick-off must say that it does not wait and what it takes; add {}", .0.iter().map(|(_, line)| format!("'{line}'")).collect::<Vec<_>>().join(" and "))]
    MissingHeaders(Vec<(&'static str, &'static str)>),
    /// The client takes none of the media types that there are.
    #[error(
        "the answer cannot be of the type '{0}'; ask for application/fhir+json or application/json in Accept or _format"
    )]
    NotAcceptable(String),
    /// Too much at once: too many jobs, or polls (Bulk Data, "Bulk Data Status Request": 429).
    #[error("{problem}")]
    Throttled {
        /// What is too much and what to do.
        problem: String,
        /// When to try again.
        retry_after_seconds: u32,
    },
    /// A parameter of the kick-off is wrong.
    #[error("{problem}")]
    Parameter {
        /// The parameter's name.
        name: String,
        /// What kind of issue it is.
        code: IssueCode,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The body is not what a kick-off takes.
    #[error("{0}")]
    Body(String),
    /// The body has another media type.
    #[error("the body is of type '{0}'; send a Parameters resource as application/fhir+json or application/json")]
    MediaType(String),
    /// The body is too long.
    #[error("the body is longer than {0} bytes, the most that a kick-off may have")]
    TooLong(usize),
    /// The request does not come to its end.
    #[error("the request did not come in time; send it again")]
    TooSlow,
    /// The body is compressed.
    #[error("the body has the Content-Encoding '{0}'; send it as it is")]
    Encoded(String),
    /// No such list, or not for this caller.
    #[error("there is no Group with the id '{0}'")]
    NoGroup(String),
    /// No such job, or not for this caller, or deleted (Bulk Data, "Bulk Data Delete Request").
    #[error("there is no export job at this URL: it was deleted, has expired, or never was")]
    NoJob,
    /// No such file in the job.
    #[error("there is no such file in this export job")]
    NoFile,
    /// No such page of the manifest.
    #[error("the manifest has no page {0}; follow its links from the first page on")]
    NoPage(usize),
    /// The job has failed; what it says is in the issue.
    #[error("{}", .0.diagnostics)]
    JobFailed(Issue),
    /// Who calls is not let in (RFC 6750 §3).
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The token is good for less than is asked for (RFC 6750 §3.1, standards §5.34).
    #[error("the access token does not allow this for {}; it needs {}", names(.types), scopes(.types, *.needed))]
    OutOfScope {
        /// The types that it does not cover.
        types: Vec<ResourceType>,
        /// What of them is needed.
        needed: Permission,
    },
    /// The client may see some lists, and this would show others.
    #[error(
        "this client may export its own lists and nothing beyond them; start at Group/[id]/$export or Group/[id]/$davinci-data-export"
    )]
    ListsOnly,
    /// The audit trail cannot be written, and nothing may happen without.
    #[error(
        "the request cannot be recorded now, and nothing is done that is not; try again in {PAUSE_SECONDS} seconds"
    )]
    Unrecorded,
    /// This server gives out no tokens.
    #[error(
        "this server gives out no access tokens; where it asks for them, .well-known/smart-configuration says where they come from"
    )]
    IssuesNoTokens,
    /// A part of the system failed.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// A search by `POST` with another body than a form.
    #[error("the body is of type '{0}'; send the search parameters as application/x-www-form-urlencoded")]
    NoForm(String),
    /// Not one of the types that are read here.
    #[error("there is nothing of the type '{0}' here; read {types}", types = eight_types())]
    NoType(String),
    /// No such resource. Its id may be about a person.
    #[error("there is no {0} with this id")]
    NoResource(ResourceType),
    /// No such version of a resource.
    #[error("there is no such version of this {0}; its _history lists them")]
    NoVersion(ResourceType),
    /// The resource was deleted (R4 `read`: 410).
    #[error("this {0} was deleted; its _history has the versions that it had")]
    Deleted(ResourceType),
    /// No such OperationDefinition.
    #[error("there is no OperationDefinition with the id '{0}'; OperationDefinition lists them all")]
    NoOperation(String),
    /// Clients need no token, so there is no place to get one.
    #[error(
        "this server asks for no access token (access is open-to-everybody), so there is no SMART configuration; call it without one"
    )]
    AsksForNoTokens,
}

/// In the extensions of an answer that refuses who asks: the reason, in one word.
pub struct RefusedFor(pub &'static str);

impl ApiError {
    /// Why it is a refusal of whoever asks, in one word for `atr_refusals_total`; `None` when it is not.
    fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Refused(Refusal::TokenMissing) => Some("token_missing"),
            Self::Refused(Refusal::TokenInvalid(_)) => Some("token_invalid"),
            Self::Refused(Refusal::Unregistered(_)) => Some("unregistered"),
            Self::OutOfScope { .. } => Some("out_of_scope"),
            Self::ListsOnly => Some("lists_only"),
            Self::Throttled { .. } => Some("throttled"),
            _ => None,
        }
    }

    fn issue(&self) -> Issue {
        let text = shown(&self.to_string());
        match self {
            Self::NoRoute | Self::NoGroup(_) | Self::NoJob | Self::NoFile | Self::NoPage(_) => {
                Issue::error(IssueCode::NotFound, text)
            }
            Self::MissingHeaders(missing) => {
                let issue = Issue::error(IssueCode::Required, text);
                missing.iter().fold(issue, |issue, (name, _)| issue.at(*name))
            }
            Self::NotAcceptable(_) => Issue::error(IssueCode::NotSupported, text).at("Accept"),
            Self::Throttled { .. } => Issue::error(IssueCode::Throttled, text),
            Self::NoType(_)
            | Self::NoResource(_)
            | Self::NoVersion(_)
            | Self::NoOperation(_)
            | Self::AsksForNoTokens => Issue::error(IssueCode::NotFound, text),
            Self::Deleted(_) => Issue::error(IssueCode::Deleted, text),
            Self::NoForm(_) => Issue::error(IssueCode::NotSupported, text),
            Self::MethodNotAllowed { .. } => Issue::error(IssueCode::NotSupported, text),
            Self::Parameter { name, .. } if name.is_empty() => Issue::error(IssueCode::Invalid, text),
            Self::Parameter { name, code, .. } => Issue::error(*code, text).at(shown(name)),
            Self::Body(_) => Issue::error(IssueCode::Structure, text),
            Self::MediaType(_) => Issue::error(IssueCode::NotSupported, text),
            Self::TooLong(_) => Issue::error(IssueCode::TooLong, text),
            Self::TooSlow => Issue::error(IssueCode::Transient, text),
            Self::Encoded(_) => Issue::error(IssueCode::NotSupported, text).at("Content-Encoding"),
            Self::JobFailed(issue) => issue.clone(),
            Self::Refused(Refusal::TokenMissing | Refusal::TokenInvalid(_)) => Issue::error(IssueCode::Login, text),
            Self::Refused(Refusal::Unregistered(_)) | Self::OutOfScope { .. } | Self::ListsOnly => {
                Issue::error(IssueCode::Forbidden, text)
            }
            Self::Unrecorded => Issue::error(IssueCode::Transient, text),
            Self::IssuesNoTokens => Issue::error(IssueCode::NotFound, text),
            // What failed inside is for the operator's log, not for the client.
            Self::Fault(fault) | Self::Refused(Refusal::Fault(fault)) if may_pass(fault) => Issue::error(
                IssueCode::Transient,
                format!("a part of the server cannot be reached now; try again in {PAUSE_SECONDS} seconds"),
            ),
            Self::Fault(_) | Self::Refused(Refusal::Fault(_)) => {
                Issue::error(IssueCode::Exception, "the server failed to answer; its log says why")
            }
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NoRoute | Self::NoGroup(_) | Self::NoJob | Self::NoFile | Self::NoPage(_) => StatusCode::NOT_FOUND,
            Self::MissingHeaders(_) => StatusCode::BAD_REQUEST,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Throttled { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoType(_)
            | Self::NoResource(_)
            | Self::NoVersion(_)
            | Self::NoOperation(_)
            | Self::AsksForNoTokens => StatusCode::NOT_FOUND,
            Self::Deleted(_) => StatusCode::GONE,
            Self::NoForm(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Parameter { .. } | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Encoded(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::JobFailed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Refused(Refusal::TokenMissing | Refusal::TokenInvalid(_)) => StatusCode::UNAUTHORIZED,
            Self::Refused(Refusal::Unregistered(_)) | Self::OutOfScope { .. } | Self::ListsOnly => {
                StatusCode::FORBIDDEN
            }
            Self::Unrecorded => StatusCode::SERVICE_UNAVAILABLE,
            Self::IssuesNoTokens => StatusCode::NOT_FOUND,
            Self::Fault(fault) | Self::Refused(Refusal::Fault(fault)) if may_pass(fault) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Fault(_) | Self::Refused(Refusal::Fault(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::Fault(fault) | Self::Refused(Refusal::Fault(fault)) = self {
            tracing::error!(%fault, "a request failed");
        }
        let mut response = outcome(self.status_code(), &self.issue());
        if let Some(reason) = self.refusal() {
            response.extensions_mut().insert(RefusedFor(reason));
        }
        let headers = response.headers_mut();
        match self {
            Self::MethodNotAllowed { allowed, .. } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Refused(Refusal::TokenInvalid(_)) => {
                headers.insert(header::WWW_AUTHENTICATE, challenge("error=\"invalid_token\""));
            }
            Self::Refused(Refusal::TokenMissing) => {
                headers.insert(header::WWW_AUTHENTICATE, challenge(""));
            }
            Self::OutOfScope { types, needed } => {
                let parameters = format!("error=\"insufficient_scope\", scope=\"{}\"", scopes(types, *needed));
                headers.insert(header::WWW_AUTHENTICATE, challenge(&parameters));
            }
            Self::Unrecorded => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(PAUSE_SECONDS));
                response.extensions_mut().insert(audit::Unrecorded);
            }
            Self::Refused(Refusal::Unregistered(client)) => {
                response.extensions_mut().insert(Refused::Proven(client.clone()));
            }
            Self::Throttled { retry_after_seconds, .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_seconds));
            }
            Self::Fault(fault) | Self::Refused(Refusal::Fault(fault)) if may_pass(fault) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(PAUSE_SECONDS));
            }
            _ => {}
        }
        response
    }
}

/// Whether it may be otherwise when the client asks again: a part of the server that refuses what it is asked (a password that
/// is being changed) will not for long, and a poll that is answered with 500 says that the export has failed.
fn may_pass(fault: &Fault) -> bool {
    fault.is_transient() || fault.kind() == FaultKind::Invalid
}

/// An answer whose body is an OperationOutcome.
pub fn outcome(status: StatusCode, issue: &Issue) -> HttpResponse {
    HttpResponse::build(status).content_type("application/fhir+json").body(issue.outcome())
}

/// A text that may repeat what a client sent: without control characters, which FHIR strings do not hold, and not longer
/// than anybody reads.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 500;
    let mut shown: String = text.chars().filter(|character| !character.is_control()).take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// How a client is asked for a token (RFC 6750 §3). What is wrong with one that it sent is in the body, in full.
fn challenge(parameters: &str) -> HeaderValue {
    let comma = if parameters.is_empty() { "" } else { ", " };
    HeaderValue::from_str(&format!("Bearer realm=\"attribution lists\"{comma}{parameters}"))
        .expect("scopes and error codes are ASCII words")
}

fn names(types: &[ResourceType]) -> String {
    types.iter().map(|resource_type| resource_type.name()).collect::<Vec<_>>().join(", ")
}

/// The scopes that would be enough.
fn scopes(types: &[ResourceType], needed: Permission) -> String {
    types.iter().map(|resource_type| format!("system/{resource_type}.{needed}")).collect::<Vec<_>>().join(" ")
}

/// The types that this server is about, as a sentence lists them.
fn eight_types() -> String {
    ResourceType::ATTRIBUTION.map(ResourceType::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_as_it_is_answers_500_by_which_a_client_gives_its_export_up() {
        for (kind, status) in [
            (FaultKind::Unavailable, StatusCode::SERVICE_UNAVAILABLE),
            (FaultKind::Invalid, StatusCode::SERVICE_UNAVAILABLE),
            (FaultKind::Corrupt, StatusCode::INTERNAL_SERVER_ERROR),
        ] {
            let answer = ApiError::Fault(Fault::new(kind, "failed to ask")).error_response();
            assert_eq!(answer.status(), status, "{kind:?}");
            assert_eq!(answer.headers().contains_key(header::RETRY_AFTER), status == StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
