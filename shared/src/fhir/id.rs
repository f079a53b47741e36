//! Ids of resources, and the key (type and id) that names one resource of this server.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ResourceType;

/// A FHIR `id`: 1 to 64 of `A-Z a-z 0-9 - .` (R4 datatypes, `id`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId(Box<str>);

/// A text that is not a FHIR `id`. The text itself is left out: it may be about a person.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("an id has 1 to 64 of the characters A-Z a-z 0-9 - . and nothing else")]
pub struct IllegalId;

impl ResourceId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceId {
    type Err = IllegalId;

    fn from_str(text: &str) -> Result<Self, IllegalId> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(legal) {
            return Err(IllegalId);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for ResourceId {
    type Error = IllegalId;

    fn try_from(text: String) -> Result<Self, IllegalId> {
        text.parse()
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of one resource of this server: `Patient/123`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceKey {
    /// The type of the resource.
    pub resource_type: ResourceType,
    /// Its logical id.
    pub id: ResourceId,
}

impl ResourceKey {
    /// Joins a type and an id.
    #[must_use]
    pub fn new(resource_type: ResourceType, id: ResourceId) -> Self {
        Self { resource_type, id }
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource_type, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_legal_character_is_taken_and_no_other() {
        let legal = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-.0123456789";
        assert_eq!(legal.len(), 64);
        assert_eq!(legal.parse::<ResourceId>().map(String::from), Ok(legal.to_owned()));
        for illegal in ["", "a/b", "a%2Fb", "a b", "a_b", "é", &"x".repeat(65)] {
            assert_eq!(illegal.parse::<ResourceId>(), Err(IllegalId), "{illegal}");
        }
    }
}
