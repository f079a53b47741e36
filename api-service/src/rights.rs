//! What a caller may see and export: the one place that decides it, for reads, histories, searches, kick-offs and jobs alike.
//!
//! Two things bound a caller: the scopes of its token say which types, and the register says which lists. A type beyond the
//! scope is refused by name; a list or a job that is not the caller's is for it as one that never was (standards §5.36).

use std::collections::BTreeSet;

use shared::access::{Caller, Permission};
use shared::export::{Anchor, Job};
use shared::fault::Fault;
use shared::fhir::{Identifier, ResourceId, ResourceType, compartment};
use shared::source::Version;

use crate::Api;
use crate::error::ApiError;
use crate::parameters::Parameters;

/// Refuses a caller whose scope does not cover `needed` of these types.
pub fn check_scope(caller: &Caller, types: &BTreeSet<ResourceType>, needed: Permission) -> Result<(), ApiError> {
    let beyond: Vec<ResourceType> = types.iter().copied().filter(|one| !caller.scopes.allow(*one, needed)).collect();
    if beyond.is_empty() { Ok(()) } else { Err(ApiError::OutOfScope { types: beyond, needed }) }
}

/// The same for one type.
pub fn check_type(caller: &Caller, resource_type: ResourceType, needed: Permission) -> Result<(), ApiError> {
    check_scope(caller, &[resource_type].into(), needed)
}

/// Refuses an export that begins at no list to a caller who may not see every list: it would hold others' members.
pub fn check_anchor(caller: &Caller, anchor: &Anchor) -> Result<(), ApiError> {
    match anchor {
        Anchor::Group(_) => Ok(()),
        Anchor::Patient | Anchor::System if caller.lists.are_all() => Ok(()),
        Anchor::Patient | Anchor::System => Err(ApiError::ListsOnly),
    }
}

/// Keeps an export within the scope: types that were asked for have to be in it, and when none were, it says which ones
/// are written (standards §5.34).
pub fn limit(caller: &Caller, parameters: &mut Parameters) -> Result<(), ApiError> {
    let selection = &mut parameters.selection;
    if let Some(types) = &selection.types {
        return check_scope(caller, types, Permission::EXPORT);
    }
    check_scope(caller, &selection.filters.keys().copied().collect(), Permission::EXPORT)?;
    let exportable = caller.scopes.exportable();
    if exportable.is_empty() {
        return Err(ApiError::OutOfScope { types: ResourceType::ATTRIBUTION.to_vec(), needed: Permission::EXPORT });
    }
    if exportable.len() < ResourceType::ATTRIBUTION.len() {
        selection.types = Some(exportable);
    }
    Ok(())
}

/// Whether a job is the caller's to see: its own, of a list that it may see still.
pub fn may_see_job(caller: &Caller, job: &Job) -> bool {
    let is_of_its_lists = match &job.request.anchor {
        Anchor::Group(list) => caller.lists.hold(list, &job.request.identifiers),
        Anchor::Patient | Anchor::System => caller.lists.are_all(),
    };
    job.client == caller.client && is_of_its_lists
}

/// Whether a version of a resource is the caller's to read:
///
/// - a Group when it is one of its lists;
/// - what is about patients (Patient, Coverage, RelatedPerson) when one of them is now a member of one of its lists;
/// - providers, organizations and places in any case: they are a payer's directory, and about no patient (decision 0015).
pub async fn may_read(api: &Api, caller: &Caller, version: &Version) -> Result<bool, Fault> {
    let resource = &version.resource;
    if caller.lists.are_all() {
        return Ok(true);
    }
    let text = std::str::from_utf8(&resource.body).unwrap_or_default();
    match resource.key.resource_type {
        ResourceType::GROUP => Ok(holds(caller, &resource.key.id, text)),
        about @ (ResourceType::PATIENT | ResourceType::COVERAGE | ResourceType::RELATED_PERSON) => {
            // What cannot be read tells nobody whom it is about.
            let patients = compartment::patients(about, text, &api.own_bases).unwrap_or_default();
            has_one_of(api, caller, &patients).await
        }
        _ => Ok(true),
    }
}

/// Whether a list, given as the JSON of its Group, is one of the caller's.
pub fn holds(caller: &Caller, list: &ResourceId, group: &str) -> bool {
    caller.lists.are_all() || caller.lists.hold(list, &Identifier::all_of(group))
}

async fn has_one_of(api: &Api, caller: &Caller, patients: &[ResourceId]) -> Result<bool, Fault> {
    if patients.is_empty() {
        return Ok(false);
    }
    let lists = api.platform.source.lists_of(patients).await?;
    let is_held = |list: &Version| {
        let text = std::str::from_utf8(&list.resource.body).unwrap_or_default();
        holds(caller, &list.resource.key.id, text)
    };
    Ok(lists.iter().any(is_held))
}

#[cfg(test)]
mod tests {
    use shared::access::{Lists, Scopes};
    use shared::export::{ClientId, ExportRequest, JobId, JobState, Operation, Progress};
    use shared::fhir::Instant;

    use super::*;

    fn caller(scopes: &str, lists: Lists) -> Caller {
        Caller { client: ClientId("north".to_owned()), scopes: Scopes::read(scopes), lists }
    }

    fn some(id: &str, identifier: &str) -> Lists {
        let (id, identifier) = (id.parse().expect("an id"), identifier.parse().expect("an identifier"));
        Lists::Some { ids: [id].into(), identifiers: [identifier].into() }
    }

    fn job(client: &str, anchor: Anchor, identifiers: &[&str]) -> Job {
        let mut request = ExportRequest::new(anchor, Operation::Export, String::new());
        request.identifiers = identifiers.iter().map(|text| text.parse().expect("an identifier")).collect();
        Job {
            id: JobId::random(),
            client: ClientId(client.to_owned()),
            request,
            created_at: Instant::from_unix_millis(0),
            state: JobState::Running,
            transaction_time: None,
            progress: Progress::default(),
            ended_at: None,
            expires_at: None,
            failure: None,
        }
    }

    #[test]
    fn an_export_without_types_is_cut_to_the_scope_and_one_with_types_stays_within_it() {
        let ask = |scopes: &str, types: Option<&[ResourceType]>| {
            let mut parameters = Parameters::default();
            parameters.selection.types = types.map(|types| types.iter().copied().collect());
            limit(&caller(scopes, Lists::All), &mut parameters).map(|()| parameters.selection.types)
        };
        let (patient, group) = (ResourceType::PATIENT, ResourceType::GROUP);
        let two = "system/Patient.read system/Group.rs system/Coverage.r";
        assert!(matches!(ask("system/*.read", None), Ok(None)));
        assert!(matches!(ask(two, None), Ok(Some(types)) if types == [patient, group].into()));
        assert!(matches!(ask(two, Some(&[patient])), Ok(Some(types)) if types == [patient].into()));
        let beyond = ask(two, Some(&[patient, ResourceType::COVERAGE, ResourceType::LOCATION]));
        assert!(matches!(beyond, Err(ApiError::OutOfScope { types, .. })
            if types == [ResourceType::COVERAGE, ResourceType::LOCATION]));
        assert!(matches!(ask("", None), Err(ApiError::OutOfScope { .. })));
    }

    #[test]
    fn a_job_is_seen_by_its_client_as_long_as_the_list_is_one_of_its_own() {
        let group = || Anchor::Group("g1".parse().expect("an id"));
        for (job, lists, expected) in [
            (job("north", group(), &[]), Lists::All, true),
            (job("south", group(), &[]), Lists::All, false),
            (job("north", group(), &[]), some("g1", "a|9"), true),
            (job("north", group(), &["a|1"]), some("g2", "a|1"), true),
            (job("north", group(), &["a|1"]), some("g2", "a|2"), false),
            (job("north", Anchor::System, &[]), Lists::All, true),
            (job("north", Anchor::System, &["a|1"]), some("g1", "a|1"), false),
            (job("north", Anchor::Patient, &[]), some("g1", "a|1"), false),
        ] {
            assert_eq!(may_see_job(&caller("", lists), &job), expected, "{job:?}");
        }
    }

    #[test]
    fn whoever_has_some_lists_begins_at_a_list() {
        let group = Anchor::Group("g1".parse().expect("an id"));
        for (anchor, of_some) in [(group, true), (Anchor::Patient, false), (Anchor::System, false)] {
            assert!(check_anchor(&caller("", Lists::All), &anchor).is_ok());
            assert_eq!(check_anchor(&caller("", some("g1", "a|1")), &anchor).is_ok(), of_some, "{anchor}");
        }
    }
}
