//! The few pieces of FHIR R4 that the export has to understand: types, ids, instants, references, one resource as a
//! line of JSON, and the OperationOutcome. Pure: no I/O, no clock.
//!
//! There is no model of the resources here: their JSON passes through as it was written, and only the fields that the
//! walk follows are read.

pub mod compartment;
pub mod edit;
mod elements;
mod id;
mod identifier;
mod instant;
pub mod json;
mod outcome;
mod reference;
mod resource;
mod resource_type;
pub mod search;
mod sound;
mod summary;

pub use elements::{Elements, UnknownElement};
pub use id::{IllegalId, ResourceId, ResourceKey};
pub use identifier::{Identifier, NotAnIdentifier};
pub use instant::{Instant, NotAnInstant};
pub use outcome::{Issue, IssueCode, Severity};
pub use reference::{OwnBases, Reference, Target, Unresolvable};
pub use resource::{Attribution, Member, Resource, Unreadable, references};
pub use resource_type::{ResourceType, UnknownType};
pub use sound::Unsound;
pub use summary::{Summary, UnknownSummary, summarize};
