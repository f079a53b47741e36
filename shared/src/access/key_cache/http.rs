//! Getting key sets over HTTPS, and what HTTP says of keeping them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap, HeaderName};
use reqwest::{Certificate, Client, StatusCode};
use url::Url;

use super::{KeySource, Published};
use crate::access::key_set::KeySet;
use crate::fault::{Fault, FaultKind};
use crate::wire;

/// The longest key set that is read.
const LONGEST_SET_BYTES: usize = 256 << 10;

/// Gets key sets over HTTPS: no redirects, no more than 256 KiB, no longer than it is told to wait.
pub struct HttpKeys(Client);

impl HttpKeys {
    /// `timeout` is for one fetch. `authorities` are certificates that are trusted beside those of the system. Fails with
    /// `Invalid` when they cannot be.
    pub fn new(timeout: Duration, authorities: Vec<Certificate>) -> Result<Self, Fault> {
        let wrong = |error| Fault::new(FaultKind::Invalid, "failed to prepare for fetching keys").because(error);
        let client = Client::builder()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .tls_certs_merge(authorities)
            .build()
            .map_err(wrong)?;
        Ok(Self(client))
    }
}

#[async_trait]
impl KeySource for HttpKeys {
    async fn fetch(&self, url: &Url) -> Result<Published, Fault> {
        let doing = || format!("failed to fetch keys from {url}");
        let unavailable = |error: reqwest::Error| Fault::new(FaultKind::Unavailable, doing()).because(error);
        let invalid = |why: &str| Fault::new(FaultKind::Invalid, doing()).because(why.to_owned());
        let request = self.0.get(url.clone()).header("Accept", "application/jwk-set+json, application/json");
        let response = request.send().await.map_err(unavailable)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Fault::new(FaultKind::Unavailable, doing()).because(format!("it answers {status}")));
            }
            status => return Err(invalid(&format!("it answers {status}"))),
        }
        let life = life(response.headers());
        let body = wire::body(response, LONGEST_SET_BYTES).await.map_err(unavailable)?;
        let body = body.ok_or_else(|| invalid(&format!("it is longer than {LONGEST_SET_BYTES} bytes")))?;
        let json = serde_json::from_slice(&body).map_err(|_| invalid("it is no JSON"))?;
        let keys = KeySet::read(&json).map_err(|why| invalid(&why.to_string()))?;
        Ok(Published { keys: Arc::new(keys), life })
    }
}

/// How long an answer may be kept (RFC 9111 §4.2, §5.2): nothing when it must not be, `None` when it does not say.
fn life(headers: &HeaderMap) -> Option<Duration> {
    let texts = |name: HeaderName| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> =
        texts(CACHE_CONTROL).flat_map(|line| line.split(',')).map(|word| word.trim().to_ascii_lowercase()).collect();
    if directives.iter().any(|word| matches!(word.as_str(), "no-store" | "no-cache")) {
        return Some(Duration::ZERO);
    }
    let max_age = directives.iter().find_map(|word| word.strip_prefix("max-age="))?;
    // What cannot be read is stale already (RFC 9111 §4.2.1).
    let max_age: u64 = max_age.trim_matches('"').parse().unwrap_or(0);
    let age: u64 = texts(AGE).next().and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    Some(Duration::from_secs(max_age.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http_says_of_keeping_is_understood() {
        for (cache_control, age, expected) in [
            (&[][..], None, None),
            (&["public"], None, None),
            (&["public, max-age=60"], None, Some(60)),
            (&["public", "Max-Age=60"], None, Some(60)),
            (&["max-age=60"], Some("20"), Some(40)),
            (&["max-age=60"], Some("90"), Some(0)),
            (&["no-store, max-age=60"], None, Some(0)),
            (&["no-cache"], None, Some(0)),
            (&["max-age=soon"], None, Some(0)),
        ] {
            let mut headers = HeaderMap::new();
            for line in cache_control {
                headers.append(CACHE_CONTROL, line.parse().expect("it is a header"));
            }
            if let Some(age) = age {
                headers.append(AGE, age.parse().expect("it is a header"));
            }
            assert_eq!(life(&headers), expected.map(Duration::from_secs), "{cache_control:?} {age:?}");
        }
    }
}
