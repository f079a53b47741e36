//! Who is calling: found out before anything else of a request is looked at, and an argument of the handlers.

use std::future::{Ready, ready};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, ResponseError, web};
use shared::access::{Caller, Refusal};

use crate::Api;
use crate::error::ApiError;

/// The caller of a request; a handler that takes it cannot be reached without one.
pub struct Known(pub Caller);

impl FromRequest for Known {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned();
        ready(caller.map(Self).ok_or(Refusal::TokenMissing.into()))
    }
}

/// Lets in only who the authorizer knows. What methods there are, anybody may ask (`OPTIONS`).
pub async fn guard<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    if request.method() != Method::OPTIONS {
        let caller = find(&request).await;
        match caller {
            Ok(caller) => request.extensions_mut().insert(caller),
            Err(error) => return Ok(request.into_response(error.error_response().map_into_right_body())),
        };
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

async fn find(request: &ServiceRequest) -> Result<Caller, ApiError> {
    let api = request.app_data::<web::Data<Api>>().expect("every App of this service has its Api");
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let authorization = headers.next().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if headers.next().is_some() {
        let problem = "it came in more than one Authorization header".to_owned();
        return Err(Refusal::TokenInvalid(problem).into());
    }
    Ok(api.access.caller(authorization.as_deref()).await?)
}
