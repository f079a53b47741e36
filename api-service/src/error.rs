//! Every error of the API on one page: its HTTP status, its FHIR issue type, its sentence.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use shared::access::Refusal;
use shared::fault::Fault;
use shared::fhir::{Issue, IssueCode};
use thiserror::Error;

/// Seconds that a client is asked to wait when a part of the system cannot be reached.
const PAUSE_SECONDS: u32 = 5;

/// Why a request is not answered as asked. Each is an OperationOutcome (Bulk Data, "Response - Error").
#[derive(Debug, Error)]
pub enum ApiError {
    /// The URL leads nowhere.
    #[error(
        "there is nothing at {path}: exports start at Group/[id]/$export or Group/[id]/$davinci-data-export below the base URL"
    )]
    NoRoute {
        /// The path of the request.
        path: String,
    },
    /// The URL is known, the method is not.
    #[error("{method} is not possible here; use {allowed}")]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The methods that are.
        allowed: &'static str,
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
    /// No such list, or not for this caller.
    #[error("there is no Group with the id '{0}'")]
    NoGroup(String),
    /// No such job, or not for this caller, or deleted (Bulk Data, "Bulk Data Delete Request").
    #[error("there is no export job at this URL: it was deleted, has expired, or never was")]
    NoJob,
    /// No such file in the job.
    #[error("there is no such file in this export job")]
    NoFile,
    /// The job has failed; what it says is in the issue.
    #[error("{}", .0.diagnostics)]
    JobFailed(Issue),
    /// Who calls is not known.
    #[error("{0}")]
    Unauthenticated(String),
    /// A part of the system failed.
    #[error("{0}")]
    Fault(#[from] Fault),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated(why) => Self::Unauthenticated(why),
            Refusal::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl ApiError {
    fn issue(&self) -> Issue {
        let text = shown(&self.to_string());
        match self {
            Self::NoRoute { .. } | Self::NoGroup(_) | Self::NoJob | Self::NoFile => {
                Issue::error(IssueCode::NotFound, text)
            }
            Self::MethodNotAllowed { .. } => Issue::error(IssueCode::NotSupported, text),
            Self::Parameter { name, .. } if name.is_empty() => Issue::error(IssueCode::Invalid, text),
            Self::Parameter { name, code, .. } => Issue::error(*code, text).at(shown(name)),
            Self::Body(_) => Issue::error(IssueCode::Structure, text),
            Self::MediaType(_) => Issue::error(IssueCode::NotSupported, text),
            Self::TooLong(_) => Issue::error(IssueCode::TooLong, text),
            Self::JobFailed(issue) => issue.clone(),
            Self::Unauthenticated(_) => Issue::error(IssueCode::Login, text),
            // What failed inside is for the operator's log, not for the client.
            Self::Fault(fault) if fault.is_transient() => Issue::error(
                IssueCode::Transient,
                format!("a part of the server cannot be reached now; try again in {PAUSE_SECONDS} seconds"),
            ),
            Self::Fault(_) => Issue::error(IssueCode::Exception, "the server failed to answer; its log says why"),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::NoRoute { .. } | Self::NoGroup(_) | Self::NoJob | Self::NoFile => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Parameter { .. } | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::JobFailed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Fault(fault) if fault.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Fault(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::Fault(fault) = self {
            tracing::error!(%fault, "a request failed");
        }
        let mut response = outcome(self.status_code(), &self.issue());
        let headers = response.headers_mut();
        match self {
            Self::MethodNotAllowed { allowed, .. } => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Unauthenticated(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Fault(fault) if fault.is_transient() => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(PAUSE_SECONDS));
            }
            _ => {}
        }
        response
    }
}

/// An answer whose body is an OperationOutcome.
pub fn outcome(status: StatusCode, issue: &Issue) -> HttpResponse {
    HttpResponse::build(status).content_type("application/fhir+json").body(issue.outcome())
}

/// A text that may repeat what a client sent: without control characters, which FHIR strings do not hold, and not longer
/// than anybody reads.
fn shown(text: &str) -> String {
    const LONGEST: usize = 500;
    let mut shown: String = text.chars().filter(|character| !character.is_control()).take(LONGEST).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
