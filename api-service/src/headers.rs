//! The headers of a request that say how it is to be answered.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};

use crate::accept;
use crate::error::ApiError;
use crate::prefer::{Handling, Preferences};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What the client of a kick-off prefers, once it is clear that the answer is one that it can take.
///
/// With `require` the request must say both: that it does not wait for the export, and that it takes FHIR as JSON (Bulk
/// Data, "Kick-off request - Headers"). Without, what it says must still be possible.
pub fn of_kick_off(request: &HttpRequest, require: bool) -> Result<Preferences, ApiError> {
    let preferences = Preferences::read(&joined(request, &PREFER));
    let mut missing = Vec::new();
    if require && !preferences.respond_async {
        missing.push(("Prefer", "Prefer: respond-async"));
    }
    let takes_json = takes_json(request);
    if require && (takes_json.is_err() || !request.headers().contains_key(header::ACCEPT)) {
        missing.push(("Accept", "Accept: application/fhir+json"));
    }
    if missing.is_empty() { takes_json.map(|()| preferences) } else { Err(ApiError::MissingHeaders(missing)) }
}

/// Fails with 406 when the client says what it takes, and FHIR as JSON is not among it.
pub fn takes_json(request: &HttpRequest) -> Result<(), ApiError> {
    let accept = joined(request, &header::ACCEPT);
    accept::preferred(&accept, &accept::JSON).map(|_| ()).ok_or(ApiError::NotAcceptable(accept))
}

/// What the client wants to become of parameters that are not known; `None` when it does not say.
pub fn handling(request: &HttpRequest) -> Option<Handling> {
    Preferences::read(&joined(request, &PREFER)).handling
}

/// All headers of this name, which means the same as one with a comma between them (RFC 9110 §5.3).
pub fn joined(request: &HttpRequest, name: &HeaderName) -> String {
    let values = request.headers().get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn kick_off(headers: &[(&'static str, &str)], require: bool) -> Result<Preferences, String> {
        let mut request = TestRequest::get();
        for header in headers {
            request = request.append_header(*header);
        }
        of_kick_off(&request.to_http_request(), require).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_is_named() {
        let (prefer, accept) = (("Prefer", "respond-async"), ("Accept", "application/fhir+json"));
        for (headers, named) in [
            (vec![], vec!["Prefer: respond-async", "Accept: application/fhir+json"]),
            (vec![prefer], vec!["Accept: application/fhir+json"]),
            (vec![accept], vec!["Prefer: respond-async"]),
            (vec![accept, ("Prefer", "handling=lenient")], vec!["Prefer: respond-async"]),
            (vec![prefer, ("Accept", "text/html, application/*;q=0")], vec!["Accept: application/fhir+json"]),
        ] {
            let problem = kick_off(&headers, true).expect_err("something is missing");
            assert!(named.iter().all(|part| problem.contains(part)), "{headers:?}: {problem}");
        }
        assert!(kick_off(&[], false).is_ok(), "unless neither is required");
    }

    #[test]
    fn repeated_headers_are_one_list() {
        let headers = [
            ("Prefer", "handling=lenient"),
            ("Prefer", "respond-async"),
            ("Accept", "text/html"),
            ("Accept", "*/*;q=0.1"),
        ];
        assert_eq!(
            kick_off(&headers, true).map(Preferences::applied),
            Ok("respond-async, handling=lenient".to_owned())
        );
    }

    #[test]
    fn an_accept_that_excludes_json_is_not_acceptable_when_none_is_required() {
        let headers = [("Prefer", "respond-async"), ("Accept", "application/fhir+xml")];
        let problem = kick_off(&headers, false).expect_err("XML is not possible");
        assert!(problem.contains("application/fhir+xml"), "{problem}");
    }
}
