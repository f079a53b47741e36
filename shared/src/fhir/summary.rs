//! `_summary`: which part of a resource a read or a search answers with (R4 `search.html#summary`).

use std::str::FromStr;

use thiserror::Error;

use super::elements::table;
use super::{ResourceType, edit};

/// A value of `_summary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// `true`: the elements that the definition of the type marks as its summary.
    True,
    /// `false`: all of it.
    False,
    /// `text`: the narrative, and what the resource cannot be without.
    Text,
    /// `data`: all but the narrative.
    Data,
    /// `count`: of a search, how many it finds and none of them.
    Count,
}

/// A text that is no value of `_summary`.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("'{0}' is no value of _summary: write true, false, text, data or count")]
pub struct UnknownSummary(pub String);

impl FromStr for Summary {
    type Err = UnknownSummary;

    fn from_str(text: &str) -> Result<Self, UnknownSummary> {
        match text {
            "true" => Ok(Self::True),
            "false" => Ok(Self::False),
            "text" => Ok(Self::Text),
            "data" => Ok(Self::Data),
            "count" => Ok(Self::Count),
            _ => Err(UnknownSummary(text.chars().take(64).collect())),
        }
    }
}

/// The part of a resource that `_summary` asks for, in one line, with the tag `SUBSETTED` unless it is `false`. What
/// the resource cannot be without is always in it; with `count`, which shows no resources, nothing else is.
///
/// A type that is none of [`ResourceType::ATTRIBUTION`] stays whole: what its summary is, is not known here. Fails when
/// the text is no JSON object, or its `meta` has another shape than FHIR gives it.
pub fn summarize(resource_type: ResourceType, json: &str, summary: Summary) -> Result<String, serde_json::Error> {
    if summary == Summary::False || !resource_type.is_attribution() {
        return edit::without(json, &[]);
    }
    edit::kept(json, |field| {
        let element = table::of_field(resource_type, field);
        let is_always_there = element.is_some_and(table::Element::is_always_there);
        match summary {
            Summary::False => true,
            Summary::Data => field != "text",
            Summary::Text => is_always_there || field == "text",
            Summary::Count => is_always_there,
            // R4 has no extension in a summary. ATR tells consumers to look in the summary of a Group for how long its
            // contract is valid, which is an extension; those of a Group itself are few, whatever its members are.
            Summary::True if resource_type == ResourceType::GROUP && field == "extension" => true,
            Summary::True => element.is_some_and(table::Element::is_in_summary),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(resource_type: ResourceType, json: &str, summary: Summary) -> String {
        let summary = summarize(resource_type, json, summary).expect("the test writes JSON objects");
        let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&summary).expect("it is JSON");
        let tagged = if summary.contains("SUBSETTED") { " (subsetted)" } else { "" };
        format!("{}{tagged}", value.keys().cloned().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_summary_of_a_group_leaves_out_its_members_and_keeps_its_extensions() {
        let json = r#"{"actual":true,"characteristic":[],"extension":[{"url":"contract"}],"id":"g","identifier":[],
            "managingEntity":{},"member":[{},{}],"meta":{},"name":"n","quantity":2,"text":{},"type":"person"}"#;
        for (summary, expected) in [
            (Summary::True, "actual extension id identifier managingEntity meta name quantity type (subsetted)"),
            (Summary::Text, "actual id meta text type (subsetted)"),
            (
                Summary::Data,
                "actual characteristic extension id identifier managingEntity member meta name quantity type (subsetted)",
            ),
            (Summary::Count, "actual id meta type (subsetted)"),
            (
                Summary::False,
                "actual characteristic extension id identifier managingEntity member meta name quantity text type",
            ),
        ] {
            assert_eq!(fields(ResourceType::GROUP, json, summary), expected, "{summary:?}");
        }
    }

    #[test]
    fn the_summary_of_another_type_is_what_r4_marks_as_such() {
        let patient =
            r#"{"contact":[],"deceasedBoolean":false,"extension":[],"id":"1","maritalStatus":{},"meta":{},"name":[]}"#;
        assert_eq!(fields(ResourceType::PATIENT, patient, Summary::True), "deceasedBoolean id meta name (subsetted)");
        let coverage = r#"{"class":[],"id":"1","meta":{},"payor":[],"period":{},"relationship":{}}"#;
        assert_eq!(fields(ResourceType::COVERAGE, coverage, Summary::True), "id meta payor period (subsetted)");
    }

    #[test]
    fn a_type_without_a_known_summary_stays_whole() {
        assert_eq!(fields(ResourceType::BUNDLE, r#"{"entry":[],"type":"batch"}"#, Summary::True), "entry type");
    }

    #[test]
    fn every_value_is_read_and_no_other() {
        for (text, summary) in [
            ("true", Summary::True),
            ("false", Summary::False),
            ("text", Summary::Text),
            ("data", Summary::Data),
            ("count", Summary::Count),
        ] {
            assert_eq!(text.parse(), Ok(summary));
        }
        let error = "True".parse::<Summary>().expect_err("values are case-sensitive");
        assert_eq!(error.to_string(), "'True' is no value of _summary: write true, false, text, data or count");
    }
}
