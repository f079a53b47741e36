//! Public keys (RFC 7517, "JSON Web Key"), and the choice of the one that a signature was made with. Pure.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// Keys that signatures are checked with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Jwk>);

/// A text that is no set of keys.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotAKeySet {
    /// It is no JSON object with an array `keys`.
    #[error("it is no JSON Web Key Set: an object with an array 'keys'")]
    Shape,
    /// It gives away a secret.
    #[error("it holds a private or a symmetric key; only public keys belong here, and this one is to be replaced")]
    Secret,
}

/// Why no key was chosen.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NoKey {
    /// None fits.
    #[error("none of the registered keys has this kid and fits the algorithm")]
    None,
    /// The choice would be arbitrary (standards §2.2: more than one fails).
    #[error("several of the registered keys have this kid and fit the algorithm; give each key a kid of its own")]
    Several,
}

impl KeySet {
    /// Reads a key set. Keys of kinds that are not known here are left out: a set may serve other purposes too.
    pub fn read(json: &Value) -> Result<Self, NotAKeySet> {
        let keys = json.get("keys").and_then(Value::as_array).ok_or(NotAKeySet::Shape)?;
        if keys.iter().any(|key| key.get("d").is_some() || key.get("k").is_some()) {
            return Err(NotAKeySet::Secret);
        }
        let is_known = |key: &Jwk| !matches!(key.algorithm, AlgorithmParameters::Other(_));
        let keys = keys.iter().filter_map(|key| Jwk::deserialize(key).ok()).filter(is_known).collect();
        Ok(Self(keys))
    }

    /// Whether there is no key that a signature could be checked with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether each key has an id.
    #[must_use]
    pub fn have_ids(&self) -> bool {
        self.0.iter().all(|key| key.common.key_id.as_deref().is_some_and(|id| !id.is_empty()))
    }

    /// The one key with this `kid` (of any, when the token names none) that signatures by this algorithm are made with:
    /// of its type and curve, for signatures, and for no other algorithm (standards §2.2).
    pub fn choose(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        let named = |key: &&Jwk| kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid));
        let mut fitting = self.0.iter().filter(named).filter(|key| fits(key, algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => DecodingKey::from_jwk(key).map_err(|_| NoKey::None),
            (None, _) => Err(NoKey::None),
            (Some(_), Some(_)) => Err(NoKey::Several),
        }
    }
}

fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_of_type = match (&key.algorithm, algorithm) {
        (
            AlgorithmParameters::RSA(_),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512,
        ) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
        _ => false,
    };
    let common = &key.common;
    let is_for_signatures = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let may_verify = common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let is_for_it = common.key_algorithm.is_none_or(|named| named == KeyAlgorithm::from(algorithm));
    is_of_type && is_for_signatures && may_verify && is_for_it
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(kid: &str) -> Value {
        json!({"kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB"})
    }

    fn elliptic(kid: &str, curve: &str) -> Value {
        json!({"kty": "EC", "kid": kid, "crv": curve, "x": "AQAB", "y": "AQAB"})
    }

    fn with(mut key: Value, field: &str, value: Value) -> Value {
        key[field] = value;
        key
    }

    fn chosen(keys: &[Value], kid: Option<&str>, algorithm: Algorithm) -> Result<(), NoKey> {
        KeySet::read(&json!({"keys": keys})).expect("it is a set").choose(kid, algorithm).map(|_| ())
    }

    #[test]
    fn a_key_is_chosen_by_its_id_and_by_what_it_is_for() {
        for (key, algorithm, fits) in [
            (rsa("a"), Algorithm::RS384, true),
            (rsa("a"), Algorithm::PS256, true),
            (rsa("a"), Algorithm::ES384, false),
            (rsa("a"), Algorithm::HS256, false),
            (elliptic("a", "P-384"), Algorithm::ES384, true),
            (elliptic("a", "P-256"), Algorithm::ES384, false),
            (elliptic("a", "P-256"), Algorithm::ES256, true),
            (elliptic("a", "P-384"), Algorithm::RS384, false),
            (elliptic("b", "P-384"), Algorithm::ES384, false),
            (with(rsa("a"), "use", json!("sig")), Algorithm::RS384, true),
            (with(rsa("a"), "use", json!("enc")), Algorithm::RS384, false),
            (with(rsa("a"), "key_ops", json!(["verify"])), Algorithm::RS384, true),
            (with(rsa("a"), "key_ops", json!(["encrypt"])), Algorithm::RS384, false),
            (with(rsa("a"), "alg", json!("RS384")), Algorithm::RS384, true),
            (with(rsa("a"), "alg", json!("RS256")), Algorithm::RS384, false),
        ] {
            let found = chosen(std::slice::from_ref(&key), Some("a"), algorithm);
            assert_eq!(found, if fits { Ok(()) } else { Err(NoKey::None) }, "{key} {algorithm:?}");
        }
    }

    #[test]
    fn two_keys_of_one_id_are_told_apart_by_their_type_or_not_at_all() {
        let both_types = [rsa("a"), elliptic("a", "P-384")];
        assert_eq!(chosen(&both_types, Some("a"), Algorithm::RS384), Ok(()));
        assert_eq!(chosen(&[rsa("a"), rsa("a")], Some("a"), Algorithm::RS384), Err(NoKey::Several));
        assert_eq!(chosen(&[rsa("a"), rsa("b")], None, Algorithm::RS384), Err(NoKey::Several));
        assert_eq!(chosen(&[rsa("a"), elliptic("b", "P-384")], None, Algorithm::RS384), Ok(()));
    }

    #[test]
    fn kinds_of_keys_that_are_not_known_are_left_out_and_secrets_refused() {
        let set = KeySet::read(&json!({"keys": [{"kty": "AKP", "kid": "x"}, elliptic("k1", "secp256k1"), rsa("a")]}));
        assert_eq!(set, KeySet::read(&json!({"keys": [rsa("a")]})));
        for secret in [with(rsa("a"), "d", json!("AQAB")), json!({"kty": "oct", "kid": "a", "k": "AQAB"})] {
            assert_eq!(KeySet::read(&json!({"keys": [secret]})), Err(NotAKeySet::Secret));
        }
        for text in [json!({}), json!([]), json!({"keys": {}}), json!(null)] {
            assert_eq!(KeySet::read(&text), Err(NotAKeySet::Shape), "{text}");
        }
    }
}
