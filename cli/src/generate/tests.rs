//! What the generator promises, seen from its files alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::fhir::{IDENTIFIER_TYPES, atr};
use super::folder::MARK;
use super::population::Resource;
use super::{Error, Generated, Settings, generate};

/// A data set that was read back, by `Type/id`.
struct Data {
    generated: Generated,
    resources: HashMap<String, Value>,
    text: String,
    _folder: TempDir,
}

fn settings(members: u64, seed: u64, out: &Path) -> Settings {
    Settings { members, seed, out: out.to_owned(), list: None }
}

/// Generates and reads back; fails on a line that does not parse, on a second one with the same type and id, and on a line that
/// is in another type's file.
fn data(members: u64, seed: u64) -> Data {
    let folder = TempDir::new().unwrap();
    let generated = generate(&settings(members, seed, folder.path()), |_| {}).unwrap();
    let mut resources = HashMap::new();
    let mut whole = String::new();
    for resource in Resource::ALL {
        let text = fs::read_to_string(folder.path().join(format!("{}.ndjson", resource.name()))).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["resourceType"], resource.name());
            let key = format!("{}/{}", resource.name(), value["id"].as_str().unwrap());
            assert!(resources.insert(key.clone(), value).is_none(), "{key} stands twice");
        }
        whole.push_str(&text);
    }
    Data { generated, resources, text: whole, _folder: folder }
}

impl Data {
    fn of(&self, resource: Resource) -> impl Iterator<Item = &Value> {
        self.resources.values().filter(move |value| value["resourceType"] == resource.name())
    }

    fn list(&self, id: &str) -> &Value {
        &self.resources[&format!("Group/{id}")]
    }

    fn members(&self, id: &str) -> &Vec<Value> {
        self.list(id)["member"].as_array().unwrap()
    }

    fn people(&self, id: &str) -> BTreeSet<String> {
        self.members(id).iter().map(|member| target(&member["entity"])).collect()
    }

    /// What the list reaches by the paths T1 to T14 of standards.md §3.9; fails on a reference that leads nowhere.
    fn reached(&self, id: &str) -> BTreeSet<String> {
        let list = self.list(id);
        let mut reached = BTreeSet::from([format!("Group/{id}")]);
        let mut listed = vec![target(&list["managingEntity"])];
        listed.extend(entries(list, "characteristic").map(|entry| target(&entry["valueReference"])));
        for member in entries(list, "member") {
            listed.push(target(&member["entity"]));
            listed.extend(entries(member, "extension").filter_map(|entry| reference(&entry["valueReference"])));
        }
        reached.extend(listed.iter().cloned());
        for key in listed {
            let resource = &self.resources[&key];
            for path in ["beneficiary", "subscriber", "policyHolder", "practitioner", "organization"] {
                reached.extend(reference(&resource[path]));
            }
            for path in ["payor", "location"] {
                reached.extend(entries(resource, path).map(target));
            }
        }
        reached
    }
}

fn entries<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    value[path].as_array().into_iter().flatten()
}

fn reference(value: &Value) -> Option<String> {
    value["reference"].as_str().map(str::to_owned)
}

fn target(value: &Value) -> String {
    reference(value).expect("a reference")
}

/// What a member's extension refers to.
fn extended(member: &Value, url: &str) -> Option<String> {
    entries(member, "extension").find(|entry| entry["url"] == url).and_then(|entry| reference(&entry["valueReference"]))
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("reference").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_same_seed_and_size_give_the_same_bytes_and_another_seed_gives_others() {
    let one = data(200, 7);
    let same = data(200, 7);
    let other = data(200, 8);
    assert_eq!(one.text, same.text);
    assert_eq!(one.generated, same.generated);
    assert_ne!(one.text, other.text);
}

#[test]
fn every_reference_resolves_in_lists_of_any_length() {
    for members in [1, 2, 9, 250, 1000] {
        let data = data(members, members);
        let mut found = Vec::new();
        data.resources.values().for_each(|value| references(value, &mut found));
        for reference in found {
            assert!(data.resources.contains_key(&reference), "{reference} leads nowhere at {members} members");
        }
    }
}

#[test]
fn the_counts_that_come_back_are_those_of_the_files() {
    let data = data(1000, 1);
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for resource in Resource::ALL {
        counted.insert(resource.name(), data.of(resource).count() as u64);
    }
    assert_eq!(data.generated.resources, counted);
    assert_eq!(data.generated.bytes, data.text.len() as u64);
    let total: u64 = counted.values().sum();
    assert!((2150..2550).contains(&total), "{total} resources for 1,000 members");
}

#[test]
fn a_list_has_as_many_people_as_were_asked_for_and_says_so() {
    for members in [1, 5, 777] {
        let data = data(members, 3);
        assert_eq!(data.people("sample").len() as u64, members);
        assert_eq!(data.list("sample")["quantity"], members);
    }
}

#[test]
fn the_list_leaves_some_of_every_type_unreached() {
    let data = data(1000, 1);
    let reached = data.reached("sample");
    for resource in Resource::ALL {
        let unreached = data
            .of(resource)
            .filter(|value| !reached.contains(&format!("{}/{}", resource.name(), value["id"].as_str().unwrap())));
        assert!(unreached.count() > 0, "the list reaches every {}", resource.name());
    }
    assert!(reached.len() * 100 > data.resources.len() * 90, "the list reaches {} only", reached.len());
}

#[test]
fn the_small_list_overlaps_the_main_one_and_has_two_people_of_its_own() {
    let data = data(1000, 1);
    let (main, small) = (data.people("sample"), data.people("sample-small"));
    assert_eq!(small.intersection(&main).count(), 8);
    assert_eq!(small.difference(&main).count(), 2);
}

#[test]
fn subscribers_holders_and_payors_of_every_kind_occur_among_a_thousand_members() {
    let data = data(1000, 1);
    let people = data.people("sample");
    let coverages: Vec<_> = data.of(Resource::Coverage).collect();
    let targets = |path: &str, kind: &str| -> BTreeSet<String> {
        let values = coverages.iter().flat_map(|coverage| entries(coverage, path).chain(Some(&coverage[path])));
        values.filter_map(reference).filter(|target| target.starts_with(&format!("{kind}/"))).collect()
    };
    let occurring = [
        ("subscriber", "Patient", 2),
        ("subscriber", "RelatedPerson", 2),
        ("policyHolder", "Organization", 3),
        ("policyHolder", "Patient", 1),
        ("policyHolder", "RelatedPerson", 1),
        ("payor", "Organization", 3),
        ("payor", "Patient", 1),
        ("payor", "RelatedPerson", 1),
    ];
    for (path, kind, least) in occurring {
        let found = targets(path, kind).len();
        assert!(found >= least, "{found} different {kind} as {path}");
    }
    let subscriber_is_no_member = |coverage: &&Value| {
        let subscriber = target(&coverage["subscriber"]);
        let beneficiary = target(&coverage["beneficiary"]);
        people.contains(&beneficiary) && subscriber.starts_with("Patient/") && !people.contains(&subscriber)
    };
    assert!(coverages.iter().any(subscriber_is_no_member));
}

#[test]
fn members_with_none_one_and_several_of_everything_occur_among_a_thousand() {
    let data = data(1000, 1);
    let mut kinds_of: HashMap<String, BTreeSet<Option<String>>> = HashMap::new();
    let mut coverages_of: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut people_of: HashMap<String, BTreeSet<String>> = HashMap::new();
    for member in data.members("sample") {
        let person = target(&member["entity"]);
        let coverage = extended(member, atr!("ext-coverageReference")).expect("a coverage in every entry");
        let kind = extended(member, atr!("ext-attributedProvider"))
            .map(|provider| provider.split('/').next().unwrap().to_owned());
        kinds_of.entry(person.clone()).or_default().insert(kind);
        coverages_of.entry(person.clone()).or_default().insert(coverage.clone());
        people_of.entry(coverage).or_default().insert(person);
    }
    assert!(kinds_of.values().any(|kinds| kinds.contains(&None)), "nobody is without a provider");
    assert!(kinds_of.values().any(|kinds| kinds.len() == 1), "nobody has one provider");
    assert!(kinds_of.values().any(|kinds| kinds.len() == 3), "nobody has providers of all kinds");
    assert!(coverages_of.values().any(|coverages| coverages.len() == 2), "nobody has two coverages");
    assert!(people_of.values().any(|people| people.len() > 2), "no coverage is shared");

    let mut roles = data.of(Resource::PractitionerRole);
    assert!(roles.any(|role| entries(role, "location").count() > 1), "no role has several locations");
    let associated = |member| extended(member, atr!("atr-any-resource-extension"));
    let kinds: BTreeSet<_> = data.members("sample").iter().filter_map(associated).collect();
    for kind in ["RelatedPerson/", "Location/", "Organization/", "Practitioner/"] {
        assert!(kinds.iter().any(|target| target.starts_with(kind)), "no {kind} is associated");
    }
}

#[test]
fn entries_are_inactive_just_when_they_are_dropped_or_cancelled() {
    let data = data(1000, 1);
    let mut seen = BTreeSet::new();
    for member in data.members("sample") {
        let change = entries(member, "extension").find(|entry| entry["url"] == atr!("ext-changeType"));
        let change = change.expect("a change in every entry")["valueCode"].as_str().unwrap();
        assert_eq!(member["inactive"], matches!(change, "dropped" | "cancelled"), "{member}");
        seen.insert(change);
    }
    assert_eq!(seen, BTreeSet::from(["cancelled", "changed", "dropped", "new", "nochange"]));
}

#[test]
fn texts_that_a_careless_export_would_spoil_occur_among_a_thousand_members() {
    let data = data(1000, 1);
    for text in [
        r#""value":25.00,"#,
        r#""value":1.10,"#,
        r#""communication":["#,
        r#""maritalStatus":"#,
        "us-core-sex",
        r#""longitude":-95.9920,"#,
        "O'",
        "García",
        "王",
        r#"\""#,
        r"door.\nRing",
        r"\",
    ] {
        assert!(data.text.contains(text), "{text} does not occur");
    }
    for code in ["MB", "MR", "MC", "MA", "SB"] {
        let coded = format!(r#"{{"system":"{IDENTIFIER_TYPES}","code":"{code}","#);
        assert!(data.text.contains(&coded), "no identifier of kind {code}");
    }
}

/// What a type's resources must have, by profile (standards.md §3.10), US Core, and what the list's readers look at.
#[rustfmt::skip]
const REQUIRED: [(Resource, &[&str]); 8] = [
    (Resource::Group, &["/extension/0/valuePeriod/start", "/extension/1/valueCode", "/identifier/0/value", "/identifier/1/value",
        "/identifier/2/value", "/type", "/actual", "/quantity", "/managingEntity/reference",
        "/characteristic/0/valueReference/reference", "/member/0/entity/reference", "/member/0/period/start"]),
    (Resource::Patient, &["/identifier/0/type/coding/0/code", "/identifier/0/system", "/identifier/0/value", "/name/0/family",
        "/name/0/given/0", "/gender", "/birthDate", "/address/0/district"]),
    (Resource::Coverage, &["/extension/0/valueCodeableConcept/coding/0/code", "/identifier/0/value", "/status", "/subscriberId",
        "/beneficiary/reference", "/relationship", "/period/start", "/payor/0/reference", "/class/0/value",
        "/costToBeneficiary/0/valueMoney/value"]),
    (Resource::RelatedPerson, &["/active", "/patient/reference", "/relationship/0/coding/0/code", "/name/0/family"]),
    (Resource::Practitioner, &["/identifier/0/value", "/name/0/family", "/name/0/given/0", "/address/0/district"]),
    (Resource::PractitionerRole, &["/practitioner/reference", "/organization/reference", "/location/0/reference",
        "/code/0/coding/0/code", "/specialty/0/coding/0/code", "/telecom/0/value"]),
    (Resource::Organization, &["/identifier/0/value", "/active", "/name", "/telecom/0/value", "/address/0/district"]),
    (Resource::Location, &["/identifier/0/value", "/status", "/name", "/telecom/0/value", "/address/city",
        "/managingOrganization/reference"]),
];

#[test]
fn resources_hold_what_their_profiles_require() {
    let data = data(1000, 2);
    let always = ["/id", "/meta/versionId", "/meta/lastUpdated", "/meta/profile/0"];
    for (resource, paths) in REQUIRED {
        for value in data.of(resource) {
            for path in always.iter().chain(paths) {
                assert!(value.pointer(path).is_some(), "no {path} in {value}");
            }
            let id = value["id"].as_str().unwrap();
            assert!(id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{id}");
        }
    }
}

#[test]
fn resources_keep_to_the_limits_of_the_profiles_that_they_claim() {
    let data = data(1000, 2);
    for coverage in data.of(Resource::Coverage) {
        assert_eq!(coverage["payor"].as_array().unwrap().len(), 1, "one payor");
        assert_eq!(coverage["status"], "active");
    }
    for role in data.of(Resource::PractitionerRole) {
        let claims_atr = role["meta"]["profile"][0] == atr!("atr-practitionerrole");
        assert_eq!(claims_atr, role["location"].as_array().unwrap().len() == 1, "one location");
    }
}

#[test]
fn a_folder_with_anything_of_somebody_elses_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let patients = folder.path().join("Patient.ndjson");
    fs::write(&patients, "an export of real people").unwrap();
    let refused = generate(&settings(5, 1, folder.path()), |_| {});
    assert!(matches!(&refused, Err(Error::Foreign(path)) if *path == patients), "{refused:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    fs::remove_file(&patients).unwrap();
    generate(&settings(5, 1, folder.path()), |_| {}).unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let refused = generate(&settings(5, 1, folder.path()), |_| {});
    assert!(matches!(refused, Err(Error::Foreign(_))), "{refused:?}");
    assert!(patients.exists());
}

#[test]
fn a_run_after_one_that_was_interrupted_begins_again_and_marks_the_folder_as_complete() {
    let folder = TempDir::new().unwrap();
    let marked = || -> Value { serde_json::from_slice(&fs::read(folder.path().join(MARK)).unwrap()).unwrap() };
    let interrupted = std::panic::catch_unwind(|| {
        generate(&settings(5000, 1, folder.path()), |_| panic!("interrupted")).unwrap();
    });
    assert!(interrupted.is_err());
    assert_eq!(marked()["complete"], false);
    assert!(folder.path().join("Patient.ndjson.partial").exists());
    assert!(!folder.path().join("Patient.ndjson").exists());

    generate(&settings(5, 1, folder.path()), |_| {}).unwrap();
    assert_eq!(marked()["complete"], true);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), Resource::ALL.len() + 1);
}

#[test]
fn sizes_and_ids_that_cannot_be_are_refused_before_anything_is_written() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("new");
    assert!(matches!(generate(&settings(0, 1, &out), |_| {}), Err(Error::Members(0))));
    for id in ["", "under_score", "a/b", &"x".repeat(59)] {
        let settings = Settings { list: Some(id.to_owned()), ..settings(5, 1, &out) };
        assert!(matches!(generate(&settings, |_| {}), Err(Error::ListId(_))), "{id}");
    }
    assert!(!out.exists());
}
