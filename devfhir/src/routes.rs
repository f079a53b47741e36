//! The paths that are answered, on one page.

use crate::question::Question;

/// Where FHIR begins.
pub const ROOT: &str = "/fhir";

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Metadata,
    Read {
        kind: String,
        id: String,
    },
    VersionRead {
        kind: String,
        id: String,
        version: String,
    },
    History {
        kind: String,
        id: Option<String>,
    },
    Search {
        kind: String,
    },
    SearchByPost {
        kind: String,
    },
    /// A `next` link with this token.
    Page(String),
    Batch,
    Nothing,
}

impl Route {
    /// Of a request with these segments below [`ROOT`].
    pub fn of(question: &Question, segments: &[String]) -> Self {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let owned = str::to_owned;
        match (question.method.as_str(), &segments[..]) {
            ("GET", []) => question.parameter("_page").map_or(Self::Nothing, |token| Self::Page(owned(token))),
            ("POST", []) => Self::Batch,
            ("GET", ["metadata"]) => Self::Metadata,
            (_, [kind, ..]) if !kind.starts_with(|first: char| first.is_ascii_uppercase()) => Self::Nothing,
            ("GET", [kind]) => Self::Search { kind: owned(kind) },
            ("POST", [kind, "_search"]) => Self::SearchByPost { kind: owned(kind) },
            ("GET", [kind, "_history"]) => Self::History { kind: owned(kind), id: None },
            ("GET", [kind, id]) => Self::Read { kind: owned(kind), id: owned(id) },
            ("GET", [kind, id, "_history"]) => Self::History { kind: owned(kind), id: Some(owned(id)) },
            ("GET", [kind, id, "_history", version]) => {
                Self::VersionRead { kind: owned(kind), id: owned(id), version: owned(version) }
            }
            _ => Self::Nothing,
        }
    }
}
