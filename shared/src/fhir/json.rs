//! Work on JSON text as text: values keep their digits and members keep their order, because nothing is taken apart.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;

/// One line of NDJSON from a valid JSON text: text without line breaks stays as it is, else the white space between
/// tokens is left out.
#[must_use]
pub fn one_line(json: &str) -> Cow<'_, str> {
    if !json.bytes().any(|byte| byte == b'\n' || byte == b'\r') {
        return Cow::Borrowed(json);
    }
    let mut line = String::with_capacity(json.len());
    let (mut in_string, mut escaped, mut from) = (false, false, 0);
    for (at, byte) in json.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            line.push_str(&json[from..at]);
            from = at + 1;
        } else {
            in_string = byte == b'"';
        }
    }
    line.push_str(&json[from..]);
    Cow::Owned(line)
}

/// Why a text could not be read, with its place but without any of its content, which may be about a person.
#[must_use]
pub fn reason(error: &serde_json::Error) -> String {
    // Only `object` makes an error that has no place.
    if error.line() == 0 {
        return "it is not a JSON object".to_owned();
    }
    let what = match error.classify() {
        Category::Syntax => "a syntax error",
        Category::Eof => "an unexpected end",
        Category::Data => "a field is repeated or has another shape than FHIR gives it",
        Category::Io => "an input error",
    };
    format!("{what} at line {}, column {}", error.line(), error.column())
}

/// Reads fields of a JSON object. Unlike a bare `from_str`, it does not take an array for the fields in order.
pub fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, serde_json::Error> {
    if json.trim_ascii_start().starts_with('{') {
        serde_json::from_str(json)
    } else {
        Err(serde::de::Error::custom("not a JSON object"))
    }
}

/// A Group cut open at its members: `before` + the members joined by commas + `after` is the Group again.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Up to and with the `[` of `member`; the whole text when there is no `member`.
    pub before: &'a str,
    /// The members, each as it is written.
    pub members: Vec<&'a str>,
    /// From the `]` of `member` on; empty when there is no `member`.
    pub after: &'a str,
}

impl Opened<'_> {
    /// Whether members can stand between `before` and `after`. They cannot in a Group that has no `member`, for example
    /// one of which `_elements` leaves it out: then `before` is all of it.
    #[must_use]
    pub fn has_place_for_members(&self) -> bool {
        !self.after.is_empty()
    }
}

/// Cuts a Group open at its `member` array. Fails when the text is no JSON object or `member` is no array.
///
/// The two parts of a head may be joined, edited as one text (`before` + `after` is a Group without members), and
/// opened again here.
pub fn open_group(json: &str) -> Result<Opened<'_>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Group<'a> {
        #[serde(borrow, default)]
        member: Option<&'a RawValue>,
    }
    let group: Group<'_> = object(json)?;
    let Some(array) = group.member.map(RawValue::get).filter(|raw| *raw != "null") else {
        return Ok(Opened { before: json, members: Vec::new(), after: "" });
    };
    let members: Vec<&RawValue> = serde_json::from_str(array)?;
    // The array is a part of the text that it was read from, so the distance of the two is where it begins.
    let begin = array.as_ptr().addr() - json.as_ptr().addr();
    let end = begin + array.len();
    Ok(Opened {
        before: &json[..=begin],
        members: members.into_iter().map(RawValue::get).collect(),
        after: &json[end - 1..],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::edit;

    #[test]
    fn a_pretty_text_becomes_one_line_and_its_values_stay() {
        let pretty = "{\n  \"a b\" : 1.10,\r\n\t\"c\": \"x \\\" y \\\\\",\n \"d\":[1e2 , null]\n}";
        assert_eq!(one_line(pretty), r#"{"a b":1.10,"c":"x \" y \\","d":[1e2,null]}"#);
    }

    #[test]
    fn a_line_stays_as_it_is() {
        let line = r#"{"a" : 1.10}"#;
        assert!(matches!(one_line(line), Cow::Borrowed(same) if same == line));
    }

    #[test]
    fn a_group_is_its_parts_joined() {
        for (json, members) in [
            (r#"{"resourceType":"Group","id":"g","member":[{"a":1.0},{"b":[2]}],"z":1}"#, 2),
            (r#"{"member":[],"id":"g"}"#, 0),
            (r#"{"id":"g"}"#, 0),
            (r#"{"id":"g","member":null}"#, 0),
            (r#"{"contained":[{"resourceType":"Group","member":[{}]}],"member":[{"x":1}]}"#, 1),
        ] {
            let opened = open_group(json).expect("it is a Group");
            assert_eq!(opened.members.len(), members, "{json}");
            assert_eq!(format!("{}{}{}", opened.before, opened.members.join(","), opened.after), json);
        }
    }

    #[test]
    fn an_edited_head_of_a_group_is_opened_again_where_its_members_go() {
        let whole = r#"{"resourceType":"Group","id":"g","member":[{"a":1.0},{"b":[2]}],"name":"n"}"#;
        let opened = open_group(whole).expect("it is a Group");
        let head = [opened.before, opened.after].concat();
        let without_name = edit::without(&head, &["name"]).expect("the head is a JSON object");
        let again = open_group(&without_name).expect("it is a Group");
        assert!(again.has_place_for_members());
        assert_eq!(
            format!("{}{}{}", again.before, opened.members.join(","), again.after),
            r#"{"resourceType":"Group","id":"g","member":[{"a":1.0},{"b":[2]}]}"#
        );
    }

    #[test]
    fn a_head_without_member_has_no_place_for_members() {
        let head = edit::without(r#"{"id":"g","member":[],"name":"n"}"#, &["member"]).expect("it is a JSON object");
        let opened = open_group(&head).expect("it is a Group");
        assert!(!opened.has_place_for_members());
        assert_eq!(opened.before, r#"{"id":"g","name":"n"}"#);
    }

    #[test]
    fn a_member_that_is_no_array_is_refused() {
        assert!(open_group(r#"{"member":{"entity":1}}"#).is_err());
        assert!(open_group(r#"{"member":[{]}"#).is_err());
        assert!(open_group("[]").is_err());
    }
}
