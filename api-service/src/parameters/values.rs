//! What a single value of a parameter means. Each failure is a sentence for the client.

use shared::export::Encoding;
use shared::fhir::search::{Query, SearchError};
use shared::fhir::{Instant, ResourceType};

/// The spellings of NDJSON that every server takes (standards §1.2, `_outputFormat`).
const NDJSON: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// The spellings of the ATR export type that are met (standards §5.24).
const EXPORT_TYPES: [&str; 2] = ["hl7.fhir.us.davinci-atr", "http://hl7.org/fhir/us/davinci-atr"];

/// The items of a comma list; an empty list has one item, which is empty.
pub fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

/// An instant, in a query or not.
pub fn instant(name: &str, value: &str) -> Result<Instant, String> {
    // A plus that was not written as %2B arrives as a space, and an instant has no other space.
    value.replace(' ', "+").parse().map_err(|error| format!("{name}: {error}"))
}

/// `true` or `false`.
pub fn flag(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("{name} takes true or false, and not '{value}'"))
}

/// Whether the output format is one that there is.
pub fn output_format(value: &str) -> Result<(), String> {
    // See `instant`.
    if NDJSON.contains(&value.replace(' ', "+").as_str()) {
        return Ok(());
    }
    Err(format!("the output format '{value}' is not supported; use {}", NDJSON.join(", ")))
}

/// Whether the export type is the one of attribution lists.
pub fn export_type(value: &str) -> Result<(), String> {
    if EXPORT_TYPES.contains(&value) {
        return Ok(());
    }
    Err(format!("the export type '{value}' is not supported; use {}", EXPORT_TYPES[0]))
}

/// How the files are stored and sent.
pub fn encoding(value: &str) -> Result<Encoding, String> {
    match value {
        "identity" => Ok(Encoding::Identity),
        "gzip" => Ok(Encoding::Gzip),
        _ => Err(format!("the encoding '{value}' is not supported; use gzip or identity")),
    }
}

/// Why a `_typeFilter` is of no use.
#[derive(Debug)]
pub enum Unusable {
    /// It is a search, but not one that this server can do.
    Unsupported(String),
    /// It is no search.
    Wrong(String),
}

/// The searches in a value of `_typeFilter`. The commas of a search are its own, but one before `Type?` begins the next
/// search: `_typeFilter` of ATR comes once, as a list (standards §3.2), and so it did in Bulk Data STU1.
pub fn filters(value: &str) -> Vec<&str> {
    let begins_search =
        |rest: &str| rest.split_once('?').is_some_and(|(name, _)| name.trim_start().parse::<ResourceType>().is_ok());
    let mut searches = Vec::new();
    let mut from = 0;
    for (at, _) in value.match_indices(',') {
        if begins_search(&value[at + 1..]) {
            searches.push(value[from..at].trim());
            from = at + 1;
        }
    }
    searches.push(value[from..].trim());
    searches
}

/// One search.
pub fn filter(value: &str) -> Result<Query, Unusable> {
    Query::parse(value).map_err(|error| {
        let problem = format!("_typeFilter: {error}");
        match error {
            SearchError::UnsupportedType(_)
            | SearchError::UnknownParameter { .. }
            | SearchError::ResultParameter(_)
            | SearchError::Chained(_)
            | SearchError::Modifier { .. } => Unusable::Unsupported(problem),
            _ => Unusable::Wrong(problem),
        }
    })
}
