//! `_elements`: the parts of a resource that were asked for, each as it was written.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::answer::quoted;

/// What a resource has whatever was asked for.
const ALWAYS: [&str; 3] = ["resourceType", "id", "meta"];

/// Says that a resource is not whole.
const SUBSETTED: &str = r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

/// A stored resource with only these elements, and a tag in its `meta` that says so.
pub fn only(text: &str, elements: &[String]) -> Arc<str> {
    let members = Members::of(text).0.into_iter();
    let asked = |name: &str| ALWAYS.contains(&name) || elements.iter().any(|element| element == name);
    let kept = members.filter(|(name, _)| asked(name)).map(|(name, value)| match name.as_str() {
        "meta" => (name, tagged(value.get())),
        _ => (name, value.get().to_owned()),
    });
    object(kept).into()
}

/// This `meta` with the tag.
fn tagged(meta: &str) -> String {
    let mut members: Vec<_> =
        Members::of(meta).0.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect();
    let tags = members.iter_mut().find(|(name, _)| name == "tag").map(|(_, tags)| tags);
    match tags.as_ref().and_then(|tags| tags.strip_prefix('[')).map(str::trim_ascii_start) {
        Some(rest) if rest.starts_with('{') => {
            let all = format!("[{SUBSETTED},{rest}");
            members.retain(|(name, _)| name != "tag");
            members.push(("tag".to_owned(), all));
        }
        _ => {
            members.retain(|(name, _)| name != "tag");
            members.push(("tag".to_owned(), format!("[{SUBSETTED}]")));
        }
    }
    object(members.into_iter())
}

fn object(members: impl Iterator<Item = (String, String)>) -> String {
    let members: Vec<_> = members.map(|(name, value)| format!("{}:{value}", quoted(&name))).collect();
    format!("{{{}}}", members.join(","))
}

/// The members of an object in the order in which they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn of(text: &'a str) -> Self {
        serde_json::from_str(text).expect("what is stored was read when it was loaded")
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_left_as_it_was_written_and_marked() {
        let text =
            r#"{"resourceType":"Patient", "meta":{"versionId":"1"},"id":"a", "value": 1.10 ,"name":[ ],"active":true}"#;
        let elements = ["value".to_owned(), "name".to_owned()];
        let expected = format!(
            r#"{{"resourceType":"Patient","meta":{{"versionId":"1","tag":[{SUBSETTED}]}},"id":"a","value":1.10,"name":[ ]}}"#
        );
        assert_eq!(&*only(text, &elements), expected);
    }

    #[test]
    fn tags_that_are_there_stay() {
        let text = r#"{"resourceType":"Patient","id":"a","meta":{"tag":[ {"code":"x"}],"source":"s"}}"#;
        let expected = format!(
            r#"{{"resourceType":"Patient","id":"a","meta":{{"source":"s","tag":[{SUBSETTED},{{"code":"x"}}]}}}}"#
        );
        assert_eq!(&*only(text, &[]), expected);
    }
}
