//! SMART Backend Services (standards §2): this server gives out the tokens that it asks for.
//!
//! A client proves who it is by an assertion, signed with a key that it has registered, and gets an access token for five
//! minutes. The token is a random text, which the [`TokenStore`] remembers for all replicas; what its client may do is
//! read from the register at each call, so that a client that is taken out is out at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64_simd::URL_SAFE_NO_PAD;

use super::assertion::{self, ASSERTION_TYPE, Checked};
use super::clients::{Client, Clients, Keys};
use super::jwt::{BadToken, Unverified};
use super::key_cache::KeyCache;
use super::tokens::{Fingerprint, Grant, TokenStore};
use super::{Authorizer, Caller, Granted, NotGranted, Refusal, Scopes, TokenError, TokenServer, bearer};
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

    /// Checks that an assertion proves its client, and notes its use.
    async fn prove(&self, client: &Client, assertion: Unverified<'_>) -> Result<(), NotGranted> {
        let refused =
            |problem: &BadToken| refused_client(&client.id, format!("the client_assertion is refused: {problem}"));
        assertion::check_jku(assertion.header.jku.as_deref(), &client.keys).map_err(|problem| refused(&problem))?;
        let key = match &client.keys {
            Keys::Given(keys) => assertion.key_in(keys).map_err(BadToken::from),
            Keys::At(url) => self.keys.key_for(url, &assertion).await.map_err(|fault| {
                tracing::warn!(%fault, "cannot fetch the keys of a client");
                refused_client(&client.id, format!("the keys at {url} cannot be fetched or read now"))
            })?,
            Keys::OfIssuer => return Err(refused_client(&client.id, "its tokens come from its issuer".to_owned())),
        };
        let key = key.map_err(|problem| refused(&problem))?;
        let claims = assertion.verify(&key).map_err(|problem| refused(&problem))?;
        let now = self.clock.now();
        let Checked { jti, life } =
            assertion::check(&claims, &client.id, &self.endpoints, now).map_err(|problem| refused(&problem))?;
        if self.tokens.use_once(Fingerprint::of(&[&client.id, &jti]), life).await? {
            Ok(())
        } else {
            Err(refused_client(
                &client.id,
                "the client_assertion was used before; sign a new one, with a jti of its own".to_owned(),
            ))
        }
    }

    async fn give(&self, client: &Client, scopes: &Scopes) -> Result<Granted, NotGranted> {
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|error| Fault::new(FaultKind::Unavailable, "failed to draw a random token").because(error))?;
        let access_token = URL_SAFE_NO_PAD.encode_to_string(random);
        let life = Duration::from_secs(TOKEN_SECONDS);
        let grant = Grant::new(&client.id, scopes.to_string(), self.clock.now() + life);
        let scope = grant.scope.clone();
        self.tokens.remember(Fingerprint::of(&[&access_token]), &grant, life).await?;
        Ok(Granted { client: ClientId(client.id.clone()), access_token, expires_in: TOKEN_SECONDS, scope })
    }
}

#[async_trait]
impl Authorizer for Smart {
    async fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal> {
        let token = bearer(authorization)?;
        let ended = || Refusal::InvalidToken("it has expired or was never given; get a new one".to_owned());
        let grant = self.tokens.grant(Fingerprint::of(&[token])).await?.ok_or_else(ended)?;
        if grant.expires_at() <= self.clock.now() {
            return Err(ended());
        }
        let clients = self.clients.now();
        let client = clients.own(&grant.client_id).ok_or_else(ended)?;
        Ok(Caller {
            client: ClientId(client.id.clone()),
            scopes: Scopes::read(&grant.scope).within(&client.scopes),
            lists: client.lists.clone(),
        })
    }

    fn token_server(&self) -> Option<&dyn TokenServer> {
        Some(self)
    }
}

#[async_trait]
impl TokenServer for Smart {
    async fn grant(&self, form: &[(String, String)]) -> Result<Granted, NotGranted> {
        let asked = Asked::of(form)?;
        let assertion = assertion::read(asked.assertion).map_err(|problem| {
            refused(TokenError::InvalidClient, format!("the client_assertion is refused: {problem}"))
        })?;
        let id = assertion.unproven().text("iss").map_err(|problem| {
            refused(TokenError::InvalidClient, format!("the client_assertion is refused: {problem}"))
        })?;
        let clients = self.clients.now();
        let client = clients
            .own(id)
            .ok_or_else(|| refused(TokenError::InvalidClient, "no client is registered by the id in iss".to_owned()))?;
        if asked.client_id.is_some_and(|named| named != client.id) {
            return Err(refused_client(&client.id, "client_id names another client than the assertion".to_owned()));
        }
        self.prove(client, assertion).await?;

        let scopes = Scopes::read(asked.scope).within(&client.scopes);
        if scopes.is_empty() {
            let problem = format!("the client may have none of these scopes; it may have {}", client.scopes);
            return Err(NotGranted::Refused {
                error: TokenError::InvalidScope,
                problem,
                client: Some(ClientId(client.id.clone())),
            });
        }
        self.give(client, &scopes).await
    }
}

/// A token request, in its form (standards §2.3).
struct Asked<'a> {
    assertion: &'a str,
    scope: &'a str,
    client_id: Option<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(form: &'a [(String, String)]) -> Result<Self, NotGranted> {
        let invalid = |problem: String| refused(TokenError::InvalidRequest, problem);
        let one = |name: &str| -> Result<Option<&'a str>, NotGranted> {
            let mut values = form.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
            match (values.next(), values.next()) {
                // RFC 6749 §3.2: a parameter without a value is as one that is left out.
                (value, None) => Ok(value.filter(|value| !value.is_empty())),
                (_, Some(_)) => Err(invalid(format!("{name} is given more than once"))),
            }
        };
        let (grant_type, assertion_type) = (one("grant_type")?, one("client_assertion_type")?);
        let (assertion, scope, client_id) = (one("client_assertion")?, one("scope")?, one("client_id")?);
        match grant_type {
            Some("client_credentials") => {}
            Some(_) => {
                let problem = "grant_type must be client_credentials".to_owned();
                return Err(refused(TokenError::UnsupportedGrantType, problem));
            }
            None => return Err(invalid("grant_type is missing; it must be client_credentials".to_owned())),
        }
        let client = |problem: String| refused(TokenError::InvalidClient, problem);
        if assertion_type != Some(ASSERTION_TYPE) {
            return Err(client(format!("clients prove who they are by client_assertion_type={ASSERTION_TYPE}")));
        }
        let assertion = assertion.ok_or_else(|| client("client_assertion is missing".to_owned()))?;
        let scope = scope.ok_or_else(|| {
            refused(TokenError::InvalidScope, "scope is missing; ask for system/*.read, for example".to_owned())
        })?;
        Ok(Self { assertion, scope, client_id })
    }
}

fn refused(error: TokenError, problem: String) -> NotGranted {
    NotGranted::Refused { error, problem, client: None }
}

/// A registered client that has not proven who it is.
fn refused_client(client: &str, problem: String) -> NotGranted {
    NotGranted::Refused { error: TokenError::InvalidClient, problem, client: Some(ClientId(client.to_owned())) }
}

#[cfg(test)]
mod tests;
