//! What holds for every query and every resource.

use proptest::collection::{hash_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::*;

fn resource_type() -> impl Strategy<Value = ResourceType> {
    select(&ResourceType::ATTRIBUTION[..])
}

/// Values of every form, with what is special in them.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9 ,|$\\\\éß%&=+.:/-]{1,20}",
        "(eq|ne|gt|lt|ge|le|sa|eb|ap)?[0-9]{4}(-[01][0-9](-[0-3][0-9](T[0-2][0-9]:[0-5][0-9](:[0-6][0-9])?Z?)?)?)?",
        "(Patient|Organization|Practitioner)/[a-z0-9]{1,3}",
        "(http://s)?[|](a|b)",
        "a[|]b[|]c",
        "a[$](true|Patient/1)",
        select(&["true", "false", "a", "male"][..]).prop_map(str::to_owned),
    ]
}

/// Mostly a parameter of the type with a modifier or none.
fn pair(resource_type: ResourceType) -> impl Strategy<Value = (String, String)> {
    let modifier = "(:(not|missing|exact|contains|of-type|identifier|Patient|text))?";
    let known =
        (select(parameters(resource_type)), modifier).prop_map(|(of, modifier)| format!("{}{modifier}", of.name));
    (prop_oneof![9 => known, 1 => "[a-z_.:&=%]{0,12}"], value())
}

/// A query that was accepted, with one to three clauses.
fn accepted() -> impl Strategy<Value = Query> {
    let of_type = |of| (Just(of), vec(pair(of), 1..4));
    resource_type()
        .prop_flat_map(of_type)
        .prop_filter_map("it is refused", |(of, pairs)| Query::of_pairs(of, &pairs).ok())
}

/// JSON whose members have the names that are walked, and any shape.
fn json() -> impl Strategy<Value = Value> {
    const NAMES: [&str; 30] = [
        "id",
        "meta",
        "tag",
        "profile",
        "lastUpdated",
        "active",
        "name",
        "family",
        "given",
        "text",
        "telecom",
        "system",
        "value",
        "gender",
        "birthDate",
        "deceasedDateTime",
        "address",
        "city",
        "identifier",
        "type",
        "coding",
        "code",
        "reference",
        "beneficiary",
        "period",
        "start",
        "end",
        "characteristic",
        "valueCodeableConcept",
        "extension",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        value().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            hash_map(select(&NAMES[..]).prop_map(str::to_owned), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_a_query_or_is_refused(text in ".*", query in "[?&=%,|$\\\\:a-z0-9]{0,40}", of in resource_type()) {
        let _ = Query::parse(&text);
        let _ = Query::parse(&format!("{of}?{query}"));
    }

    #[test]
    fn a_query_stays_the_same_through_its_text(query in accepted()) {
        let text = serde_json::to_string(&query).expect("a text can be written");
        let read: Query = serde_json::from_str(&text).expect("an accepted query is accepted again");
        prop_assert_eq!(read, query);
    }

    #[test]
    fn any_resource_is_found_or_not(query in accepted(), members in json()) {
        let mut resource = serde_json::json!({"resourceType": query.resource_type().name()});
        if let (Some(resource), Value::Object(members)) = (resource.as_object_mut(), members) {
            resource.extend(members);
        }
        prop_assert_eq!(query.matches(&resource.to_string()), query.matches_value(&resource));
    }
}
