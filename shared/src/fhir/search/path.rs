//! Walking to the values of a parameter in the JSON of a resource.

use serde_json::Value;

/// The one path that is no path: R4 defines `deceased` of Patient by the expression
/// `Patient.deceased.exists() and Patient.deceased != false`, which is true or false for every Patient.
pub(super) const DECEASED: &str = "deceased";

static YES: Value = Value::Bool(true);
static NO: Value = Value::Bool(false);

/// The values at a path (see [`super::Parameter::path`]), those of arrays one by one.
pub(super) fn values<'a>(resource: &'a Value, path: &str) -> Vec<&'a Value> {
    if path == DECEASED {
        return vec![if is_deceased(resource) { &YES } else { &NO }];
    }
    path.split(" | ").flat_map(|place| at_place(resource, place)).collect()
}

/// Whether a value says anything: null does not, nor does an object that has extensions only (R4 search, `:missing`).
pub(super) fn is_present(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(members) => members.keys().any(|name| name != "extension" && name != "id"),
        _ => true,
    }
}

fn is_deceased(patient: &Value) -> bool {
    patient.get("deceasedDateTime").is_some_and(is_present)
        || patient.get("deceasedBoolean").and_then(Value::as_bool) == Some(true)
}

fn at_place<'a>(resource: &'a Value, place: &str) -> Vec<&'a Value> {
    let (mut at, mut rest) = (vec![resource], place);
    while !rest.is_empty() {
        let (name, filter, behind) = step(rest);
        at = at.into_iter().filter_map(|value| value.get(name)).flat_map(one_by_one).collect();
        if let Some((member, text)) = filter {
            at.retain(|value| value.get(member).and_then(Value::as_str) == Some(text));
        }
        rest = behind;
    }
    at
}

/// The first step of a path, its filter, and the steps behind it. A filter may hold dots: it can be a URL.
fn step(path: &str) -> (&str, Option<(&str, &str)>, &str) {
    let name = &path[..path.find(['.', '[']).unwrap_or(path.len())];
    let rest = &path[name.len()..];
    let filtered = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (filter, rest) = filtered.map_or((None, rest), |(filter, rest)| (filter.split_once('='), rest));
    (name, filter, rest.strip_prefix('.').unwrap_or(rest))
}

fn one_by_one(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        single => std::slice::from_ref(single),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arrays_are_walked_and_filters_may_hold_dots() {
        let resource = json!({
            "name": [{"given": ["A", "B"]}, {"given": ["C"]}, {"family": "D"}],
            "alias": "E",
            "extension": [{"url": "http://a.b/c", "valuePeriod": 1}, {"url": "http://a.b/d", "valuePeriod": 2}],
        });
        assert_eq!(values(&resource, "name.given | alias"), [&json!("A"), &json!("B"), &json!("C"), &json!("E")]);
        assert_eq!(values(&resource, "extension[url=http://a.b/d].valuePeriod"), [&json!(2)]);
        assert!(values(&resource, "name.given.more").is_empty());
    }
}
