//! The history of one resource: what happened to it, the newest first (R4 `history-instance`).
//!
//! A page holds `_count` versions (20, at most 100), and the deletions that came after them; `next` leads to older ones.
//! `_since` leaves out what happened before it. Groups come without their members, tagged SUBSETTED: reading a version
//! gives it whole.

use actix_web::{HttpRequest, HttpResponse, web};
use shared::access::Caller;
use shared::fault::Fault;
use shared::fhir::{Instant, IssueCode, Summary};
use shared::source::Version;

use super::{key, newest, refuse_if_strict, version_number};
use crate::Api;
use crate::answer::media_type;
use crate::bundle::paging::{link, single, size};
use crate::bundle::{Bundle, Change};
use crate::caller::Known;
use crate::error::ApiError;
use crate::parameters::{Pairs, of_query, refused};
use crate::rights;
use crate::text;

/// The parameters of a history.
const PARAMETERS: [&str; 5] = ["_format", "_pretty", "_count", "_since", "_before"];

/// What a client asked for.
struct Asked {
    count: u32,
    since: Option<Instant>,
    /// The version that the last page ended with.
    before: Option<u64>,
}

/// `GET [base]/{Type}/{id}/_history`.
pub async fn history(
    api: web::Data<Api>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    caller: Known,
) -> Result<HttpResponse, ApiError> {
    let (resource_type, id) = path.into_inner();
    let key = key(&resource_type, &id, &caller)?;
    let pairs = of_query(request.query_string());
    let media_type = media_type(&request, &pairs)?;
    refuse_if_strict(&request, &pairs, &PARAMETERS)?;
    let asked = Asked::of(&pairs)?;

    // One more on each side: the newer neighbour tells whether the first was deleted, the older one whether the last was
    // new, and that there is a next page.
    let above = asked.before.map(|before| before + 1);
    newest(&api, &caller.0, &key).await?;
    let versions = api.platform.source.versions(&key, above, asked.count + 2).await?;
    let window = Window::of(readable(&api, &caller.0, versions).await?, &asked);

    let address = format!("{}/{key}/_history", api.base());
    let used: Vec<(&str, &str)> = pairs
        .iter()
        .filter(|(name, _)| PARAMETERS.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut bundle = Bundle::history(link(&address, used.iter().copied()));
    if let Some(last) = window.goes_on_before {
        let last = last.to_string();
        let rest = used.iter().copied().filter(|(name, _)| *name != "_before");
        bundle.continue_at(link(&address, rest.chain([("_before", last.as_str())])));
    }
    for event in window.events {
        let change = match event.written {
            None => Change::Deleted,
            Some((version, is_new)) => {
                let (number, json) = (version.number, text::without_members(&version, Summary::False)?);
                if is_new {
                    Change::Created { version: number, json }
                } else {
                    Change::Updated { version: number, json }
                }
            }
        };
        bundle.push_change(api.base(), &key, event.at, change)?;
    }
    Ok(HttpResponse::Ok().content_type(media_type).body(bundle.json()))
}

/// The versions from the newest on up to one that the caller may not read: before, the resource was about somebody else.
async fn readable(api: &Api, caller: &Caller, versions: Vec<Version>) -> Result<Vec<Version>, Fault> {
    let mut readable = Vec::with_capacity(versions.len());
    for version in versions {
        if !rights::may_read(api, caller, &version).await? {
            break;
        }
        readable.push(version);
    }
    Ok(readable)
}

impl Asked {
    fn of(pairs: &Pairs) -> Result<Self, ApiError> {
        let since = single(pairs, "_since")?.map(|since| {
            // A plus that was not written as %2B arrives as a space, and an instant has no other space.
            let since = since.replace(' ', "+").parse();
            since.map_err(|error| refused("_since", IssueCode::Value, format!("_since: {error}")))
        });
        let before = single(pairs, "_before")?.map(|before| {
            let wrong = || {
                let text = format!("_before is '{before}'; follow the next link of the page before, as it is");
                refused("_before", IssueCode::Value, text)
            };
            version_number(before).ok_or_else(wrong)
        });
        // A page without versions would lead nowhere.
        let count = size(single(pairs, "_count")?)?.max(1);
        Ok(Self { count, since: since.transpose()?, before: before.transpose()? })
    }
}

/// What a page shows.
struct Window {
    events: Vec<Event>,
    /// The version that the page ends with, when older ones are asked for too.
    goes_on_before: Option<u64>,
}

/// Something that happened to the resource.
struct Event {
    at: Instant,
    /// The version that came to be, and whether there was none before it; `None` when the resource was deleted.
    written: Option<(Version, bool)>,
}

impl Window {
    /// The page that was asked for, of versions that begin with the one before it, if any, and end with one behind it.
    fn of(versions: Vec<Version>, asked: &Asked) -> Self {
        let mut versions = versions.into_iter().peekable();
        let mut newer_from = versions.next_if(|version| asked.before == Some(version.number)).map(|newer| newer.from);
        let is_asked = |at: Instant| asked.since.is_none_or(|since| at >= since);
        let (mut events, mut left) = (Vec::new(), asked.count);
        while left > 0
            && let Some(version) = versions.next()
        {
            left -= 1;
            if let Some(deleted_at) = version.to.filter(|to| newer_from.is_none_or(|newer| newer > *to))
                && is_asked(deleted_at)
            {
                events.push(Event { at: deleted_at, written: None });
            }
            if !is_asked(version.from) {
                return Self { events, goes_on_before: None };
            }
            newer_from = Some(version.from);
            let is_new = versions.peek().is_none_or(|older| older.to != Some(version.from));
            events.push(Event { at: version.from, written: Some((version, is_new)) });
        }
        let last = events.iter().rev().find_map(|event| event.written.as_ref().map(|(version, _)| version.number));
        Self { events, goes_on_before: last.filter(|_| versions.peek().is_some()) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shared::fhir::Resource;

    use super::*;

    fn at(minute: i64) -> Instant {
        Instant::from_unix_millis(minute * 60_000)
    }

    fn version(number: u64, from: i64, to: Option<i64>) -> Version {
        let body = Bytes::from_static(br#"{"resourceType":"Patient","id":"p"}"#);
        let resource = Resource::read(&body).expect("it is a resource");
        Version { number, from: at(from), to: to.map(at), resource }
    }

    /// Written at 1, changed at 2, deleted at 3, written again at 5, deleted at 6.
    fn versions() -> Vec<Version> {
        vec![version(3, 5, Some(6)), version(2, 2, Some(3)), version(1, 1, Some(2))]
    }

    fn shown(versions: Vec<Version>, asked: &Asked) -> (Vec<String>, Option<u64>) {
        let window = Window::of(versions, asked);
        let event = |event: Event| match event.written {
            Some((version, true)) => format!("created {}", version.number),
            Some((version, false)) => format!("updated {}", version.number),
            None => format!("deleted {}", event.at),
        };
        (window.events.into_iter().map(event).collect(), window.goes_on_before)
    }

    #[test]
    fn deletions_stand_between_the_versions() {
        let asked = Asked { count: 20, since: None, before: None };
        let expected = [
            "deleted 1970-01-01T00:06:00.000Z",
            "created 3",
            "deleted 1970-01-01T00:03:00.000Z",
            "updated 2",
            "created 1",
        ];
        assert_eq!(shown(versions(), &asked), (expected.map(str::to_owned).to_vec(), None));
    }

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        let mut rest = versions();
        let first = Asked { count: 1, since: None, before: None };
        let expected = ["deleted 1970-01-01T00:06:00.000Z", "created 3"];
        assert_eq!(shown(rest.clone(), &first), (expected.map(str::to_owned).to_vec(), Some(3)));
        let second = Asked { before: Some(3), ..first };
        let expected = ["deleted 1970-01-01T00:03:00.000Z", "updated 2"];
        assert_eq!(shown(rest.clone(), &second), (expected.map(str::to_owned).to_vec(), Some(2)));
        rest.remove(0);
        let third = Asked { before: Some(2), ..second };
        assert_eq!(shown(rest, &third), (vec!["created 1".to_owned()], None));
    }

    #[test]
    fn what_happened_before_since_is_left_out() {
        let asked = Asked { count: 20, since: Some(at(3)), before: None };
        let expected = ["deleted 1970-01-01T00:06:00.000Z", "created 3", "deleted 1970-01-01T00:03:00.000Z"];
        assert_eq!(shown(versions(), &asked), (expected.map(str::to_owned).to_vec(), None));
    }

    #[test]
    fn a_current_version_is_not_shown_as_deleted() {
        let asked = Asked { count: 20, since: None, before: None };
        assert_eq!(shown(vec![version(1, 1, None)], &asked), (vec!["created 1".to_owned()], None));
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        for (query, part) in [
            ("_since=yesterday", "_since"),
            ("_count=many", "_count"),
            ("_before=x", "_before"),
            ("_before=-1", "_before"),
            ("_count=1&_count=2", "more than once"),
        ] {
            let error = Asked::of(&of_query(query)).err().map(|error| error.to_string());
            assert!(error.is_some_and(|text| text.contains(part)), "{query}");
        }
    }
}
