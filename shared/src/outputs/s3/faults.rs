//! What the store says, or does not say, as a [`Fault`].

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;

use crate::fault::{Fault, FaultKind};

/// The fault of a call on `bucket` that failed while `doing` something.
///
/// What the store said is repeated in its own words, with its code and the number of the request, which its operators ask
/// for; where a setting is the likely cause, the message says which one to look at.
pub(super) fn fault<E>(doing: impl Into<String>, bucket: &str, error: SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    match &error {
        SdkError::ServiceError(answer) => {
            let kind = kind(answer.err().code(), status);
            let mut said = answer.err().code().unwrap_or("no error code").to_owned();
            if let Some(message) = answer.err().message().filter(|message| !message.is_empty()) {
                said = format!("{said}: {message}");
            }
            if let Some(status) = status {
                said = format!("{said} (HTTP {status})");
            }
            if let Some(request) = error.request_id() {
                said = format!("{said} (request {request})");
            }
            if let Some(hint) = hint(answer.err().code(), status) {
                said = format!("{said}; check {hint} of the bucket {bucket}");
            }
            Fault::new(kind, doing).because(said)
        }
        SdkError::ConstructionFailure(_) => Fault::new(FaultKind::Invalid, doing).because(error),
        SdkError::DispatchFailure(failure) if failure.is_user() => Fault::new(FaultKind::Invalid, doing).because(error),
        SdkError::ResponseError(_) => Fault::new(kind(None, status), doing).because(error),
        _ => Fault::new(FaultKind::Unavailable, doing).because(error),
    }
}

/// What kind of failure an answer of the store is. The code decides where there is one, because S3 also answers 400 for what
/// was merely too slow, and 200 for an upload that it could not complete.
pub(super) fn kind(code: Option<&str>, status: Option<u16>) -> FaultKind {
    match (code, status) {
        (Some("SlowDown" | "RequestTimeout" | "OperationAborted" | "Throttling" | "TooManyRequests"), _)
        | (_, Some(408 | 429 | 503)) => FaultKind::Busy,
        // No room, or none that this bucket may have: MinIO says 507 or, of its quota, 400; Ceph says 403. Somebody has to make
        // some, and what waits must not be lost until then.
        (Some("XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "QuotaExceeded"), _) | (_, Some(507)) => {
            FaultKind::Busy
        }
        // The key of a session has run out: the next call signs with a new one.
        (Some("ExpiredToken" | "TokenRefreshRequired" | "InternalError"), _) => FaultKind::Unavailable,
        (Some("NoSuchBucket"), _) => FaultKind::Invalid,
        (Some("NoSuchKey" | "NoSuchUpload" | "NotFound"), _) | (_, Some(404)) => FaultKind::NotFound,
        (_, Some(300..=499)) => FaultKind::Invalid,
        _ => FaultKind::Unavailable,
    }
}

/// Which setting an answer points to.
fn hint(code: Option<&str>, status: Option<u16>) -> Option<&'static str> {
    match (code, status) {
        (Some("NoSuchBucket"), _) => Some("the name and the region"),
        (Some("XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "QuotaExceeded"), _) | (_, Some(507)) => {
            Some("the room that is left and the quota")
        }
        (Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken"), _) => Some("the credentials"),
        (Some("RequestTimeTooSkewed"), _) => Some("this machine's clock against the store"),
        (Some("AccessDenied" | "Forbidden"), _) | (_, Some(401 | 403)) => Some("the credentials and the policy"),
        (Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException"), _)
        | (_, Some(301 | 307)) => Some("the region and the endpoint"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_store_is_the_kind_of_failure_that_callers_act_on() {
        for (code, status, wanted) in [
            (Some("SlowDown"), 503, FaultKind::Busy),
            (None, 503, FaultKind::Busy),
            (None, 429, FaultKind::Busy),
            (Some("RequestTimeout"), 400, FaultKind::Busy),
            (Some("InternalError"), 500, FaultKind::Unavailable),
            (Some("InternalError"), 200, FaultKind::Unavailable),
            (Some("SlowDown"), 200, FaultKind::Busy),
            (None, 502, FaultKind::Unavailable),
            (Some("ExpiredToken"), 400, FaultKind::Unavailable),
            (Some("XMinioStorageFull"), 507, FaultKind::Busy),
            (Some("XMinioAdminBucketQuotaExceeded"), 400, FaultKind::Busy),
            (Some("QuotaExceeded"), 403, FaultKind::Busy),
            (None, 507, FaultKind::Busy),
            (Some("InvalidAccessKeyId"), 403, FaultKind::Invalid),
            (Some("RequestTimeTooSkewed"), 403, FaultKind::Invalid),
            (Some("NoSuchBucket"), 404, FaultKind::Invalid),
            (Some("NoSuchKey"), 404, FaultKind::NotFound),
            (Some("NoSuchUpload"), 404, FaultKind::NotFound),
            (None, 404, FaultKind::NotFound),
            (Some("AccessDenied"), 403, FaultKind::Invalid),
            (Some("PermanentRedirect"), 301, FaultKind::Invalid),
            (Some("EntityTooSmall"), 400, FaultKind::Invalid),
        ] {
            assert_eq!(kind(code, Some(status)), wanted, "{code:?} {status}");
        }
        assert_eq!(kind(None, None), FaultKind::Unavailable);
    }
}
