//! Which of the resources that a walk reaches are written, and in what form (`_type`, `_since`, `_until`, `_typeFilter`,
//! `patient`, `_elements`). Pure.

use std::borrow::Cow;

use shared::export::Selection;
use shared::fhir::search::{Query, value_at};
use shared::fhir::{OwnBases, Resource, ResourceType, compartment};
use shared::source::Stored;

/// The parameter that leaves a resource out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    Type,
    Since,
    Until,
    TypeFilter,
    Patient,
}

impl LeftOut {
    /// The name of the parameter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "_type",
            Self::Since => "_since",
            Self::Until => "_until",
            Self::TypeFilter => "_typeFilter",
            Self::Patient => "patient",
        }
    }
}

/// Whether a resource is written; if not, which parameter leaves it out.
///
/// What has `joined` is written though it is older than `_since`: the client may never have been told of it (decision 0008).
pub fn verdict(selection: &Selection, own: &OwnBases, stored: &Stored, joined: bool) -> Result<(), LeftOut> {
    let Stored { resource, last_updated } = stored;
    let resource_type = resource.key.resource_type;
    if !selection.writes(resource_type) {
        return Err(LeftOut::Type);
    }
    if !joined && !selection.is_new(*last_updated) {
        return Err(LeftOut::Since);
    }
    if !selection.is_old_enough(*last_updated) {
        return Err(LeftOut::Until);
    }
    if !belongs(selection, own, resource) {
        return Err(LeftOut::Patient);
    }
    match selection.filters.get(&resource_type) {
        Some(queries) if !is_found(queries, stored) => Err(LeftOut::TypeFilter),
        _ => Ok(()),
    }
}

/// Whether one of these searches finds a resource, which is read once for all of them.
fn is_found(queries: &[Query], Stored { resource, last_updated }: &Stored) -> bool {
    let value = value_at(&text(resource), *last_updated);
    value.is_some_and(|value| queries.iter().any(|query| query.matches_value(&value)))
}

/// Whether `patient` lets a resource through: one that is in the compartment of some patient must be in that of a chosen
/// one (Bulk Data, `patient`). Whose one is that cannot be read, or that is of none of the eight types, is not known; it
/// stays out.
pub fn belongs(selection: &Selection, own: &OwnBases, resource: &Resource) -> bool {
    let Some(chosen) = &selection.patients else { return true };
    // A Group is in the compartments of all its members; the task that writes it cuts it down to the chosen ones.
    if resource.key.resource_type == ResourceType::GROUP {
        return true;
    }
    if !resource.key.resource_type.is_attribution() {
        return false;
    }
    compartment::patients(resource.key.resource_type, &text(resource), own)
        .is_ok_and(|patients| patients.is_empty() || patients.iter().any(|patient| chosen.contains(patient)))
}

/// The line of a resource: as it was written, or with the elements only that were asked for. `None` when it cannot be cut.
pub fn line<'a>(selection: &Selection, resource: &'a Resource) -> Option<Cow<'a, [u8]>> {
    let resource_type = resource.key.resource_type;
    if !selection.elements.cuts(resource_type) {
        return Some(Cow::Borrowed(&resource.body));
    }
    let cut = selection.elements.subset(resource_type, &text(resource)).ok()?;
    Some(Cow::Owned(cut.into_bytes()))
}

fn text(resource: &Resource) -> Cow<'_, str> {
    String::from_utf8_lossy(&resource.body)
}
