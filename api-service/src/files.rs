//! Gated files: the API checks who is asking and sends them on to a link that lives for minutes (standards §5.1).

use std::time::Duration;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use shared::access::Permission;
use shared::outputs::LinkMethod;
use shared::settings::Links;

use crate::Api;
use crate::audit::{self, Action, Event};
use crate::caller::Known;
use crate::error::ApiError;
use crate::links::name_of;
use crate::rights;
use crate::status::find;

/// How long a link is good for that a gated download is sent on to.
const REDIRECT_LIFETIME: Duration = Duration::from_mins(5);

/// `GET` and `HEAD [polling location]/{Type}/{name}`: 307 to a fresh signed link for the same method.
///
/// Files can be had as soon as a manifest shows them, which is before the end of the job with `allowPartialManifests`.
pub async fn download(
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    caller: Known,
) -> Result<HttpResponse, ApiError> {
    let (job, file) = path.into_inner();
    let job = find(&api, &job, &caller).await?;
    let is_shown = !job.state.is_alive() || job.request.delivery.partial_manifests;
    if !is_shown || api.links != Links::Gated {
        return Err(ApiError::NoFile);
    }
    // There are none of a job that has failed or was deleted.
    let written = api.platform.jobs.written(job.id).await?;
    let mut outputs = written.into_iter().flat_map(|written| written.outputs);
    let output = outputs.find(|output| name_of(&output.key) == file).ok_or(ApiError::NoFile)?;
    // Files of one type need that type; notices and blocks are about all that the job wrote.
    let resource_type = output.key.resource_type;
    let types =
        if resource_type.is_attribution() { [resource_type].into() } else { job.request.selection.written_types() };
    rights::check_scope(&caller.0, &types, Permission::EXPORT)?;
    let method = if request.method() == Method::HEAD { LinkMethod::Head } else { LinkMethod::Get };
    let link = api.platform.outputs.link(&output.key, method, REDIRECT_LIFETIME).await?;
    api.metrics.links.inc();
    let event = audit::event_of_job(&api, &request, &job, Action::Download, StatusCode::TEMPORARY_REDIRECT);
    audit::record(&api, &[Event { file: Some(file), ..event }]).await?;
    Ok(HttpResponse::TemporaryRedirect()
        .insert_header((header::LOCATION, link.url.to_string()))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish())
}
