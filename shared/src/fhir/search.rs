//! FHIR R4 search over one resource at a time: for `_typeFilter` of Bulk Data (standards §1.2) and for the search of
//! Groups (standards §3.5). Pure: a query is read once and then asked about resource after resource.
//!
//! Read [`Query`] first, then [`parameters()`], which is the whole of what can be asked. `clause` reads one `name=value`;
//! the other files hold one kind of value each. Repeated parameters are AND, values with commas between them are OR,
//! and `\,` `\|` `\$` `\\` stand for the characters themselves (R4 search, "Escaping Search Parameters").
//!
//! What R4 leaves to the server is decided so:
//! - codes are compared without regard to case, ids and values of identifiers with regard to it (see [`Token`]);
//! - strings are compared by letters and digits only, without accents and case (see `string`);
//! - dates without a time zone are in UTC, and `ap` widens a date by its own length on both sides (see `date`);
//! - references are compared on type and id, and versions are ignored (see `reference`);
//! - chained parameters, `_has`, `_filter`, `:text`, `:in`, `:above`, `:below` and members of Groups are refused.

mod clause;
mod composite;
mod date;
mod error;
mod escape;
mod parameter;
mod parameters;
mod path;
#[cfg(test)]
mod properties;
mod range;
mod reference;
mod string;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeSet;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::clause::Clause;
pub use self::error::SearchError;
use self::error::shortened;
pub use self::escape::escape;
pub use self::parameter::{Parameter, ParameterKind};
pub use self::parameters::parameters;
pub use self::token::{System, Token};
use super::{Instant, ResourceId, ResourceType};

/// The most `name=value` pairs that one query may have.
pub const MAX_CLAUSES: usize = 100;

/// The most values that one query may have, all clauses together.
pub const MAX_VALUES: usize = 1_000;

/// What would end a name or a value inside a query, and `%` itself.
const RESERVED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'=');

/// One search for resources of one type, as `Type?name=value&name=value`.
///
/// In JSON it is that text. A query without pairs (`Group?`) finds every resource of its type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Query {
    resource_type: ResourceType,
    text: String,
    clauses: Vec<Clause>,
}

impl Query {
    /// Reads one query of a `_typeFilter`: `Patient?active=true&birthdate=ge1960-01-01`.
    ///
    /// The query string of the kick-off has taken one level of percent escapes off. Names and values may have their
    /// own, which are decoded here: `Patient?family=a%26b`. A `+` is a plus, not a space.
    pub fn parse(text: &str) -> Result<Self, SearchError> {
        let (name, query) = text.split_once('?').ok_or(SearchError::NoType)?;
        let resource_type = name.parse().map_err(|_| SearchError::UnknownType(shortened(name)))?;
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decoded(name)?, decoded(value)?));
        }
        Self::new(resource_type, text.to_owned(), &pairs)
    }

    /// A search of one type from the decoded pairs of a query string, as in `GET [base]/Group?identifier=…`.
    ///
    /// Parameters that shape the result (`_count`, `_summary` and the like) are the caller's: here they are refused.
    pub fn of_pairs(resource_type: ResourceType, pairs: &[(String, String)]) -> Result<Self, SearchError> {
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let query: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        Self::new(resource_type, format!("{resource_type}?{}", query.join("&")), pairs)
    }

    fn new(resource_type: ResourceType, text: String, pairs: &[(String, String)]) -> Result<Self, SearchError> {
        if !resource_type.is_attribution() {
            return Err(SearchError::UnsupportedType(resource_type));
        }
        if pairs.len() > MAX_CLAUSES {
            return Err(SearchError::TooManyClauses);
        }
        let mut clauses = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            clauses.push(Clause::parse(resource_type, name, value)?);
        }
        if clauses.iter().map(Clause::values).sum::<usize>() > MAX_VALUES {
            return Err(SearchError::TooManyValues);
        }
        Ok(Self { resource_type, text, clauses })
    }

    /// The type that is searched for.
    #[must_use]
    pub fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// Whether the query finds a resource, given as its JSON. It finds no resource of another type, and no text that is
    /// not JSON.
    #[must_use]
    pub fn matches(&self, json: &str) -> bool {
        serde_json::from_str(json).is_ok_and(|resource| self.matches_value(&resource))
    }

    /// As [`Query::matches`], for JSON that has been read already, so that several queries read it once.
    #[must_use]
    pub fn matches_value(&self, resource: &Value) -> bool {
        let is_of_type = resource.get("resourceType").and_then(Value::as_str) == Some(self.resource_type.name());
        is_of_type && self.clauses.iter().all(|clause| clause.matches(resource))
    }

    /// What an index can answer: for each clause of the token parameter `name`, the tokens of which a resource has at
    /// least one. Every resource that is found satisfies all clauses; whether one that does is found,
    /// [`Query::matches`] says.
    ///
    /// Clauses with `:not` or `:missing` demand no token and are left out. A value of `:of-type` counts as a token of
    /// any system. How the codes are compared, [`Token`] says.
    #[must_use]
    pub fn tokens(&self, name: &str) -> Vec<Vec<Token>> {
        self.clauses.iter().filter(|clause| clause.name() == name).filter_map(Clause::tokens).collect()
    }

    /// The ids that the `_id` clauses leave, sorted, each once; `None` when they leave all.
    #[must_use]
    pub fn ids(&self) -> Option<Vec<ResourceId>> {
        let of_clause = |tokens: &Vec<Token>| -> BTreeSet<ResourceId> {
            let plain = tokens.iter().filter(|token| !matches!(token.system, System::Is(_)));
            plain.filter_map(|token| token.code.as_deref()?.parse().ok()).collect()
        };
        let left = self.tokens("_id").iter().map(of_clause).reduce(|left, right| &left & &right)?;
        Some(left.into_iter().collect())
    }
}

/// A resource as [`Query::matches_value`] takes it, with the time at which this server changed it last in `meta.lastUpdated`
/// whatever the text says: that is the time which reads and `_since` go by. `None` when the text is no JSON object.
#[must_use]
pub fn value_at(json: &str, last_updated: Instant) -> Option<Value> {
    let mut value: Value = serde_json::from_str(json).ok()?;
    let meta = value.as_object_mut()?.entry("meta").or_insert_with(|| Value::Object(Map::new()));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert("lastUpdated".to_owned(), Value::String(last_updated.to_string()));
    }
    Some(value)
}

fn decoded(text: &str) -> Result<String, SearchError> {
    Ok(percent_decode_str(text).decode_utf8().map_err(|_| SearchError::Encoding)?.into_owned())
}

impl fmt::Display for Query {
    /// As it was given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Query {
    type Error = SearchError;

    fn try_from(text: String) -> Result<Self, SearchError> {
        Self::parse(&text)
    }
}

impl From<Query> for String {
    fn from(query: Query) -> Self {
        query.text
    }
}
