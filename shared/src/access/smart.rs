//! SMART Backend Services (standards §2): this server gives out the tokens that it asks for.
//!
//! A client proves who it is by an assertion, signed with a key that it has registered, and gets an access token for five
//! minutes. The token is a random text, which the [`TokenStore`] remembers for all replicas; what its client may do is
//! read from the register at each call, so that a client that is taken out is
//! out as soon as the register has been read again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64_simd::URL_SAFE_NO_PAD;

use super::assertion::{self, ASSERTION_TYPE, Checked};
use super::clients::{Client, Clients, Keys};
use super::jwt::{BadToken, Unverified};
use super::key_cache::KeyCache;
use super::tokens::{Fingerprint, Grant, TokenStore};
use super::{Authorizer, Caller, IssuedToken, NotIssued, Refusal, Scopes, TokenEndpoint, TokenError, bearer};
use crate::clock::Clock;
use crate::export::ClientId;
use crate::fault::{Fault, FaultKind};
use crate::watched::Watched;

/// How long an access token lives (standards §2.3).
pub const TOKEN_SECONDS: u64 = 300;

/// The authorizer, and the token endpoint.
pub struct Smart {
    clients: Watched<Clients>,
    keys: KeyCache,
    tokens: Arc<dyn TokenStore>,
    clock: Arc<dyn Clock>,
    endpoints: Vec<String>,
}

impl Smart {
    /// An authorizer for these clients. `endpoints` are the URLs of the token endpoint: assertions name one as `aud`.
    pub fn new(
        clients: Watched<Clients>,
        keys: KeyCache,
        tokens: Arc<dyn TokenStore>,
        clock: Arc<dyn Clock>,
        endpoints: Vec<String>,
    ) -> Self {
        Self { clients, keys, tokens, clock, endpoints }
    }

    /// Checks that an assertion proves a client with these keys, and notes its use.
    async fn prove(&self, client: &Client, keys: &Keys, assertion: Unverified<'_>) -> Result<(), NotIssued> {
        let not_proven = |problem: String| not_proven(Some(&client.id), problem);
        let bad = |problem: BadToken| not_proven(bad_assertion(&problem));
        assertion::check_jku(assertion.header.jku.as_deref(), keys).map_err(bad)?;
        let key = match keys {
            Keys::Given(keys) => assertion.key_in(keys),
            Keys::At(url) => self.keys.key_for(url, &assertion).await.map_err(|fault| {
                tracing::warn!(%fault, "cannot fetch the keys of a client");
                not_proven("the keys at the registered jwks_uri cannot be fetched or read now".to_owned())
            })?,
        };
        let claims = key.map_err(BadToken::from).and_then(|key| assertion.verify(&key)).map_err(bad)?;
        let Checked { jti, life } =
            assertion::check(&claims, &client.id, &self.endpoints, self.clock.now()).map_err(bad)?;
        if self.tokens.use_once(Fingerprint::of(&[&client.id, &jti]), life).await? {
            Ok(())
        } else {
            let problem = "the client_assertion was used before; sign a new one, with a jti of its own";
            Err(not_proven(problem.to_owned()))
        }
    }

    async fn issue_to(&self, client: &Client, scopes: &Scopes) -> Result<IssuedToken, NotIssued> {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|error| Fault::new(FaultKind::Unavailable, "failed to draw a random token").because(error))?;
        let access_token = URL_SAFE_NO_PAD.encode_to_string(random);
        let life = Duration::from_secs(TOKEN_SECONDS);
        let grant = Grant::new(&client.id, &client.keys_fingerprint, scopes.to_string(), self.clock.now() + life);
        let scope = grant.scope.clone();
        self.tokens.remember(Fingerprint::of(&[&access_token]), &grant, life).await?;
        Ok(IssuedToken { client: ClientId(client.id.clone()), access_token, expires_in: TOKEN_SECONDS, scope })
    }
}

#[async_trait]
impl Authorizer for Smart {
    async fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal> {
        let token = bearer(authorization)?;
        let ended = || Refusal::TokenInvalid("it has expired or was never given; get a new one".to_owned());
        let grant = self.tokens.find(Fingerprint::of(&[token])).await?.ok_or_else(ended)?;
        if grant.expires_at() <= self.clock.now() {
            return Err(ended());
        }
        let clients = self.clients.now();
        let (client, _) = clients.own(&grant.client_id).ok_or_else(ended)?;
        // A client that is registered anew has other keys, perhaps because somebody else had the old ones.
        if client.keys_fingerprint != grant.keys_fingerprint {
            return Err(ended());
        }
        Ok(Caller {
            client: ClientId(client.id.clone()),
            scopes: Scopes::known_in(&grant.scope).within(&client.scopes),
            lists: client.lists.clone(),
        })
    }

    fn token_endpoint(&self) -> Option<&dyn TokenEndpoint> {
        Some(self)
    }
}

#[async_trait]
impl TokenEndpoint for Smart {
    async fn issue(&self, form: &[(String, String)]) -> Result<IssuedToken, NotIssued> {
        let request = TokenRequest::read(form)?;
        let bad = |problem: BadToken| not_proven(None, bad_assertion(&problem));
        let assertion = assertion::read(request.assertion).map_err(bad)?;
        let id = assertion.unproven().text("iss").map_err(bad)?;
        let clients = self.clients.now();
        let unknown = || not_proven(None, "no client is registered by the id in iss".to_owned());
        let (client, keys) = clients.own(id).ok_or_else(unknown)?;
        if request.client_id.is_some_and(|named| named != client.id) {
            return Err(not_proven(Some(&client.id), "client_id names another client than the assertion".to_owned()));
        }
        self.prove(client, keys, assertion).await?;

        let scopes = Scopes::known_in(request.scope).within(&client.scopes);
        if scopes.is_empty() {
            let problem = format!("the client may have none of these scopes; it may have {}", client.scopes);
            return Err(refused(TokenError::InvalidScope, Some(&client.id), problem));
        }
        self.issue_to(client, &scopes).await
    }
}

/// A token request (standards §2.3).
struct TokenRequest<'a> {
    assertion: &'a str,
    scope: &'a str,
    client_id: Option<&'a str>,
}

impl<'a> TokenRequest<'a> {
    fn read(form: &'a [(String, String)]) -> Result<Self, NotIssued> {
        let malformed = |problem: String| refused(TokenError::InvalidRequest, None, problem);
        let one = |name: &str| -> Result<Option<&'a str>, NotIssued> {
            let mut values = form.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
            match (values.next(), values.next()) {
                // RFC 6749 §3.2: a parameter without a value is as one that is left out.
                (value, None) => Ok(value.filter(|value| !value.is_empty())),
                (_, Some(_)) => Err(malformed(format!("{name} is given more than once"))),
            }
        };
        let (grant_type, assertion_type) = (one("grant_type")?, one("client_assertion_type")?);
        let (assertion, scope, client_id) = (one("client_assertion")?, one("scope")?, one("client_id")?);
        match grant_type {
            Some("client_credentials") => {}
            Some(_) => {
                let problem = "grant_type must be client_credentials".to_owned();
                return Err(refused(TokenError::UnsupportedGrantType, None, problem));
            }
            None => return Err(malformed("grant_type is missing; it must be client_credentials".to_owned())),
        }
        if assertion_type != Some(ASSERTION_TYPE) {
            let problem = format!("clients prove who they are by client_assertion_type={ASSERTION_TYPE}");
            return Err(not_proven(None, problem));
        }
        let assertion = assertion.ok_or_else(|| not_proven(None, "client_assertion is missing".to_owned()))?;
        let no_scope = || "scope is missing; ask for system/*.read, for example".to_owned();
        let scope = scope.ok_or_else(|| refused(TokenError::InvalidScope, None, no_scope()))?;
        Ok(Self { assertion, scope, client_id })
    }
}

/// A refusal, of a request that claims to be from this registered client.
fn refused(error: TokenError, claimed: Option<&str>, problem: String) -> NotIssued {
    NotIssued::Refused { error, problem, claimed: claimed.map(|id| ClientId(id.to_owned())) }
}

/// The client has not proven who it is.
fn not_proven(claimed: Option<&str>, problem: String) -> NotIssued {
    refused(TokenError::InvalidClient, claimed, problem)
}

fn bad_assertion(problem: &BadToken) -> String {
    format!("the client_assertion is refused: {problem}")
}

#[cfg(test)]
mod tests;
