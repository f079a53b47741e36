//! Every route on one page.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::error::ApiError;
use crate::start::StartPoint;
use crate::{Api, definitions, files, kick_off, metadata, read, search, smart_configuration, status};

/// The folder of the polling locations below the base.
pub const JOBS: &str = "export";

/// Puts the routes below the path of the public base.
pub fn configure(app: &mut web::ServiceConfig, base: &str) {
    let base = base.trim_end_matches('/');
    let path = |rest: &str| format!("{base}/{rest}");
    for start in StartPoint::ALL {
        app.service(
            web::resource(path(start.route()))
                .app_data(start)
                .get(kick_off::by_query)
                .post(kick_off::by_body)
                .default_service(only("GET, POST")),
        );
    }
    app.service(
        web::resource(path(&format!("{JOBS}/{{job}}")))
            .get(status::poll)
            .delete(status::delete)
            .default_service(only("GET, DELETE")),
    )
    .service(
        web::resource(path(&format!("{JOBS}/{{job}}/{{file:.*}}")))
            .get(files::download)
            .route(web::head().to(files::download))
            .default_service(only("GET, HEAD")),
    )
    .configure(|app| discovery(app, &path))
    .default_service(web::to(no_route));
}

/// The routes by which a client finds out what there is. `{type}/{id}` fits much, so it comes last.
fn discovery(app: &mut web::ServiceConfig, path: &impl Fn(&str) -> String) {
    app.service(readable(&path("metadata"), || web::route().to(metadata::capabilities)))
        .service(readable(&path(".well-known/smart-configuration"), || {
            web::route().to(smart_configuration::configuration)
        }))
        .service(readable(&path("OperationDefinition"), || web::route().to(definitions::all)))
        .service(readable(&path("OperationDefinition/{id}"), || web::route().to(definitions::one)))
        .service(readable(&path("Group"), || web::route().to(search::by_query)))
        .service(web::resource(path("Group/_search")).post(search::by_form).default_service(only("POST")))
        .service(readable(&path("{type}/{id}"), || web::route().to(read::read)))
        .service(readable(&path("{type}/{id}/_history"), || web::route().to(read::history::history)))
        .service(readable(&path("{type}/{id}/_history/{version}"), || web::route().to(read::version)));
}

/// A resource that is got, with a body or without.
fn readable(path: &str, route: impl Fn() -> actix_web::Route) -> actix_web::Resource {
    let (get, head) = (route().method(Method::GET), route().method(Method::HEAD));
    web::resource(path).route(get).route(head).default_service(only("GET, HEAD"))
}

/// Answers `OPTIONS` with the methods that a resource has, and refuses every other that it has not.
fn only(methods: &'static str) -> actix_web::Route {
    web::to(move |request: HttpRequest| std::future::ready(not_allowed(&request, methods)))
}

async fn no_route(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NoRoute { path: request.path().to_owned() })
}

fn not_allowed(request: &HttpRequest, allowed: &'static str) -> Result<HttpResponse, ApiError> {
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allowed)).finish());
    }
    Err(ApiError::MethodNotAllowed { method: request.method().to_string(), allowed })
}

/// Measures each request by its route; what has no route counts as one.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = std::time::Instant::now();
    let api = request.app_data::<web::Data<Api>>().cloned();
    let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
    let response = next.call(request).await?;
    if let Some(api) = api {
        let seconds = began.elapsed().as_secs_f64();
        api.metrics.request_seconds.with_label_values(&[route.as_str(), response.status().as_str()]).observe(seconds);
    }
    Ok(response)
}
