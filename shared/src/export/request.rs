//! What a client asked for at kick-off.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::fhir::{Instant, ResourceId, ResourceType};

/// Where an export starts from. Groups are what the Da Vinci ATR guide is about (standards §3.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// An attribution list.
    Group(ResourceId),
}

/// The operation that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `$export` of Bulk Data Access and of ATR 1.0.0.
    Export,
    /// `$davinci-data-export` of ATR 2.x.
    DavinciDataExport,
}

impl Operation {
    /// The last step of the operation's URL, with the dollar sign.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Export => "$export",
            Self::DavinciDataExport => "$davinci-data-export",
        }
    }
}

/// A valid kick-off request: all that decides what a job reads and writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// Where the walk starts.
    pub anchor: Anchor,
    /// Which operation was called.
    pub operation: Operation,
    /// The kick-off URL as the manifest repeats it in `request`: the public base, the path and the query as it came.
    pub url: String,
    /// `_type`: the types that are written; `None` writes every type that the walk reaches (standards §1.2).
    pub types: Option<BTreeSet<ResourceType>>,
    /// `_since`: only what changed after it, or was put on the list after it, is written.
    pub since: Option<Instant>,
}

impl ExportRequest {
    /// The id of the attribution list.
    #[must_use]
    pub fn list(&self) -> &ResourceId {
        let Anchor::Group(list) = &self.anchor;
        list
    }

    /// Whether resources of this type are written. The walk reads them either way.
    #[must_use]
    pub fn writes(&self, resource_type: ResourceType) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&resource_type))
    }

    /// Whether a point in time lies after `_since`; always so without one.
    #[must_use]
    pub fn is_new(&self, at: Instant) -> bool {
        self.since.is_none_or(|since| at > since)
    }
}
