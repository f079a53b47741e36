//! Every route on one page.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, web};
use shared::settings::OWN_TOKEN_PATH;
use shared::telemetry::trace::{self, Side, TRACEPARENT, Traced};

use crate::audit;
pub use crate::audit::Action;
use crate::caller::guard;
use crate::error::{ApiError, RefusedFor};
use crate::start::StartPoint;
use crate::{Api, definitions, files, kick_off, metadata, read, search, smart_configuration, status, token};

/// The methods that spans are named by.
const METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS];

/// The folder of the polling locations below the base.
pub const JOBS: &str = "export";

/// A resource of this service.
pub struct Row {
    /// Its path below the base.
    pub path: &'static str,
    /// The methods that it has, as `Allow` lists them. `OPTIONS` is answered everywhere.
    pub methods: &'static str,
    /// What it asks of whoever asks.
    pub protection: Protection,
    routes: fn(Resource) -> Resource,
}

/// What a resource asks of whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Nothing: it says how to ask for the others.
    None,
    /// Nothing but what is in the request; what comes of it goes into the audit trail.
    TokenEndpoint,
    /// A token, or whatever else the authorizer goes by; the action goes into the audit trail.
    Token(Action),
}

/// All resources. `{type}/{id}` fits much, so it comes last.
pub const TABLE: [Row; 16] = [
    start(StartPoint::System, |at| kick_off(at, StartPoint::System)),
    start(StartPoint::Patients, |at| kick_off(at, StartPoint::Patients)),
    start(StartPoint::Group, |at| kick_off(at, StartPoint::Group)),
    start(StartPoint::Attribution, |at| kick_off(at, StartPoint::Attribution)),
    Row {
        path: "export/{job}",
        methods: "GET, DELETE",
        protection: Protection::Token(Action::Poll),
        routes: |at| at.get(status::poll).delete(status::delete),
    },
    Row {
        path: "export/{job}/{file:.*}",
        methods: "GET, HEAD",
        protection: Protection::Token(Action::Download),
        routes: |at| readable(at, || web::route().to(files::download)),
    },
    Row {
        path: OWN_TOKEN_PATH,
        methods: "POST",
        protection: Protection::TokenEndpoint,
        routes: |at| at.post(token::issue),
    },
    public("metadata", |at| readable(at, || web::route().to(metadata::capabilities))),
    public(".well-known/smart-configuration", |at| {
        readable(at, || web::route().to(smart_configuration::configuration))
    }),
    public("OperationDefinition", |at| readable(at, || web::route().to(definitions::all))),
    public("OperationDefinition/{id}", |at| readable(at, || web::route().to(definitions::one))),
    guarded("Group", |at| readable(at, || web::route().to(search::by_query))),
    Row {
        path: "Group/_search",
        methods: "POST",
        protection: Protection::Token(Action::Read),
        routes: |at| at.post(search::by_form),
    },
    guarded("{type}/{id}", |at| readable(at, || web::route().to(read::read))),
    guarded("{type}/{id}/_history", |at| readable(at, || web::route().to(read::history::history))),
    guarded("{type}/{id}/_history/{version}", |at| readable(at, || web::route().to(read::version))),
];

const fn start(start: StartPoint, routes: fn(Resource) -> Resource) -> Row {
    Row { path: start.route(), methods: "GET, POST", protection: Protection::Token(Action::KickOff), routes }
}

const fn public(path: &'static str, routes: fn(Resource) -> Resource) -> Row {
    Row { path, methods: "GET, HEAD", protection: Protection::None, routes }
}

const fn guarded(path: &'static str, routes: fn(Resource) -> Resource) -> Row {
    Row { path, methods: "GET, HEAD", protection: Protection::Token(Action::Read), routes }
}

fn kick_off(at: Resource, start: StartPoint) -> Resource {
    at.app_data(start).get(kick_off::by_query).post(kick_off::by_body)
}

/// A resource that is got, with a body or without.
fn readable(at: Resource, route: impl Fn() -> Route) -> Resource {
    at.route(route().method(Method::GET)).route(route().method(Method::HEAD))
}

/// Puts the routes below the path of the public base.
pub fn configure(app: &mut web::ServiceConfig, base: &str) {
    let base = base.trim_end_matches('/');
    for row in TABLE {
        let at = (row.routes)(web::resource(format!("{base}/{}", row.path))).default_service(only(row.methods));
        match row.protection {
            Protection::None => app.service(at),
            Protection::TokenEndpoint => {
                app.service(at.wrap(from_fn(|request, next| audit::told(Action::Token, request, next))))
            }
            // The last that is wrapped is the first that sees a request, and the last that sees its answer.
            Protection::Token(action) => app.service(
                at.wrap(from_fn(guard)).wrap(from_fn(move |request, next| audit::told(action, request, next))),
            ),
        };
    }
    app.default_service(web::to(no_route));
}

/// Answers `OPTIONS` with the methods that a resource has, and refuses every other that it has not.
fn only(methods: &'static str) -> Route {
    web::to(move |request: HttpRequest| std::future::ready(not_allowed(&request, methods)))
}

async fn no_route() -> Result<HttpResponse, ApiError> {
    // The path may name somebody.
    Err(ApiError::NoRoute)
}

fn not_allowed(request: &HttpRequest, allowed: &'static str) -> Result<HttpResponse, ApiError> {
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allowed)).finish());
    }
    Err(ApiError::MethodNotAllowed { method: request.method().to_string(), allowed })
}

/// Measures each request by its route, and traces it; what has no route counts as one.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = std::time::Instant::now();
    let api = request.app_data::<web::Data<Api>>().cloned();
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    // What a stranger calls a method is no name for a span.
    let method = METHODS.iter().find(|method| *method == request.method()).map_or("_OTHER", Method::as_str);
    let traceparent = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let traced = Traced::begin(format!("{method} {route}"), Side::Server, traceparent);
    let (response, status) = traced
        .on(async {
            let response = next.call(request).await;
            // A request that does not come to its end has an error and no answer yet.
            let status =
                response.as_ref().map_or_else(|error| error.as_response_error().status_code(), ServiceResponse::status);
            trace::note("http.request.method", method);
            trace::note("http.route", route.clone());
            trace::note("http.response.status_code", i64::from(status.as_u16()));
            if status.is_server_error() {
                trace::failed("answered with an error of the server");
            }
            (response, status)
        })
        .await;
    if let Some(api) = api {
        let seconds = began.elapsed().as_secs_f64();
        api.metrics.request_seconds.with_label_values(&[route.as_str(), status.as_str()]).observe(seconds);
        if let Ok(response) = &response
            && let Some(RefusedFor(reason)) = response.response().extensions().get()
        {
            api.metrics.refusals.with_label_values(&[reason]).inc();
        }
    }
    response
}
