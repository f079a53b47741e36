//! The client's half of a token endpoint (SMART Backend Services, standards §2.2 and §2.3): where it is, how it is asked for
//! an access token, and what its answers mean.
//!
//! Two use it: this system as a client of the payer's FHIR server, and `atr export` as a client of this system. [`kept`]
//! keeps the token and has it renewed.

pub mod kept;
#[cfg(test)]
pub(crate) mod test_endpoint;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;
use url::Url;

use crate::access::assertion::ASSERTION_TYPE;
use crate::access::key_pair::PrivateKey;
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;
use crate::wire;

/// Where a server says how tokens are got, below its base.
const CONFIGURATION_PATH: &str = ".well-known/smart-configuration";
/// How long an assertion is good for.
const ASSERTION_LIFE: Duration = Duration::from_mins(4);
/// How long a token is good for when its server does not say, though it should: the longest that SMART advises.
const USUAL_LIFE: Duration = Duration::from_mins(5);
/// The longest answer that is read.
const LONGEST_ANSWER_BYTES: usize = 256 << 10;
/// How much is said of the words in which a server refuses.
const LONGEST_WORDS: usize = 300;

/// Where the token endpoint is.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// There.
    At(Url),
    /// Where the server with this base says that it is. It is asked for each token, so that it may move.
    SaidBy(Url),
}

/// A client that is registered with its public key.
pub struct TokenClient {
    /// Asks for tokens. It must follow no redirect: an assertion is for one place.
    pub http: Client,
    /// Where to ask.
    pub endpoint: Endpoint,
    /// The name under which the client is registered.
    pub client_id: String,
    /// Its private key in PEM. It is read for each token, so that it may be exchanged.
    pub key_file: PathBuf,
    /// What is asked for.
    pub scope: String,
    /// How long it may take to get a token.
    pub within: Duration,
}

/// A token, as its server gave it out.
pub struct Issued {
    /// The header that carries it; it hides its value from `Debug`.
    pub authorization: HeaderValue,
    /// How long it is good for.
    pub life: Duration,
}

#[derive(Deserialize)]
struct Configuration {
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: Option<String>,
    /// A number of seconds, which some servers write as a text.
    #[serde(default)]
    expires_in: Value,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
}

impl TokenClient {
    /// Reads the private key. Fails with `Invalid` when it cannot be read or is none.
    pub async fn key(&self) -> Result<PrivateKey, Fault> {
        let invalid = |why: String| {
            let doing = format!("failed to read the private key in {}", self.key_file.display());
            Fault::new(FaultKind::Invalid, doing).because(why)
        };
        let pem = tokio::fs::read_to_string(&self.key_file).await.map_err(|error| invalid(error.to_string()))?;
        PrivateKey::from_pem(&pem).map_err(|why| invalid(why.to_string()))
    }

    /// A new token.
    ///
    /// Fails with `Busy` or `Unavailable` when it cannot be had now, with `Invalid` when somebody has to mend something: the
    /// endpoint refuses the client, the key cannot be used, what it answers is no token. No fault says a secret.
    pub async fn issue(&self, now: Instant) -> Result<Issued, Fault> {
        let late = |_| {
            let what = format!("failed to get an access token within {} seconds", self.within.as_secs_f32());
            Fault::new(FaultKind::Unavailable, what)
        };
        timeout(self.within, self.ask(now)).await.map_err(late)?
    }

    async fn ask(&self, now: Instant) -> Result<Issued, Fault> {
        let key = self.key().await?;
        let endpoint = match &self.endpoint {
            Endpoint::At(url) => url.to_string(),
            Endpoint::SaidBy(base) => self.discover(base).await?,
        };
        let doing = || format!("failed to get an access token from {endpoint}");
        let invalid = |why: &str| Fault::new(FaultKind::Invalid, doing()).because(why.to_owned());
        let url = guarded(&endpoint).map_err(|why| invalid(&why))?;
        // `aud` is the endpoint letter by letter as it was told, which a parsed URL need not be.
        let assertion = key.assertion(&self.client_id, &endpoint, now, ASSERTION_LIFE);
        let assertion = assertion.ok_or_else(|| invalid("the private key cannot sign"))?;
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", &self.scope),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &assertion),
        ];
        let unavailable =
            |error: reqwest::Error| Fault::new(FaultKind::Unavailable, doing()).because(error.without_url());
        let request = self.http.post(url).header(ACCEPT, "application/json").form(&form);
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let body = body(response, doing).await?;
        if status == StatusCode::OK {
            return issued(&body).ok_or_else(|| invalid("its answer holds no access token of the type bearer"));
        }
        let words = words(&body, &assertion);
        Err(Fault::new(kind_of(status), doing()).because(format!("it answers {status} {words}").trim_end().to_owned()))
    }

    /// Where the server with this base says that its token endpoint is.
    async fn discover(&self, base: &Url) -> Result<String, Fault> {
        let url = format!("{}/{CONFIGURATION_PATH}", base.as_str().trim_end_matches('/'));
        let doing = || format!("failed to read from {url} where access tokens are got");
        let invalid = |why: String| Fault::new(FaultKind::Invalid, doing()).because(why);
        let unavailable =
            |error: reqwest::Error| Fault::new(FaultKind::Unavailable, doing()).because(error.without_url());
        let request = self.http.get(guarded(&url).map_err(invalid)?).header(ACCEPT, "application/json");
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        if status != StatusCode::OK {
            let why = format!("it answers {status}; is {base} the base of a server that asks for tokens?");
            return Err(Fault::new(kind_of(status), doing()).because(why));
        }
        let configuration = serde_json::from_slice(&body(response, doing).await?);
        let Configuration { token_endpoint } = configuration.map_err(|_| invalid("it names none".to_owned()))?;
        Ok(token_endpoint)
    }
}

/// A URL to which an assertion may be sent, or that may be believed where tokens are got.
fn guarded(url: &str) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|why| format!("{url} is no URL: {why}"))?;
    if !matches!(url.scheme(), "http" | "https") || wire::is_exposed(&url) {
        return Err(format!("{url} is not https, and tokens are not got in the clear"));
    }
    Ok(url)
}

async fn body(response: Response, doing: impl Fn() -> String) -> Result<Vec<u8>, Fault> {
    let body = wire::body(response, LONGEST_ANSWER_BYTES).await;
    let body = body.map_err(|error| Fault::new(FaultKind::Unavailable, doing()).because(error.without_url()))?;
    let too_long = || format!("its answer is longer than {LONGEST_ANSWER_BYTES} bytes");
    body.ok_or_else(|| Fault::new(FaultKind::Invalid, doing()).because(too_long()))
}

/// Whether a refusal may pass.
fn kind_of(status: StatusCode) -> FaultKind {
    match status {
        StatusCode::TOO_MANY_REQUESTS => FaultKind::Busy,
        StatusCode::REQUEST_TIMEOUT => FaultKind::Unavailable,
        status if status.is_server_error() => FaultKind::Unavailable,
        _ => FaultKind::Invalid,
    }
}

/// What is in an answer; `None` when it is no token of the type bearer (RFC 6749 §5.1, §7.1).
fn issued(body: &[u8]) -> Option<Issued> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let is_bearer = answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
    let seconds = answer.expires_in.as_u64().or_else(|| answer.expires_in.as_str()?.parse().ok());
    let life = seconds.map_or(USUAL_LIFE, Duration::from_secs);
    Some(Issued { authorization: wire::bearer(&answer.access_token).filter(|_| is_bearer)?, life })
}

/// The words in which an endpoint refuses (RFC 6749 §5.2), without what it was sent, should it send that back.
fn words(body: &[u8], assertion: &str) -> String {
    let Refusal { error, error_description } = serde_json::from_slice(body).unwrap_or_default();
    let words: Vec<String> = [error, error_description].into_iter().filter(|text| !text.is_empty()).collect();
    let words = words.join(": ").replace(assertion, "…");
    words.chars().filter(|char| !char.is_control()).take(LONGEST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_token_only_if_it_is_of_the_type_bearer() {
        for (answer, expected) in [
            (r#"{"access_token":"t","token_type":"bearer","expires_in":60}"#, Some(60)),
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":"60"}"#, Some(60)),
            (r#"{"access_token":"t"}"#, Some(300)),
            (r#"{"access_token":"t","expires_in":null}"#, Some(300)),
            (r#"{"access_token":"t","token_type":"mac","expires_in":60}"#, None),
            (r#"{"access_token":"two words","expires_in":60}"#, None),
            (r#"{"access_token":"","expires_in":60}"#, None),
            (r#"{"token_type":"bearer","expires_in":60}"#, None),
            ("<html>", None),
        ] {
            let issued = issued(answer.as_bytes());
            assert_eq!(issued.map(|issued| issued.life), expected.map(Duration::from_secs), "{answer}");
        }
    }

    #[test]
    fn the_words_of_a_refusal_are_one_line_of_bounded_length_without_the_assertion() {
        let said = |body: &str| words(body.as_bytes(), "ey.secret");
        assert_eq!(said(r#"{"error":"invalid_client"}"#), "invalid_client");
        let echoed = r#"{"error":"invalid_client","error_description":"what is\n'ey.secret'?"}"#;
        assert_eq!(said(echoed), "invalid_client: what is'…'?");
        assert_eq!(said("<html>"), "");
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(1_000));
        assert_eq!(said(&long).len(), LONGEST_WORDS);
    }

    #[test]
    fn only_what_somebody_can_mend_is_invalid() {
        for (status, expected) in [
            (400, FaultKind::Invalid),
            (401, FaultKind::Invalid),
            (302, FaultKind::Invalid),
            (404, FaultKind::Invalid),
            (408, FaultKind::Unavailable),
            (429, FaultKind::Busy),
            (500, FaultKind::Unavailable),
            (503, FaultKind::Unavailable),
        ] {
            let status = StatusCode::from_u16(status).expect("it is a status");
            assert_eq!(kind_of(status), expected, "{status}");
        }
    }

    #[test]
    fn tokens_are_got_over_https_or_on_this_machine_only() {
        for url in ["http://a.example.org/token", "ftp://127.0.0.1/token", "/token", ""] {
            assert!(guarded(url).is_err(), "{url}");
        }
        for url in ["https://a.example.org/token", "http://127.0.0.1:8080/token"] {
            assert!(guarded(url).is_ok(), "{url}");
        }
    }
}
