//! The search for attribution lists, and the lists of some patients.

use shared::fhir::search::Query;
use shared::source::Version;

use super::{Adapter, Held, entity, group, id, patient};

for_every_adapter! {
    a_search_finds_the_lists_that_match_in_the_byte_order_of_their_ids,
    a_search_without_a_condition_finds_every_list,
    a_page_of_found_lists_has_at_most_so_many_and_the_next_page_goes_on,
    a_found_list_comes_as_its_current_version_without_its_members,
    a_list_is_found_by_an_identifier_in_every_form,
    a_list_is_found_by_its_id,
    a_list_with_text_that_a_database_may_not_take_as_json_is_found,
    few_lists_are_found_among_many,
    the_lists_of_some_patients_come_each_once_in_the_byte_order_of_their_ids,
    a_list_of_a_patient_comes_without_its_members,
}

/// A list with a name and the values of identifiers, all of the system `urn:a`.
fn list(id: &str, name: &str, identifiers: &[&str]) -> String {
    let identifier = |value: &&str| format!(r#"{{"system":"urn:a","value":"{value}"}}"#);
    let identifiers: Vec<String> = identifiers.iter().map(identifier).collect();
    format!(
        r#"{{"resourceType":"Group","id":"{id}","identifier":[{}],"name":"{name}","member":[{}]}}"#,
        identifiers.join(","),
        entity("1"),
    )
}

impl Held {
    async fn find(&self, query: &str, after: Option<&str>, limit: u32) -> Vec<Version> {
        let query = Query::parse(query).expect("the test writes a query");
        let after = after.map(id);
        self.source.find_lists(&query, after.as_ref(), limit).await.expect("the source can be asked")
    }

    /// The ids of the lists that a query finds.
    async fn found(&self, query: &str) -> Vec<String> {
        self.find(query, None, 100).await.iter().map(|found| found.resource.key.id.to_string()).collect()
    }
}

async fn a_search_finds_the_lists_that_match_in_the_byte_order_of_their_ids(adapter: Adapter) {
    let lists = ["b", "B", "a", "."].map(|id| list(id, "north", &[]));
    let held = adapter.holding(&[&lists[..], &[list("c", "south", &[]), patient("north")]].concat()).await;
    assert_eq!(held.found("Group?name=north").await, [".", "B", "a", "b"]);
    assert_eq!(held.found("Group?name=east").await, [""; 0]);
}

async fn a_search_without_a_condition_finds_every_list(adapter: Adapter) {
    let held = adapter.holding(&[list("b", "north", &[]), list("a", "south", &[]), patient("p")]).await;
    assert_eq!(held.found("Group?").await, ["a", "b"]);
}

async fn a_page_of_found_lists_has_at_most_so_many_and_the_next_page_goes_on(adapter: Adapter) {
    let lists: Vec<String> =
        (10..30).map(|n| list(&n.to_string(), if n % 2 == 0 { "even" } else { "odd" }, &["both"])).collect();
    let held = adapter.holding(&lists).await;
    for (query, expected) in [
        ("Group?name=even", (10..30).step_by(2).collect::<Vec<u32>>()),
        ("Group?name=even&identifier=both", (10..30).step_by(2).collect()),
        ("Group?_id=12,29,14,11,27", vec![11, 12, 14, 27, 29]),
    ] {
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        for limit in [1, 3, 5, 100] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = held.find(query, after.as_deref(), limit).await;
                found.extend(page.iter().map(|list| list.resource.key.id.to_string()));
                after = found.last().cloned();
                if page.len() < limit as usize {
                    break;
                }
            }
            assert_eq!(found, expected, "{query} by {limit}");
        }
    }
}

async fn a_found_list_comes_as_its_current_version_without_its_members(adapter: Adapter) {
    let held = adapter.holding(&[list("g", "north", &[])]).await;
    for query in ["Group?", "Group?_id=g", "Group?name=north"] {
        let found = held.find(query, None, 1).await;
        let there = held.source.list(&id("g"), held.now).await.expect("the source can be asked").expect("it is there");
        assert_eq!(found[0].resource.body, [there.before.as_ref(), there.after.as_ref()].concat());
        assert_eq!((found[0].number, found[0].from, found[0].to), (1, there.last_updated, None));
    }
}

async fn a_list_is_found_by_an_identifier_in_every_form(adapter: Adapter) {
    let bare = r#"{"resourceType":"Group","id":"bare","identifier":[{"value":"1"}]}"#.to_owned();
    let lists = [list("a", "", &["1", "2"]), list("b", "", &["2", "3"]), bare, list("none", "", &[])];
    let held = adapter.holding(&lists).await;
    for (query, expected) in [
        ("Group?identifier=1", &["a", "bare"][..]),
        ("Group?identifier=urn:a|1", &["a"]),
        ("Group?identifier=|1", &["bare"]),
        ("Group?identifier=urn:b|1", &[]),
        ("Group?identifier=urn:a|", &["a", "b"]),
        ("Group?identifier=1,3", &["a", "b", "bare"]),
        ("Group?identifier=1&identifier=2", &["a"]),
        ("Group?identifier=4", &[]),
        ("Group?identifier:not=1", &["b", "none"]),
    ] {
        assert_eq!(held.found(query).await, expected, "{query}");
    }
}

async fn a_list_is_found_by_its_id(adapter: Adapter) {
    let held = adapter.holding(&[list("a", "north", &[]), list("b", "south", &[]), list("c", "north", &[])]).await;
    assert_eq!(held.found("Group?_id=c,a,nowhere").await, ["a", "c"]);
    assert_eq!(held.found("Group?_id=a,b&name=north").await, ["a"]);
    assert_eq!(held.found("Group?_id=a&_id=b").await, [""; 0]);
}

async fn a_list_with_text_that_a_database_may_not_take_as_json_is_found(adapter: Adapter) {
    let odd = r#"{"resourceType":"Group","id":"odd","identifier":[{"value":"1"}],"name":"a\u0000b"}"#.to_owned();
    let held = adapter.holding(&[odd, list("plain", "", &["2"])]).await;
    assert_eq!(held.found("Group?identifier=1").await, ["odd"]);
    assert_eq!(held.found("Group?identifier=2").await, ["plain"]);
}

async fn few_lists_are_found_among_many(adapter: Adapter) {
    let lists: Vec<String> = (100..400)
        .map(|n| list(&n.to_string(), if n % 150 == 0 { "rare" } else { "common" }, &[&n.to_string()]))
        .collect();
    let held = adapter.holding(&lists).await;
    assert_eq!(held.found("Group?name=rare").await, ["150", "300"]);
    assert_eq!(held.find("Group?name=rare", Some("150"), 1).await.len(), 1);
    assert_eq!(held.found("Group?identifier=urn:a|234").await, ["234"]);
}

async fn the_lists_of_some_patients_come_each_once_in_the_byte_order_of_their_ids(adapter: Adapter) {
    let absolute = r#"{"entity":{"reference":"https://payer.example.org/fhir/Patient/3"}}"#.to_owned();
    let elsewhere = r#"{"entity":{"reference":"https://elsewhere.example.org/fhir/Patient/1"}}"#.to_owned();
    let held = adapter
        .holding(&[
            group("b", &[entity("1"), entity("2"), entity("1")]),
            group("B", &[entity("2")]),
            group("a", &[absolute, elsewhere]),
            group("c", &[""; 0]),
            patient("4"),
        ])
        .await;
    for (patients, expected) in [
        (&["1"][..], &["b"][..]),
        (&["2"], &["B", "b"]),
        (&["3", "1", "1"], &["a", "b"]),
        (&["4", "nobody"], &[]),
        (&[], &[]),
    ] {
        let ids: Vec<_> = patients.iter().map(|patient| id(patient)).collect();
        let lists = held.source.lists_of(&ids).await.expect("the source can be asked");
        let found: Vec<&str> = lists.iter().map(|list| list.resource.key.id.as_str()).collect();
        assert_eq!(found, expected, "{patients:?}");
    }
}

async fn a_list_of_a_patient_comes_without_its_members(adapter: Adapter) {
    let held = adapter.holding(&[list("g", "north", &["7"])]).await;
    let lists = held.source.lists_of(&[id("1")]).await.expect("the source can be asked");
    assert_eq!(lists, held.find("Group?", None, 1).await);
}
