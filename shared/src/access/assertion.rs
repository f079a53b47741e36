//! The assertion by which a backend service proves who it is (standards §2.2): what it must say. Pure.

use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::clients::Keys;
use super::jwt::{BadToken, CLOCK_SKEW_SECONDS, Claims, Unverified};
use crate::fhir::Instant;

/// What `client_assertion_type` must be.
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The algorithms that SMART has every client support (standards §2.1).
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS384, Algorithm::ES384];

/// How far ahead `exp` may be.
const LONGEST_LIFE_SECONDS: f64 = 300.0;

/// The longest `jti`.
const LONGEST_JTI_BYTES: usize = 255;

/// Reads an assertion and checks its header, as far as that can be done without knowing the client.
pub fn read(assertion: &str) -> Result<Unverified<'_>, BadToken> {
    let assertion = Unverified::read(assertion, &ALGORITHMS)?;
    let header = &assertion.header;
    if !header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT")) {
        return Err(BadToken::Header("typ JWT"));
    }
    if header.kid.as_deref().is_none_or(str::is_empty) {
        return Err(BadToken::Header("a kid that names the key"));
    }
    Ok(assertion)
}

/// Checks that `jku`, if it is there, is where the client has registered its keys, so that nobody is sent elsewhere for
/// them.
pub fn check_jku(jku: Option<&str>, keys: &Keys) -> Result<(), BadToken> {
    match (jku, keys) {
        (None, _) => Ok(()),
        (Some(jku), Keys::At(registered)) if url::Url::parse(jku).is_ok_and(|jku| jku == *registered) => Ok(()),
        (Some(_), _) => Err(BadToken::Other("its jku is not the jwks_uri that the client has registered".to_owned())),
    }
}

/// What is left of a checked assertion.
#[derive(Debug, PartialEq)]
pub struct Checked {
    /// Its `jti`.
    pub jti: String,
    /// How long it could be used again if nobody noted that it was.
    pub life: Duration,
}

/// Checks what a proven assertion of this client says, for a token endpoint of these names.
pub fn check(claims: &Claims, client: &str, endpoints: &[String], now: Instant) -> Result<Checked, BadToken> {
    if claims.text("iss")? != client || claims.text("sub")? != client {
        return Err(BadToken::Other("its claims iss and sub must both be the client_id".to_owned()));
    }
    claims.check_audience(endpoints)?;
    let life = claims.seconds_left(now)?;
    if life > LONGEST_LIFE_SECONDS + CLOCK_SKEW_SECONDS {
        return Err(BadToken::Other(format!("its exp lies more than {LONGEST_LIFE_SECONDS} seconds ahead")));
    }
    let jti = claims.text("jti")?;
    if jti.len() > LONGEST_JTI_BYTES {
        return Err(BadToken::Other(format!("its jti is longer than {LONGEST_JTI_BYTES} bytes")));
    }
    // It dies at `exp` without an allowance; the rest is for clocks of replicas that do not agree.
    let life = Duration::from_secs_f64(life + CLOCK_SKEW_SECONDS);
    Ok(Checked { jti: jti.to_owned(), life })
}
