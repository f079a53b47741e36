//! The audit trail: who asked for what, of which list and job, and what came of it.
//!
//! Each kick-off, manifest, link, download, deletion, token and read is an [`Event`], and so is each refusal. An event is
//! recorded before what it tells of is done or answered (decision 0017): handlers call [`record`] for what succeeds, [`told`]
//! sees what does not, and what is read. `event` says what an event looks like, `trail` writes it down.

mod event;
mod trail;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use shared::access::Caller;
use shared::export::{Anchor, ClientId, Job};

pub use self::event::{Action, Event};
pub use self::trail::Trail;
use crate::Api;
use crate::error::ApiError;

/// The client that a refused request claims to be from or is from, in the extensions of its answer.
pub enum Refused {
    /// It was named and has not proven who it is.
    Claimed(ClientId),
    /// It has, and may not come in.
    Proven(ClientId),
}

/// In the extensions of an answer that says that an event could not be recorded.
pub struct Unrecorded;

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
        claimed: None,
        address: request.peer_addr().map(|address| address.ip()),
        resource_type: named("type").and_then(|resource_type| resource_type.parse().ok()),
        list: list.and_then(|list| list.parse().ok()),
        job: named("job").and_then(|job| job.parse().ok()),
        file: None,
        scope: None,
    }
}

/// An event of this request about a job and its list.
pub fn event_of_job(api: &Api, request: &HttpRequest, job: &Job, action: Action, status: StatusCode) -> Event {
    let list = match &job.request.anchor {
        Anchor::Group(list) => Some(list.clone()),
        Anchor::Patient | Anchor::System => None,
    };
    Event { list, job: Some(job.id), ..event(api, request, action, status) }
}

/// Records what the handlers do not: every failure of an action that is audited, every refusal, and what is read.
pub async fn told<B: MessageBody>(
    action: Action,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let api = request.app_data::<web::Data<Api>>().expect("every App of this service has its Api").clone();
    let action = match (action, request.method()) {
        // Only a polling location can be deleted.
        (Action::Poll, &Method::DELETE) => Action::Delete,
        (action, _) => action,
    };
    let is_question = request.method() == Method::OPTIONS;
    let response = next.call(request).await?;
    if is_question || !is_told(action, response.response()) {
        return Ok(response.map_into_left_body());
    }
    let mut event = event(&api, response.request(), action, response.status());
    match response.response().extensions().get::<Refused>() {
        Some(Refused::Claimed(client)) => event.claimed = Some(client.clone()),
        Some(Refused::Proven(client)) => event.client = Some(client.clone()),
        None => {}
    }
    match record(&api, &[event]).await {
        Ok(()) => Ok(response.map_into_left_body()),
        Err(error) => Ok(response.into_response(error.error_response().map_into_right_body())),
    }
}

fn is_told<B>(action: Action, response: &HttpResponse<B>) -> bool {
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    if response.extensions().get::<Unrecorded>().is_some() {
        // There is no way to tell it, which is why it failed.
        return false;
    }
    match action {
        Action::Read => event::is_refusal(action, status.as_u16()) || !is_failure,
        Action::Poll => event::is_refusal(action, status.as_u16()),
        _ => is_failure,
    }
}
