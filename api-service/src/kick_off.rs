//! Kick-off: a valid request becomes a recorded job, and a worker is told to look at it.

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use shared::dispatch;
use shared::export::{Anchor, ExportRequest, JobId, Operation, TaskNo, TaskRef};
use shared::fhir::{Issue, IssueCode, ResourceId};
use shared::jobs::NewJob;
use tracing::info;

use crate::Api;
use crate::caller::Known;
use crate::error::{ApiError, outcome};
use crate::parameters::{Pairs, Parameters, of_body, of_query};

/// `GET [base]/Group/{list}/$export` and `$davinci-data-export`.
pub async fn by_query(api: web::Data<Api>, request: HttpRequest, caller: Known) -> Result<HttpResponse, ApiError> {
    kick_off(&api, &request, caller, of_query(request.query_string())).await
}

/// The same by `POST`, with a `Parameters` resource as the body. Parameters in the query count as well.
pub async fn by_body(
    api: web::Data<Api>,
    request: HttpRequest,
    caller: Known,
    body: Result<web::Bytes, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    let body = body.map_err(|error| match error.as_response_error().status_code().as_u16() {
        413 => ApiError::TooLong(api.body_bytes),
        _ => ApiError::Body(format!("the body cannot be read: {error}")),
    })?;
    let media_type = request.content_type().to_ascii_lowercase();
    if !body.is_empty() && !matches!(media_type.as_str(), "application/fhir+json" | "application/json") {
        return Err(ApiError::MediaType(media_type));
    }
    let mut pairs = of_query(request.query_string());
    pairs.extend(of_body(&body)?);
    kick_off(&api, &request, caller, pairs).await
}

async fn kick_off(
    api: &Api,
    request: &HttpRequest,
    Known(caller): Known,
    pairs: Pairs,
) -> Result<HttpResponse, ApiError> {
    let operation = if request.path().ends_with(Operation::DavinciDataExport.name()) {
        Operation::DavinciDataExport
    } else {
        Operation::Export
    };
    let name = request.match_info().query("list");
    let list: ResourceId = name.parse().map_err(|_| ApiError::NoGroup(name.to_owned()))?;
    let now = api.now();
    let Parameters { types, since } = Parameters::check(&pairs, operation, now)?;

    let source = &api.platform.source;
    let as_of = source.transaction_time().await?;
    if source.list(&list, as_of).await?.is_none() {
        return Err(ApiError::NoGroup(name.to_owned()));
    }

    let url = request_url(api, request, &list, operation);
    let job = NewJob {
        id: JobId::random(),
        client: caller.client,
        request: ExportRequest { anchor: Anchor::Group(list), operation, url, types, since },
        created_at: now,
    };
    api.platform.jobs.create(&job, now + api.unpublished_due).await?;
    let plan = TaskRef { job: job.id, task: TaskNo::PLAN };
    dispatch::publish(&api.platform, plan, api.published_due).await;
    info!(job.id = %job.id, list = %job.request.list(), "accepted job {}", job.id);

    let location = api.polling_url(job.id);
    let text = format!("the export has begun; poll {location} until it answers 200 with the manifest");
    let mut response =
        outcome(actix_web::http::StatusCode::ACCEPTED, &Issue::information(IssueCode::Informational, text));
    let location = header::HeaderValue::from_str(&location).expect("a URL is made of visible ASCII characters");
    response.headers_mut().insert(header::CONTENT_LOCATION, location);
    Ok(response)
}

/// The kick-off URL under the public base, whatever host the request came to (standards §5.6).
fn request_url(api: &Api, request: &HttpRequest, list: &ResourceId, operation: Operation) -> String {
    let base = api.public_base.as_str().trim_end_matches('/');
    let query = request.query_string();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{base}/Group/{list}/{}{mark}{query}", operation.name())
}
