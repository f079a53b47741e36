//! The API in one of its lives, called without a socket.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::to_bytes;
use actix_web::dev::Service;
use actix_web::http::{Method, StatusCode, header};
use actix_web::test::{TestRequest, init_service};
use actix_web::web;
use api_service::Api;
use async_trait::async_trait;
use shared::access::{Authorizer, Caller, Lists, Refusal, Scopes, TokenEndpoint};
use shared::export::ClientId;
use shared::metrics::Metrics;
use tokio::time::Instant;

use super::world::World;
use crate::harness::mischief::{Mischief, Process};
use crate::harness::trace::Who;

/// What a client gets.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Content-Location`.
    pub location: Option<String>,
    /// The body, as text.
    pub body: String,
}

type Call = dyn Fn(TestRequest) -> Pin<Box<dyn Future<Output = Answer>>>;

/// An API and its process.
pub struct Front {
    /// Its process.
    pub process: Process,
    call: Option<Box<Call>>,
    /// When it was first seen dead.
    died_at: Cell<Option<Instant>>,
}

/// Believes whatever name a caller gives as a token.
struct Named;

#[async_trait]
impl Authorizer for Named {
    async fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal> {
        let name = authorization.and_then(|header| header.strip_prefix("Bearer ")).ok_or(Refusal::TokenMissing)?;
        Ok(Caller { client: ClientId(name.to_owned()), scopes: Scopes::all(), lists: Lists::All })
    }

    fn token_endpoint(&self) -> Option<&dyn TokenEndpoint> {
        None
    }
}

impl Front {
    /// One that has never been there.
    pub fn closed(mischief: &Mischief) -> Self {
        let process = Process::immortal(Who { kind: "api", number: 1, life: 0 }, mischief);
        process.kill();
        Self { process, call: None, died_at: Cell::default() }
    }

    /// One that answers until its process dies.
    pub async fn open(world: &World, process: Process, metrics: &Metrics) -> Self {
        let platform = world.seen_by(&process);
        let api = Api::new(platform, Arc::new(Named), metrics.clone(), &world.settings);
        let api = web::Data::new(api.expect("the settings are valid"));
        let app = Rc::new(init_service(api_service::app(&api)).await);
        let call: Box<Call> = Box::new(move |request: TestRequest| {
            let app = Rc::clone(&app);
            Box::pin(async move {
                let response = match app.call(request.to_request()).await {
                    Ok(response) => response.into_parts().1.map_into_boxed_body(),
                    Err(error) => error.error_response(),
                };
                let status = response.status();
                let location = response.headers().get(header::CONTENT_LOCATION);
                let location = location.map(|value| value.to_str().expect("a URL is text").to_owned());
                let body = to_bytes(response.into_body()).await.unwrap_or_default();
                Answer { status, location, body: String::from_utf8_lossy(&body).into_owned() }
            })
        });
        Self { process, call: Some(call), died_at: Cell::default() }
    }

    /// Whether it has been dead for so long, or was never there.
    pub fn is_dead_for(&self, time: Duration) -> bool {
        if !self.process.is_dead() {
            return false;
        }
        let Some(_) = &self.call else { return true };
        let died_at = self.died_at.get().unwrap_or_else(Instant::now);
        self.died_at.set(Some(died_at));
        died_at.elapsed() >= time
    }

    /// What it answers to a client of this name; `None` when it dies first.
    pub async fn ask(&self, client: &str, method: Method, path: &str) -> Option<Answer> {
        let call = self.call.as_ref().filter(|_| !self.process.is_dead())?;
        let request = TestRequest::with_uri(path)
            .method(method)
            .insert_header((header::AUTHORIZATION, format!("Bearer {client}")))
            .insert_header((header::ACCEPT, "application/fhir+json"))
            .insert_header(("Prefer", "respond-async"));
        tokio::select! {
            biased;
            () = self.process.died() => None,
            answer = call(request) => Some(answer),
        }
    }
}
