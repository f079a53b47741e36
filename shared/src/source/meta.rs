//! What a resource says of itself in `meta`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::fhir::Instant;

/// The parts of `meta` that a server sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `versionId`.
    pub version: Option<String>,
    /// `lastUpdated`, when it is an instant.
    pub last_updated: Option<Instant>,
}

impl Meta {
    /// Of a resource; of a text that is none, nothing.
    pub fn of(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Text<'a> {
            #[serde(borrow, default)]
            version_id: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            last_updated: Option<Cow<'a, str>>,
        }
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(borrow, default)]
            meta: Option<Text<'a>>,
        }
        let head: Option<Head<'_>> = serde_json::from_slice(body).ok();
        let Some(text) = head.and_then(|head| head.meta) else { return Self::default() };
        Self {
            version: text.version_id.map(Cow::into_owned),
            last_updated: text.last_updated.and_then(|text| text.parse().ok()),
        }
    }
}
