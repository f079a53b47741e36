//! The client's half of SMART Backend Services: making a key pair, and signing assertions with it (standards §2.2).

use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use thiserror::Error;
use uuid::Uuid;

use crate::fhir::Instant;

/// The two algorithms that every client and server of SMART may meet (standards §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of 3,072 bits, for RS384.
    Rs384,
    /// The curve P-384, for ES384.
    Es384,
}

impl KeyKind {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Rs384 => Algorithm::RS384,
            Self::Es384 => Algorithm::ES384,
        }
    }

    /// As `alg` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs384 => "RS384",
            Self::Es384 => "ES384",
        }
    }
}

/// A key that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadKey {
    /// The text is no private key of a kind that SMART uses.
    #[error("it is no private key in PEM, of RSA (2,048 bits or more) or of the curve P-384")]
    Unusable,
    /// The system gave no random numbers.
    #[error("a key cannot be made: the system gives no random numbers")]
    NotMade,
}

/// A private key, and the id under which its public half is registered.
pub struct PrivateKey {
    kind: KeyKind,
    signing: EncodingKey,
    public: Jwk,
}

impl PrivateKey {
    /// A new key, as PEM (PKCS #8) for its owner to keep, and ready to use.
    pub fn generate(kind: KeyKind) -> Result<(String, Self), BadKey> {
        let der = match kind {
            KeyKind::Rs384 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(|_| BadKey::NotMade)?;
                let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair);
                der.map_err(|_| BadKey::NotMade)?.as_ref().to_vec()
            }
            KeyKind::Es384 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(|_| BadKey::NotMade)?;
                pair.to_pkcs8v1().map_err(|_| BadKey::NotMade)?.as_ref().to_vec()
            }
        };
        let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der));
        let key = Self::from_pem(&pem)?;
        Ok((pem, key))
    }

    /// Reads a private key in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        let elliptic = EncodingKey::from_ec_pem(pem.as_bytes()).map(|key| (KeyKind::Es384, key));
        let (kind, signing) = elliptic
            .or_else(|_| EncodingKey::from_rsa_pem(pem.as_bytes()).map(|key| (KeyKind::Rs384, key)))
            .map_err(|_| BadKey::Unusable)?;
        let mut public = Jwk::from_encoding_key(&signing, kind.algorithm()).map_err(|_| BadKey::Unusable)?;
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256).map_err(|_| BadKey::Unusable)?);
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        public.common.key_operations = Some(vec![KeyOperations::Verify]);
        let key = Self { kind, signing, public };
        // A key that is too short, or of another curve, is found out here and not at the first request.
        key.sign_claims(&json!({})).ok_or(BadKey::Unusable)?;
        Ok(key)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The `kid`: the thumbprint of its public half (RFC 7638), so that nobody has to keep it.
    #[must_use]
    pub fn id(&self) -> &str {
        self.public.common.key_id.as_deref().unwrap_or_default()
    }

    /// A key set with its public half: what the other side registers.
    #[must_use]
    pub fn public_set(&self) -> Value {
        json!({"keys": [self.public]})
    }

    /// An assertion of a client for a token endpoint, good for `life` (five minutes at most) from `now` on, and for one use.
    ///
    /// `None` when the key cannot sign, which [`PrivateKey::from_pem`] has tried.
    #[must_use]
    pub fn assertion(&self, client_id: &str, token_endpoint: &str, now: Instant, life: Duration) -> Option<String> {
        let expires = (now + life).unix_millis() / 1_000;
        self.sign_claims(&json!({
            "iss": client_id,
            "sub": client_id,
            "aud": token_endpoint,
            "exp": expires,
            "jti": Uuid::new_v4().to_string(),
        }))
    }

    /// A token that says this, signed under the key's id; `None` as in [`PrivateKey::assertion`].
    #[must_use]
    pub fn sign_claims(&self, claims: &Value) -> Option<String> {
        let header = Header { kid: Some(self.id().to_owned()), ..Header::new(self.kind.algorithm()) };
        encode(&header, claims, &self.signing).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::assertion;
    use crate::access::key_set::KeySet;

    #[test]
    fn an_assertion_is_proven_by_the_public_half_of_its_key_and_by_no_other() {
        let now = Instant::from_unix_millis(1_767_607_200_000);
        for kind in [KeyKind::Es384, KeyKind::Rs384] {
            let (pem, made) = PrivateKey::generate(kind).expect("the system gives random numbers");
            let key = PrivateKey::from_pem(&pem).expect("it was written just now");
            assert_eq!((key.kind(), key.id()), (kind, made.id()));
            let signed = key.assertion("north", "https://x.org/token", now, Duration::from_mins(5)).expect("it signs");
            let keys = KeySet::read(&key.public_set()).expect("it is a set of public keys");
            let read = assertion::read(&signed).expect("it is an assertion");
            let claims = read.verify(&keys.choose(Some(key.id()), kind.algorithm()).expect("it is there"));
            let claims = claims.expect("the signature fits");
            let checked = assertion::check(&claims, "north", &["https://x.org/token".to_owned()], now);
            assert!(checked.is_ok(), "{checked:?}");

            let (_, other) = PrivateKey::generate(kind).expect("the system gives random numbers");
            let others = KeySet::read(&other.public_set()).expect("it is a set of public keys");
            let read = assertion::read(&signed).expect("it is an assertion");
            assert!(read.verify(&others.choose(None, kind.algorithm()).expect("it is there")).is_err());
        }
    }

    #[test]
    fn what_is_no_private_key_of_a_kind_that_is_used_is_refused() {
        let p256 = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING);
        let p256 = p256.and_then(|pair| pair.to_pkcs8v1()).expect("the system gives random numbers");
        let p256 = pem::encode(&pem::Pem::new("PRIVATE KEY", p256.as_ref()));
        for text in ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &p256] {
            assert_eq!(PrivateKey::from_pem(text).err(), Some(BadKey::Unusable), "{text}");
        }
    }
}
