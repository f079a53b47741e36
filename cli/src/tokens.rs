//! The access tokens of a client (standards §2.2, §2.3): one is got when it is needed, and another one before it ends.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use shared::access::assertion::ASSERTION_TYPE;
use shared::access::key_pair::PrivateKey;
use shared::clock::{Clock, SystemClock};
use shared::wire;
use tokio::time::Instant;
use url::Origin;

use crate::arguments::AccessArguments;
use crate::export;

/// How long an assertion is good for.
const ASSERTION_LIFE: Duration = Duration::from_mins(4);
/// So long before its end a token is not used any more: the request has to get there.
const SPARE: Duration = Duration::from_secs(20);

/// Where tokens come from, and the current one.
pub struct Tokens(Option<Account>);

struct Account {
    /// Asks for tokens. It follows no redirect: an assertion is for one place.
    client: Client,
    /// The only server that tokens are sent to.
    server: Origin,
    client_id: String,
    scope: String,
    key: PrivateKey,
    endpoint: String,
    current: Option<(String, Instant)>,
}

#[derive(Deserialize)]
struct Configuration {
    token_endpoint: String,
}

#[derive(Deserialize)]
struct IssuedToken {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize, Default)]
struct Refused {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Tokens {
    /// The tokens of the client that the arguments name; none when they name none. The server says where to get them.
    pub async fn of(client: &Client, server: &str, access: &AccessArguments) -> anyhow::Result<Self> {
        let (Some(client_id), Some(file)) = (&access.client, &access.key) else { return Ok(Self(None)) };
        let pem = tokio::fs::read_to_string(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        let key = PrivateKey::from_pem(&pem).map_err(|why| anyhow!("{}: {why}", file.display()))?;
        let url = format!("{server}/.well-known/smart-configuration");
        let response = client.get(&url).send().await.with_context(|| format!("cannot reach {server}"))?;
        if response.status() != StatusCode::OK {
            bail!("{url} was answered with {}; is {server} its base, and does it ask for tokens?", response.status());
        }
        let configuration: Configuration = response.json().await.with_context(|| format!("{url} cannot be read"))?;
        let (base, endpoint) = (Url::parse(server)?, Url::parse(&configuration.token_endpoint)?);
        for url in [&base, &endpoint] {
            if wire::is_exposed(url) {
                bail!("{url} is not https, and tokens are not sent in the clear");
            }
        }
        Ok(Self(Some(Account {
            client: export::client(access, Policy::none()).await?,
            server: base.origin(),
            client_id: client_id.clone(),
            scope: access.scope.clone(),
            key,
            endpoint: configuration.token_endpoint,
            current: None,
        })))
    }

    /// A request with the current token, if tokens are asked for.
    pub async fn authorize(&mut self, request: RequestBuilder) -> anyhow::Result<RequestBuilder> {
        let Some(account) = &mut self.0 else { return Ok(request) };
        let url = request.try_clone().and_then(|request| request.build().ok()).map(|request| request.url().origin());
        if url.as_ref() != Some(&account.server) {
            let url = url.map_or_else(String::new, |origin| origin.ascii_serialization());
            let server = account.server.ascii_serialization();
            bail!("the server names a URL on {url}, and tokens are sent to {server} only; is --server its public URL?");
        }
        Ok(request.bearer_auth(account.token().await?))
    }
}

impl Account {
    async fn token(&mut self) -> anyhow::Result<String> {
        if let Some((token, good_until)) = &self.current
            && Instant::now() < *good_until
        {
            return Ok(token.clone());
        }
        let granted = self.request_token().await?;
        let life = Duration::from_secs(granted.expires_in);
        self.current = Some((granted.access_token.clone(), Instant::now() + life.saturating_sub(SPARE)));
        Ok(granted.access_token)
    }

    async fn request_token(&self) -> anyhow::Result<IssuedToken> {
        let assertion = self.key.assertion(&self.client_id, &self.endpoint, SystemClock.now(), ASSERTION_LIFE);
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", &self.scope),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &assertion.context("the private key cannot sign")?),
        ];
        let asking = || format!("cannot get a token from {}", self.endpoint);
        let response = self.client.post(&self.endpoint).form(&form).send().await.with_context(asking)?;
        let status = response.status();
        if status == StatusCode::OK {
            return response.json().await.with_context(asking);
        }
        let refused: Refused = response.json().await.unwrap_or_default();
        bail!("{}: it answers {status} {}: {}", asking(), refused.error, refused.error_description)
    }
}
