//! The contract of the port `source`: a test for each sentence of it, run against a folder, PostgreSQL and a FHIR server.
//!
//! Here is what begins at a list; `source/beyond_lists.rs` has the verbs that begin at none, `source/find_lists.rs` the
//! search for lists, `source/past.rs` what is said of a past, by the two that have one. What only a database can do (writers at
//! work) is in `source/postgres.rs`, what only a server can (to misbehave) in `source/fhir_rest.rs`.

/// Each test of the contract, once for each adapter.
macro_rules! for_every_adapter {
    ($($test:ident),* $(,)?) => {
        mod in_a_folder {
            $(#[tokio::test] async fn $test() { super::$test(super::Adapter::Folder).await; })*
        }
        mod in_postgres {
            $(#[tokio::test] async fn $test() { super::$test(super::Adapter::Postgres).await; })*
        }
        mod on_a_fhir_server {
            $(#[tokio::test] async fn $test() { super::$test(super::Adapter::FhirServer).await; })*
        }
    };
}

mod beyond_lists;
mod fhir_rest;
mod find_lists;
mod past;
mod postgres;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use devfhir::{FhirServer, as_taken};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use shared::clock::{Clock, SystemClock};
use shared::export::Slice;
use shared::fault::FaultKind;
use shared::fhir::{Attribution, Instant, OwnBases, ResourceId, ResourceKey, ResourceType};
use shared::source::files::{self, Found};
use shared::source::folder::FolderSource;
use shared::source::{Listed, ResourceSource};

use self::postgres::Database;
use crate::harness::unstamped::Unstamped;

for_every_adapter! {
    the_transaction_time_is_in_whole_milliseconds_and_not_before_what_is_there,
    a_list_has_its_head_and_a_list_that_is_not_there_has_none,
    the_members_come_as_they_were_written_in_their_order_a_page_at_a_time,
    a_list_that_is_not_there_is_not_found_by_every_verb_but_list,
    a_list_without_members_is_there_and_has_no_slices,
    each_id_that_a_list_names_is_in_exactly_one_slice_of_its_type,
    the_lists_own_id_is_in_no_slice,
    references_that_lead_to_no_resource_of_this_server_are_in_no_slice,
    a_page_has_the_first_ids_of_a_slice_in_byte_order_and_the_next_page_goes_on,
    a_listed_id_comes_with_its_resource_or_with_none,
    a_listed_id_says_by_the_first_way_how_it_is_named,
    a_listed_id_has_been_listed_since_no_later_than_the_transaction_time,
    listed_among_gives_the_keys_that_are_in_a_slice_each_with_the_time_since_when_it_is_listed,
    listed_between_gives_the_keys_that_the_list_names_and_none_of_a_list_that_is_not_there,
    the_members_of_some_patients_come_with_their_patients_in_the_order_of_the_list,
    a_member_whose_entity_is_no_patient_of_this_server_is_nobodys,
    fetch_gives_what_there_is_and_each_once,
    a_group_comes_without_its_members,
    json_passes_through_as_it_was_written,
    the_last_resource_of_an_id_wins,
    random_lists_are_cut_into_slices_that_are_disjoint_ordered_and_complete,
    the_examples_of_the_guide_are_read,
    it_is_ready,
}

#[derive(Clone, Copy, Debug)]
enum Adapter {
    Folder,
    Postgres,
    FhirServer,
}

/// An adapter that holds some resources; what it stands on goes with it.
struct Held {
    source: Arc<dyn ResourceSource>,
    /// After all that it holds.
    now: Instant,
    _ground: Ground,
}

enum Ground {
    Folder { _held: tempfile::TempDir },
    Database { _held: Database },
    Server { _held: FhirServer },
}

impl Adapter {
    /// The adapter with these resources in it, given as JSON.
    async fn holding(self, resources: &[impl AsRef<str>]) -> Held {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let lines: Vec<&str> = resources.iter().map(AsRef::as_ref).collect();
        std::fs::write(folder.path().join("resources.ndjson"), lines.join("\n")).expect("the folder can be written");
        self.holding_files(folder).await
    }

    /// The adapter with all that the files of a folder hold.
    async fn holding_files(self, folder: tempfile::TempDir) -> Held {
        let (source, ground): (Arc<dyn ResourceSource>, _) = match self {
            Self::Folder => {
                let opened = FolderSource::open(folder.path(), own(), Arc::new(SystemClock)).await;
                let (source, bad_lines) = opened.expect("the folder can be read");
                assert_eq!(bad_lines, []);
                (Arc::new(source), Ground::Folder { _held: folder })
            }
            Self::Postgres => {
                let database = Database::new();
                database.loader().await.load(&resources_in(folder.path())).await.expect("they can be loaded");
                (database.source(), Ground::Database { _held: database })
            }
            Self::FhirServer => {
                let server = FhirServer::start(devfhir::Options::default()).expect("there is a free port");
                let resources = resources_in(folder.path());
                let texts: Vec<String> = resources
                    .iter()
                    .map(|resource| as_taken(std::str::from_utf8(&resource.body).expect("what was written is text")))
                    .collect();
                server.load(&texts);
                let source = Arc::new(Unstamped(Arc::new(fhir_rest::source(&server))));
                (source, Ground::Server { _held: server })
            }
        };
        let now = source.transaction_time().await.expect("the source can be asked");
        Held { source, now, _ground: ground }
    }
}

impl Held {
    async fn cut(&self, list: &str, size: u64) -> Vec<Slice> {
        self.source.cut(&id(list), self.now, size).await.expect("the list is there")
    }

    async fn page(&self, list: &str, slice: &Slice, limit: u32) -> Vec<Listed> {
        self.source.listed(&id(list), slice, self.now, limit).await.expect("the list is there")
    }

    /// All that a list names, `Type/id`, through slices and pages of these sizes.
    async fn walked(&self, list: &str, size: u64, limit: u32) -> Vec<String> {
        let mut walked = Vec::new();
        for mut slice in self.cut(list, size).await {
            loop {
                let page = self.page(list, &slice, limit).await;
                walked.extend(page.iter().map(|listed| format!("{}/{}", slice.resource_type, listed.id)));
                match page.last() {
                    Some(end) if page.len() == limit as usize => slice.after = Some(end.id.clone()),
                    _ => break,
                }
            }
        }
        walked
    }
}

fn own() -> OwnBases {
    OwnBases::new(["https://payer.example.org/fhir"])
}

fn resources_in(folder: &Path) -> Vec<shared::fhir::Resource> {
    let read = files::read(&[folder.to_owned()]).expect("the folder can be read");
    let resource = |found| match found {
        Ok(Found::Resource(resource)) => resource,
        other => panic!("this is no resource: {other:?}"),
    };
    read.map(resource).collect()
}

fn id(text: &str) -> ResourceId {
    text.parse().expect("the test writes a legal id")
}

fn key(text: &str) -> ResourceKey {
    let (resource_type, id) = text.split_once('/').expect("the test writes Type/id");
    ResourceKey::new(resource_type.parse().expect("the test writes a type"), id.parse().expect("and a legal id"))
}

fn whole(resource_type: ResourceType, through: &str) -> Slice {
    Slice { resource_type, after: None, through: id(through), ids: 1 }
}

fn patient(id: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)
}

/// A list of these members.
fn group(id: &str, members: &[impl AsRef<str>]) -> String {
    let members: Vec<&str> = members.iter().map(AsRef::as_ref).collect();
    format!(r#"{{"resourceType":"Group","id":"{id}","member":[{}],"quantity":1.10}}"#, members.join(","))
}

/// A member: its entity, and what it names by extensions, each `coverage`, `provider` or `any` and a reference.
fn member(entity: &str, extensions: &[(&str, &str)]) -> String {
    let extension = |(way, reference): &(&str, &str)| {
        let tail = match *way {
            "coverage" => "ext-coverageReference",
            "provider" => "ext-attributedProvider",
            "any" => "atr-any-resource-extension",
            other => panic!("no such way: {other}"),
        };
        let url = format!("http://hl7.org/fhir/us/davinci-atr/StructureDefinition/{tail}");
        format!(r#"{{"url":"{url}","valueReference":{{"reference":"{reference}"}}}}"#)
    };
    let extensions: Vec<String> = extensions.iter().map(extension).collect();
    format!(r#"{{"extension":[{}],"entity":{{"reference":"{entity}"}}}}"#, extensions.join(","))
}

fn entity(patient: &str) -> String {
    member(&format!("Patient/{patient}"), &[])
}

async fn the_transaction_time_is_in_whole_milliseconds_and_not_before_what_is_there(adapter: Adapter) {
    let held = adapter.holding(&[patient("a")]).await;
    assert_eq!(held.now, held.now.floor_to_millis());
    assert!(held.now <= SystemClock.now());
    let fetched = held.source.fetch(held.now, &[key("Patient/a")]).await.expect("the source can be asked");
    assert!(fetched[0].last_updated <= held.now, "{} is after {}", fetched[0].last_updated, held.now);
}

async fn a_list_has_its_head_and_a_list_that_is_not_there_has_none(adapter: Adapter) {
    let bare = r#"{"resourceType":"Group","id":"bare"}"#;
    let held = adapter.holding(&[group("g", &[entity("1"), entity("2")]), bare.to_owned()]).await;
    let found = held.source.list(&id("g"), held.now).await.expect("the source can be asked").expect("it is there");
    assert_eq!(found.before, r#"{"resourceType":"Group","id":"g","member":["#);
    assert_eq!(found.after, r#"],"quantity":1.10}"#);
    assert_eq!(found.members, 2);
    assert!(found.last_updated <= held.now);
    let found = held.source.list(&id("bare"), held.now).await.expect("the source can be asked").expect("it is there");
    assert_eq!((found.before.as_ref(), found.after.as_ref(), found.members), (bare.as_bytes(), &b""[..], 0));
    assert_eq!(held.source.list(&id("other"), held.now).await.expect("the source can be asked"), None);
}

async fn the_members_come_as_they_were_written_in_their_order_a_page_at_a_time(adapter: Adapter) {
    let written: Vec<String> =
        (0..7).map(|n| format!(r#"{{ "x":{n}.10, "entity":{{"reference":"Patient/{}"}}}}"#, 9 - n)).collect();
    let held = adapter.holding(&[group("g", &written)]).await;
    for (from, limit, expected) in
        [(0, 3, &written[..3]), (3, 3, &written[3..6]), (6, 3, &written[6..]), (7, 3, &[]), (0, 7, &written[..])]
    {
        let members = held.source.members(&id("g"), held.now, from, limit).await.expect("the list is there");
        assert_eq!(members, expected, "{limit} from {from}");
    }
    let far = held.source.members(&id("g"), held.now, u64::MAX, u32::MAX).await.expect("the list is there");
    assert!(far.is_empty());
}

async fn a_list_that_is_not_there_is_not_found_by_every_verb_but_list(adapter: Adapter) {
    let held = adapter.holding(&[group("g", &[entity("1")]), patient("p")]).await;
    let (gone, now, source) = (id("gone"), held.now, &held.source);
    let faults = [
        source.members(&gone, now, 0, 10).await.expect_err("members"),
        source.cut(&gone, now, 10).await.expect_err("cut"),
        source.listed(&gone, &whole(ResourceType::PATIENT, "p"), now, 10).await.expect_err("listed"),
        source.listed_among(&gone, now, &[key("Patient/1")]).await.expect_err("listed_among"),
        source.listed_among(&gone, now, &[]).await.expect_err("listed_among nothing"),
        source.members_of(&gone, now, &[id("1")]).await.expect_err("members_of"),
        source.members_of(&gone, now, &[]).await.expect_err("members_of nobody"),
    ];
    for fault in faults {
        assert_eq!(fault.kind(), FaultKind::NotFound, "{fault}");
    }
}

async fn a_list_without_members_is_there_and_has_no_slices(adapter: Adapter) {
    let held = adapter.holding(&[r#"{"resourceType":"Group","id":"g","member":[]}"#]).await;
    assert_eq!(held.cut("g", 5).await, []);
    assert!(held.source.members(&id("g"), held.now, 0, 5).await.expect("the list is there").is_empty());
    assert!(held.page("g", &whole(ResourceType::PATIENT, "z"), 5).await.is_empty());
    let among = held.source.listed_among(&id("g"), held.now, &[key("Patient/1")]).await;
    assert!(among.expect("the list is there").is_empty());
    assert!(held.source.members_of(&id("g"), held.now, &[id("1")]).await.expect("the list is there").is_empty());
}

async fn each_id_that_a_list_names_is_in_exactly_one_slice_of_its_type(adapter: Adapter) {
    let members = [
        member("Patient/1", &[("coverage", "Coverage/1"), ("provider", "Practitioner/1")]),
        member("Patient/2", &[("coverage", "Coverage/2"), ("provider", "Practitioner/1"), ("any", "Observation/1")]),
        member("Patient/3", &[("coverage", "Coverage/1"), ("provider", "Organization/1")]),
        member("Patient/1", &[]),
    ];
    let held = adapter.holding(&[group("g", &members), group("other", &[entity("4")])]).await;
    let slice = |name: &str, after: Option<&str>, through: &str, ids| Slice {
        resource_type: name.parse().expect("the test writes a type"),
        after: after.map(id),
        through: id(through),
        ids,
    };
    let cut: HashSet<String> = held.cut("g", 2).await.iter().map(|slice| format!("{slice:?}")).collect();
    let expected = [
        slice("Patient", None, "2", 2),
        slice("Patient", Some("2"), "3", 1),
        slice("Coverage", None, "2", 2),
        slice("Practitioner", None, "1", 1),
        slice("Organization", None, "1", 1),
        slice("Observation", None, "1", 1),
    ];
    assert_eq!(cut, expected.iter().map(|slice| format!("{slice:?}")).collect());
}

async fn the_lists_own_id_is_in_no_slice(adapter: Adapter) {
    let members = [member("Patient/1", &[("any", "Group/g"), ("any", "Group/h")]), member("Group/g", &[])];
    let held = adapter.holding(&[group("g", &members), group("h", &[entity("2")])]).await;
    assert_eq!(held.walked("g", 10, 10).await, ["Group/h", "Patient/1"]);
    let among = held.source.listed_among(&id("g"), held.now, &[key("Group/g"), key("Group/h")]).await;
    let among: Vec<ResourceKey> = among.expect("the list is there").into_keys().collect();
    assert_eq!(among, [key("Group/h")]);
    assert_eq!(held.page("g", &whole(ResourceType::GROUP, "z"), 10).await.len(), 1);
}

async fn references_that_lead_to_no_resource_of_this_server_are_in_no_slice(adapter: Adapter) {
    let members = [
        entity("1"),
        member("https://payer.example.org/fhir/Patient/2", &[("coverage", "Coverage/3/_history/7")]),
        member("https://elsewhere.example.org/fhir/Patient/4", &[("coverage", "#inside")]),
        member("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", &[("provider", "Practitioner?identifier=5")]),
        r#"{"entity":{"identifier":{"value":"6"}}}"#.to_owned(),
        "{}".to_owned(),
    ];
    let held = adapter.holding(&[group("g", &members)]).await;
    assert_eq!(held.walked("g", 10, 10).await, ["Coverage/3", "Patient/1", "Patient/2"]);
    let found = held.source.list(&id("g"), held.now).await.expect("the source can be asked");
    assert_eq!(found.expect("the list is there").members, 6);
}

async fn a_page_has_the_first_ids_of_a_slice_in_byte_order_and_the_next_page_goes_on(adapter: Adapter) {
    // In byte order; many a collation ignores the dots and dashes, or sorts `a` before `A`.
    let ordered = ["-", ".", "0", "A", "B", "a", "a-", "a-b", "a.", "a0", "aA", "aa", "b"];
    let shuffled: Vec<String> = ordered.iter().rev().map(|patient| entity(patient)).collect();
    let held = adapter.holding(&[group("g", &shuffled)]).await;
    let expected: Vec<String> = ordered.iter().map(|id| format!("Patient/{id}")).collect();
    for (size, limit) in [(100, 100), (100, 1), (1, 1), (4, 3), (5, 5), (13, 4)] {
        assert_eq!(held.walked("g", size, limit).await, expected, "slices of {size}, pages of {limit}");
    }
    let middle = Slice { resource_type: ResourceType::PATIENT, after: Some(id("a-")), through: id("a0"), ids: 3 };
    let page: Vec<String> = held.page("g", &middle, 10).await.iter().map(|listed| listed.id.to_string()).collect();
    assert_eq!(page, ["a-b", "a.", "a0"]);
    let done = Slice { after: Some(id("a0")), ..middle };
    assert!(held.page("g", &done, 10).await.is_empty());
}

async fn a_listed_id_comes_with_its_resource_or_with_none(adapter: Adapter) {
    let held = adapter.holding(&[group("g", &[entity("here"), entity("nowhere")]), patient("here")]).await;
    let page = held.page("g", &whole(ResourceType::PATIENT, "nowhere"), 10).await;
    let stored = page[0].stored.as_ref().expect("it is there");
    assert_eq!(
        (stored.resource.key.clone(), stored.resource.body.as_ref()),
        (key("Patient/here"), patient("here").as_bytes())
    );
    assert!(stored.last_updated <= held.now);
    assert_eq!((page[1].id.as_str(), &page[1].stored), ("nowhere", &None));
    assert_eq!(page.len(), 2);
}

async fn a_listed_id_says_by_the_first_way_how_it_is_named(adapter: Adapter) {
    let members = [
        member("Patient/1", &[("any", "Patient/3"), ("provider", "Organization/1"), ("any", "Organization/2")]),
        member("Patient/2", &[("any", "Organization/1"), ("any", "Patient/1"), ("coverage", "Coverage/1")]),
        member("Patient/4", &[("any", "Coverage/1")]),
    ];
    let held = adapter.holding(&[group("g", &members)]).await;
    let mut ways = BTreeMap::new();
    for slice in held.cut("g", 10).await {
        for listed in held.page("g", &slice, 10).await {
            ways.insert(format!("{}/{}", slice.resource_type, listed.id), listed.named_by);
        }
    }
    let expected = [
        ("Coverage/1", Attribution::Coverage),
        ("Organization/1", Attribution::Provider),
        ("Organization/2", Attribution::AssociatedData),
        ("Patient/1", Attribution::Entity),
        ("Patient/2", Attribution::Entity),
        ("Patient/3", Attribution::AssociatedData),
        ("Patient/4", Attribution::Entity),
    ];
    assert_eq!(ways, expected.map(|(key, way)| (key.to_owned(), way)).into());
}

async fn a_listed_id_has_been_listed_since_no_later_than_the_transaction_time(adapter: Adapter) {
    let held = adapter.holding(&[group("g", &[entity("1")])]).await;
    let page = held.page("g", &whole(ResourceType::PATIENT, "1"), 10).await;
    assert!(page[0].listed_since <= held.now);
}

async fn listed_among_gives_the_keys_that_are_in_a_slice_each_with_the_time_since_when_it_is_listed(adapter: Adapter) {
    let members = [member("Patient/1", &[("coverage", "Coverage/1")]), entity("2")];
    let held = adapter.holding(&[group("g", &members), group("h", &[entity("3")]), patient("3")]).await;
    let since = held.page("g", &whole(ResourceType::PATIENT, "1"), 1).await[0].listed_since;
    let asked =
        ["Patient/1", "Patient/2", "Patient/3", "Coverage/1", "Coverage/2", "Practitioner/1", "Patient/1"].map(key);
    let among = held.source.listed_among(&id("g"), held.now, &asked).await.expect("the list is there");
    assert_eq!(among, ["Patient/1", "Patient/2", "Coverage/1"].map(|listed| (key(listed), since)).into());
    let many: Vec<ResourceKey> = (0..2_500).map(|n| key(&format!("Patient/{n}"))).collect();
    let among = held.source.listed_among(&id("g"), held.now, &many).await.expect("the list is there");
    assert_eq!(among, ["Patient/1", "Patient/2"].map(|listed| (key(listed), since)).into());
}

async fn listed_between_gives_the_keys_that_the_list_names_and_none_of_a_list_that_is_not_there(adapter: Adapter) {
    let members = [member("Patient/1", &[("coverage", "Coverage/1")]), entity("2001")];
    let held = adapter.holding(&[group("g", &members), group("h", &[entity("3")]), patient("3")]).await;
    let mut asked: Vec<ResourceKey> = (0..2_500).map(|n| key(&format!("Patient/{n}"))).collect();
    asked.extend(["Coverage/1", "Coverage/2", "Patient/1"].map(key));
    let between = held.source.listed_between(&id("g"), held.now, held.now, &asked).await;
    let expected: HashSet<ResourceKey> = ["Patient/1", "Patient/2001", "Coverage/1"].map(key).into();
    assert_eq!(between.expect("the source can be asked"), expected);
    let between = held.source.listed_between(&id("gone"), held.now, held.now, &asked).await;
    assert!(between.expect("the source can be asked").is_empty());
}

async fn the_members_of_some_patients_come_with_their_patients_in_the_order_of_the_list(adapter: Adapter) {
    let twice = member("Patient/a", &[("coverage", "Coverage/1")]);
    let absolute = member("https://payer.example.org/fhir/Patient/d", &[]);
    let filler = (0..1_100).map(|number| entity(&number.to_string()));
    let members: Vec<String> = [entity("c"), entity("a"), entity("b")]
        .into_iter()
        .chain(filler)
        .chain([twice.clone(), absolute.clone()])
        .collect();
    let held = adapter.holding(&[group("g", &members), group("h", &[entity("e")])]).await;
    let asked = ["d", "a", "c", "a", "e", "nobody"].map(id);
    let found = held.source.members_of(&id("g"), held.now, &asked).await.expect("the list is there");
    let expected = [("c", entity("c")), ("a", entity("a")), ("a", twice), ("d", absolute)];
    assert_eq!(found, expected.map(|(patient, member)| (id(patient), member.into())));
    let all: Vec<ResourceId> = (0..1_100).rev().map(|number| id(&number.to_string())).collect();
    let found = held.source.members_of(&id("g"), held.now, &all).await.expect("the list is there");
    let patients: Vec<String> = found.iter().map(|(patient, _)| patient.to_string()).collect();
    assert_eq!(patients, (0..1_100).map(|number: u32| number.to_string()).collect::<Vec<_>>());
}

async fn a_member_whose_entity_is_no_patient_of_this_server_is_nobodys(adapter: Adapter) {
    let members = [
        member("https://elsewhere.example.org/fhir/Patient/1", &[("any", "Patient/1")]),
        member("Group/1", &[]),
        member("#1", &[]),
        "{}".to_owned(),
    ];
    let held = adapter.holding(&[group("g", &members)]).await;
    assert!(held.source.members_of(&id("g"), held.now, &[id("1")]).await.expect("the list is there").is_empty());
}

async fn fetch_gives_what_there_is_and_each_once(adapter: Adapter) {
    let resources: Vec<String> = (0..2_100).map(|n| patient(&n.to_string())).collect();
    let held = adapter.holding(&resources).await;
    let asked = ["Patient/1", "Patient/nowhere", "Patient/2", "Coverage/1", "Patient/1"].map(key);
    let fetched = held.source.fetch(held.now, &asked).await.expect("the source can be asked");
    let mut bodies: Vec<&[u8]> = fetched.iter().map(|stored| stored.resource.body.as_ref()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, [patient("1").as_bytes(), patient("2").as_bytes()]);
    assert!(held.source.fetch(held.now, &[]).await.expect("the source can be asked").is_empty());
    let all: Vec<ResourceKey> = (0..2_200).map(|n| key(&format!("Patient/{n}"))).collect();
    let fetched = held.source.fetch(held.now, &all).await.expect("the source can be asked");
    let keys: HashSet<ResourceKey> = fetched.iter().map(|stored| stored.resource.key.clone()).collect();
    assert_eq!((fetched.len(), keys.len()), (2_100, 2_100));
    for stored in fetched {
        assert_eq!(stored.resource.body, patient(stored.resource.key.id.as_str()));
    }
}

async fn a_group_comes_without_its_members(adapter: Adapter) {
    let members = [member("Patient/1", &[("any", "Group/h")])];
    let held = adapter.holding(&[group("g", &members), group("h", &[entity("2")])]).await;
    let text = r#"{"resourceType":"Group","id":"h","member":[],"quantity":1.10}"#;
    let fetched = held.source.fetch(held.now, &[key("Group/h")]).await.expect("the source can be asked");
    assert_eq!(fetched[0].resource.body, text);
    let page = held.page("g", &whole(ResourceType::GROUP, "h"), 10).await;
    assert_eq!(page[0].stored.as_ref().expect("it is there").resource.body, text);
}

async fn json_passes_through_as_it_was_written(adapter: Adapter) {
    let text = r#"{ "z":1.10, "resourceType" : "Patient","a":1e2,"n":0.010,"id":"p","s":"é\u00e9\/\t\u0000 😀","b":[ ] ,"a2":null}"#;
    let held = adapter.holding(&[text.to_owned(), group("g", &[entity("p")])]).await;
    let fetched = held.source.fetch(held.now, &[key("Patient/p")]).await.expect("the source can be asked");
    assert_eq!(fetched[0].resource.body, text);
    let page = held.page("g", &whole(ResourceType::PATIENT, "p"), 1).await;
    assert_eq!(page[0].stored.as_ref().expect("it is there").resource.body, text);
}

async fn the_last_resource_of_an_id_wins(adapter: Adapter) {
    let last = r#"{"resourceType":"Patient","id":"p","active":true}"#;
    let resources = [patient("p"), group("g", &[entity("1")]), last.to_owned(), group("g", &[entity("2")])];
    let held = adapter.holding(&resources).await;
    let fetched = held.source.fetch(held.now, &[key("Patient/p")]).await.expect("the source can be asked");
    assert_eq!(fetched[0].resource.body, last);
    assert_eq!(held.walked("g", 10, 10).await, ["Patient/2"]);
}

async fn random_lists_are_cut_into_slices_that_are_disjoint_ordered_and_complete(adapter: Adapter) {
    let reference = "(Patient|Coverage|Group)/[A-Ca-c0-2.-]{1,3}";
    let lists = proptest::collection::vec((proptest::collection::vec(reference, 0..60), 1_u64..20, 1_u32..20), 12);
    let lists = lists.new_tree(&mut TestRunner::default()).expect("the strategy refuses nothing").current();
    let groups = lists.iter().enumerate().map(|(number, (references, ..))| {
        let members: Vec<String> = references.iter().map(|reference| member(reference, &[])).collect();
        group(&format!("list-{number}"), &members)
    });
    let held = adapter.holding(&groups.collect::<Vec<_>>()).await;
    for (number, (references, size, limit)) in lists.iter().enumerate() {
        let list = format!("list-{number}");
        let expected: BTreeSet<&String> = references.iter().collect();
        let slices = held.cut(&list, *size).await;
        assert!(slices.iter().all(|slice| (1..=*size).contains(&slice.ids)), "{slices:?}");
        let ids: u64 = slices.iter().map(|slice| slice.ids).sum();
        assert_eq!(ids, expected.len() as u64, "{references:?} by {size}");
        let walked = held.walked(&list, *size, *limit).await;
        assert_eq!(
            walked.iter().collect::<Vec<_>>(),
            expected.into_iter().collect::<Vec<_>>(),
            "by {size} and {limit}"
        );
    }
}

async fn the_examples_of_the_guide_are_read(adapter: Adapter) {
    let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/atr-examples"));
    if !examples.exists() {
        eprintln!("the examples of the guide are not on this machine");
        return;
    }
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    for example in std::fs::read_dir(examples).expect("the examples can be read") {
        let example = example.expect("the examples can be read");
        std::fs::copy(example.path(), folder.path().join(example.file_name())).expect("the folder can be written");
    }
    let held = adapter.holding_files(folder).await;
    let walked = held.walked("fullexample", 2, 2).await;
    let expected = [
        "Coverage/1",
        "Coverage/2",
        "Coverage/3",
        "Organization/2",
        "Patient/1",
        "Patient/2",
        "Patient/3",
        "Practitioner/1",
        "PractitionerRole/1",
    ];
    assert_eq!(walked, expected);
    for slice in held.cut("fullexample", 100).await {
        for listed in held.page("fullexample", &slice, 100).await {
            assert!(listed.stored.is_some(), "{}/{} is not there", slice.resource_type, listed.id);
        }
    }
}

async fn it_is_ready(adapter: Adapter) {
    let held = adapter.holding(&[patient("a")]).await;
    let ready = tokio::time::timeout(Duration::from_secs(5), held.source.ready()).await;
    ready.expect("it answers in time").expect("it is ready");
}
