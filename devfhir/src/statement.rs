//! The CapabilityStatement: says what the server is able to do just now.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::Abilities;
use crate::clock::Moment;

/// The types that are there even if none was ever loaded.
const TYPES: [&str; 9] = [
    "Group",
    "Patient",
    "Coverage",
    "RelatedPerson",
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "Observation",
];

/// As JSON. `loaded` are the types of what was loaded.
pub fn statement<'a>(abilities: &Abilities, loaded: impl Iterator<Item = &'a str>, base: &str, now: Moment) -> String {
    let mut types: BTreeSet<&str> = TYPES.into();
    types.extend(loaded);
    let resources: Vec<_> = types.into_iter().map(|kind| resource(kind, abilities)).collect();
    let mut rest = json!({"mode": "server", "resource": resources});
    if abilities.batch {
        rest["interaction"] = json!([{"code": "batch"}]);
    }
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.instant(),
        "kind": "instance",
        "software": {"name": "devfhir"},
        "implementation": {"description": "a FHIR server for tests", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [rest],
    });
    statement.to_string()
}

fn resource(kind: &str, abilities: &Abilities) -> Value {
    let is_group = kind == "Group";
    let interactions = [
        ("read", true),
        // A Group can be searched for without `_id`, by what it is known by.
        ("search-type", abilities.id_search || is_group),
        ("vread", abilities.history),
        ("history-instance", abilities.history),
        ("history-type", abilities.history),
    ];
    let parameters = [
        ("_id", "token", abilities.id_search),
        ("_lastUpdated", "date", abilities.last_updated),
        ("identifier", "token", is_group),
        ("member", "reference", is_group),
    ];
    let interactions: Vec<_> =
        interactions.iter().filter(|(_, able)| *able).map(|(code, _)| json!({"code": code})).collect();
    let parameters = parameters.iter().filter(|(_, _, able)| *able);
    let parameters: Vec<_> = parameters.map(|(name, sort, _)| json!({"name": name, "type": sort})).collect();
    let mut resource = json!({"type": kind, "interaction": interactions, "versioning": "versioned"});
    if !parameters.is_empty() {
        resource["searchParam"] = parameters.into();
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(abilities: &Abilities, kind: &str) -> Value {
        let text = statement(abilities, ["Basic"].into_iter(), "http://here/fhir", Moment::now());
        let statement: Value = serde_json::from_str(&text).expect("a statement is JSON");
        assert_eq!(statement["fhirVersion"], "4.0.1");
        let resources = statement["rest"][0]["resource"].as_array().expect("there are types").clone();
        resources.into_iter().find(|resource| resource["type"] == kind).expect("the type is there")
    }

    fn codes(resource: &Value) -> Vec<String> {
        let interactions = resource["interaction"].as_array().expect("there are some");
        interactions.iter().map(|one| one["code"].as_str().expect("it has a code").to_owned()).collect()
    }

    #[test]
    fn it_says_what_the_server_can_do() {
        let all = of(&Abilities::default(), "Patient");
        assert_eq!(codes(&all), ["read", "search-type", "vread", "history-instance", "history-type"]);
        assert_eq!(all["searchParam"][0]["name"], "_id");
        assert_eq!(of(&Abilities::default(), "Group")["searchParam"].as_array().map(Vec::len), Some(4));
        assert_eq!(codes(&of(&Abilities::default(), "Basic"))[0], "read");
    }

    #[test]
    fn it_says_what_the_server_cannot_do() {
        let less = Abilities { id_search: false, history: false, last_updated: false, ..Abilities::default() };
        assert_eq!(codes(&of(&less, "Patient")), ["read"]);
        assert_eq!(of(&less, "Patient")["searchParam"], Value::Null);
        assert_eq!(codes(&of(&less, "Group")), ["read", "search-type"]);
    }
}
