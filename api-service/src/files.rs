//! Gated files: the API checks who is asking and sends them on to a link that lives for minutes (standards §5.1).

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use shared::export::{JobState, OutputKey};
use shared::settings::Links;

use crate::Api;
use crate::caller::Known;
use crate::error::ApiError;
use crate::status::find;

/// How long a link is good for that a gated download is sent on to.
const REDIRECT_LIFETIME: Duration = Duration::from_mins(5);

/// The name of a file below its polling location.
pub fn name_of(key: &OutputKey) -> String {
    let text = key.to_string();
    text.split_once('/').map_or_else(|| text.clone(), |(_, name)| name.to_owned())
}

/// `GET [polling location]/{Type}/{name}`: 307 to a fresh signed link.
pub async fn download(
    api: web::Data<Api>,
    path: web::Path<(String, String)>,
    caller: Known,
) -> Result<HttpResponse, ApiError> {
    let (job, file) = path.into_inner();
    let job = find(&api, &job, &caller).await?;
    if job.state != JobState::Completed || api.links != Links::Gated {
        return Err(ApiError::NoFile);
    }
    let outputs = api.platform.jobs.outputs(job.id).await?;
    let output = outputs.into_iter().find(|output| name_of(&output.key) == file).ok_or(ApiError::NoFile)?;
    let url = api.platform.outputs.link(&output.key, REDIRECT_LIFETIME).await?;
    api.metrics.links.inc();
    Ok(HttpResponse::TemporaryRedirect()
        .insert_header((header::LOCATION, url.to_string()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish())
}
