//! The server's own `meta.versionId` and `meta.lastUpdated`, put into the text of a resource and taken out again. Every other
//! byte stays as it was written: what a client gets can be held against what was loaded, byte by byte.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Where the stamp goes in one resource's text, and what is around it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    at: usize,
    around: Around,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    /// There is no `meta`; it comes first of all.
    Nothing,
    /// A `meta` with something in it; the stamp comes first in it.
    Meta,
    /// A `meta` with nothing in it. Its two members are written the other way round: otherwise the text would be the same as
    /// for no `meta` at all, and nobody could tell what was loaded.
    EmptyMeta,
}

impl Gap {
    /// In this resource, whose `meta` is this part of the text.
    ///
    /// # Panics
    /// If `meta` is no object, or has a `versionId` or a `lastUpdated` already: it could not be told what was loaded.
    pub fn of(text: &str, meta: Option<&RawValue>) -> Self {
        let Some(meta) = meta else {
            let open = text.find('{').expect("a resource is an object");
            return Self { at: open + 1, around: Around::Nothing };
        };
        let own: Own = serde_json::from_str(meta.get()).expect("the meta of a resource is an object");
        assert!(own.version_id.is_none() && own.last_updated.is_none(), "only the server stamps what it stores");
        let inside = offset(text, meta) + 1;
        let is_empty = text[inside..].trim_ascii_start().starts_with('}');
        Self { at: inside, around: if is_empty { Around::EmptyMeta } else { Around::Meta } }
    }

    /// The text with this stamp, and where in it the stamp is.
    pub fn filled(self, text: &str, version: &str, instant: &str) -> (String, Range<usize>) {
        let stamp = match self.around {
            Around::Nothing => format!(r#""meta":{{"versionId":"{version}","lastUpdated":"{instant}"}},"#),
            Around::Meta => format!(r#""versionId":"{version}","lastUpdated":"{instant}","#),
            Around::EmptyMeta => format!(r#""lastUpdated":"{instant}","versionId":"{version}""#),
        };
        let mut stamped = String::with_capacity(text.len() + stamp.len());
        stamped.push_str(&text[..self.at]);
        stamped.push_str(&stamp);
        stamped.push_str(&text[self.at..]);
        (stamped, self.at..self.at + stamp.len())
    }
}

/// The text of a resource as a server takes it: without a stamp that another server has put on it. One without stays as it is
/// written.
///
/// # Panics
/// If it is no JSON.
#[must_use]
pub fn as_taken(json: &str) -> String {
    let mut value: Value = serde_json::from_str(json).expect("what is loaded is JSON");
    let meta = value.get_mut("meta").and_then(Value::as_object_mut);
    let taken = meta.map(|meta| [meta.remove("versionId"), meta.remove("lastUpdated")]);
    if taken.is_some_and(|taken| taken.iter().any(Option::is_some)) { value.to_string() } else { json.to_owned() }
}

/// What a server of this crate stored, as it was loaded: the same bytes. A text without such a stamp comes back as it is.
///
/// # Panics
/// If it is no JSON object.
#[must_use]
pub fn without_stamp(json: &str) -> String {
    let Some(stamp) = stamp_in(json) else { return json.to_owned() };
    format!("{}{}", &json[..stamp.start], &json[stamp.end..])
}

fn stamp_in(json: &str) -> Option<Range<usize>> {
    let shape: Stamped<'_> = serde_json::from_str(json).expect("a resource is a JSON object");
    let meta = shape.meta?;
    let inside = offset(json, meta) + 1;
    let text = json.get(inside..)?;
    if let Some(rest) = member(text, "lastUpdated").and_then(|rest| member(rest.strip_prefix(',')?, "versionId")) {
        return rest.trim_ascii_start().starts_with('}').then(|| inside..json.len() - rest.len());
    }
    let rest = member(text, "versionId").and_then(|rest| member(rest.strip_prefix(',')?, "lastUpdated"))?;
    if let Some(rest) = rest.strip_prefix(',') {
        return Some(inside..json.len() - rest.len());
    }
    let rest = rest.strip_prefix("},")?;
    let start = inside.checked_sub(r#""meta":{"#.len())?;
    Some(start..json.len() - rest.len())
}

/// What is behind `"name":"…"` at the start of `text`, if that is there. The values of stamps have no escapes.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.strip_prefix('"')?.strip_prefix(name)?.strip_prefix(r#"":""#)?;
    value.split_once('"').map(|(_, rest)| rest)
}

/// Where `part`, which was parsed out of `text`, begins in it.
fn offset(text: &str, part: &RawValue) -> usize {
    part.get().as_ptr().addr() - text.as_ptr().addr()
}

/// A member that is there, even if it is null.
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Stamped<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    #[serde(default, deserialize_with = "present")]
    version_id: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    last_updated: Option<IgnoredAny>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const INSTANT: &str = "2026-11-26T08:00:00.123Z";

    fn stamped(text: &str) -> String {
        let shape: Stamped<'_> = serde_json::from_str(text).expect("the test writes JSON");
        Gap::of(text, shape.meta).filled(text, "7", INSTANT).0
    }

    #[test]
    fn a_stamp_comes_first_in_the_meta_and_a_missing_meta_first_of_all() {
        for (text, expected) in [
            (
                r#"{"resourceType":"Patient","id":"a"}"#,
                r#"{"meta":{"versionId":"7","lastUpdated":"2026-11-26T08:00:00.123Z"},"resourceType":"Patient","id":"a"}"#,
            ),
            (
                r#"{"id":"a", "meta" : { "profile":["p"]}}"#,
                r#"{"id":"a", "meta" : {"versionId":"7","lastUpdated":"2026-11-26T08:00:00.123Z", "profile":["p"]}}"#,
            ),
            (
                r#"{"meta":{},"id":"a"}"#,
                r#"{"meta":{"lastUpdated":"2026-11-26T08:00:00.123Z","versionId":"7"},"id":"a"}"#,
            ),
        ] {
            assert_eq!(stamped(text), expected);
            assert_eq!(without_stamp(expected), text);
        }
    }

    #[test]
    fn odd_texts_come_back_as_they_were() {
        for text in [
            "\n\t {\n  \"id\" : \"a\",\r\n \"value\": 1.10 , \"x\":-0.0e+2}\n",
            r#"{"text":{"div":"<b meta=\"{}\">\u00e9\/ü😀</b>"},"id":"a"}"#,
            r#"{"contained":[{"meta":{"versionId":"3"}}],"id":"a"}"#,
            r#"{"id":"a","m\u0065ta":{"source":"s"}}"#,
            r#"{"meta":{ },"id":"a"}"#,
            r#"{ "meta":{},"id":"a"}"#,
            r#"{"meta":{"tag":[]},"id":"a"}"#,
            r#"{"id":"a","meta":{}}"#,
        ] {
            let with = stamped(text);
            let value: Value = serde_json::from_str(&with).expect("a stamp leaves JSON JSON");
            assert_eq!((&value["meta"]["versionId"], &value["meta"]["lastUpdated"]), (&"7".into(), &INSTANT.into()));
            assert_eq!(without_stamp(&with), text);
        }
    }

    #[test]
    fn what_has_no_stamp_comes_back_as_it_is() {
        for text in [r#"{"id":"a"}"#, r#"{"meta":{"versionId":"1"},"id":"a"}"#, r#"{"meta":{"tag":[]}}"#] {
            assert_eq!(without_stamp(text), text);
        }
    }

    #[test]
    #[should_panic(expected = "only the server stamps")]
    fn a_resource_with_a_stamp_of_its_own_is_refused() {
        stamped(r#"{"id":"a","meta":{"lastUpdated":"2020-01-01T00:00:00Z"}}"#);
    }

    fn space() -> impl Strategy<Value = String> {
        "[ \n\r\t]{0,2}"
    }

    /// A value that knows nothing of stamps.
    fn value() -> impl Strategy<Value = String> {
        let text = any::<String>().prop_map(|text| Value::from(text).to_string());
        let plain = prop_oneof![text, Just("1.10".to_owned()), Just("null".to_owned()), Just("-1E+2".to_owned())];
        plain.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                (space(), proptest::collection::vec(inner.clone(), 0..3))
                    .prop_map(|(space, items)| format!("[{space}{}]", items.join(&format!("{space},")))),
                (space(), inner).prop_map(|(space, item)| format!(r#"{{"meta"{space}:{{"versionId":{item}}}}}"#)),
            ]
        })
    }

    fn meta() -> impl Strategy<Value = Option<String>> {
        let filled = (space(), value()).prop_map(|(space, value)| format!(r#"{{{space}"tag"{space}:{value}{space}}}"#));
        prop_oneof![Just(None), space().prop_map(|space| Some(format!("{{{space}}}"))), filled.prop_map(Some)]
    }

    proptest! {
        #[test]
        fn whatever_is_stamped_comes_back(before in value(), after in value(), meta in meta(), first in any::<bool>(), space in space()) {
            let meta = meta.map(|meta| format!(r#""meta"{space}:{space}{meta}"#));
            let id = format!(r#""id"{space}:{before}{space}"#);
            let mut members = vec![id, format!(r#""x":{after}"#)];
            if let Some(meta) = meta {
                members.insert(usize::from(!first), meta);
            }
            let text = format!("{space}{{{space}{}{space}}}{space}", members.join(&format!("{space},")));
            let with = stamped(&text);
            prop_assert!(serde_json::from_str::<Value>(&with).is_ok_and(|value| value["meta"]["versionId"] == "7"));
            prop_assert_eq!(without_stamp(&with), text);
        }
    }
}
