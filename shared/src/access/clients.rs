//! The register of clients: who may come, how each proves who it is, and what it may see. Pure; `watched` reads the file.
//!
//! A JSON document, so that it takes the keys as clients send them. Its names are those of RFC 7591 and RFC 8414; `lists`
//! is this server's own.
//!
//! ```json
//! {
//!   "clients": [
//!     {
//!       "client_id": "north",
//!       "client_name": "North Clinic",
//!       "scope": "system/*.read",
//!       "lists": {"ids": ["g1"], "identifiers": ["http://hl7.org/fhir/sid/us-npi|1316206220"]},
//!       "jwks_uri": "https://north.example.org/jwks.json"
//!     }
//!   ]
//! }
//! ```
//!
//! A client has one of `jwks_uri`, `jwks` (the keys themselves) and `issuer` (its tokens come from there). `lists` may be
//! `"all"`. Who issues tokens stands in `issuers`.

use std::collections::HashMap;

use serde_json::Value;
use thiserror::Error;
use url::Url;

pub use self::document::{All, ClientEntry, IssuerEntry, ListsEntry, Register, SomeLists};
use super::key_set::KeySet;
use super::tokens::Fingerprint;
use super::{Lists, Scopes};

mod document;

/// What is wrong with a register: one line that names the entry.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct BadRegister(String);

/// The register, checked, for looking things up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Clients {
    issuers: HashMap<String, Issuer>,
    /// Those that this server gives tokens to, by id, with the keys that prove who they are.
    own: HashMap<String, (Client, Keys)>,
    /// Those whose tokens come from issuers, by issuer and id.
    of_issuers: HashMap<(String, String), Client>,
}

/// A registered client.
#[derive(Debug, PartialEq, Eq)]
pub struct Client {
    /// What it calls itself.
    pub id: String,
    /// The most that it may be granted.
    pub scopes: Scopes,
    /// The lists that it may see.
    pub lists: Lists,
    /// Tells its keys, or where they are, from any other: what was given to whoever had other keys is not for this client.
    pub keys_fingerprint: String,
}

/// The public keys of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Keys {
    /// They are published there.
    At(Url),
    /// They are in the register.
    Given(KeySet),
}

/// Somebody who issues access tokens.
#[derive(Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Where its public keys are.
    pub jwks_uri: Url,
    /// What its tokens say in `aud`; empty when the FHIR base is meant.
    pub audience: Vec<String>,
    /// The claim that names the client.
    pub client_claim: String,
}

impl Clients {
    /// Reads and checks a document.
    pub fn read(text: &str) -> Result<Self, BadRegister> {
        Self::check(Register::read(text)?)
    }

    /// Checks a document. One entry that is wrong is enough to refuse it all: half a register would lock some clients out
    /// without a word.
    pub fn check(register: Register) -> Result<Self, BadRegister> {
        let mut checked = Self::default();
        for entry in register.issuers {
            let name = entry.issuer.clone();
            let issuer = issuer(entry).map_err(|why| BadRegister(format!("issuer '{name}': {why}")))?;
            if checked.issuers.insert(name.clone(), issuer).is_some() {
                return Err(BadRegister(format!("issuer '{name}' stands twice")));
            }
        }
        for entry in register.clients {
            let id = entry.client_id.clone();
            checked.add(entry).map_err(|why| BadRegister(format!("client '{id}': {why}")))?;
        }
        Ok(checked)
    }

    fn add(&mut self, entry: ClientEntry) -> Result<(), String> {
        let (id, issuer) = (entry.client_id.clone(), entry.issuer.clone());
        let keys = keys(entry.jwks_uri.as_deref(), entry.jwks.as_ref());
        let client = client(entry)?;
        let is_new = match (issuer, keys?) {
            (None, Some(keys)) => self.own.insert(id, (client, keys)).is_none(),
            (Some(issuer), None) if self.issuers.contains_key(&issuer) => {
                self.of_issuers.insert((issuer, id), client).is_none()
            }
            (Some(issuer), None) => {
                return Err(format!("its issuer '{issuer}' is not among the issuers, each with a jwks_uri"));
            }
            (None, None) | (Some(_), Some(_)) => {
                return Err("it has one of jwks_uri, jwks and issuer, and no more".to_owned());
            }
        };
        if is_new { Ok(()) } else { Err("it stands twice".to_owned()) }
    }

    /// The client of this id that this server gives tokens to, and its keys.
    #[must_use]
    pub fn own(&self, id: &str) -> Option<&(Client, Keys)> {
        self.own.get(id)
    }

    /// The client of this id of an issuer.
    #[must_use]
    pub fn of_issuer(&self, issuer: &str, id: &str) -> Option<&Client> {
        self.of_issuers.get(&(issuer.to_owned(), id.to_owned()))
    }

    /// The issuer of this name.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Option<&Issuer> {
        self.issuers.get(name)
    }

    /// How many clients there are that this server gives tokens to, and how many have theirs from issuers.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.own.len(), self.of_issuers.len())
    }
}

fn client(entry: ClientEntry) -> Result<Client, String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic();
    if entry.client_id.is_empty() || entry.client_id.len() > 255 || !entry.client_id.bytes().all(is_plain) {
        return Err("a client_id is 1 to 255 visible ASCII characters without blanks".to_owned());
    }
    let scopes = Scopes::parse(&entry.scope).map_err(|why| format!("scope: {why}"))?;
    let lists = match entry.lists {
        ListsEntry::All(All::All) => Lists::All,
        ListsEntry::Some(SomeLists { ids, identifiers }) if !(ids.is_empty() && identifiers.is_empty()) => {
            Lists::Some { ids, identifiers }
        }
        ListsEntry::Some(_) => return Err("lists: it names none; give ids, identifiers, or \"all\"".to_owned()),
    };
    let keys = entry.jwks.map(|jwks| jwks.to_string()).or(entry.jwks_uri).or(entry.issuer).unwrap_or_default();
    let keys_fingerprint = Fingerprint::of(&[&keys]).to_string();
    Ok(Client { id: entry.client_id, scopes, lists, keys_fingerprint })
}

/// The keys of an entry; `None` when it has none.
fn keys(url: Option<&str>, set: Option<&Value>) -> Result<Option<Keys>, String> {
    match (url, set) {
        (None, None) => Ok(None),
        (Some(url), None) => https("jwks_uri", url).map(Keys::At).map(Some),
        (None, Some(set)) => {
            let keys = KeySet::read(set).map_err(|why| format!("jwks: {why}"))?;
            if keys.is_empty() {
                return Err("jwks: none of its keys is of a kind that is known here (RSA, or EC)".to_owned());
            }
            // Assertions name the key that they are signed with (standards §2.1).
            if !keys.have_ids() {
                return Err("jwks: each key must have a kid".to_owned());
            }
            Ok(Some(Keys::Given(keys)))
        }
        (Some(_), Some(_)) => Err("it has one of jwks_uri, jwks and issuer, and no more".to_owned()),
    }
}

fn issuer(entry: IssuerEntry) -> Result<Issuer, String> {
    if entry.issuer.is_empty() || entry.audience.iter().any(String::is_empty) {
        return Err("issuer and audience are not empty".to_owned());
    }
    Ok(Issuer {
        jwks_uri: https("jwks_uri", &entry.jwks_uri)?,
        audience: entry.audience,
        client_claim: entry.client_claim.filter(|claim| !claim.is_empty()).unwrap_or_else(|| "client_id".to_owned()),
    })
}

/// Keys that came over a wire that anybody may write on would prove nothing.
fn https(name: &str, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{name}: {error}"))?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() != "https" || !is_plain {
        return Err(format!("{name}: it must be https://host/path, without a user or a fragment"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn north() -> Value {
        json!({"client_id": "north", "scope": "system/*.read", "lists": "all", "jwks_uri": "https://n.org/jwks"})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut entry = north();
        entry[field] = value;
        entry
    }

    fn read(clients: &[Value]) -> Result<Clients, String> {
        Clients::read(&json!({"clients": clients}).to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_client_is_found_by_its_id_with_its_rights() {
        let lists = json!({"ids": ["g1"], "identifiers": ["urn:a|1"]});
        let clients = read(&[north(), with("client_id", json!("south")), {
            let mut some = with("client_id", json!("west"));
            some["lists"] = lists;
            some
        }])
        .expect("it is a register");
        assert_eq!(clients.own("north").map(|(client, _)| client.lists.are_all()), Some(true));
        let (west, _) = clients.own("west").expect("it is there");
        assert!(west.lists.holds(&"g1".parse().expect("an id"), &[]));
        assert!(!west.lists.holds(&"g2".parse().expect("an id"), &[]));
        assert!(clients.own("east").is_none() && clients.of_issuer("https://i.org", "north").is_none());
        assert_eq!(clients.counts(), (3, 0));
    }

    #[test]
    fn clients_of_two_issuers_may_have_the_same_id_and_are_two() {
        let issuer = |name: &str| json!({"issuer": name, "jwks_uri": "https://i.org/jwks"});
        let client =
            |issuer: &str, scope: &str| json!({"client_id": "north", "scope": scope, "lists": "all", "issuer": issuer});
        let register = json!({
            "issuers": [issuer("a"), issuer("b")],
            "clients": [client("a", "system/*.read"), client("b", "system/Group.read"), north()],
        });
        let clients = Clients::read(&register.to_string()).expect("it is a register");
        let scopes = |client: Option<&Client>| client.map(|client| client.scopes.to_string());
        assert_eq!(scopes(clients.of_issuer("a", "north")).as_deref(), Some("system/*.read"));
        assert_eq!(scopes(clients.of_issuer("b", "north")).as_deref(), Some("system/Group.read"));
        assert_eq!(clients.counts(), (1, 2));
        assert_eq!(clients.issuer("a").map(|issuer| issuer.client_claim.as_str()), Some("client_id"));
    }

    #[test]
    fn what_is_wrong_is_told_in_one_line_that_names_the_client() {
        for (entry, part) in [
            (with("jwks_uri", json!("http://n.org/jwks")), "https://"),
            (with("jwks_uri", json!("https://u:p@n.org/jwks")), "https://"),
            (with("jwks_uri", json!("nonsense")), "jwks_uri"),
            (with("jwks_uri", json!(null)), "one of jwks_uri, jwks and issuer"),
            (with("jwks", json!({"keys": []})), "one of jwks_uri, jwks and issuer"),
            (with("issuer", json!("a")), "one of jwks_uri, jwks and issuer"),
            (with("scope", json!("system/*.raed")), "system/*.raed"),
            (with("lists", json!({})), "names none"),
            (json!({"client_id": "north", "scope": "system/*.read", "lists": "all", "issuer": "a"}), "'a'"),
            (
                json!({"client_id": "north", "scope": "system/*.read", "lists": "all", "jwks": {"keys": []}}),
                "none of its keys",
            ),
            (
                json!({
                    "client_id": "north", "scope": "system/*.read", "lists": "all",
                    "jwks": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
                }),
                "kid",
            ),
        ] {
            let problem = read(std::slice::from_ref(&entry)).expect_err(&entry.to_string());
            assert!(problem.contains(part) && problem.contains("'north'") && !problem.contains('\n'), "{problem}");
        }
        for (entry, part) in [
            (with("client_id", json!("")), "client_id"),
            (with("client_id", json!("a b")), "client_id"),
            (with("colour", json!("red")), "colour"),
            (with("lists", json!("some")), "lists is"),
            (with("lists", json!({"identifiers": ["1316206220"]})), "lists is"),
            (json!({"client_id": "north"}), "scope"),
        ] {
            let problem = read(std::slice::from_ref(&entry)).expect_err(&entry.to_string());
            assert!(problem.contains(part) && !problem.contains('\n'), "{part}: {problem}");
        }
        assert!(read(&[north(), north()]).expect_err("twice").contains("twice"));
        assert!(Clients::read("clients:").expect_err("it is no JSON").to_string().contains("line 1"));
    }

    #[test]
    fn a_document_that_was_read_is_written_as_it_was() {
        let text = json!({
            "issuers": [{"issuer": "a", "jwks_uri": "https://i.org/jwks"}],
            "clients": [north(), with("lists", json!({"ids": ["g1"]}))],
        });
        let register = Register::read(&text.to_string()).expect("it is a register");
        assert_eq!(serde_json::to_value(register).expect("it is JSON"), text);
    }
}
