//! JSON Web Tokens (RFC 7519) with an asymmetric signature: reading one, and checking what it says. Pure.
//!
//! A token is read without being believed, so that its issuer's key can be found, and believed after
//! [`Unverified::verify`]. The checks here are those that every kind of token has; what is special to one is with it.

use std::str::FromStr;

use base64_simd::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use super::key_set::{KeySet, NoKey};
use crate::fhir::Instant;

/// The longest token that is looked at: nobody's is longer, and reading costs time.
const LONGEST_BYTES: usize = 16_384;

/// How far the clock of who made a token may be ahead of this server's.
pub const CLOCK_SKEW_SECONDS: f64 = 30.0;

/// Why a token is not believed: a sentence for whoever sent it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadToken {
    /// It cannot be read.
    #[error("it is no JSON Web Token of three parts in base64url, each JSON, of at most {LONGEST_BYTES} bytes")]
    Malformed,
    /// `alg` is missing, `none`, symmetric, or another that is not taken.
    #[error("its header must have one of these as alg: {0}")]
    Algorithm(String),
    /// A header field that is missing or has another value than it must.
    #[error("its header must have {0}")]
    Header(&'static str),
    /// `crit` names extensions (RFC 7515 §4.1.11).
    #[error("its header names extensions in crit, and none is known here")]
    Critical,
    /// No key to check it with.
    #[error("{0}")]
    Key(#[from] NoKey),
    /// The signature was made with another key, or for another text.
    #[error("its signature does not fit the registered key")]
    Signature,
    /// A claim that is missing or of the wrong type.
    #[error("its claim {0} is missing or has the wrong type")]
    Claim(&'static str),
    /// `exp` has passed.
    #[error("it has expired (exp)")]
    Expired,
    /// `nbf` lies ahead.
    #[error("it is not valid yet (nbf)")]
    NotYet,
    /// `aud` names somebody else.
    #[error("it is meant for somebody else: aud must be {0}")]
    Audience(String),
    /// What its kind of token demands beyond that.
    #[error("{0}")]
    Other(String),
}

/// The header of a token, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Header {
    alg: Value,
    /// The id of the key that it was signed with.
    #[serde(default)]
    pub kid: Option<String>,
    /// What kind of token it is.
    #[serde(default)]
    pub typ: Option<String>,
    /// Where the key set is, as the sender says.
    #[serde(default)]
    pub jku: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

/// A token that was read and is not believed yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// Its header.
    pub header: Header,
    /// Its algorithm, one of those that are taken.
    pub algorithm: Algorithm,
    claims: Claims,
    signed: &'a str,
    signature: &'a str,
}

/// What a token says.
#[derive(Debug)]
pub struct Claims(Map<String, Value>);

impl<'a> Unverified<'a> {
    /// Reads a token that is signed by one of these algorithms. Whoever calls this lists asymmetric ones only.
    pub fn read(token: &'a str, algorithms: &[Algorithm]) -> Result<Self, BadToken> {
        if token.len() > LONGEST_BYTES {
            return Err(BadToken::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken::Malformed)?;
        let header: Header = part(header)?;
        let claims = Claims(part(claims)?);
        let algorithm = header.alg.as_str().and_then(|name| Algorithm::from_str(name).ok());
        let algorithm = algorithm.filter(|algorithm| algorithms.contains(algorithm)).ok_or_else(|| {
            let names: Vec<String> = algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            BadToken::Algorithm(names.join(", "))
        })?;
        if header.crit.is_some() {
            return Err(BadToken::Critical);
        }
        Ok(Self { header, algorithm, claims, signed, signature })
    }

    /// What it says, unproven: to find the key by.
    #[must_use]
    pub fn unproven(&self) -> &Claims {
        &self.claims
    }

    /// The one of these keys that checks it; fails when none fits, or several do.
    pub fn key_in(&self, keys: &KeySet) -> Result<DecodingKey, NoKey> {
        keys.choose(self.header.kid.as_deref(), self.algorithm)
    }

    /// What it says, once the signature fits the key.
    pub fn verify(self, key: &DecodingKey) -> Result<Claims, BadToken> {
        match crypto::verify(self.signature, self.signed.as_bytes(), key, self.algorithm) {
            Ok(true) => Ok(self.claims),
            Ok(false) | Err(_) => Err(BadToken::Signature),
        }
    }
}

fn part<T: for<'de> Deserialize<'de>>(encoded: &str) -> Result<T, BadToken> {
    let json = URL_SAFE_NO_PAD.decode_to_vec(encoded).map_err(|_| BadToken::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| BadToken::Malformed)
}

impl Claims {
    /// A claim that is a text.
    pub fn text(&self, name: &'static str) -> Result<&str, BadToken> {
        self.maybe_text(name).filter(|text| !text.is_empty()).ok_or(BadToken::Claim(name))
    }

    /// A claim that is a text, if it is there.
    #[must_use]
    pub fn maybe_text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A claim of any type, if it is there.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// For how many seconds the token lives from `now` on; fails when it does not (RFC 7519 §4.1.4, §4.1.5).
    ///
    /// `exp` has to be there and has no allowance: it is the sender's to choose it late enough. `nbf`, if it is there,
    /// may lie [`CLOCK_SKEW_SECONDS`] ahead.
    pub fn seconds_left(&self, now: Instant) -> Result<f64, BadToken> {
        #[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 are well below 2^53")]
        let now = now.unix_micros() as f64 / 1_000_000.0;
        let expires = self.0.get("exp").and_then(Value::as_f64).ok_or(BadToken::Claim("exp"))?;
        if expires <= now {
            return Err(BadToken::Expired);
        }
        if let Some(begins) = self.0.get("nbf") {
            let begins = begins.as_f64().ok_or(BadToken::Claim("nbf"))?;
            if begins > now + CLOCK_SKEW_SECONDS {
                return Err(BadToken::NotYet);
            }
        }
        Ok(expires - now)
    }

    /// Checks that `aud`, a text or several, names one of `own` byte for byte (RFC 7519 §4.1.3).
    pub fn check_audience(&self, own: &[String]) -> Result<(), BadToken> {
        let is_own = |audience: &Value| audience.as_str().is_some_and(|audience| own.iter().any(|one| one == audience));
        let is_meant = match self.0.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_own),
            Some(audience @ Value::String(_)) => is_own(audience),
            _ => return Err(BadToken::Claim("aud")),
        };
        if is_meant { Ok(()) } else { Err(BadToken::Audience(own.join(" or "))) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    const TAKEN: [Algorithm; 2] = [Algorithm::RS384, Algorithm::ES384];

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode_to_string(value.to_string());
        format!("{}.{}.{}", part(header), part(claims), URL_SAFE_NO_PAD.encode_to_string("signature"))
    }

    fn refusal(text: &str) -> BadToken {
        Unverified::read(text, &TAKEN).expect_err(text)
    }

    fn claims(claims: Value) -> Claims {
        serde_json::from_value(claims).map(Claims).expect("it is an object")
    }

    #[test]
    fn algorithms_that_need_no_private_key_are_not_taken() {
        let taken = || BadToken::Algorithm("RS384, ES384".to_owned());
        for algorithm in ["none", "None", "HS256", "HS384", "RS256", "ES256", "EdDSA", "rs384", ""] {
            assert_eq!(refusal(&token(&json!({"alg": algorithm}), &json!({}))), taken(), "{algorithm}");
        }
        assert_eq!(refusal(&token(&json!({"alg": 7}), &json!({}))), taken());
        assert_eq!(refusal(&token(&json!({}), &json!({}))), BadToken::Malformed);
    }

    #[test]
    fn what_is_no_token_is_told_so() {
        let good = token(&json!({"alg": "RS384"}), &json!({"iss": "c"}));
        assert!(Unverified::read(&good, &TAKEN).is_ok());
        let (no_header, no_claims) = (token(&json!([]), &json!({})), token(&json!({"alg": "RS384"}), &json!(7)));
        let padded = good.replacen('.', "=.", 1);
        let five = format!("{good}.a.b");
        let long = format!("{good}{}", "A".repeat(LONGEST_BYTES));
        for text in ["", "a", "a.b", "..", "a.b.c", "é.é.é", &no_header, &no_claims, &padded, &five, &long] {
            assert_eq!(refusal(text), BadToken::Malformed, "{text}");
        }
    }

    #[test]
    fn extensions_that_must_be_understood_are_refused() {
        let header = json!({"alg": "RS384", "crit": ["b64"], "b64": false});
        assert_eq!(refusal(&token(&header, &json!({}))), BadToken::Critical);
    }

    #[test]
    fn a_token_lives_from_nbf_with_an_allowance_until_exp_without_one() {
        let now = Instant::from_unix_millis(1_000_000) + Duration::from_millis(500);
        for (given, expected) in [
            (json!({"exp": 1_001}), Ok(0.5)),
            (json!({"exp": 1_000.75}), Ok(0.25)),
            (json!({"exp": 1_000}), Err(BadToken::Expired)),
            (json!({"exp": 1_000.5}), Err(BadToken::Expired)),
            (json!({"exp": -1}), Err(BadToken::Expired)),
            (json!({}), Err(BadToken::Claim("exp"))),
            (json!({"exp": "1001"}), Err(BadToken::Claim("exp"))),
            (json!({"exp": 1_001, "nbf": 1_030}), Ok(0.5)),
            (json!({"exp": 1_001, "nbf": 1_031}), Err(BadToken::NotYet)),
            (json!({"exp": 1_001, "nbf": "0"}), Err(BadToken::Claim("nbf"))),
        ] {
            assert_eq!(claims(given.clone()).seconds_left(now), expected, "{given}");
        }
    }

    #[test]
    fn the_audience_is_compared_byte_by_byte() {
        let own = ["https://x.org/token".to_owned(), "https://y.org/token".to_owned()];
        let other = || Err(BadToken::Audience("https://x.org/token or https://y.org/token".to_owned()));
        for (given, expected) in [
            (json!("https://x.org/token"), Ok(())),
            (json!(["https://z.org", "https://y.org/token"]), Ok(())),
            (json!("https://x.org/token/"), other()),
            (json!("http://x.org/token"), other()),
            (json!("HTTPS://x.org/token"), other()),
            (json!([]), other()),
            (json!([7]), other()),
            (json!(7), Err(BadToken::Claim("aud"))),
            (json!(null), Err(BadToken::Claim("aud"))),
        ] {
            assert_eq!(claims(json!({"aud": given})).check_audience(&own), expected, "{given}");
        }
    }
}
