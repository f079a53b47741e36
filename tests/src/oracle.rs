//! An independent answer to "what does this list reach?": rows T1 to T14 of standards §3.9, walked over parsed JSON, one
//! resource at a time, without slices, pages, claims or tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

const EXTENSIONS: [&str; 3] = ["ext-coverageReference", "ext-attributedProvider", "atr-any-resource-extension"];

/// Resources by `Type/id`, each with its JSON as it was written.
pub type Resources = BTreeMap<String, String>;

/// What a list reaches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The resources that are there, each as it was written.
    pub lines: Resources,
    /// The `Type/id` of those that are not.
    pub missing: BTreeSet<String>,
    /// The texts of the references that lead to no resource of this server; empty for one without a text.
    pub unresolvable: BTreeSet<String>,
}

impl Reached {
    /// Only the lines of these types.
    pub fn only(mut self, types: &[&str]) -> Self {
        self.lines.retain(|key, _| types.contains(&type_of(key)));
        self
    }
}

/// What of it is written with a `_since` between 2019 and 2021, by `meta.lastUpdated`, on a source where a list has named
/// all that it names since it was last changed itself (decision 0008): what has changed, what the list has begun to name,
/// and what hangs on either.
pub fn written_since(resources: &Resources, list: &str, bases: &[&str]) -> Reached {
    let mut reached = reached(resources, list, bases);
    let parsed: BTreeMap<&String, Value> = reached
        .lines
        .iter()
        .map(|(key, line)| (key, serde_json::from_str(line).expect("the test's data is JSON")))
        .collect();
    let has_changed = |json: &Value| json["meta"]["lastUpdated"].as_str().is_some_and(|at| at.starts_with("2021"));
    let start = format!("Group/{list}");
    let mut written: BTreeSet<String> = BTreeSet::new();
    let mut open: VecDeque<String> =
        parsed.iter().filter(|(_, json)| has_changed(json)).map(|(key, _)| (*key).clone()).collect();
    while let Some(key) = open.pop_front() {
        let Some(json) = parsed.get(&key) else { continue };
        if written.insert(key.clone()) {
            let of_old_list = |target: &String| key != start && is_listed(&parsed[&start], target, bases);
            let targets = references(json).into_iter().filter_map(|(_, reference)| match target(&reference, bases) {
                Target::Local(target) => Some(target),
                _ => None,
            });
            // What the list names is told of by the list, when it begins to name it.
            open.extend(targets.filter(|target| type_of(target) != "Group" && !of_old_list(target)));
        }
    }
    drop(parsed);
    reached.lines.retain(|key, _| written.contains(key));
    reached
}

fn is_listed(group: &Value, key: &str, bases: &[&str]) -> bool {
    references(group).iter().any(|(of_member, reference)| {
        *of_member && matches!(target(reference, bases), Target::Local(target) if target == key)
    })
}

/// The type in a `Type/id`.
pub fn type_of(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

/// Names resources by their type and id.
pub fn by_key(lines: impl IntoIterator<Item = String>) -> Resources {
    lines.into_iter().map(|line| (key_of(&line), line)).collect()
}

/// The `Type/id` of a resource.
pub fn key_of(line: &str) -> String {
    let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("a line is no JSON: {error}"));
    let text = |field: &str| json[field].as_str().unwrap_or_else(|| panic!("a line has no {field}")).to_owned();
    format!("{}/{}", text("resourceType"), text("id"))
}

/// Walks from `Group/{list}` through all resources. References that begin with one of `bases` are this server's own.
pub fn reached(resources: &Resources, list: &str, bases: &[&str]) -> Reached {
    let mut reached = Reached::default();
    let start = format!("Group/{list}");
    let mut seen = BTreeSet::from([start.clone()]);
    let mut open = VecDeque::from([start.clone()]);
    while let Some(key) = open.pop_front() {
        let Some(line) = resources.get(&key) else {
            reached.missing.insert(key);
            continue;
        };
        let json: Value = serde_json::from_str(line).expect("the test's data is JSON");
        for (of_member, reference) in references(&json) {
            match target(&reference, bases) {
                Target::Local(target) if type_of(&target) == "Group" => {}
                Target::Local(target) => {
                    if seen.insert(target.clone()) {
                        open.push_back(target);
                    }
                }
                Target::Contained if of_member => {
                    reached.unresolvable.insert(reference["reference"].as_str().unwrap_or_default().to_owned());
                }
                Target::Contained => {}
                Target::None(text) => {
                    reached.unresolvable.insert(text);
                }
            }
        }
        reached.lines.insert(key, line.clone());
    }
    reached
}

/// What the walk follows from a resource, and whether a member of the list names it.
fn references(json: &Value) -> Vec<(bool, Value)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (mut found, mut of_members) = (Vec::new(), Vec::new());
    match json["resourceType"].as_str() {
        Some("Group") => {
            found.push(json["managingEntity"].clone());
            found.extend(
                list(&json["characteristic"]).iter().map(|characteristic| characteristic["valueReference"].clone()),
            );
            for member in list(&json["member"]) {
                of_members.push(member["entity"].clone());
                for extension in list(&member["extension"]) {
                    let url = extension["url"].as_str().unwrap_or_default();
                    let tail = url.strip_prefix("http://hl7.org/fhir/us/davinci-atr/StructureDefinition/");
                    if tail.is_some_and(|tail| EXTENSIONS.contains(&tail)) {
                        of_members.push(extension["valueReference"].clone());
                    }
                }
            }
        }
        Some("Coverage") => {
            found.extend(["beneficiary", "subscriber", "policyHolder"].map(|field| json[field].clone()));
            found.extend(list(&json["payor"]));
        }
        Some("PractitionerRole") => {
            found.extend(["practitioner", "organization"].map(|field| json[field].clone()));
            found.extend(list(&json["location"]));
        }
        _ => {}
    }
    let found = found.into_iter().map(|reference| (false, reference));
    let of_members = of_members.into_iter().map(|reference| (true, reference));
    of_members.chain(found).filter(|(_, reference)| !reference.is_null()).collect()
}

enum Target {
    Local(String),
    Contained,
    None(String),
}

fn target(reference: &Value, bases: &[&str]) -> Target {
    let text = reference["reference"].as_str().unwrap_or_default();
    if text.starts_with('#') {
        return Target::Contained;
    }
    let relative = bases.iter().find_map(|base| text.strip_prefix(&format!("{base}/"))).unwrap_or(text);
    let steps: Vec<&str> = relative.split('/').collect();
    let legal = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    match steps[..] {
        [name, id] | [name, id, "_history", _] if name.starts_with(char::is_uppercase) && legal(id) => {
            Target::Local(format!("{name}/{id}"))
        }
        _ => Target::None(text.to_owned()),
    }
}
