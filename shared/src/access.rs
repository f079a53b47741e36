//! The port to the authorizer: who is calling, and what they may do.
//!
//! [`smart`] gives out tokens (SMART Backend Services), [`external`] takes those of other issuers, [`open`] asks for none.
//! Read [`clients`] (the register), [`scopes`] and [`lists`] (rights), [`jwt`], [`assertion`] and [`key_set`] (what is
//! believed): all pure. [`key_cache`] and [`tokens`] have effects; [`key_pair`] is the client's half.

pub mod assertion;
pub mod clients;
pub mod external;
pub mod jwt;
pub mod key_cache;
pub mod key_pair;
pub mod key_set;
pub mod lists;
pub mod open;
pub mod scopes;
pub mod smart;
pub mod tokens;

use async_trait::async_trait;
use thiserror::Error;

pub use self::lists::Lists;
pub use self::scopes::{Permission, Scopes};
use crate::export::ClientId;
use crate::fault::Fault;

/// The one who calls, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The client; its jobs are its own.
    pub client: ClientId,
    /// What may be done with which types.
    pub scopes: Scopes,
    /// Which lists may be seen.
    pub lists: Lists,
}

/// Why a call is not let in.
#[derive(Debug, Error)]
pub enum Refusal {
    /// No token: 401 that says what to send (RFC 6750 §3).
    #[error("this server asks for an access token; send 'Authorization: Bearer <token>'")]
    TokenMissing,
    /// A token that is not valid: 401 and `invalid_token` (RFC 6750 §3.1).
    #[error("the access token is not valid: {0}")]
    TokenInvalid(String),
    /// The token is valid, and its client is not registered here: 403.
    #[error("the client of this token is not registered here; ask who runs this server")]
    Unregistered(ClientId),
    /// The authorizer could not be asked.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// An access token, as it was issued (RFC 6749 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// Who it was issued to.
    pub client: ClientId,
    /// The token.
    pub access_token: String,
    /// In how many seconds it ends.
    pub expires_in: u64,
    /// What it is good for.
    pub scope: String,
}

/// The error codes of a token endpoint (RFC 6749 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenError {
    /// The request is no token request.
    InvalidRequest,
    /// Whoever asks has not proven who it is.
    InvalidClient,
    /// Another grant than `client_credentials`.
    UnsupportedGrantType,
    /// No scope, or none that the client may have.
    InvalidScope,
}

impl TokenError {
    /// The code, as RFC 6749 spells it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
        }
    }
}

/// Why no token is issued.
#[derive(Debug, Error)]
pub enum NotIssued {
    /// The request is refused.
    #[error("{}: {problem}", .error.code())]
    Refused {
        /// The code.
        error: TokenError,
        /// A sentence for whoever asked.
        problem: String,
        /// The registered client that the request claims to be from, proven or not.
        claimed: Option<ClientId>,
    },
    /// What is needed to decide could not be asked.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Tells who is calling.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// The caller of a request with this `Authorization` header (`None` when there is none), with the rights that the
    /// register gives now. A caller who may do nothing at all is one all the same.
    async fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal>;

    /// The token endpoint, when the tokens that are asked for come from here.
    fn token_endpoint(&self) -> Option<&dyn TokenEndpoint>;
}

/// Issues access tokens.
#[async_trait]
pub trait TokenEndpoint: Send + Sync {
    /// Issues a token to whoever sends this form (RFC 6749 §4.4.2, standards §2.3).
    async fn issue(&self, form: &[(String, String)]) -> Result<IssuedToken, NotIssued>;
}

/// The token in an `Authorization` header: `Bearer`, in any case, and one token (RFC 6750 §2.1).
fn bearer(authorization: Option<&str>) -> Result<&str, Refusal> {
    let authorization = authorization.ok_or(Refusal::TokenMissing)?;
    let (scheme, token) = authorization.split_once(' ').unwrap_or((authorization, ""));
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::TokenMissing);
    }
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(Refusal::TokenInvalid("the header holds no token after 'Bearer'".to_owned()));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_taken_from_the_header() {
        for header in ["Bearer abc", "bearer abc", "BEARER  abc "] {
            assert!(matches!(bearer(Some(header)), Ok("abc")), "{header}");
        }
        for header in [None, Some(""), Some("Basic abc"), Some("abc")] {
            assert!(matches!(bearer(header), Err(Refusal::TokenMissing)), "{header:?}");
        }
        for header in ["Bearer", "Bearer ", "Bearer a b"] {
            assert!(matches!(bearer(Some(header)), Err(Refusal::TokenInvalid(_))), "{header}");
        }
    }
}
