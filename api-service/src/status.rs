//! The polling location: progress, manifest or failure; and its deletion.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use shared::access::Permission;
use shared::export::{Anchor, Failure, Job, JobState};
use shared::fhir::{Instant, Issue, IssueCode};
use shared::settings::Links;
use tracing::info;

use crate::Api;
use crate::audit::{self, Action, Event};
use crate::caller::Known;
use crate::error::{ApiError, outcome};
use crate::headers;
use crate::links::{linked, name_of};
use crate::manifest::{Contents, manifest};
use crate::pages::{self, Page};
use crate::progress;
use crate::rights;

const EXPORT_STATUS: HeaderName = HeaderName::from_static("x-export-status");

/// `GET [polling location]` (standards §1.4).
///
/// With `allowPartialManifests` there is a manifest while the job runs too, cut into pages; `?page=2` asks for the second.
pub async fn poll(
    api: web::Data<Api>,
    request: HttpRequest,
    job: web::Path<String>,
    caller: Known,
) -> Result<HttpResponse, ApiError> {
    let job = find(&api, &job, &caller).await?;
    rights::check_scope(&caller.0, &job.request.selection.written_types(), Permission::EXPORT)?;
    let page = if job.request.delivery.partial_manifests { pages::number(request.query_string())? } else { 1 };
    // Each task makes one page at most, and the account of the members makes one more.
    let counted = page.min(job.progress.tasks as usize + 1);
    api.polls.check(&job.client, job.id, counted).map_err(|retry_after_seconds| ApiError::Throttled {
        problem: format!("this job is polled too often; poll again in {retry_after_seconds} seconds"),
        retry_after_seconds,
    })?;
    headers::takes_json(&request)?;
    match job.state {
        JobState::Accepted | JobState::Running => in_progress(&api, &request, &job, page).await,
        JobState::Completed => completed(&api, &request, &job, page).await,
        JobState::Failed => failed(job),
        JobState::Cancelled => Err(ApiError::NoJob),
    }
}

/// `DELETE [polling location]`: 202 the first time, whatever the job was doing; 404 from then on (standards §1.3).
pub async fn delete(
    api: web::Data<Api>,
    request: HttpRequest,
    job: web::Path<String>,
    caller: Known,
) -> Result<HttpResponse, ApiError> {
    // Whoever began a job may end it, whatever else they may still do.
    let job = own(&api, &job, &caller).await?;
    if job.state == JobState::Cancelled {
        return Err(ApiError::NoJob);
    }
    let now = api.now();
    let event = audit::event_of_job(&api, &request, &job, Action::Delete, StatusCode::ACCEPTED);
    audit::record(&api, &[event]).await?;
    if !api.platform.jobs.cancel(job.id, now, now + api.cancelled_lifetime).await? {
        return Err(ApiError::NoJob);
    }
    if job.state.is_alive() {
        api.metrics.jobs_ended.with_label_values(&[JobState::Cancelled.name()]).inc();
    }
    info!(job.id = %job.id, "deleted job {}", job.id);
    let issue = Issue::information(IssueCode::Informational, "the export is deleted; its files are being removed");
    Ok(outcome(StatusCode::ACCEPTED, &issue))
}

/// The caller's own job of this name; somebody else's is as unknown as one that never was (standards §5.36), and so is one
/// that has expired, whether or not it is removed yet: its files may go at any moment.
pub async fn find(api: &Api, job: &str, caller: &Known) -> Result<Job, ApiError> {
    let job = own(api, job, caller).await?;
    if rights::may_see_job(&caller.0, &job) { Ok(job) } else { Err(ApiError::NoJob) }
}

/// The same, of a list that is not the caller's any more, too.
async fn own(api: &Api, job: &str, Known(caller): &Known) -> Result<Job, ApiError> {
    let id = job.parse().map_err(|_| ApiError::NoJob)?;
    let job = api.platform.jobs.job(id).await?.ok_or(ApiError::NoJob)?;
    let is_there = ends_at(api, &job).is_none_or(|end| api.now() < end);
    if job.client == caller.client && is_there { Ok(job) } else { Err(ApiError::NoJob) }
}

/// When the job ends for its client. Its files stay a while longer, so that what a client has begun by then it can finish,
/// and a worker whose clock is ahead takes nothing away that was promised (decision 0020). Of a job that was ended by a worker
/// with other settings, or none of this kind, that is the retention that is ours, as far as its files are there.
fn ends_at(api: &Api, job: &Job) -> Option<Instant> {
    let expires = job.expires_at?;
    let retained = job.ended_at.map_or(expires, |ended| ended + api.retention);
    Some(expires.min(retained.max(expires - api.linger)))
}

/// Begins an answer about a job in this state. The state is the status of the answer, or, with
/// `Prefer: separate-export-status`, stands in a header of its own.
fn about(job: &Job, state: StatusCode) -> HttpResponseBuilder {
    if !job.request.delivery.separate_status {
        return HttpResponse::build(state);
    }
    let mut answer = HttpResponse::Ok();
    answer.insert_header((EXPORT_STATUS, state.to_string()));
    answer
}

async fn in_progress(api: &Api, request: &HttpRequest, job: &Job, number: usize) -> Result<HttpResponse, ApiError> {
    let mut answer = about(job, StatusCode::ACCEPTED);
    answer
        .insert_header(("X-Progress", progress::text(job)))
        .insert_header((header::RETRY_AFTER, progress::retry_after_seconds(job, api.now()).to_string()));
    if job.request.delivery.partial_manifests {
        let written = api.platform.jobs.written(job.id).await?;
        if let Some(page) = pages::of_running(written, number) {
            return with_manifest(api, request, job, page, answer).await;
        }
    }
    Ok(answer.finish())
}

async fn completed(api: &Api, request: &HttpRequest, job: &Job, number: usize) -> Result<HttpResponse, ApiError> {
    let has_account = matches!(job.request.anchor, Anchor::Group(_));
    let written = api.platform.jobs.written(job.id).await?;
    let page = if job.request.delivery.partial_manifests {
        pages::of_completed(written, number, has_account).ok_or(ApiError::NoPage(number))?
    } else {
        pages::whole(written, has_account)
    };
    with_manifest(api, request, job, page, about(job, StatusCode::OK)).await
}

/// Ends an answer with the manifest of this page. It expires with its files, or with the first of its links; a later poll
/// has new ones.
async fn with_manifest(
    api: &Api,
    request: &HttpRequest,
    job: &Job,
    page: Page,
    mut answer: HttpResponseBuilder,
) -> Result<HttpResponse, ApiError> {
    let (links, links_end) = linked(api, job.id, page.outputs).await?;
    let files: Vec<String> = links.iter().map(|given| name_of(&given.output.key)).collect();
    let next = page.next.map(|number| format!("{}?page={number}", api.polling_url(job.id)));
    let contents = Contents { links, next, account: page.account };
    let body = manifest(job, api.base(), contents, api.links == Links::Gated);
    if let Some(expires) = ends_at(api, job).into_iter().chain(links_end).min() {
        answer.insert_header((header::EXPIRES, expires.http_date()));
    }
    // Signed links are keys: they are not to lie about in caches, which would also take `Expires` as leave to keep them.
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    let answer = answer.content_type("application/json").body(body);

    let event = |action| audit::event_of_job(api, request, job, action, answer.status());
    let mut events = vec![event(Action::Manifest)];
    if api.links == Links::Signed {
        events.extend(files.into_iter().map(|file| Event { file: Some(file), ..event(Action::Link) }));
    }
    audit::record(api, &events).await?;
    Ok(answer)
}

fn failed(job: Job) -> Result<HttpResponse, ApiError> {
    let is_separate = job.request.delivery.separate_status;
    let failure = job.failure.unwrap_or_else(|| Failure { reason: "the export failed".to_owned() });
    if !is_separate {
        return Err(ApiError::JobFailed(failure.issue()));
    }
    let mut answer = outcome(StatusCode::OK, &failure.issue());
    let state = HeaderValue::from_static("500 Internal Server Error");
    answer.headers_mut().insert(EXPORT_STATUS, state);
    Ok(answer)
}
