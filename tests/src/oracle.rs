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
/// all that it names since it was last changed itself.
pub fn written_since(resources: &Resources, list: &str, bases: &[&str]) -> Reached {
    let has_changed = |key: &str| {
        let json: Option<Value> = resources.get(key).map(|line| parsed(line));
        json.is_some_and(|json| json["meta"]["lastUpdated"].as_str().is_some_and(|at| at.starts_with("2021")))
    };
    let start = format!("Group/{list}");
    let joined = if has_changed(&start) { named(&resources[&start], bases) } else { BTreeSet::new() };
    written(resources, list, bases, |key| has_changed(key) || joined.contains(key))
}

/// What of it is written with `_since` (decision 0008): what is new, because it has changed since then or the list has begun
/// to name it, and what hangs on that.
pub fn written(resources: &Resources, list: &str, bases: &[&str], is_new: impl Fn(&str) -> bool) -> Reached {
    let mut reached = reached(resources, list, bases);
    let listed = resources.get(&format!("Group/{list}")).map(|group| named(group, bases)).unwrap_or_default();
    let mut written: BTreeSet<String> = BTreeSet::new();
    let mut open: VecDeque<String> = reached.lines.keys().filter(|key| is_new(key)).cloned().collect();
    while let Some(key) = open.pop_front() {
        let Some(line) = reached.lines.get(&key) else { continue };
        if written.insert(key) {
            let targets = references(&parsed(line)).into_iter().filter_map(|(_, reference)| local(&reference, bases));
            // What the list names is told of by the list, when it begins to name it.
            open.extend(targets.filter(|target| type_of(target) != "Group" && !listed.contains(target)));
        }
    }
    reached.lines.retain(|key, _| written.contains(key));
    reached
}

/// The `Type/id` of what the members of a Group name on this server.
pub fn named(group: &str, bases: &[&str]) -> BTreeSet<String> {
    let of_members = references(&parsed(group)).into_iter().filter(|(of_member, _)| *of_member);
    of_members.filter_map(|(_, reference)| local(&reference, bases)).collect()
}

fn local(reference: &Value, bases: &[&str]) -> Option<String> {
    match target(reference, bases) {
        Target::Local(target) => Some(target),
        Target::Contained | Target::None(_) => None,
    }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).expect("the test's data is JSON")
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
        for (of_member, reference) in references(&parsed(line)) {
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
