//! Pages of a Bundle: how many entries a client asks for, where a page begins, and the links between pages. Pure.

use shared::fhir::{IssueCode, Summary, UnknownSummary};
use url::form_urlencoded;

use crate::error::ApiError;
use crate::parameters::refused;

/// How many entries a page has when the client does not say.
const USUAL: u32 = 20;

/// How many it has at most.
const MOST: u32 = 100;

/// How many entries a page has, by the value of `_count`. FHIR lets a server give fewer than asked, never more.
pub fn size(count: Option<&str>) -> Result<u32, ApiError> {
    let Some(count) = count else { return Ok(USUAL) };
    // A number too large for the type is a large number all the same.
    if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(count.parse().map_or(MOST, |count: u32| count.min(MOST)));
    }
    Err(refused("_count", IssueCode::Value, format!("_count is '{count}'; give a whole number, 0 or more")))
}

/// What of each resource is given, by `_summary`; all of it when the client does not say.
pub fn summary(pairs: &[(String, String)]) -> Result<Summary, ApiError> {
    let Some(summary) = single(pairs, "_summary")? else { return Ok(Summary::False) };
    summary.parse().map_err(|error: UnknownSummary| refused("_summary", IssueCode::Value, error.to_string()))
}

/// The value of a parameter that is given once or not at all.
pub fn single<'a>(pairs: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = pairs.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
    let value = values.next();
    match values.next() {
        None => Ok(value),
        Some(_) => Err(refused(name, IssueCode::Value, format!("{name} is given more than once; give it once"))),
    }
}

/// Refuses a parameter that is none of `known`.
pub fn only(pairs: &[(String, String)], known: &[&str]) -> Result<(), ApiError> {
    match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => {
            let text = format!("the parameter '{name}' is not supported here; use {}", known.join(", "));
            Err(refused(name, IssueCode::NotSupported, text))
        }
    }
}

/// The URL with these parameters.
pub fn link<'a>(url: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{url}{mark}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_as_many_entries_as_asked_and_never_more_than_a_hundred() {
        for (count, expected) in
            [(None, 20), (Some("0"), 0), (Some("7"), 7), (Some("1000"), 100), (Some("99999999999999999999"), 100)]
        {
            assert_eq!(size(count).ok(), Some(expected), "{count:?}");
        }
        for count in ["", "-1", "1.5", "ten", "+3"] {
            assert!(size(Some(count)).is_err(), "{count}");
        }
    }

    #[test]
    fn links_carry_their_parameters_escaped() {
        assert_eq!(
            link("https://b/Group", [("identifier", "a|b&c"), ("_count", "2")]),
            "https://b/Group?identifier=a%7Cb%26c&_count=2"
        );
        assert_eq!(link("https://b/Group", []), "https://b/Group");
    }

    #[test]
    fn what_is_not_known_or_given_twice_is_refused_by_name() {
        let pairs = [("_count".to_owned(), "1".to_owned()), ("_count".to_owned(), "2".to_owned())];
        assert!(single(&pairs, "_count").is_err_and(|error| error.to_string().contains("more than once")));
        assert!(only(&pairs, &["_format"]).is_err_and(|error| error.to_string().contains("'_count' is not supported")));
        assert!(only(&pairs, &["_count"]).is_ok());
    }
}
