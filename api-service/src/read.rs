//! Reading one resource: as it is now, or one version of it (R4 `read` and `vread`; standards §3.5).
//!
//! A Group comes with all its members, streamed: a list may have millions. `_summary` leaves parts out; other parameters
//! are passed over, as FHIR has it, and refused under `Prefer: handling=strict`.

mod conditional;
pub mod history;
mod members;

use std::sync::Arc;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use shared::access::{Caller, Permission};
use shared::fault::Fault;
use shared::fhir::{IssueCode, ResourceId, ResourceKey, ResourceType, Summary};
use shared::source::Version;

use crate::Api;
use crate::answer::media_type;
use crate::bundle::{etag, paging};
use crate::caller::Known;
use crate::error::ApiError;
use crate::headers::handling;
use crate::parameters::{Pairs, of_query, refused};
use crate::prefer::Handling;
use crate::rights;
use crate::text;

/// The parameters of a read. `_pretty` is taken and changes nothing: resources are given as they were written.
const PARAMETERS: [&str; 3] = ["_format", "_pretty", "_summary"];

/// `GET [base]/{Type}/{id}`.
pub async fn read(
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    caller: Known,
) -> Result<HttpResponse, ApiError> {
    let (resource_type, id) = path.into_inner();
    let key = key(&resource_type, &id, &caller)?;
    let newest = newest(&api, &caller.0, &key).await?;
    if newest.to.is_some() {
        return Err(ApiError::Deleted(key.resource_type));
    }
    answer(&api, &request, &newest)
}

/// `GET [base]/{Type}/{id}/_history/{version}`.
pub async fn version(
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    caller: Known,
) -> Result<HttpResponse, ApiError> {
    let (resource_type, id, number) = path.into_inner();
    let key = key(&resource_type, &id, &caller)?;
    let no_version = || ApiError::NoVersion(key.resource_type);
    let number = version_number(&number).ok_or_else(no_version)?;
    newest(&api, &caller.0, &key).await?;
    let found = api.platform.source.versions(&key, Some(number + 1), 1).await?.into_iter().next();
    let found = found.filter(|version| version.number == number).ok_or_else(no_version)?;
    // It may have been about somebody else then.
    if !rights::may_read(&api, &caller.0, &found).await? {
        return Err(no_version());
    }
    answer(&api, &request, &found)
}

/// The number of a version, as this server writes it; anything else names no version.
fn version_number(text: &str) -> Option<u64> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(u64::from(number))
}

/// The newest version of a resource, when there is one that the caller may read.
async fn newest(api: &Api, caller: &Caller, key: &ResourceKey) -> Result<Version, ApiError> {
    let newest = api.platform.source.versions(key, None, 1).await?.into_iter().next();
    let newest = newest.ok_or_else(|| not_there(key.resource_type, key.id.as_str()))?;
    if rights::may_read(api, caller, &newest).await? {
        Ok(newest)
    } else {
        Err(not_there(key.resource_type, key.id.as_str()))
    }
}

/// The key that a URL names, when the caller may ask for its type.
fn key(resource_type: &str, id: &str, Known(caller): &Known) -> Result<ResourceKey, ApiError> {
    let known = resource_type.parse::<ResourceType>().ok().filter(|known| known.is_attribution());
    let known = known.ok_or_else(|| ApiError::NoType(resource_type.to_owned()))?;
    rights::check_type(caller, known, Permission::READ)?;
    let parsed: ResourceId = id.parse().map_err(|_| not_there(known, id))?;
    Ok(ResourceKey::new(known, parsed))
}

/// The answer when there is no such resource. Only the id of a list may be said.
fn not_there(resource_type: ResourceType, id: &str) -> ApiError {
    match resource_type {
        ResourceType::GROUP => ApiError::NoGroup(id.to_owned()),
        other => ApiError::NoResource(other),
    }
}

/// Refuses parameters that are none of `known` when the client wants that; else FHIR passes them over.
fn refuse_if_strict(request: &HttpRequest, pairs: &Pairs, known: &[&str]) -> Result<(), ApiError> {
    if handling(request) == Some(Handling::Strict) { paging::only(pairs, known) } else { Ok(()) }
}

/// A version as the client asked for it, or 304 when the client has it.
fn answer(api: &Api, request: &HttpRequest, version: &Version) -> Result<HttpResponse, ApiError> {
    let pairs = of_query(request.query_string());
    let media_type = media_type(request, &pairs)?;
    refuse_if_strict(request, &pairs, &PARAMETERS)?;
    let summary = paging::summary(&pairs)?;
    if summary == Summary::Count {
        let text = "_summary=count is for searches; read with true, false, text or data".to_owned();
        return Err(refused("_summary", IssueCode::Value, text));
    }
    let is_known = conditional::is_known(request, version.number, version.from);
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, etag(version.number)))
        .insert_header((header::LAST_MODIFIED, version.from.http_date()));
    if is_known {
        return Ok(response.finish());
    }
    response.content_type(media_type);

    let json = text::of(version, summary)?;
    let key = &version.resource.key;
    if key.resource_type != ResourceType::GROUP {
        return Ok(response.body(json));
    }
    // A stream would be read to its end even where nobody wants its body.
    if request.method() == Method::HEAD {
        return Ok(response.streaming(stream::empty::<Result<Bytes, Fault>>()));
    }
    let source = Arc::clone(&api.platform.source);
    Ok(response.streaming(members::whole(source, key.id.clone(), version.from, &json)?))
}
