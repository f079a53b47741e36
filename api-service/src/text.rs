//! The JSON of a version as clients get it: with its number and its time in `meta`, whole or in part.
//!
//! The members of a Group are never in a version: they stay in the source, and an empty `member` stands in their place.

use shared::fault::{Fault, FaultKind};
use shared::fhir::{ResourceType, Summary, edit, summarize};
use shared::source::Version;

/// What `summary` leaves of a version; of a Group, with the empty `member` if members are a part of it.
///
/// Fails with `Corrupt` when what the source holds is not the JSON of a resource.
pub fn of(version: &Version, summary: Summary) -> Result<String, Fault> {
    let json = versioned(version)?;
    summarize(version.resource.key.resource_type, &json, summary).map_err(|_| corrupt(version))
}

/// The same, of a Group without `member` and tagged SUBSETTED, so that nobody takes it for an empty list.
pub fn without_members(version: &Version, summary: Summary) -> Result<String, Fault> {
    let json = of(version, summary)?;
    if version.resource.key.resource_type != ResourceType::GROUP {
        return Ok(json);
    }
    let json = edit::without(&json, &["member"]).map_err(|_| corrupt(version))?;
    edit::subsetted(&json).map_err(|_| corrupt(version))
}

fn versioned(version: &Version) -> Result<String, Fault> {
    let json = std::str::from_utf8(&version.resource.body).map_err(|_| corrupt(version))?;
    edit::with_version(json, version.number, version.from).map_err(|_| corrupt(version))
}

/// A text that cannot be edited. The error of the editor would repeat what stands in it, so only the type is said.
fn corrupt(version: &Version) -> Fault {
    let resource_type = version.resource.key.resource_type;
    Fault::new(FaultKind::Corrupt, format!("failed to read a version of a {resource_type}: it is not the JSON of one"))
}
