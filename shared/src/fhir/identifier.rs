//! Business identifiers (R4 datatypes, `Identifier`): the numbers by which the world knows a provider.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::json;

/// An identifier with its system: `http://hl7.org/fhir/sid/us-npi|1316206220`. Both are compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identifier {
    system: Box<str>,
    value: Box<str>,
}

/// A text that is no identifier with a system.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("an identifier is written system|value, such as http://hl7.org/fhir/sid/us-npi|1316206220")]
pub struct NotAnIdentifier;

impl Identifier {
    /// The system of National Provider Identifiers.
    pub const NPI: &'static str = "http://hl7.org/fhir/sid/us-npi";
    /// The system of Tax Identification Numbers, as the ATR Group has it.
    pub const TIN: &'static str = "urn:oid:2.16.840.1.113883.4.4";

    /// An identifier of these parts. Fails when one is empty, or the system holds a bar.
    pub fn new(system: &str, value: &str) -> Result<Self, NotAnIdentifier> {
        if system.is_empty() || value.is_empty() || system.contains('|') {
            return Err(NotAnIdentifier);
        }
        Ok(Self { system: system.into(), value: value.into() })
    }

    /// The system.
    #[must_use]
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The value, without its system.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The identifiers of a resource, given as its JSON. One without a system or a value names nobody and is left out, and
    /// so are all of a text in which `identifier` is no array.
    #[must_use]
    pub fn all_of(json: &str) -> Vec<Self> {
        #[derive(Deserialize)]
        struct Identified {
            #[serde(default)]
            identifier: Value,
        }
        let identified = json::object::<Identified>(json).map(|identified| identified.identifier).unwrap_or_default();
        let read = |identifier: &Value| {
            Self::new(identifier.get("system")?.as_str()?, identifier.get("value")?.as_str()?).ok()
        };
        identified.as_array().map(|all| all.iter().filter_map(read).collect()).unwrap_or_default()
    }
}

impl FromStr for Identifier {
    type Err = NotAnIdentifier;

    fn from_str(text: &str) -> Result<Self, NotAnIdentifier> {
        let (system, value) = text.split_once('|').ok_or(NotAnIdentifier)?;
        Self::new(system, value)
    }
}

impl TryFrom<String> for Identifier {
    type Error = NotAnIdentifier;

    fn try_from(text: String) -> Result<Self, NotAnIdentifier> {
        text.parse()
    }
}

impl From<Identifier> for String {
    fn from(identifier: Identifier) -> Self {
        identifier.to_string()
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}", self.system, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_a_system_and_a_value() {
        let npi: Identifier = "http://hl7.org/fhir/sid/us-npi|1316206220".parse().expect("it has both");
        assert_eq!(Ok(npi), Identifier::new(Identifier::NPI, "1316206220"));
        for text in ["1316206220", "|1316206220", "http://hl7.org/fhir/sid/us-npi|", ""] {
            assert_eq!(text.parse::<Identifier>(), Err(NotAnIdentifier), "{text}");
        }
    }

    #[test]
    fn what_names_nobody_is_left_out_of_the_identifiers_of_a_resource() {
        let read = |json: &str| Identifier::all_of(json).iter().map(ToString::to_string).collect::<Vec<_>>();
        let json = r#"{"identifier":[{"system":"a","value":"1"},{"value":"2"},{"system":"b"},{"system":"c","value":3},
            {"system":"","value":"4"},{"system":"a|b","value":"5"},7,{"system":"d","value":"6|7"}]}"#;
        assert_eq!(read(json), ["a|1", "d|6|7"]);
        for json in ["{}", r#"{"identifier":7}"#, r#"{"identifier":null}"#, "[]", "no JSON"] {
            assert!(read(json).is_empty(), "{json}");
        }
    }
}
