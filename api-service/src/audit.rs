//! The audit trail: who asked for what, of which list and job, and what came of it.
//!
//! Each kick-off, manifest, link, download, deletion and token is one [`Event`], and so is each refusal. An event is
//! recorded before what it tells of is done or answered: handlers call [`record`] for what succeeds, [`failures`] sees what
//! does not. `event` says what an event looks like, `trail` writes it down.

mod event;
mod trail;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, ResponseError, web};
use shared::access::Caller;
use shared::export::ClientId;

pub use self::event::{Action, Event};
pub use self::trail::Trail;
use crate::Api;
use crate::error::ApiError;

/// Who a refused request named without proving it, in the extensions of its answer: the token endpoint knows, and nobody
/// else does.
pub struct Named(pub ClientId);

/// Records events of a request that is about to be answered. Fails when that is not possible and has to be.
pub async fn record(api: &Api, events: &[Event]) -> Result<(), ApiError> {
    api.trail.record(api.base(), events).await.map_err(|_| ApiError::Unrecorded)
}

/// An event of this request now.
pub fn event(api: &Api, request: &HttpRequest, action: Action, status: StatusCode) -> Event {
    let named = |name: &str| request.match_info().get(name);
    // Only the id of a list is said: that of another resource may be about a person.
    let list = named("list").or_else(|| named("id").filter(|_| named("type") == Some("Group")));
    Event {
        at: api.now(),
        action,
        status: status.as_u16(),
        client: request.extensions().get::<Caller>().map(|caller| caller.client.clone()),
        address: request.peer_addr().map(|address| address.ip()),
        list: list.and_then(|list| list.parse().ok()),
        job: named("job").and_then(|job| job.parse().ok()),
        file: None,
        scope: None,
    }
}

/// Records what is not done: every failure of an action that is audited, and every refusal of anything else.
pub async fn failures<B: MessageBody>(
    action: Action,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let api = request.app_data::<web::Data<Api>>().expect("every App of this service has its Api").clone();
    let action = if request.method() == Method::DELETE { Action::Delete } else { action };
    let response = next.call(request).await?;
    let status = response.status();
    let is_refusal = event::is_refusal(status.as_u16());
    let is_failure = status.is_client_error() || status.is_server_error();
    if !(is_refusal || is_failure && action != Action::Other) {
        return Ok(response.map_into_left_body());
    }
    let mut event = event(&api, response.request(), action, status);
    if let Some(Named(client)) = response.response().extensions().get::<Named>() {
        event.client = Some(client.clone());
    }
    match record(&api, &[event]).await {
        Ok(()) => Ok(response.map_into_left_body()),
        Err(error) => Ok(response.into_response(error.error_response().map_into_right_body())),
    }
}
