//! The verbs that begin at no list: all that there is of a type, and the versions of a resource.

use std::collections::BTreeSet;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use shared::export::Slice;
use shared::fhir::{ResourceKey, ResourceType};
use shared::source::{Changed, Stored};

use super::{Adapter, Held, entity, group, id, key, patient, whole};

for_every_adapter! {
    all_that_there_is_of_some_types_is_cut_in_their_order_and_by_the_order_of_ids,
    a_type_of_which_there_is_nothing_has_no_slice,
    a_page_of_a_scan_has_the_first_resources_of_a_slice_in_byte_order_and_the_next_page_goes_on,
    a_scan_gives_groups_without_their_members,
    random_resources_are_scanned_each_once_whatever_the_slices_and_pages,
    nothing_was_deleted_before_anything_is,
    a_resource_has_one_version_until_it_changes,
    a_resource_that_never_was_has_no_version,
}

impl Held {
    async fn cut_all(&self, types: &[ResourceType], size: u64) -> Vec<Slice> {
        self.source.cut_all(types, self.now, Changed::default(), size).await.expect("the source can be asked")
    }

    async fn scan(&self, slice: &Slice, limit: u32) -> Vec<Stored> {
        self.source.scan(slice, self.now, limit).await.expect("the source can be asked")
    }

    /// All keys of some types, through slices and pages of these sizes.
    async fn scanned(&self, types: &[ResourceType], size: u64, limit: u32) -> Vec<ResourceKey> {
        let mut scanned = Vec::new();
        for mut slice in self.cut_all(types, size).await {
            loop {
                let page = self.scan(&slice, limit).await;
                assert!(page.len() <= limit as usize);
                let Some(last) = page.last() else { break };
                slice.after = Some(last.resource.key.id.clone());
                scanned.extend(page.into_iter().map(|stored| stored.resource.key));
            }
        }
        scanned
    }
}

async fn all_that_there_is_of_some_types_is_cut_in_their_order_and_by_the_order_of_ids(adapter: Adapter) {
    let coverages = ["x", "y"].map(|id| format!(r#"{{"resourceType":"Coverage","id":"{id}"}}"#));
    let patients = ["b", "B", "a", "c", "."].map(patient);
    let held = adapter.holding(&[&coverages[..], &patients[..], &[group("g", &[entity("gone")])]].concat()).await;
    let slice = |resource_type, after: Option<&str>, through, ids| Slice {
        resource_type,
        after: after.map(id),
        through: id(through),
        ids,
    };
    let cut = held.cut_all(&[ResourceType::PATIENT, ResourceType::COVERAGE], 2).await;
    let expected = [
        slice(ResourceType::PATIENT, None, "B", 2),
        slice(ResourceType::PATIENT, Some("B"), "b", 2),
        slice(ResourceType::PATIENT, Some("b"), "c", 1),
        slice(ResourceType::COVERAGE, None, "y", 2),
    ];
    assert_eq!(cut, expected);
    let cut = held.cut_all(&[ResourceType::GROUP, ResourceType::PATIENT], 100).await;
    assert_eq!(cut, [slice(ResourceType::GROUP, None, "g", 1), slice(ResourceType::PATIENT, None, "c", 5)]);
}

async fn a_type_of_which_there_is_nothing_has_no_slice(adapter: Adapter) {
    let held = adapter.holding(&[patient("a")]).await;
    assert_eq!(held.cut_all(&[ResourceType::COVERAGE], 10).await, []);
    assert_eq!(held.cut_all(&[], 10).await, []);
    assert_eq!(held.scan(&whole(ResourceType::COVERAGE, "z"), 10).await, []);
}

async fn a_page_of_a_scan_has_the_first_resources_of_a_slice_in_byte_order_and_the_next_page_goes_on(adapter: Adapter) {
    // In byte order; many a collation ignores the dots and dashes, or sorts `a` before `A`.
    let ordered = ["-", ".", "0", "A", "B", "a", "a-", "a-b", "a.", "a0", "aA", "aa", "b"];
    let held = adapter.holding(&ordered.map(patient).into_iter().rev().collect::<Vec<_>>()).await;
    let expected: Vec<ResourceKey> = ordered.iter().map(|id| key(&format!("Patient/{id}"))).collect();
    for (size, limit) in [(100, 100), (100, 1), (1, 1), (4, 3), (13, 4)] {
        let scanned = held.scanned(&[ResourceType::PATIENT], size, limit).await;
        assert_eq!(scanned, expected, "slices of {size}, pages of {limit}");
    }
    let middle = Slice { resource_type: ResourceType::PATIENT, after: Some(id("a-")), through: id("a0"), ids: 3 };
    let page = held.scan(&middle, 10).await;
    let bodies: Vec<&[u8]> = page.iter().map(|stored| stored.resource.body.as_ref()).collect();
    assert_eq!(bodies, ["a-b", "a.", "a0"].map(patient).each_ref().map(String::as_bytes));
    assert!(page.iter().all(|stored| stored.last_updated <= held.now));
    assert_eq!(held.scan(&Slice { after: Some(id("a0")), ..middle }, 10).await, []);
}

async fn a_scan_gives_groups_without_their_members(adapter: Adapter) {
    let held = adapter.holding(&[group("g", &[entity("1")])]).await;
    let page = held.scan(&whole(ResourceType::GROUP, "g"), 10).await;
    assert_eq!(page[0].resource.body, r#"{"resourceType":"Group","id":"g","member":[],"quantity":1.10}"#);
}

async fn random_resources_are_scanned_each_once_whatever_the_slices_and_pages(adapter: Adapter) {
    let ids = proptest::collection::btree_set("[A-Ca-c0-2.-]{1,3}", 0..150);
    let ids = ids.new_tree(&mut TestRunner::default()).expect("the strategy refuses nothing").current();
    let held = adapter.holding(&ids.iter().map(|id| patient(id)).chain([patient("0")]).collect::<Vec<_>>()).await;
    let mut expected: BTreeSet<ResourceKey> = ids.iter().map(|id| key(&format!("Patient/{id}"))).collect();
    expected.insert(key("Patient/0"));
    for (size, limit) in [(7, 3), (1, 1), (50, 9), (9, 50), (1_000, 1_000)] {
        let slices = held.cut_all(&[ResourceType::PATIENT], size).await;
        assert!(slices.iter().all(|slice| (1..=size).contains(&slice.ids)), "{slices:?}");
        assert_eq!(slices.iter().map(|slice| slice.ids).sum::<u64>(), expected.len() as u64);
        let scanned = held.scanned(&[ResourceType::PATIENT], size, limit).await;
        assert_eq!(scanned, expected.iter().cloned().collect::<Vec<_>>(), "by {size} and {limit}");
    }
}

async fn nothing_was_deleted_before_anything_is(adapter: Adapter) {
    let held = adapter.holding(&[patient("a"), group("g", &[entity("nowhere")])]).await;
    let long_ago = "2000-01-01T00:00:00Z".parse().expect("this is an instant");
    let deleted = held.source.deleted(&ResourceType::ATTRIBUTION, long_ago, held.now, None, 10).await;
    assert_eq!(deleted.expect("the source can be asked"), []);
    let keys = ["Patient/a", "Patient/never", "Group/g"].map(key);
    let among = held.source.deleted_among(long_ago, held.now, &keys).await;
    assert_eq!(among.expect("the source can be asked"), []);
}

async fn a_resource_has_one_version_until_it_changes(adapter: Adapter) {
    let held = adapter.holding(&[patient("a"), patient("b"), group("g", &[entity("a")])]).await;
    let stored = held.source.fetch(held.now, &[key("Patient/a")]).await.expect("the source can be asked").remove(0);
    let versions = held.source.versions(&key("Patient/a"), None, 10).await.expect("the source can be asked");
    let [only] = &versions[..] else { panic!("there is one: {versions:?}") };
    assert_eq!((only.number, only.from, only.to), (1, stored.last_updated, None));
    assert_eq!(only.resource, stored.resource);
    let below = held.source.versions(&key("Patient/a"), Some(1), 10).await.expect("the source can be asked");
    assert_eq!(below, []);
    let again = held.source.versions(&key("Patient/a"), Some(2), 10).await.expect("the source can be asked");
    assert_eq!(again, versions);
    let groups = held.source.versions(&key("Group/g"), None, 1).await.expect("the source can be asked");
    assert_eq!(groups[0].resource.body, r#"{"resourceType":"Group","id":"g","member":[],"quantity":1.10}"#);
}

async fn a_resource_that_never_was_has_no_version(adapter: Adapter) {
    let held = adapter.holding(&[patient("a")]).await;
    for never in ["Patient/b", "Coverage/a"] {
        assert_eq!(held.source.versions(&key(never), None, 10).await.expect("the source can be asked"), []);
    }
}
