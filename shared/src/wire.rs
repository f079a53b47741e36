//! Speaking HTTP to others: what can happen to what is sent to a URL, to whom credentials go, how much is read.

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, Response};
use url::{Host, Origin, Url};

use crate::fault::{Fault, FaultKind};

/// Whether somebody on the way can read what is sent there, and change it: it is neither https nor this machine.
#[must_use]
pub fn is_exposed(url: &Url) -> bool {
    let is_this_machine = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() != "https" && !is_this_machine
}

/// The header that carries an access token; `None` when the text is none: one or more printable letters of ASCII, no space.
#[must_use]
pub fn bearer(token: &str) -> Option<HeaderValue> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::try_from(format!("Bearer {token}")).ok().filter(|_| is_token)?;
    Some(secret(value))
}

/// The same value, which hides what it says from `Debug` and from the tables of HTTP/2.
#[must_use]
pub fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Puts credentials on a request, in place of those that it has. Fails with `Invalid` when it is for another server than the
/// one that they are for: servers name URLs, and credentials must not follow wherever these lead.
pub fn authorize(request: RequestBuilder, value: HeaderValue, server: &Origin) -> Result<RequestBuilder, Fault> {
    let invalid = || Fault::new(FaultKind::Invalid, "failed to put credentials on a request");
    let (client, request) = request.build_split();
    let mut request = request.map_err(|error| invalid().because(error.without_url()))?;
    let to = request.url().origin();
    if to != *server {
        let (to, server) = (to.ascii_serialization(), server.ascii_serialization());
        return Err(invalid().because(format!("it is for {to}, and they are sent to {server} only")));
    }
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(RequestBuilder::from_parts(client, request))
}

/// The body of an answer; `None` when it is longer than `longest_bytes`.
pub async fn body(mut response: Response, longest_bytes: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > longest_bytes {
            return Ok(None);
        }
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use reqwest::Client;

    use super::*;

    #[test]
    fn credentials_are_put_on_requests_to_their_server_only_and_are_not_shown() {
        let server = Url::parse("https://a.example.org/fhir").expect("it is a URL").origin();
        let authorize = |url: &str, token: &str| {
            let value = bearer(token).expect("it is a token");
            let request = authorize(Client::new().get(url), value.clone(), &server)?;
            // Again, as for a second try.
            super::authorize(request, value, &server)
        };
        let request = authorize("https://a.example.org:443/fhir/Group/1", "s3cret").map(RequestBuilder::build);
        let request = request.expect("it is for the server").expect("it can be built");
        let sent: Vec<_> = request.headers().get_all(AUTHORIZATION).iter().collect();
        assert_eq!(sent, ["Bearer s3cret"]);
        assert!(!format!("{request:?}").contains("s3cret"));
        for url in ["http://a.example.org/fhir", "https://a.example.org:444/fhir", "https://b.example.org/fhir", "no"] {
            let fault = authorize(url, "s3cret").expect_err(url);
            assert_eq!(fault.kind(), FaultKind::Invalid, "{url}");
            assert!(!fault.to_string().contains("s3cret"), "{fault}");
        }
    }

    #[test]
    fn a_token_is_one_word() {
        for (text, expected) in [("a-._~+/b=", true), ("", false), ("a b", false), ("a\nb", false), ("ä", false)] {
            assert_eq!(bearer(text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn plain_http_is_exposed_unless_it_stays_on_this_machine() {
        for (url, expected) in [
            ("https://a.example.org/fhir", false),
            ("http://a.example.org/fhir", true),
            ("http://localhost.example.org", true),
            ("http://10.0.0.1:9000", true),
            ("http://localhost:9000", false),
            ("http://127.0.0.1:9000", false),
            ("http://127.1.2.3", false),
            ("http://[::1]:9000", false),
        ] {
            assert_eq!(is_exposed(&Url::parse(url).expect("it is a URL")), expected, "{url}");
        }
    }
}
