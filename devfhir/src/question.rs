//! A request, as far as this server looks at it.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use percent_encoding::percent_decode_str;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub method: String,
    /// As it was sent.
    pub path: String,
    pub raw_query: String,
    pub query: Vec<(String, String)>,
    /// The body, if it is a form.
    pub form: Option<Vec<(String, String)>>,
    pub body: Bytes,
    pub authorization: Option<String>,
    pub accept_encoding: Option<String>,
    pub if_none_match: Option<String>,
    pub prefer: Option<String>,
}

impl Question {
    /// What actix-web received.
    pub fn of(request: &HttpRequest, body: Bytes) -> Self {
        let headers = request.headers();
        let is_form = header(headers, "content-type")
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
        Self {
            method: request.method().to_string(),
            path: request.path().to_owned(),
            raw_query: request.query_string().to_owned(),
            query: pairs(request.query_string().as_bytes()),
            form: is_form.then(|| pairs(&body)),
            body,
            authorization: header(headers, "authorization"),
            accept_encoding: header(headers, "accept-encoding"),
            if_none_match: header(headers, "if-none-match"),
            prefer: header(headers, "prefer"),
        }
    }

    /// The segments of the path below `root`, if it is below it.
    pub fn below(&self, root: &str) -> Option<Vec<String>> {
        let rest = self.path.strip_prefix(root)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let segments = rest.split('/').filter(|segment| !segment.is_empty());
        Some(segments.map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect())
    }

    /// The parameters of the query and of the form.
    pub fn parameters(&self) -> Vec<(String, String)> {
        self.query.iter().chain(self.form.iter().flatten()).cloned().collect()
    }

    /// The value of a parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// Path, query and form in one text, with the escapes undone.
    pub fn told(&self) -> String {
        let pairs = self.parameters();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let path = percent_decode_str(&self.path).decode_utf8_lossy();
        if pairs.is_empty() { path.into_owned() } else { format!("{path}?{}", pairs.join("&")) }
    }

    /// Whether unknown search parameters are to be refused.
    pub fn is_strict(&self) -> bool {
        let preferences = self.prefer.iter().flat_map(|value| value.split([',', ';']));
        preferences.map(str::trim).any(|preference| preference == "handling=strict")
    }

    /// Whether the client has this version already.
    pub fn has(&self, etag: &str) -> bool {
        let tags = self.if_none_match.iter().flat_map(|value| value.split(','));
        tags.map(str::trim).any(|tag| tag == "*" || tag == etag)
    }

    /// Whether the client takes gzip.
    pub fn takes_gzip(&self) -> bool {
        let codings = self.accept_encoding.iter().flat_map(|value| value.split(','));
        codings.map(str::trim).any(|coding| coding.split(';').next().is_some_and(|name| name.trim() == "gzip"))
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn pairs(form: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(form).into_owned().collect()
}
