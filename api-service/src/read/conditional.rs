//! Conditional reads: `If-None-Match` and `If-Modified-Since` (R4 "conditional read"; RFC 9110 §13).

use std::time::{Duration, SystemTime};

use actix_web::http::header::{self, EntityTag, IfModifiedSince, IfNoneMatch};
use actix_web::{HttpMessage, HttpRequest};
use shared::fhir::Instant;

/// Whether the client says that it has this version already. A tag decides where there is one; a date, which counts in
/// seconds, only where there is none.
pub fn is_known(request: &HttpRequest, version: u64, last_modified: Instant) -> bool {
    if request.headers().contains_key(header::IF_NONE_MATCH) {
        let tag = EntityTag::new_weak(version.to_string());
        return match request.get_header::<IfNoneMatch>() {
            Some(IfNoneMatch::Any) => true,
            Some(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
            None => false,
        };
    }
    let Some(IfModifiedSince(date)) = request.get_header::<IfModifiedSince>() else { return false };
    let seconds = u64::try_from(last_modified.unix_millis().div_euclid(1_000)).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) <= SystemTime::from(date)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// Mon, 05 Jan 2026 10:00:00.900 GMT
    const CHANGED: Instant = Instant::from_unix_millis(1_767_607_200_900);

    #[test]
    fn a_read_is_answered_in_full_unless_the_client_has_this_version() {
        let date = |second: &str| format!("Mon, 05 Jan 2026 10:00:{second} GMT");
        for (none_match, modified_since, expected) in [
            (None, None, false),
            (Some("W/\"3\""), None, true),
            (Some("\"3\""), None, true),
            (Some("W/\"1\", W/\"3\""), None, true),
            (Some("*"), None, true),
            (Some("W/\"2\""), None, false),
            (Some("nonsense"), None, false),
            (None, Some(date("00")), true),
            (None, Some(date("01")), true),
            (None, Some("Mon, 05 Jan 2026 09:59:59 GMT".to_owned()), false),
            (None, Some("yesterday".to_owned()), false),
            (Some("W/\"2\""), Some(date("01")), false),
        ] {
            let mut request = TestRequest::get();
            if let Some(tags) = none_match {
                request = request.insert_header((header::IF_NONE_MATCH, tags));
            }
            if let Some(date) = &modified_since {
                request = request.insert_header((header::IF_MODIFIED_SINCE, date.as_str()));
            }
            let known = is_known(&request.to_http_request(), 3, CHANGED);
            assert_eq!(known, expected, "{none_match:?} {modified_since:?}");
        }
    }
}
