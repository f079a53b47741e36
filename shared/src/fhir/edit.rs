//! Changes to the root fields of a resource and to its `meta`, made on the text: a field that is not changed keeps its
//! bytes, all fields keep their order, and the result is one line.
//!
//! A field that is written twice is not this module's business: both stay, both go, or both are changed. Every function
//! here fails when the text is no JSON object, or when what it changes has another shape than FHIR gives it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{Instant, json};

/// The tag of a resource that is not whole (Bulk Data `_elements`; R4 `resource.html`, "Simple tags").
const SUBSETTED: &str = r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

/// The resource with the tag `SUBSETTED` in `meta.tag`, which says that something is left out of it. Other tags stay,
/// and one that is there already is not added again.
pub fn subsetted(json: &str) -> Result<String, serde_json::Error> {
    kept(json, |_| true)
}

/// The resource with this `meta.versionId` and `meta.lastUpdated`, as a read of it answers (R4 `http.html#read`).
pub fn with_version(json: &str, version: u64, last_updated: Instant) -> Result<String, serde_json::Error> {
    let mut resource = Fields::read(json)?;
    resource.edit_meta(|meta| {
        meta.edit("versionId", &["id"], "", |_| Ok(format!("\"{version}\"")))?;
        meta.edit("lastUpdated", &["versionId"], "", |_| Ok(format!("\"{last_updated}\"")))
    })?;
    Ok(resource.line())
}

/// The resource without these root fields, and without their extensions: `active` takes `_active` along. The result is
/// not tagged.
pub fn without(json: &str, fields: &[&str]) -> Result<String, serde_json::Error> {
    let mut resource = Fields::read(json)?;
    resource.retain(|field| !fields.contains(&field));
    Ok(resource.line())
}

/// The resource with those root fields only that `keep` wants, and the tag `SUBSETTED`. `keep` is asked about `active`
/// for both `active` and its extensions in `_active`.
pub(super) fn kept(json: &str, keep: impl Fn(&str) -> bool) -> Result<String, serde_json::Error> {
    let mut resource = Fields::read(json)?;
    resource.retain(keep);
    resource.edit_meta(|meta| meta.edit("tag", &["security", "profile", "source", "lastUpdated"], "[]", tagged))?;
    Ok(resource.line())
}

/// An array of tags with the tag `SUBSETTED`.
fn tagged(tags: &str) -> Result<String, serde_json::Error> {
    #[derive(PartialEq, Deserialize)]
    struct Tag<'a> {
        #[serde(borrow, default)]
        system: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        code: Option<Cow<'a, str>>,
    }
    let there: Vec<Tag<'_>> = serde_json::from_str(tags)?;
    if there.contains(&serde_json::from_str(SUBSETTED)?) {
        return Ok(tags.to_owned());
    }
    let open = tags.strip_suffix(']').expect("it was read as an array, and a raw value has no blanks around it");
    let comma = if there.is_empty() { "" } else { "," };
    Ok(format!("{open}{comma}{SUBSETTED}]"))
}

/// A JSON object as its fields, in their order.
struct Fields<'a>(Vec<Field<'a>>);

struct Field<'a> {
    /// The name as it is written, in its quotes.
    key: Cow<'a, str>,
    /// The value as it is written.
    value: Cow<'a, str>,
}

impl Field<'_> {
    fn name(&self) -> Cow<'_, str> {
        let bare = self.key.trim_matches('"');
        if !bare.contains('\\') {
            return Cow::Borrowed(bare);
        }
        // What cannot be read, half a surrogate pair for example, is the name of no element of FHIR.
        serde_json::from_str(&self.key).map_or(Cow::Borrowed(bare), Cow::Owned)
    }
}

impl<'a> Fields<'a> {
    fn read(json: &'a str) -> Result<Self, serde_json::Error> {
        json::object(json)
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|field| {
            let name = field.name();
            keep(name.strip_prefix('_').unwrap_or(&name))
        });
    }

    /// Changes a field. One that is absent or null is changed from the text `none`; an absent one gets its place behind
    /// the first of `behind` that is there, else in front of all.
    fn edit(
        &mut self,
        name: &str,
        behind: &[&str],
        none: &str,
        change: impl Fn(&str) -> Result<String, serde_json::Error>,
    ) -> Result<(), serde_json::Error> {
        let mut is_there = false;
        for field in self.0.iter_mut().filter(|field| field.name() == name) {
            let value = if field.value == "null" { none } else { &field.value };
            field.value = Cow::Owned(change(value)?);
            is_there = true;
        }
        if !is_there {
            let place = |before: &&str| self.0.iter().position(|field| field.name() == *before);
            let at = behind.iter().find_map(place).map_or(0, |before| before + 1);
            let field = Field { key: Cow::Owned(format!("\"{name}\"")), value: Cow::Owned(change(none)?) };
            self.0.insert(at, field);
        }
        Ok(())
    }

    fn edit_meta(
        &mut self,
        change: impl Fn(&mut Fields<'_>) -> Result<(), serde_json::Error>,
    ) -> Result<(), serde_json::Error> {
        self.edit("meta", &["id", "resourceType"], "{}", |meta| {
            let mut meta = Fields::read(meta)?;
            change(&mut meta)?;
            Ok(meta.line())
        })
    }

    fn line(&self) -> String {
        let length: usize = self.0.iter().map(|field| field.key.len() + field.value.len() + 2).sum();
        let mut line = String::with_capacity(length + 2);
        line.push('{');
        for (at, field) in self.0.iter().enumerate() {
            if at > 0 {
                line.push(',');
            }
            line.push_str(&field.key);
            line.push(':');
            line.push_str(&json::one_line(&field.value));
        }
        line.push('}');
        line
    }
}

impl<'a> Deserialize<'a> for Fields<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'a> Visitor<'a> for Reader {
            type Value = Fields<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Fields<'a>, A::Error> {
                // Most resources have fewer root fields, so the list does not grow.
                let mut fields = Vec::with_capacity(16);
                while let Some((key, value)) = map.next_entry::<&'a RawValue, &'a RawValue>()? {
                    fields.push(Field { key: Cow::Borrowed(key.get()), value: Cow::Borrowed(value.get()) });
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const NOON: Instant = Instant::from_unix_millis(1_767_607_200_000);

    #[test]
    fn the_tag_is_added_to_the_meta_that_there_is_or_to_a_new_one_behind_the_id() {
        for (json, edited) in [
            (
                r#"{"resourceType":"Patient","id":"a","x":1}"#,
                r#"{"resourceType":"Patient","id":"a","meta":{"tag":[TAG]},"x":1}"#,
            ),
            (r#"{"x":1,"resourceType":"Patient"}"#, r#"{"x":1,"resourceType":"Patient","meta":{"tag":[TAG]}}"#),
            ("{}", r#"{"meta":{"tag":[TAG]}}"#),
            (r#"{"meta":null}"#, r#"{"meta":{"tag":[TAG]}}"#),
            (r#"{"meta":{"tag":null}}"#, r#"{"meta":{"tag":[TAG]}}"#),
            (r#"{"meta":{"tag":[]}}"#, r#"{"meta":{"tag":[TAG]}}"#),
            (r#"{"meta":{"tag":[{"code":"a"}]}}"#, r#"{"meta":{"tag":[{"code":"a"},TAG]}}"#),
            (r#"{"meta":{"lastUpdated":"l","x":1.0}}"#, r#"{"meta":{"lastUpdated":"l","tag":[TAG],"x":1.0}}"#),
            (r#"{"m\u0065ta":{}}"#, r#"{"m\u0065ta":{"tag":[TAG]}}"#),
        ] {
            let edited = edited.replace("TAG", SUBSETTED);
            assert_eq!(subsetted(json).expect("it is a JSON object"), edited, "{json}");
            assert_eq!(subsetted(&edited).expect("it is a JSON object"), edited, "{json} edited twice");
        }
    }

    #[test]
    fn a_tag_with_the_same_code_of_another_system_is_another_tag() {
        let json = r#"{"meta":{"tag":[{"system":"http://example.org","code":"SUBSETTED"}]}}"#;
        assert!(subsetted(json).expect("it is a JSON object").contains(SUBSETTED));
    }

    #[test]
    fn version_and_time_are_set_in_the_meta_and_the_rest_of_it_stays() {
        for (json, edited) in [
            (
                r#"{"id":"a","x":1.10}"#,
                r#"{"id":"a","meta":{"versionId":"7","lastUpdated":"2026-01-05T10:00:00.000Z"},"x":1.10}"#,
            ),
            (
                r#"{"meta":{"profile":["p"],"lastUpdated":"2020-01-01T00:00:00Z"}}"#,
                r#"{"meta":{"versionId":"7","profile":["p"],"lastUpdated":"2026-01-05T10:00:00.000Z"}}"#,
            ),
        ] {
            assert_eq!(with_version(json, 7, NOON).expect("it is a JSON object"), edited);
        }
    }

    #[test]
    fn a_field_goes_with_its_extensions() {
        let json = r#"{"id":"a","birthDate":"1970","_birthDate":{"extension":[]},"name":[]}"#;
        assert_eq!(without(json, &["birthDate", "photo"]).expect("it is a JSON object"), r#"{"id":"a","name":[]}"#);
    }

    #[test]
    fn a_field_that_is_written_twice_goes_or_stays_twice() {
        let json = r#"{"a":1,"b":2,"a":3}"#;
        assert_eq!(without(json, &["b"]).expect("it is a JSON object"), r#"{"a":1,"a":3}"#);
        assert_eq!(without(json, &["a"]).expect("it is a JSON object"), r#"{"b":2}"#);
    }

    #[test]
    fn what_is_no_object_or_has_a_meta_of_another_shape_is_refused() {
        for json in
            ["", "[]", "null", "{", "{} {}", r#"{"meta":[]}"#, r#"{"meta":{"tag":{}}}"#, r#"{"meta":{"tag":[1]}}"#]
        {
            assert!(subsetted(json).is_err(), "{json}");
        }
    }

    type Edit = fn(&str) -> Result<String, serde_json::Error>;

    /// A root field: its key and its value, as they are written.
    fn field() -> impl Strategy<Value = (&'static str, String)> {
        const KEYS: [&str; 9] =
            ["id", "active", "_active", "birthDate", r"n\u0061me", r#"a \" b"#, "", r"\ud800", "meta"];
        let leaf = prop_oneof![
            select(vec![
                "1.10",
                "-0",
                "1E400",
                "12345678901234567890.0",
                "true",
                "null",
                r#""]}, \" \\""#,
                "[ ]",
                "{}"
            ])
            .prop_map(str::to_owned),
            "[a-z é]{0,8}".prop_map(|text| format!("\"{text}\"")),
        ];
        let value = leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(|values| format!("[\n{} ]", values.join(" ,"))),
                vec(inner, 0..3).prop_map(|values| {
                    let fields: Vec<_> = values.iter().map(|value| format!("\"k\" : {value}")).collect();
                    format!("{{\t{}\r\n}}", fields.join(","))
                }),
            ]
        });
        let metas = select(vec![
            "null",
            "{}",
            r#"{"versionId":"1" , "lastUpdated":"x","tag":[ ]}"#,
            r#"{"tag":[{"code":"a", "display":"}"}],"id":"m"}"#,
        ]);
        (select(&KEYS[..]), value, metas)
            .prop_map(|(key, value, meta)| (key, if key == "meta" { meta.to_owned() } else { value }))
    }

    fn object(fields: &[(&str, String)]) -> String {
        let fields: Vec<_> = fields.iter().map(|(key, value)| format!(" \"{key}\"\n: {value}")).collect();
        format!("{{{} }}", fields.join(","))
    }

    /// The fields of an object but for `meta`, as they are written, on one line each.
    fn rest(json: &str) -> Vec<(String, String)> {
        let fields = Fields::read(json).expect("the text is a JSON object");
        let rest = fields.0.into_iter().filter(|field| field.name() != "meta");
        rest.map(|field| (field.key.into_owned(), json::one_line(&field.value).into_owned())).collect()
    }

    proptest! {
        #[test]
        fn an_edit_gives_one_line_of_json_and_all_else_keeps_its_bytes(fields in vec(field(), 0..8)) {
            let json = object(&fields);
            for edited in [subsetted(&json), with_version(&json, 3, NOON), without(&json, &[])] {
                let edited = edited.expect("the text is a JSON object");
                prop_assert!(!edited.contains(['\n', '\r']));
                prop_assert_eq!(rest(&edited), rest(&json));
            }
        }

        #[test]
        fn an_edit_that_is_made_twice_changes_nothing_more(fields in vec(field(), 0..8)) {
            let json = object(&fields);
            let edits: [Edit; 4] = [
                subsetted,
                |json| with_version(json, 3, NOON),
                |json| without(json, &["active"]),
                |json| kept(json, |field| field == "id" || field == "name"),
            ];
            for edit in edits {
                let once = edit(&json).expect("the text is a JSON object");
                prop_assert_eq!(edit(&once).expect("the text is a JSON object"), once);
            }
        }
    }
}
