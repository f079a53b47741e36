//! What is answered, before it becomes bytes.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::bundle::Bundle;

/// The media type of everything but a page that is no FHIR.
pub const FHIR_JSON: &str = "application/fhir+json";

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub content: Content,
}

/// What is in it.
pub enum Content {
    Nothing,
    Json(Arc<str>),
    Bundle(Box<Bundle>),
    Html(&'static str),
}

impl Answer {
    /// 200 with this.
    pub fn of(content: Content) -> Self {
        Self { status: 200, headers: Vec::new(), content }
    }

    /// A refusal whose OperationOutcome has this code of issue and these words.
    pub fn refusal(status: u16, code: &str, words: &str) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(outcome("error", code, words).into()) }
    }

    /// With this header too.
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// An OperationOutcome with one issue.
pub fn outcome(severity: &str, code: &str, words: &str) -> String {
    let words = quoted(words);
    format!(
        r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"{severity}","code":"{code}","diagnostics":{words}}}]}}"#
    )
}

/// As the header `ETag` has it.
pub fn etag(version: &str) -> String {
    format!(r#"W/"{version}""#)
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("every text is a JSON string")
}

/// `a=b&c=d`, with escapes.
pub fn query_of(pairs: &[(String, String)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs).finish()
}

/// Adds `,"name":value` to an object that is being written.
pub fn add_member(object: &mut String, name: &str, value: &str) {
    write!(object, r#","{name}":{value}"#).expect("a String takes all that is written");
}
