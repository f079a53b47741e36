//! The register of clients as it is written: what each entry may hold, before it is checked. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BadRegister;
use crate::fhir::{Identifier, ResourceId};

/// The document, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Register {
    /// Who issues access tokens, when this server does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<IssuerEntry>,
    /// The clients.
    pub clients: Vec<ClientEntry>,
}

/// A client, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientEntry {
    /// What it calls itself: `iss` and `sub` of its assertions, or the claim of its issuer's tokens.
    pub client_id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The most that it may be granted.
    pub scope: String,
    /// The lists that it may see.
    pub lists: ListsEntry,
    /// Where its public keys are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Its public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// Who issues its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// The lists of a client, as they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "lists is \"all\", or an object with ids and identifiers, each system|value")]
pub enum ListsEntry {
    /// `"all"`.
    All(All),
    /// By id and by identifier.
    Some(SomeLists),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Every list.
    All,
}

/// Some lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SomeLists {
    /// Ids of Groups.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ids: BTreeSet<ResourceId>,
    /// Identifiers of Groups, `system|value`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub identifiers: BTreeSet<Identifier>,
}

/// An issuer of access tokens, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerEntry {
    /// What its tokens say in `iss`, byte for byte.
    pub issuer: String,
    /// Where its public keys are.
    pub jwks_uri: String,
    /// What its tokens say in `aud`; the FHIR base when nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// The claim that names the client: `client_id` (RFC 9068) when nothing is said, `azp`, `appid`, `sub` elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_claim: Option<String>,
}

impl Register {
    /// Reads a document. Fails with the line at which it is no register.
    pub fn read(text: &str) -> Result<Self, BadRegister> {
        serde_json::from_str(text).map_err(|error| BadRegister(format!("it is no register of clients: {error}")))
    }
}
