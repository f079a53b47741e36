//! The polling location: progress, manifest or failure; and its deletion.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, web};
use shared::export::{Failure, Job, JobState};
use shared::fhir::{Instant, Issue, IssueCode};
use shared::settings::Links;
use tracing::info;

use crate::Api;
use crate::caller::Known;
use crate::error::{ApiError, outcome};
use crate::manifest::{Link, manifest};

/// `GET [polling location]` (standards §1.4).
pub async fn poll(api: web::Data<Api>, job: web::Path<String>, caller: Known) -> Result<HttpResponse, ApiError> {
    let job = find(&api, &job, &caller).await?;
    match job.state {
        JobState::Accepted | JobState::Running => Ok(in_progress(&job, api.now())),
        JobState::Completed => completed(&api, &job).await,
        JobState::Failed => {
            let failure = job.failure.unwrap_or_else(|| Failure { reason: "the export failed".to_owned() });
            Err(ApiError::JobFailed(failure.issue()))
        }
        JobState::Cancelled => Err(ApiError::NoJob),
    }
}

/// `DELETE [polling location]`: 202 the first time, whatever the job was doing; 404 from then on (standards §1.3).
pub async fn delete(api: web::Data<Api>, job: web::Path<String>, caller: Known) -> Result<HttpResponse, ApiError> {
    let job = find(&api, &job, &caller).await?;
    let now = api.now();
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
pub async fn find(api: &Api, job: &str, Known(caller): &Known) -> Result<Job, ApiError> {
    let id = job.parse().map_err(|_| ApiError::NoJob)?;
    let job = api.platform.jobs.job(id).await?.ok_or(ApiError::NoJob)?;
    let is_expired = job.expires_at.is_some_and(|expires| expires <= api.now());
    if job.client == caller.client && !is_expired { Ok(job) } else { Err(ApiError::NoJob) }
}

fn in_progress(job: &Job, now: Instant) -> HttpResponse {
    let progress = if job.state == JobState::Accepted {
        "waiting for a worker".to_owned()
    } else {
        let done = job.progress;
        format!("{}%: {} of {} tasks done, {} resources written", job.percent(), done.done, done.tasks, done.lines)
    };
    HttpResponse::Accepted()
        .insert_header(("X-Progress", progress))
        .insert_header((header::RETRY_AFTER, retry_after_seconds(job, now).to_string()))
        .finish()
}

/// When to ask again: as long as the rest would take at the rate so far, within 1 to 30 seconds.
fn retry_after_seconds(job: &Job, now: Instant) -> u64 {
    let elapsed = now.since(job.created_at).as_secs();
    let rest = match u64::from(job.percent()) {
        // Nothing is known yet: ask the less often the longer it takes.
        0 => elapsed / 4,
        percent => elapsed * (100 - percent) / percent,
    };
    rest.clamp(1, 30)
}

async fn completed(api: &Api, job: &Job) -> Result<HttpResponse, ApiError> {
    let outputs = api.platform.jobs.outputs(job.id).await?;
    let mut links = Vec::with_capacity(outputs.len());
    for output in outputs {
        let url = match api.links {
            Links::Gated => format!("{}/{}", api.polling_url(job.id), crate::files::name_of(&output.key)),
            Links::Signed => api.platform.outputs.link(&output.key, api.link_lifetime).await?.to_string(),
        };
        links.push(Link { output, url });
    }
    let now = api.now();
    let mut expires = job.expires_at.unwrap_or(now);
    if api.links == Links::Signed {
        api.metrics.links.inc_by(links.len() as u64);
        // The links of this answer end before the files do; a later poll has new ones.
        expires = expires.min(now + api.link_lifetime);
    }
    let body = manifest(job, links, api.links == Links::Gated);
    Ok(HttpResponse::Ok()
        .insert_header((header::EXPIRES, expires.http_date()))
        .content_type("application/json")
        .body(body))
}
