//! Search for attribution lists: how a client finds its Group (standards §3.5).
//!
//! Lists come without their members, tagged SUBSETTED, since a list may have millions; reading the Group gives it whole.
//! A parameter that is not known is refused with 400, because without it a search finds more than was asked for;
//! `Prefer: handling=lenient` passes it over, and the `self` link shows what was used. Pages come in the order of ids,
//! `_count` lists each (20, at most 100); `next` leads on. `total` is there when the first page holds all, and for
//! `_summary=count`.

mod asked;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use shared::access::{Caller, Permission};
use shared::fhir::{ResourceType, Summary};
use url::form_urlencoded;

use self::asked::Asked;
use crate::Api;
use crate::answer::media_type;
use crate::bundle::Bundle;
use crate::bundle::paging::link;
use crate::caller::Known;
use crate::error::ApiError;
use crate::headers::handling;
use crate::parameters::{Pairs, of_query};
use crate::rights;
use crate::text;

/// How many lists are looked at in one go when they are only counted.
const RUN: u32 = 1_000;

/// `GET [base]/Group?…`.
pub async fn by_query(api: web::Data<Api>, request: HttpRequest, caller: Known) -> Result<HttpResponse, ApiError> {
    find(&api, &request, &caller, of_query(request.query_string())).await
}

/// `POST [base]/Group/_search`, with the parameters in a form, in the query or in both.
pub async fn by_form(
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
    if !body.is_empty() && media_type != "application/x-www-form-urlencoded" {
        return Err(ApiError::NoForm(media_type));
    }
    let mut pairs = of_query(request.query_string());
    pairs.extend(form_urlencoded::parse(&body).into_owned());
    find(&api, &request, &caller, pairs).await
}

async fn find(api: &Api, request: &HttpRequest, Known(caller): &Known, pairs: Pairs) -> Result<HttpResponse, ApiError> {
    rights::check_type(caller, ResourceType::GROUP, Permission::SEARCH)?;
    let media_type = media_type(request, &pairs)?;
    let asked = Asked::of(pairs, handling(request))?;
    let bundle = match asked.summary {
        Summary::Count => count(api, caller, &asked).await?,
        _ => page(api, caller, &asked).await?,
    };
    Ok(HttpResponse::Ok().content_type(media_type).body(bundle.json()))
}

/// One page of what is found.
async fn page(api: &Api, caller: &Caller, asked: &Asked) -> Result<Bundle, ApiError> {
    let address = address(api);
    let size = asked.count as usize;
    let mut found = rights::find_lists(api, caller, &asked.query, asked.after.as_ref(), asked.count + 1).await?;
    let goes_on = found.len() > size;
    found.truncate(size);

    let mut bundle = Bundle::searchset(link(&address, asked.shown()));
    if asked.after.is_none() && !goes_on {
        bundle.total = Some(found.len() as u64);
    }
    if let Some(last) = found.last().filter(|_| goes_on) {
        bundle.continue_at(link(&address, asked.shown_after(&last.resource.key.id)));
    }
    for list in found {
        let url = format!("{}/{}", api.base(), list.resource.key);
        bundle.push_match(url, text::without_members(&list, asked.summary)?)?;
    }
    Ok(bundle)
}

/// How many lists are found.
async fn count(api: &Api, caller: &Caller, asked: &Asked) -> Result<Bundle, ApiError> {
    let (mut total, mut after) = (0, None);
    loop {
        let run = rights::find_lists(api, caller, &asked.query, after.as_ref(), RUN).await?;
        total += run.len() as u64;
        if run.len() < RUN as usize {
            break;
        }
        after = run.into_iter().last().map(|list| list.resource.key.id);
    }
    let mut bundle = Bundle::searchset(link(&address(api), asked.shown()));
    bundle.total = Some(total);
    Ok(bundle)
}

fn address(api: &Api) -> String {
    format!("{}/Group", api.base())
}
