//! What a caller may see and export: the one place that decides it, for reads, histories, searches, kick-offs and jobs alike.
//!
//! Two things bound a caller: the scopes of its token say which types, and the register says which lists. A type beyond the
//! scope is refused by name; a list or a job that is not the caller's is for it as one that never was (standards §5.36).

mod own_lists;

use std::borrow::Cow;
use std::collections::BTreeSet;

use shared::access::{Caller, Lists, Permission};
use shared::export::{Anchor, Grounds, Job, Selection};
use shared::fault::Fault;
use shared::fhir::search::Query;
use shared::fhir::{Identifier, Instant, ResourceId, ResourceKey, ResourceType, compartment};
use shared::source::Version;

use crate::Api;
use crate::error::ApiError;

/// How many versions of a list are read at a time.
const VERSIONS_PER_READ: u32 = 100;

/// Refuses a caller whose scope does not cover `needed` of these types.
pub fn check_scope(caller: &Caller, types: &BTreeSet<ResourceType>, needed: Permission) -> Result<(), ApiError> {
    let beyond: Vec<ResourceType> = types.iter().copied().filter(|one| !caller.scopes.allows(*one, needed)).collect();
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

/// The types that an export writes for a caller: those that were asked for, which have to be in the scope, or those that
/// are in it (standards §5.34). `None` is all of them.
pub fn types_within(caller: &Caller, selection: &Selection) -> Result<Option<BTreeSet<ResourceType>>, ApiError> {
    if let Some(types) = &selection.types {
        check_scope(caller, types, Permission::EXPORT)?;
        return Ok(Some(types.clone()));
    }
    check_scope(caller, &selection.filters.keys().copied().collect(), Permission::EXPORT)?;
    let exportable = caller.scopes.exportable();
    if exportable.is_empty() {
        return Err(ApiError::OutOfScope { types: ResourceType::ATTRIBUTION.to_vec(), needed: Permission::EXPORT });
    }
    Ok((exportable.len() < ResourceType::ATTRIBUTION.len()).then_some(exportable))
}

/// What an export keeps in mind of the rights that it was kicked off with.
pub fn grounds(caller: &Caller, list: Option<&SeenList>) -> Grounds {
    let exportable = caller.scopes.exportable();
    Grounds {
        types: (exportable.len() < ResourceType::ATTRIBUTION.len()).then_some(exportable),
        identifiers: list.map(|list| list.identifiers.clone()).unwrap_or_default(),
        held_since: list.and_then(|list| list.held_since),
    }
}

/// A list that a caller may see.
#[derive(Debug, Default)]
pub struct SeenList {
    /// The identifiers of the list by which it is the caller's; none when it is by its id, or because all are.
    identifiers: Vec<Identifier>,
    /// Since when the list has had one of them without a break, as far as its versions tell.
    held_since: Option<Instant>,
}

/// The list of this id as of a time, when it is there and the caller may see it.
pub async fn seen_list(
    api: &Api,
    caller: &Caller,
    list: &ResourceId,
    as_of: Instant,
) -> Result<Option<SeenList>, Fault> {
    let Some(head) = api.platform.source.list(list, as_of).await? else { return Ok(None) };
    if caller.lists.holds(list, &[]) {
        return Ok(Some(SeenList::default()));
    }
    let identifiers: Vec<Identifier> = head
        .identifiers()
        .into_iter()
        .filter(|identifier| caller.lists.holds(list, std::slice::from_ref(identifier)))
        .collect();
    if identifiers.is_empty() {
        return Ok(None);
    }
    let held_since = held_since(api, caller, list).await?;
    Ok(Some(SeenList { identifiers, held_since }))
}

/// Since when a list has been the caller's without a break: the beginning of the oldest version of an unbroken run.
async fn held_since(api: &Api, caller: &Caller, list: &ResourceId) -> Result<Option<Instant>, Fault> {
    let key = ResourceKey::new(ResourceType::GROUP, list.clone());
    let (mut since, mut before) = (None, None);
    loop {
        let versions = api.platform.source.versions(&key, before, VERSIONS_PER_READ).await?;
        let is_end = versions.len() < VERSIONS_PER_READ as usize;
        for version in versions {
            let is_unbroken = since.is_none() || version.to == since;
            if !is_unbroken || !holds(caller, list, &text(&version)) {
                return Ok(since);
            }
            since = Some(version.from);
            before = Some(version.number);
        }
        if is_end {
            return Ok(since);
        }
    }
}

/// The first lists behind `after` that a query finds and the caller may see: at most `limit`, fewer only at the end.
pub async fn find_lists(
    api: &Api,
    caller: &Caller,
    query: &Query,
    after: Option<&ResourceId>,
    limit: u32,
) -> Result<Vec<Version>, Fault> {
    let source = &*api.platform.source;
    match &caller.lists {
        Lists::All => source.find_lists(query, after, limit).await,
        Lists::Some { ids, identifiers } => own_lists::find(source, ids, identifiers, query, after, limit).await,
    }
}

/// Whether a job is the caller's to see: its own, of a list that it may see still, by its id or by the identifiers by which
/// it could at the kick-off.
pub fn may_see_job(caller: &Caller, job: &Job) -> bool {
    let is_of_its_lists = match &job.request.anchor {
        Anchor::Group(list) => caller.lists.holds(list, &job.request.grounds.identifiers),
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
    if caller.lists.are_all() {
        return Ok(true);
    }
    let (key, text) = (&version.resource.key, text(version));
    match key.resource_type {
        ResourceType::GROUP => Ok(holds(caller, &key.id, &text)),
        about @ (ResourceType::PATIENT | ResourceType::COVERAGE | ResourceType::RELATED_PERSON) => {
            // What cannot be read tells nobody whom it is about.
            let patients = compartment::patients(about, &text, &api.own_bases).unwrap_or_default();
            may_see_one_of(api, caller, &patients).await
        }
        _ => Ok(true),
    }
}

/// Whether a list, given as the JSON of its Group, is one of the caller's.
fn holds(caller: &Caller, list: &ResourceId, group: &str) -> bool {
    caller.lists.are_all() || caller.lists.holds(list, &Identifier::all_of(group))
}

async fn may_see_one_of(api: &Api, caller: &Caller, patients: &[ResourceId]) -> Result<bool, Fault> {
    if patients.is_empty() {
        return Ok(false);
    }
    let lists = api.platform.source.lists_of(patients).await?;
    Ok(lists.iter().any(|list| holds(caller, &list.resource.key.id, &text(list))))
}

fn text(version: &Version) -> Cow<'_, str> {
    String::from_utf8_lossy(&version.resource.body)
}

#[cfg(test)]
mod tests {
    use shared::access::Scopes;
    use shared::export::{ClientId, ExportRequest, JobId, JobState, Operation, Progress};

    use super::*;

    fn caller(scopes: &str, lists: Lists) -> Caller {
        Caller { client: ClientId("north".to_owned()), scopes: Scopes::known_in(scopes), lists }
    }

    fn some(id: &str, identifier: &str) -> Lists {
        let (id, identifier) = (id.parse().expect("an id"), identifier.parse().expect("an identifier"));
        Lists::Some { ids: [id].into(), identifiers: [identifier].into() }
    }

    fn job(client: &str, anchor: Anchor, identifiers: &[&str]) -> Job {
        let mut request = ExportRequest::new(anchor, Operation::Export, String::new());
        request.grounds.identifiers = identifiers.iter().map(|text| text.parse().expect("an identifier")).collect();
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
            let types = types.map(|types| types.iter().copied().collect());
            types_within(&caller(scopes, Lists::All), &Selection { types, ..Selection::default() })
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
