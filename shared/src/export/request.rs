//! What a client asked for at kick-off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fhir::search::Query;
use crate::fhir::{Elements, Identifier, Instant, Issue, ResourceId, ResourceType};

/// Where an export starts from (standards §1.2, "Endpoints").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// An attribution list, which is what the Da Vinci ATR guide is about (standards §3.2).
    Group(ResourceId),
    /// All patients, `[base]/Patient/$export`.
    Patient,
    /// All that the server holds, `[base]/$export`.
    System,
}

impl fmt::Display for Anchor {
    /// As errors and logs name it: `Group/g`, `Patient`, `system`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(list) => write!(f, "Group/{list}"),
            Self::Patient => f.write_str("Patient"),
            Self::System => f.write_str("system"),
        }
    }
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
    /// The rights that it was kicked off with.
    #[serde(default)]
    pub grounds: Grounds,
    /// Which resources are written, and what of them.
    #[serde(default)]
    pub selection: Selection,
    /// In which form the client gets them.
    #[serde(default)]
    pub delivery: Delivery,
    /// What was passed over at the kick-off, because the client asked for lenient handling: a line each in an error file.
    #[serde(default)]
    pub notices: Vec<Issue>,
}

impl ExportRequest {
    /// A request for everything, in the usual form.
    #[must_use]
    pub fn new(anchor: Anchor, operation: Operation, url: String) -> Self {
        let (selection, delivery) = (Selection::default(), Delivery::default());
        Self { anchor, operation, url, grounds: Grounds::default(), selection, delivery, notices: Vec::new() }
    }
}

/// The rights that an export was kicked off with, as far as what it tells depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grounds {
    /// The types that the token allowed; `None` when all. Of others no id is told, in no error file either.
    pub types: Option<BTreeSet<ResourceType>>,
    /// The identifiers of the list by which it is the client's; none when it is by its id, or because all lists are.
    pub identifiers: Vec<Identifier>,
    /// Since when the list has had one of them; what it named before is not the client's to know.
    pub held_since: Option<Instant>,
}

impl Grounds {
    /// Whether ids of this type may be told.
    #[must_use]
    pub fn allow(&self, resource_type: ResourceType) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&resource_type))
    }
}

/// Which resources are written, and what of them. The walk reads the others all the same when something hangs on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// `_type`: the types that are written; `None` writes every type that the walk reaches (standards §1.2).
    pub types: Option<BTreeSet<ResourceType>>,
    /// `_since`: only what changed after it, or was put on the list after it, is written.
    pub since: Option<Instant>,
    /// `_until`: only what changed before it is written.
    pub until: Option<Instant>,
    /// `patient`: only these patients, what their members of the list name, and what hangs on that.
    pub patients: Option<BTreeSet<ResourceId>>,
    /// `_typeFilter`: resources of a type that stands here are written when one of its queries matches.
    pub filters: BTreeMap<ResourceType, Vec<Query>>,
    /// `_elements`: the elements that are written.
    pub elements: Elements,
}

impl Selection {
    /// The types of attribution lists that are written.
    #[must_use]
    pub fn written_types(&self) -> BTreeSet<ResourceType> {
        ResourceType::ATTRIBUTION.into_iter().filter(|resource_type| self.writes(*resource_type)).collect()
    }

    /// Whether resources of this type are written.
    #[must_use]
    pub fn writes(&self, resource_type: ResourceType) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&resource_type))
    }

    /// Whether a point in time lies after `_since`; always so without one.
    #[must_use]
    pub fn is_new(&self, at: Instant) -> bool {
        self.since.is_none_or(|since| at > since)
    }

    /// Whether a point in time lies before `_until`; always so without one.
    #[must_use]
    pub fn is_old_enough(&self, at: Instant) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

/// In which form a client gets its files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// `organizeOutputBy=Patient`: files hold blocks, each a patient with what refers to it.
    pub organized_by_patient: bool,
    /// `allowPartialManifests`: the manifest is cut into pages, which can be had while the job runs.
    pub partial_manifests: bool,
    /// `Prefer: separate-export-status`: the status of the job stands in a header of its own.
    pub separate_status: bool,
    /// How the files are stored and sent.
    pub encoding: Encoding,
}

/// How a file is stored and sent: its `Content-Encoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As it is.
    #[default]
    Identity,
    /// Compressed.
    Gzip,
}
