//! Every route on one page.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::error::ApiError;
use crate::{Api, files, kick_off, status};

/// The folder of the polling locations below the base.
pub const JOBS: &str = "export";

/// Puts the routes below the path of the public base.
pub fn configure(app: &mut web::ServiceConfig, base: &str) {
    let base = base.trim_end_matches('/');
    let path = |rest: &str| format!("{base}/{rest}");
    let only =
        |methods: &'static str| web::to(move |request: HttpRequest| std::future::ready(not_allowed(&request, methods)));
    app.service(
        web::resource([path("Group/{list}/$export"), path("Group/{list}/$davinci-data-export")])
            .get(kick_off::by_query)
            .post(kick_off::by_body)
            .default_service(only("GET, POST")),
    )
    .service(
        web::resource(path(&format!("{JOBS}/{{job}}")))
            .get(status::poll)
            .delete(status::delete)
            .default_service(only("GET, DELETE")),
    )
    .service(
        web::resource(path(&format!("{JOBS}/{{job}}/{{file:.*}}"))).get(files::download).default_service(only("GET")),
    )
    .default_service(web::to(no_route));
}

async fn no_route(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Err(ApiError::NoRoute { path: request.path().to_owned() })
}

fn not_allowed(request: &HttpRequest, allowed: &'static str) -> Result<HttpResponse, ApiError> {
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
