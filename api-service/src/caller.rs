//! Who is calling, as an argument of the handlers that need to know.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use shared::access::Caller;

use crate::Api;
use crate::error::ApiError;

/// The caller of a request; a handler that takes it cannot be reached without one.
pub struct Known(pub Caller);

impl FromRequest for Known {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let api = request.app_data::<web::Data<Api>>().expect("every App of this service has its Api").clone();
        let header = request
            .headers()
            .get(header::AUTHORIZATION)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Box::pin(async move { Ok(Self(api.access.caller(header.as_deref()).await?)) })
    }
}
