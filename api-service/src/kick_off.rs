//! Kick-off: a valid request becomes a recorded job, and a worker is told to look at it.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use shared::access::{Caller, Permission};
use shared::dispatch;
use shared::export::{Anchor, ExportRequest, JobId, OpenTask};
use shared::fhir::{Instant, Issue, IssueCode, ResourceType};
use shared::jobs::NewJob;
use shared::telemetry::trace;
use tracing::info;

use crate::Api;
use crate::audit::{self, Action, Event};
use crate::caller::Known;
use crate::error::{ApiError, outcome};
use crate::headers;
use crate::parameters::{Context, Pairs, Parameters, of_body, of_query};
use crate::patients;
use crate::prefer::Preferences;
use crate::rights;
use crate::start::StartPoint;

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// When a client that has as many jobs as it may have is told to come back.
const JOBS_PAUSE_SECONDS: u32 = 10;

/// `GET` of a [`StartPoint`].
pub async fn by_query(api: web::Data<Api>, request: HttpRequest, caller: Known) -> Result<HttpResponse, ApiError> {
    counted(&api, answer(&api, &request, caller, None).await)
}

/// The same by `POST`, with a `Parameters` resource as the body. Parameters in the query count as well.
pub async fn by_body(
    api: web::Data<Api>,
    request: HttpRequest,
    caller: Known,
    body: Result<web::Bytes, actix_web::Error>,
) -> Result<HttpResponse, ApiError> {
    counted(&api, answer(&api, &request, caller, Some(body)).await)
}

fn counted(api: &Api, answer: Result<HttpResponse, ApiError>) -> Result<HttpResponse, ApiError> {
    let status = answer.as_ref().map_or_else(ResponseError::status_code, HttpResponse::status);
    api.metrics.kick_offs.with_label_values(&[status.as_str()]).inc();
    answer
}

async fn answer(
    api: &Api,
    request: &HttpRequest,
    Known(caller): Known,
    body: Option<Result<web::Bytes, actix_web::Error>>,
) -> Result<HttpResponse, ApiError> {
    let preferences = headers::of_kick_off(request, api.require_headers)?;
    let start = *request.app_data::<StartPoint>().expect("each route of a kick-off has its start point");
    let is_post = body.is_some();
    let mut pairs = of_query(request.query_string());
    if let Some(body) = body {
        pairs.extend(pairs_of(api, request, body)?);
    }
    let now = api.now();
    let context = Context { start, is_post, handling: preferences.handling.unwrap_or_default(), now };
    let mut parameters = Parameters::check(&pairs, context)?;
    parameters.selection.types = rights::types_within(&caller, &parameters.selection)?;
    if parameters.delivery.organized_by_patient {
        // Each block begins with the Patient that it is about.
        rights::check_type(&caller, ResourceType::PATIENT, Permission::EXPORT)?;
    }
    check_jobs(api, &caller).await?;

    let export = export_request(api, request, &caller, context, parameters, preferences).await?;
    let id = JobId::random();
    let job = NewJob { id, client: caller.client, request: export, created_at: now, trace: trace::origin() };
    let event = audit::event(api, request, Action::KickOff, StatusCode::ACCEPTED);
    audit::record(api, &[Event { job: Some(job.id), ..event }]).await?;
    record(api, &job, now).await?;
    Ok(accepted(&api.polling_url(job.id), preferences))
}

fn pairs_of(api: &Api, request: &HttpRequest, body: Result<web::Bytes, actix_web::Error>) -> Result<Pairs, ApiError> {
    let body = body.map_err(|error| match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLong(api.body_bytes),
        _ => ApiError::Body(format!("the body cannot be read: {error}")),
    })?;
    let encoding =
        request.headers().get(header::CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(ApiError::Encoded(encoding.into_owned()));
    }
    let media_type = request.content_type().to_ascii_lowercase();
    if !body.trim_ascii().is_empty() && !matches!(media_type.as_str(), "application/fhir+json" | "application/json") {
        return Err(ApiError::MediaType(media_type));
    }
    of_body(&body)
}

/// Refuses a client that has as many living jobs as it may have (Bulk Data, "Kick-off request - Error": 429).
async fn check_jobs(api: &Api, caller: &Caller) -> Result<(), ApiError> {
    let (live, most) = (api.platform.jobs.live_jobs(&caller.client).await?, api.jobs_per_client);
    if live < most {
        return Ok(());
    }
    let problem =
        format!("{live} exports of this client are running, and {most} is the most; wait for one, or delete one");
    Err(ApiError::Throttled { problem, retry_after_seconds: JOBS_PAUSE_SECONDS })
}

/// What the job is to do, once the source has said that there is something to do it on.
async fn export_request(
    api: &Api,
    request: &HttpRequest,
    caller: &Caller,
    context: Context,
    parameters: Parameters,
    preferences: Preferences,
) -> Result<ExportRequest, ApiError> {
    let (source, start) = (&*api.platform.source, context.start);
    let Parameters { mut selection, mut delivery, patients, mut notices } = parameters;
    let (anchor, path) = anchor(request, start)?;
    rights::check_anchor(caller, &anchor)?;
    let as_of = source.transaction_time().await?;
    let list = match &anchor {
        Anchor::Group(list) => {
            let seen = rights::seen_list(api, caller, list, as_of).await?;
            Some(seen.ok_or_else(|| ApiError::NoGroup(list.to_string()))?)
        }
        Anchor::Patient | Anchor::System => None,
    };
    if let Some(references) = patients {
        let named = patients::named(references, &api.own_bases);
        let known = patients::known(source, &anchor, as_of, &named).await?;
        notices.extend(patients::unknown(&named, &known, start));
        selection.patients = Some(known);
    }
    delivery.separate_status = preferences.separate_export_status;
    let url = request_url(api, &path, request.query_string());
    let grounds = rights::grounds(caller, list.as_ref());
    Ok(ExportRequest { anchor, operation: start.operation(), url, grounds, selection, delivery, notices })
}

/// Where the walk starts, and the path of the kick-off below the base.
fn anchor(request: &HttpRequest, start: StartPoint) -> Result<(Anchor, String), ApiError> {
    let anchor = match start {
        StartPoint::System => Anchor::System,
        StartPoint::Patients => Anchor::Patient,
        StartPoint::Group | StartPoint::Attribution => {
            let name = request.match_info().query("list");
            let list = name.parse().map_err(|_| ApiError::NoGroup(name.to_owned()))?;
            let path = start.route().replace("{list}", name);
            return Ok((Anchor::Group(list), path));
        }
    };
    Ok((anchor, start.route().to_owned()))
}

/// The kick-off URL under the public base, whatever host the request came to (standards §5.6).
fn request_url(api: &Api, path: &str, query: &str) -> String {
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}/{path}{mark}{query}", api.base())
}

async fn record(api: &Api, job: &NewJob, now: Instant) -> Result<(), ApiError> {
    api.platform.jobs.create(job, now + api.unpublished_due).await?;
    dispatch::publish(&api.platform, job.id, OpenTask::PLAN, job.trace.clone(), api.published_due).await;
    trace::note("job.id", job.id.to_string());
    info!(job.id = %job.id, anchor = %job.request.anchor, "accepted job {}", job.id);
    Ok(())
}

fn accepted(location: &str, preferences: Preferences) -> HttpResponse {
    let text = format!("the export has begun; poll {location} until it answers with the manifest");
    let mut response = outcome(StatusCode::ACCEPTED, &Issue::information(IssueCode::Informational, text));
    let location = HeaderValue::from_str(location).expect("a URL is made of visible ASCII characters");
    response.headers_mut().insert(header::CONTENT_LOCATION, location);
    let applied = preferences.applied();
    if !applied.is_empty() {
        let applied = HeaderValue::from_str(&applied).expect("the names of preferences are ASCII words");
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    response
}
