//! Errors that the framework makes get the body that all errors here have: an OperationOutcome.
//!
//! They come from a path or a query that cannot be decoded, or from a body that does not come in time. What cannot be read
//! as HTTP at all (a broken request line, headers without end) is answered with 400 and no body by the connection itself,
//! before there is a request that anything here could see.

use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use shared::fhir::{Issue, IssueCode};

use crate::error::{ApiError, outcome};

/// The longest that a request may take: more than the slowest answer, so that only a body which does not come runs into it.
const REQUEST_WITHIN: Duration = Duration::from_secs(90);

/// Gives a request up that does not come to its end.
pub async fn in_time<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    within(REQUEST_WITHIN, request, next).await
}

async fn within<B: MessageBody>(
    limit: Duration,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    match tokio::time::timeout(limit, next.call(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(ApiError::TooSlow.into()),
    }
}

/// Replaces the body of an error that is no JSON, which all of our own are.
pub async fn explain<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let response = next.call(request).await?;
    let status = response.status();
    let media_type = response.headers().get(header::CONTENT_TYPE).map_or(&[][..], header::HeaderValue::as_bytes);
    let is_json = media_type.starts_with(b"application/fhir+json") || media_type.starts_with(b"application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return Ok(response.map_into_left_body());
    }
    let (request, bare) = response.into_parts();
    let mut answer = outcome(status, &issue(status));
    for (name, value) in bare.headers() {
        // Such as `Allow` and `Retry-After`; what describes the body does not fit any more.
        if !name.as_str().starts_with("content-") {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    Ok(ServiceResponse::new(request, answer).map_into_boxed_body().map_into_right_body())
}

fn issue(status: StatusCode) -> Issue {
    let (code, text) = match status {
        StatusCode::NOT_FOUND => (IssueCode::NotFound, "there is nothing at this URL"),
        StatusCode::METHOD_NOT_ALLOWED => (IssueCode::NotSupported, "this method is not possible here"),
        StatusCode::REQUEST_TIMEOUT => (IssueCode::Transient, "the request did not come in time; send it again"),
        StatusCode::PAYLOAD_TOO_LARGE => (IssueCode::TooLong, "the body is too long"),
        StatusCode::URI_TOO_LONG => (IssueCode::TooLong, "the URL is too long; send the parameters by POST"),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => (IssueCode::TooLong, "the headers are too long"),
        _ if status.is_client_error() => {
            (IssueCode::Structure, "the request cannot be read: check the encoding of its path, its query and its body")
        }
        _ => (IssueCode::Exception, "the server failed to answer; its log says why"),
    };
    Issue::error(code, text)
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body, try_call_service};
    use actix_web::{App, HttpResponse, web};

    use super::*;

    async fn answered(bare: fn() -> HttpResponse) -> (StatusCode, header::HeaderMap, String) {
        let app = App::new().wrap(from_fn(explain)).default_service(web::to(move || std::future::ready(bare())));
        let app = init_service(app).await;
        let response = call_service(&app, TestRequest::get().to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let headers = headers.into_iter().collect();
        let body = read_body(response).await;
        (status, headers, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn an_error_without_a_body_gets_an_outcome_and_keeps_its_headers() {
        let (status, headers, body) =
            answered(|| HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET")).body("no")).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(headers.get(header::ALLOW).map(header::HeaderValue::as_bytes), Some(&b"GET"[..]));
        assert_eq!(
            headers.get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes),
            Some(&b"application/fhir+json"[..])
        );
        assert!(body.contains("OperationOutcome") && body.contains("not-supported"), "{body}");
    }

    #[tokio::test]
    async fn an_answer_that_is_no_error_and_an_error_in_json_stay_as_they_are() {
        let (_, _, plain) = answered(|| HttpResponse::Ok().body("ok")).await;
        assert_eq!(plain, "ok");
        let (_, _, json) =
            answered(|| HttpResponse::BadRequest().content_type("application/json").body(r#"{"error":"x"}"#)).await;
        assert_eq!(json, r#"{"error":"x"}"#);
    }

    #[tokio::test]
    async fn a_request_that_does_not_come_to_its_end_is_given_up_with_an_outcome() {
        let app = App::new()
            .wrap(from_fn(|request, next| within(Duration::from_millis(1), request, next)))
            .route("/", web::get().to(std::future::pending::<HttpResponse>));
        let app = init_service(app).await;
        let error = try_call_service(&app, TestRequest::get().uri("/").to_request()).await.expect_err("it never ends");
        let answer = error.error_response();
        assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
        let media_type = answer.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
        assert_eq!(media_type, Some(&b"application/fhir+json"[..]));
    }
}
