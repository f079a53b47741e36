//! The access tokens of a client (standards §2.2, §2.3): one is got when it is needed, and another one before it ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Url};
use shared::clock::SystemClock;
use shared::token_client::kept::KeptToken;
use shared::token_client::{Endpoint, TokenClient};
use shared::wire;
use url::Origin;

use crate::arguments::AccessArguments;
use crate::export;

/// How long getting a token may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where tokens come from, and the current one.
pub struct Tokens(Option<Account>);

struct Account {
    /// The only server that tokens are sent to.
    server: Origin,
    token: KeptToken,
}

impl Tokens {
    /// The tokens of the client that the arguments name; none when they name none. The server says where to get them.
    pub async fn of(server: &str, access: &AccessArguments) -> anyhow::Result<Self> {
        let (Some(client_id), Some(key_file)) = (&access.client, &access.key) else { return Ok(Self(None)) };
        let base = Url::parse(server).with_context(|| format!("{server} is no URL"))?;
        let server = base.origin();
        let client = TokenClient {
            http: export::client(access, Policy::none()).await?,
            endpoint: Endpoint::SaidBy(base),
            client_id: client_id.clone(),
            key_file: key_file.clone(),
            scope: access.scope.clone(),
            within: PATIENCE,
        };
        Ok(Self(Some(Account { server, token: KeptToken::new(client, Arc::new(SystemClock)) })))
    }

    /// A request with the current token, if tokens are asked for.
    pub async fn authorize(&self, request: RequestBuilder) -> anyhow::Result<RequestBuilder> {
        let Some(Account { server, token }) = &self.0 else { return Ok(request) };
        let token = token.now().await?;
        wire::authorize(request, token.authorization, server)
            .context("a URL that the server names leads elsewhere; is --server its public URL?")
    }
}
