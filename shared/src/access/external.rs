//! Tokens of other issuers: JSON Web Tokens (RFC 9068, and what came before it), checked by the keys that each issuer
//! publishes. What a client may do is what its token and the register both allow.

use std::sync::Arc;

use async_trait::async_trait;
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::clients::Clients;
use super::jwt::{BadToken, Claims, Unverified};
use super::key_cache::KeyCache;
use super::{Authorizer, Caller, Refusal, Scopes, TokenEndpoint, bearer};
use crate::clock::Clock;
use crate::export::ClientId;
use crate::watched::Watched;

/// The signatures that are taken: all of them by a private key, so that nobody signs with what is public.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

/// The authorizer.
pub struct External {
    clients: Watched<Clients>,
    keys: KeyCache,
    clock: Arc<dyn Clock>,
    base: String,
}

impl External {
    /// An authorizer for the issuers and clients of this register. `base` is what tokens name as `aud` where their issuer
    /// has nothing else registered.
    pub fn new(clients: Watched<Clients>, keys: KeyCache, clock: Arc<dyn Clock>, base: String) -> Self {
        Self { clients, keys, clock, base }
    }
}

#[async_trait]
impl Authorizer for External {
    async fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal> {
        let invalid = |problem: BadToken| Refusal::TokenInvalid(problem.to_string());
        let token = Unverified::read(bearer(authorization)?, &ALGORITHMS).map_err(invalid)?;
        let name = token.unproven().text("iss").map_err(invalid)?.to_owned();
        let clients = self.clients.now();
        let issuer = clients
            .issuer(&name)
            .ok_or_else(|| Refusal::TokenInvalid("it is of an issuer that is not known here".to_owned()))?;
        let key = self.keys.key_for(&issuer.jwks_uri, &token).await?.map_err(|none| invalid(none.into()))?;
        let claims = token.verify(&key).map_err(invalid)?;
        claims.seconds_left(self.clock.now()).map_err(invalid)?;
        let base = std::slice::from_ref(&self.base);
        claims.check_audience(if issuer.audience.is_empty() { base } else { &issuer.audience }).map_err(invalid)?;

        let id = claims.maybe_text(&issuer.client_claim).filter(|id| !id.is_empty()).ok_or_else(|| {
            Refusal::TokenInvalid(format!("its claim {} is missing, which names the client", issuer.client_claim))
        })?;
        // Two issuers may call two clients the same.
        let known_as = ClientId(format!("{name} {id}"));
        let Some(client) = clients.of_issuer(&name, id) else { return Err(Refusal::Unregistered(known_as)) };
        Ok(Caller {
            client: known_as,
            scopes: Scopes::known_in(&scope(&claims)).within(&client.scopes),
            lists: client.lists.clone(),
        })
    }

    fn token_endpoint(&self) -> Option<&dyn TokenEndpoint> {
        None
    }
}

/// The scopes of a token: `scope` (RFC 9068 §2.2.3), or `scp` as some issuers call it; a text or a list of texts.
fn scope(claims: &Claims) -> String {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
