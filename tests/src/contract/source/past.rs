//! What the verbs say about a past, of sources that have one: what has changed, who has left a list, what was deleted.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use devfhir::FhirServer;
use shared::fhir::search::Query;
use shared::fhir::{Instant, ResourceKey, ResourceType};
use shared::source::{Changed, Deleted, ResourceSource, Stored, Version};

use super::postgres::Database;
use super::{entity, fhir_rest, group, id, key, member, patient};
use crate::harness::payer::Payer;
use crate::harness::random::Random;

/// Each test, once for each source that has a past.
macro_rules! for_every_source_with_a_past {
    ($($test:ident),* $(,)?) => {
        mod in_postgres {
            $(#[tokio::test] async fn $test() { super::$test(super::WithAPast::Postgres).await; })*
        }
        mod on_a_fhir_server {
            $(#[tokio::test] async fn $test() { super::$test(super::WithAPast::FhirServer).await; })*
        }
    };
}

for_every_source_with_a_past! {
    scans_and_deletions_are_as_of_their_time_whatever_comes_after,
    a_page_of_ids_that_have_come_since_is_not_the_end_of_a_slice,
    a_deletion_has_what_was_known_last_and_only_those_of_the_types_that_are_asked_for_come,
    deleted_among_gives_of_the_keys_what_deleted_gives_of_all,
    listed_between_gives_what_the_list_named_at_any_time_of_the_two,
    listed_among_says_since_when_the_list_has_named_a_key_without_a_break,
    the_members_of_some_patients_are_as_of_their_time,
    the_versions_of_a_resource_come_newest_first_and_go_on_counting_after_a_deletion,
    each_version_of_a_list_has_its_members_as_of_its_beginning,
    a_search_finds_lists_as_they_are_now,
    the_lists_of_a_patient_are_those_that_have_them_now,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WithAPast {
    Postgres,
    FhirServer,
}

/// A source that a test writes into.
struct Past {
    payer: Payer,
    /// The schema goes with it.
    database: Option<Database>,
}

impl WithAPast {
    async fn begin(self) -> Past {
        match self {
            Self::Postgres => {
                let database = Database::new();
                let loader = Box::new(database.loader().await);
                Past { payer: Payer::Tables(String::new(), loader), database: Some(database) }
            }
            Self::FhirServer => {
                let server = FhirServer::start(devfhir::Options::default()).expect("there is a free port");
                Past { payer: Payer::Server(server), database: None }
            }
        }
    }
}

impl Past {
    fn source(&self) -> Arc<dyn ResourceSource> {
        match (&self.payer, &self.database) {
            (Payer::Server(server), _) => self.payer.unstamped(Arc::new(fhir_rest::source(server))),
            (Payer::Tables(..), Some(database)) => database.source(),
            (Payer::Tables(..), None) => panic!("tables are in a database"),
        }
    }

    async fn load(&mut self, texts: &[impl AsRef<str>]) {
        let texts: Vec<String> = texts.iter().map(|text| text.as_ref().to_owned()).collect();
        self.payer.load(&texts).await;
    }

    async fn delete(&mut self, keys: &[ResourceKey]) {
        self.payer.delete(keys).await;
    }
}

fn written(id: &str, text: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}","x":"{text}"}}"#)
}

pub async fn now(source: &Arc<dyn ResourceSource>) -> Instant {
    source.transaction_time().await.expect("the source can be asked")
}

/// All that there was of the Patients, by slices and pages of these sizes.
async fn scanned(source: &Arc<dyn ResourceSource>, as_of: Instant, size: u64, limit: u32) -> Vec<Stored> {
    let slices = source.cut_all(&[ResourceType::PATIENT], as_of, Changed::default(), size).await;
    let mut scanned = Vec::new();
    for mut slice in slices.expect("the source can be asked") {
        let mut ids = 0;
        loop {
            let page = source.scan(&slice, as_of, limit).await.expect("the source can be asked");
            let Some(last) = page.last() else { break };
            slice.after = Some(last.resource.key.id.clone());
            ids += page.len() as u64;
            scanned.extend(page);
        }
        // What has come since may have been counted.
        assert!(ids <= slice.ids, "of the slice through {}", slice.through);
    }
    scanned
}

/// All that was deleted between two times, by pages of this size.
pub async fn deleted(source: &Arc<dyn ResourceSource>, since: Instant, as_of: Instant, limit: u32) -> Vec<Deleted> {
    let (mut all, types): (Vec<Deleted>, _) = (Vec::new(), ResourceType::ATTRIBUTION);
    loop {
        let page = source.deleted(&types, since, as_of, all.last(), limit).await.expect("the source can be asked");
        if page.is_empty() {
            return all;
        }
        assert!(page.len() <= limit as usize);
        all.extend(page);
    }
}

pub fn keys_of(deleted: &[Deleted]) -> Vec<String> {
    deleted.iter().map(|deleted| deleted.resource.key.to_string()).collect()
}

async fn scans_and_deletions_are_as_of_their_time_whatever_comes_after(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    let mut random = Random::new(3);
    let mut state: BTreeMap<String, String> = BTreeMap::new();
    let mut rounds: Vec<(Instant, BTreeMap<String, String>, BTreeSet<String>)> = Vec::new();
    for round in 0..12 {
        let chosen: BTreeSet<String> = (0..30).map(|_| format!("{:02}", random.below(60))).collect();
        let mut gone = BTreeSet::new();
        if round % 3 == 2 {
            gone = chosen.into_iter().filter(|id| state.remove(id).is_some()).collect();
            let keys: Vec<ResourceKey> = gone.iter().map(|id| key(&format!("Patient/{id}"))).collect();
            past.delete(&keys).await;
        } else {
            let texts: Vec<String> = chosen.iter().map(|id| written(id, &round.to_string())).collect();
            past.load(&texts).await;
            state.extend(chosen.into_iter().zip(texts));
        }
        rounds.push((now(&source).await, state.clone(), gone));
    }
    for (as_of, then, _) in &rounds {
        for (size, limit) in [(1_000, 1_000), (7, 3), (1, 1), (100, 10)] {
            let scanned = scanned(&source, *as_of, size, limit).await;
            let bodies: Vec<&[u8]> = scanned.iter().map(|stored| stored.resource.body.as_ref()).collect();
            assert_eq!(bodies, then.values().map(String::as_bytes).collect::<Vec<_>>(), "by {size} and {limit}");
            assert!(scanned.iter().all(|stored| stored.last_updated <= *as_of));
        }
    }
    for (first, (since, ..)) in rounds.iter().enumerate() {
        for (last, (as_of, then, _)) in rounds.iter().enumerate().skip(first) {
            let mut when: BTreeMap<&String, usize> = BTreeMap::new();
            for (round, (.., gone)) in rounds.iter().enumerate().take(last + 1).skip(first + 1) {
                when.extend(gone.iter().map(|id| (id, round)));
            }
            let mut expected: Vec<(usize, &String)> = when.into_iter().map(|(id, round)| (round, id)).collect();
            expected.retain(|(_, id)| !then.contains_key(*id));
            expected.sort_unstable();
            let expected: Vec<String> = expected.iter().map(|(_, id)| format!("Patient/{id}")).collect();
            for limit in [1, 7, 1_000] {
                let deleted = deleted(&source, *since, *as_of, limit).await;
                assert_eq!(keys_of(&deleted), expected, "from round {first} to {last} by {limit}");
                assert!(deleted.iter().all(|deleted| *since < deleted.at && deleted.at <= *as_of));
            }
        }
    }
}

async fn a_page_of_ids_that_have_come_since_is_not_the_end_of_a_slice(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    past.load(&["m", "y", "z"].map(patient)).await;
    let before = now(&source).await;
    let later: Vec<String> = ('a'..'m').map(|id| patient(&id.to_string())).collect();
    past.load(&later).await;
    past.load(&[written("y", "later")]).await;
    past.delete(&[key("Patient/m"), key("Patient/a")]).await;
    for limit in [1, 2, 3, 100] {
        let scanned = scanned(&source, before, 100, limit).await;
        let bodies: Vec<&[u8]> = scanned.iter().map(|stored| stored.resource.body.as_ref()).collect();
        assert_eq!(bodies, ["m", "y", "z"].map(patient).each_ref().map(String::as_bytes), "by {limit}");
    }
}

async fn a_deletion_has_what_was_known_last_and_only_those_of_the_types_that_are_asked_for_come(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    let coverage = r#"{"resourceType":"Coverage","id":"c"}"#.to_owned();
    let list = group("g", &[entity("p")]);
    past.load(&[patient("p"), coverage, list]).await;
    past.load(&[written("p", "last")]).await;
    let since = now(&source).await;
    past.delete(&["Patient/p", "Group/g", "Coverage/c"].map(key)).await;
    let as_of = now(&source).await;
    let all = deleted(&source, since, as_of, 10).await;
    assert_eq!(keys_of(&all), ["Coverage/c", "Group/g", "Patient/p"]);
    assert_eq!(all[1].resource.body, r#"{"resourceType":"Group","id":"g","member":[],"quantity":1.10}"#);
    assert_eq!(all[2].resource.body, written("p", "last"));
    let some = source.deleted(&[ResourceType::PATIENT], since, as_of, None, 10).await.expect("the source can be asked");
    assert_eq!(some, all[2..]);
    assert_eq!(deleted(&source, all[0].at, as_of, 10).await, [], "what was deleted at `since` is told already");
    assert_eq!(deleted(&source, since, all[0].at, 10).await, all, "what was deleted at `as_of` is not there any more");
}

async fn deleted_among_gives_of_the_keys_what_deleted_gives_of_all(adapter: WithAPast) {
    let (mut past, mut random) = (adapter.begin().await, Random::new(7));
    let source = past.source();
    let keys: Vec<ResourceKey> = (0..4).map(|id| key(&format!("Patient/{id}"))).collect();
    let mut times = vec![now(&source).await];
    for round in 0..12 {
        let id = random.below(4);
        if random.once_in(2) {
            let body = written(&id.to_string(), &format!("round {round}"));
            past.load(&[body]).await;
        } else {
            past.delete(&[key(&format!("Patient/{id}"))]).await;
        }
        times.push(now(&source).await);
    }
    let by_key = |mut deleted: Vec<Deleted>| {
        deleted.sort_by(|left, right| left.resource.key.cmp(&right.resource.key));
        deleted
    };
    let mut found = 0;
    for (at, since) in times.iter().enumerate() {
        for as_of in &times[at..] {
            let all = source.deleted(&[ResourceType::PATIENT], *since, *as_of, None, 100).await;
            let all = by_key(all.expect("the source can be asked"));
            // Who is asked for twice comes once.
            let among = source.deleted_among(*since, *as_of, &[&keys[..], &keys[..2]].concat()).await;
            assert_eq!(by_key(among.expect("the source can be asked")), all, "from {since} to {as_of}");
            found += all.len();
        }
    }
    assert!(found > 20, "there were deletions: {found}");
}

async fn listed_between_gives_what_the_list_named_at_any_time_of_the_two(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    past.load(&[patient("a")]).await;
    let mut times = vec![now(&source).await];
    for members in [&["a", "b"][..], &["b", "c"], &["b"]] {
        let members: Vec<String> = members.iter().map(|patient| entity(patient)).collect();
        past.load(&[group("g", &members)]).await;
        times.push(now(&source).await);
    }
    past.delete(&[key("Group/g")]).await;
    times.push(now(&source).await);
    let asked = ["Patient/a", "Patient/b", "Patient/c", "Patient/d"].map(key);
    for (since, as_of, expected) in [
        (0, 0, ""),
        (0, 1, "ab"),
        (0, 4, "abc"),
        (1, 1, "ab"),
        (1, 2, "abc"),
        (2, 2, "bc"),
        (2, 3, "bc"),
        (3, 3, "b"),
        (3, 4, "b"),
        (4, 4, ""),
    ] {
        source.hold(&id("g"), times[as_of], Some(times[since])).await.expect("the source can be asked");
        let between = source.listed_between(&id("g"), times[since], times[as_of], &asked).await;
        let expected: HashSet<ResourceKey> = expected.chars().map(|id| key(&format!("Patient/{id}"))).collect();
        assert_eq!(between.expect("the source can be asked"), expected, "from {since} to {as_of}");
    }
}

async fn listed_among_says_since_when_the_list_has_named_a_key_without_a_break(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    let mut times = Vec::new();
    for members in [
        [member("Patient/a", &[("any", "Organization/o")]), entity("b")],
        [member("Patient/a", &[("provider", "Organization/o")]), entity("c")],
        [member("Patient/a", &[("provider", "Organization/o")]), entity("b")],
    ] {
        past.load(&[group("g", &members)]).await;
        times.push(now(&source).await);
    }
    let asked = ["Patient/a", "Patient/b", "Organization/o"].map(key);
    source.hold(&id("g"), times[2], Some(times[0])).await.expect("the source can be asked");
    let among = source.listed_among(&id("g"), times[2], &asked).await.expect("the list is there");
    assert!(among[&key("Patient/a")] <= times[0]);
    assert!(among[&key("Organization/o")] <= times[0], "only the way of naming has changed");
    assert!(among[&key("Patient/b")] > times[1], "it was taken off and came back");
    let among = source.listed_among(&id("g"), times[0], &asked).await.expect("the list is there");
    assert!(among.len() == 3 && among.values().all(|since| *since <= times[0]));
}

async fn the_members_of_some_patients_are_as_of_their_time(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    let changed = member("Patient/a", &[("coverage", "Coverage/1")]);
    let mut times = Vec::new();
    for members in [vec![entity("a"), entity("b")], vec![entity("b"), changed.clone()]] {
        past.load(&[group("g", &members)]).await;
        times.push(now(&source).await);
    }
    for (as_of, expected) in
        [(times[0], [("a", entity("a")), ("b", entity("b"))]), (times[1], [("b", entity("b")), ("a", changed)])]
    {
        let found = source.members_of(&id("g"), as_of, &["a", "b"].map(id)).await.expect("the list is there");
        assert_eq!(found, expected.map(|(patient, member)| (id(patient), member.into())));
    }
}

async fn the_versions_of_a_resource_come_newest_first_and_go_on_counting_after_a_deletion(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    for text in ["1", "2"] {
        past.load(&[written("p", text)]).await;
    }
    past.delete(&[key("Patient/p")]).await;
    let gone = source.versions(&key("Patient/p"), None, 10).await.expect("the source can be asked");
    assert_eq!(gone.iter().map(|version| version.number).collect::<Vec<_>>(), [2, 1]);
    assert!(gone[0].to.is_some(), "there is no current one");
    for text in ["3", "4"] {
        past.load(&[written("p", text)]).await;
    }
    let all = source.versions(&key("Patient/p"), None, 10).await.expect("the source can be asked");
    assert_eq!(all.iter().map(|version| version.number).collect::<Vec<_>>(), [4, 3, 2, 1]);
    for version in &all {
        assert_eq!(version.resource.body, written("p", &version.number.to_string()));
    }
    assert_eq!(all[0].to, None);
    assert_eq!(all[1].to, Some(all[0].from), "the next one superseded it");
    assert!(all[2].to < Some(all[1].from), "it was deleted");
    assert_eq!(all[3].to, Some(all[2].from));
    for limit in [1, 2, 3] {
        let mut paged = Vec::new();
        loop {
            let before = paged.last().map(|version: &Version| version.number);
            let page = source.versions(&key("Patient/p"), before, limit).await.expect("the source can be asked");
            let done = page.len() < limit as usize;
            paged.extend(page);
            if done {
                break;
            }
        }
        assert_eq!(paged, all, "by {limit}");
    }
}

async fn each_version_of_a_list_has_its_members_as_of_its_beginning(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    for members in [&["a", "b"][..], &["c"]] {
        let members: Vec<String> = members.iter().map(|patient| entity(patient)).collect();
        past.load(&[group("g", &members)]).await;
    }
    let versions = source.versions(&key("Group/g"), None, 10).await.expect("the source can be asked");
    let mut members = Vec::new();
    for version in &versions {
        members.push(source.members(&id("g"), version.from, 0, 10).await.expect("the list is there").len());
    }
    assert_eq!(members, [1, 2]);
}

async fn a_search_finds_lists_as_they_are_now(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    let list = |id: &str, value: &str| {
        format!(r#"{{"resourceType":"Group","id":"{id}","identifier":[{{"value":"{value}"}}],"member":[]}}"#)
    };
    past.load(&[list("a", "1"), list("b", "1"), list("c", "1")]).await;
    past.load(&[list("b", "2")]).await;
    past.delete(&[key("Group/c")]).await;
    for (query, expected) in [
        ("Group?identifier=1", &[("a", 1)][..]),
        ("Group?identifier=2", &[("b", 2)]),
        ("Group?_id=a,b,c", &[("a", 1), ("b", 2)]),
        ("Group?", &[("a", 1), ("b", 2)]),
    ] {
        let query = Query::parse(query).expect("the test writes a query");
        let found = source.find_lists(&query, None, 10).await.expect("the source can be asked");
        let found: Vec<(&str, u64)> = found.iter().map(|list| (list.resource.key.id.as_str(), list.number)).collect();
        assert_eq!(found, expected, "{query}");
    }
}

async fn the_lists_of_a_patient_are_those_that_have_them_now(adapter: WithAPast) {
    let mut past = adapter.begin().await;
    let source = past.source();
    let lists = [group("a", &[entity("1")]), group("b", &[entity("1")]), group("c", &[entity("1")])];
    past.load(&lists).await;
    past.load(&[group("b", &[entity("2")])]).await;
    past.delete(&[key("Group/c")]).await;
    for (patient, expected) in [("1", "a"), ("2", "b")] {
        let lists = source.lists_of(&[id(patient)]).await.expect("the source can be asked");
        assert_eq!(lists.iter().map(|list| list.resource.key.id.as_str()).collect::<Vec<_>>(), [expected]);
    }
}
