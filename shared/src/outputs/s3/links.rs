//! Links: addresses of objects that carry a signature and an end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Config, Credentials, IdentityCache, ProvideCredentials, ResponseChecksumValidation, SharedCredentialsProvider,
};
use aws_sdk_s3::presigning::PresigningConfig;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::warn;
use url::Url;

use super::faults::fault;
use crate::clock::{Clock, SystemClock};
use crate::fault::{Fault, FaultKind};
use crate::fhir::Instant;
use crate::outputs::{Link, LinkMethod};

/// The longest that S3 lets a link live.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// How long to wait for credentials; the SDK waits as long for those of its requests.
const CREDENTIALS_WITHIN: Duration = Duration::from_secs(5);

/// How often the source of the credentials is asked when those at hand would cut a link short: it may have no better ones.
const ASKED_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// How long credentials without an end are used before their source is asked again, so that a changed profile is seen.
const KEPT_AT_MOST: Duration = Duration::from_mins(15);

/// Signs links, without a word to the store.
pub(super) struct Links {
    /// For the endpoint that clients see.
    config: Config,
    source: SharedCredentialsProvider,
    bucket: String,
    clock: Box<dyn Clock>,
    signer: Mutex<Option<Signer>>,
}

/// A client that signs with one set of credentials, whose end is therefore known.
#[derive(Clone)]
struct Signer {
    client: Client,
    asked_at: SystemTime,
    ends_at: Option<SystemTime>,
}

impl Links {
    /// Links to objects of a bucket. Of `config`, only the endpoint, the region and the style of the path matter.
    pub(super) fn new(config: aws_sdk_s3::config::Builder, source: SharedCredentialsProvider, bucket: &str) -> Self {
        Self {
            // Otherwise the link asks for a checksum by a header that is signed, and a plain GET would not have it.
            config: config.response_checksum_validation(ResponseChecksumValidation::WhenRequired).build(),
            source,
            bucket: bucket.to_owned(),
            clock: Box::new(SystemClock),
            signer: Mutex::new(None),
        }
    }

    /// A link to an object for `valid` from now; see [`crate::outputs::OutputStore::link`].
    pub(super) async fn sign(&self, object: &str, method: LinkMethod, valid: Duration) -> Result<Link, Fault> {
        let doing = || format!("failed to sign a link to {object}");
        let asked_for = whole_seconds(valid);
        let now = self.whole_second();
        let signer = self
            .signer(now, asked_for)
            .await
            .map_err(|why| Fault::new(FaultKind::Unavailable, doing()).because(why))?;
        let Some(valid) = lifetime(asked_for, now, signer.ends_at) else {
            return Err(
                Fault::new(FaultKind::Unavailable, doing()).because("the credentials that sign it have expired")
            );
        };
        let until = PresigningConfig::builder().start_time(now).expires_in(valid).build();
        let until = until.map_err(|error| Fault::new(FaultKind::Invalid, doing()).because(error))?;
        let link = match method {
            LinkMethod::Get => {
                let request = signer.client.get_object().bucket(&self.bucket).key(object);
                request.presigned(until).await.map_err(|error| fault(doing(), &self.bucket, error))
            }
            LinkMethod::Head => {
                let request = signer.client.head_object().bucket(&self.bucket).key(object);
                request.presigned(until).await.map_err(|error| fault(doing(), &self.bucket, error))
            }
        }?;
        let url = Url::parse(link.uri()).map_err(|error| Fault::new(FaultKind::Invalid, doing()).because(error))?;
        Ok(Link { url, expires_at: instant(now + valid) })
    }

    /// The time now, cut down to the second: a signature tells no finer time, and the link ends by what it tells.
    fn whole_second(&self) -> SystemTime {
        let millis = u64::try_from(self.clock.now().unix_millis()).unwrap_or(0);
        UNIX_EPOCH + Duration::from_secs(millis / 1_000)
    }

    /// The signer for a link of this length. Only one caller at a time asks for credentials; the others wait for them.
    async fn signer(&self, now: SystemTime, valid: Duration) -> Result<Signer, String> {
        let mut kept = self.signer.lock().await;
        let live = match kept.as_ref() {
            Some(signer) if !is_due(signer.asked_at, signer.ends_at, valid, now) => return Ok(signer.clone()),
            Some(signer) => lifetime(valid, now, signer.ends_at).map(|_| signer.clone()),
            None => None,
        };
        let why = match timeout(CREDENTIALS_WITHIN, self.source.provide_credentials()).await {
            Ok(Ok(credentials)) => return Ok(kept.insert(self.signer_with(credentials, now)).clone()),
            Ok(Err(error)) => {
                Fault::new(FaultKind::Unavailable, "no credentials to sign with").because(error).to_string()
            }
            Err(_) => format!("no credentials to sign with came within {} s", CREDENTIALS_WITHIN.as_secs()),
        };
        let Some(mut live) = live else { return Err(why) };
        warn!("signing links with older credentials: {why}");
        live.asked_at = now;
        Ok(kept.insert(live).clone())
    }

    fn signer_with(&self, credentials: Credentials, now: SystemTime) -> Signer {
        let ends_at = credentials.expiry();
        let config = self.config.to_builder().credentials_provider(credentials);
        // They are kept here already, with their end.
        let config = config.identity_cache(IdentityCache::no_cache()).build();
        Signer { client: Client::from_conf(config), asked_at: now, ends_at }
    }
}

/// Whether the source of credentials is to be asked before a link of length `valid` is signed.
fn is_due(asked_at: SystemTime, ends_at: Option<SystemTime>, valid: Duration, now: SystemTime) -> bool {
    // A clock that was set back counts as no time passed.
    let age = now.duration_since(asked_at).unwrap_or_default();
    match ends_at {
        None => age >= KEPT_AT_MOST,
        Some(end) => {
            let left = end.duration_since(now).unwrap_or_default();
            left.is_zero() || (left < valid && age >= ASKED_AGAIN_AFTER)
        }
    }
}

fn instant(at: SystemTime) -> Instant {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The length of a link as S3 takes it: whole seconds, from one second to seven days.
fn whole_seconds(valid: Duration) -> Duration {
    Duration::from_secs(valid.as_secs().clamp(1, LONGEST.as_secs()))
}

/// How long a link signed now may live, in whole seconds, so that it ends no later than its credentials; none if they have
/// no second left.
fn lifetime(valid: Duration, now: SystemTime, ends_at: Option<SystemTime>) -> Option<Duration> {
    let Some(end) = ends_at else { return Some(valid) };
    let left = end.duration_since(now).ok()?.as_secs();
    (left > 0).then(|| valid.min(Duration::from_secs(left)))
}

#[cfg(test)]
mod tests {
    use aws_config::profile::ProfileFileCredentialsProvider;
    use aws_sdk_s3::config::{BehaviorVersion, Region};

    use super::*;
    use crate::clock::ManualClock;

    const START: i64 = 1_767_225_600;

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START.unsigned_abs() + second)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn credentials(ends_at: Option<SystemTime>) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Credentials::new("key", "hush", Some("token".to_owned()), ends_at, "test"))
    }

    /// Links whose credentials end at this time, and their clock, which shows `at(0)`.
    fn links(ends_at: Option<SystemTime>) -> (Links, ManualClock) {
        let clock = ManualClock::at(Instant::from_unix_micros(START * 1_000_000));
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url("https://files.example.org")
            .force_path_style(true);
        let mut links = Links::new(config, credentials(ends_at), "exports");
        links.clock = Box::new(clock.clone());
        (links, clock)
    }

    async fn length(links: &Links, valid: Duration) -> String {
        let link = links.sign("a/b.ndjson", LinkMethod::Get, valid).await.expect("can be signed").url;
        assert!(link.as_str().starts_with("https://files.example.org/exports/a/b.ndjson?"), "{link}");
        said(&link, "X-Amz-Expires")
    }

    fn said(link: &Url, name: &str) -> String {
        link.query_pairs().find(|(given, _)| given == name).expect("is in every link").1.into_owned()
    }

    #[test]
    fn a_link_lives_whole_seconds_and_seven_days_at_most() {
        assert_eq!(whole_seconds(Duration::from_millis(1999)), seconds(1));
        assert_eq!(whole_seconds(Duration::ZERO), seconds(1));
        assert_eq!(whole_seconds(Duration::from_hours(24 * 30)), seconds(604_800));
    }

    #[test]
    fn a_link_ends_no_later_than_its_credentials() {
        assert_eq!(lifetime(seconds(300), at(0), None), Some(seconds(300)));
        assert_eq!(lifetime(seconds(300), at(0), Some(at(900))), Some(seconds(300)));
        assert_eq!(lifetime(seconds(300), at(0), Some(at(20))), Some(seconds(20)));
        assert_eq!(lifetime(seconds(300), at(20), Some(at(20))), None);
        assert_eq!(lifetime(seconds(300), at(21), Some(at(20))), None);
    }

    #[tokio::test]
    async fn a_link_tells_the_end_that_its_signature_has() {
        let (links, clock) = links(Some(at(1000)));
        clock.advance(Duration::from_millis(1999));
        for (valid, end) in [(seconds(300), 301), (seconds(2000), 1000)] {
            for method in [LinkMethod::Get, LinkMethod::Head] {
                let link = links.sign("a/b.ndjson", method, valid).await.expect("can be signed");
                assert_eq!(said(&link.url, "X-Amz-Date"), "20260101T000001Z");
                assert_eq!(said(&link.url, "X-Amz-Expires"), (end - 1).to_string());
                assert_eq!(link.expires_at, instant(at(end)));
            }
        }
    }

    #[tokio::test]
    async fn new_credentials_are_taken_when_the_old_ones_would_cut_a_link_short() {
        let (mut links, clock) = links(Some(at(1000)));
        assert_eq!(length(&links, seconds(900)).await, "900");
        links.source = credentials(Some(at(5000)));
        clock.advance(seconds(900));
        assert_eq!(length(&links, seconds(100)).await, "100");
        assert_eq!(length(&links, seconds(900)).await, "900");
    }

    #[tokio::test]
    async fn a_source_that_has_no_better_credentials_is_asked_once_a_minute() {
        let (mut links, clock) = links(Some(at(200)));
        assert_eq!(length(&links, seconds(300)).await, "200");
        links.source = credentials(Some(at(1000)));
        clock.advance(seconds(59));
        assert_eq!(length(&links, seconds(300)).await, "141");
        clock.advance(seconds(1));
        assert_eq!(length(&links, seconds(300)).await, "300");
    }

    #[tokio::test]
    async fn a_link_to_the_last_second_and_none_thereafter() {
        let (links, clock) = links(Some(at(200)));
        clock.advance(seconds(199));
        assert_eq!(length(&links, seconds(300)).await, "1");
        clock.advance(seconds(1));
        let fault = links.sign("a/b.ndjson", LinkMethod::Get, seconds(300)).await.expect_err("they have ended");
        assert_eq!(fault.kind(), FaultKind::Unavailable);
        assert!(fault.to_string().ends_with("have expired"), "{fault}");
    }

    #[tokio::test]
    async fn without_credentials_links_are_unavailable_unless_older_ones_will_do() {
        let nobody = ProfileFileCredentialsProvider::builder().profile_name("nobody-has-this");
        let nobody = SharedCredentialsProvider::new(nobody.build());
        let (mut links, clock) = links(None);
        links.source = nobody;
        let fault = links.sign("a/b.ndjson", LinkMethod::Get, seconds(300)).await.expect_err("nobody signs");
        assert_eq!(fault.kind(), FaultKind::Unavailable);
        assert!(fault.to_string().starts_with("failed to sign a link to a/b.ndjson: no credentials"), "{fault}");

        let nobody = std::mem::replace(&mut links.source, credentials(Some(at(200))));
        assert_eq!(length(&links, seconds(300)).await, "200");
        links.source = nobody;
        clock.advance(seconds(100));
        assert_eq!(length(&links, seconds(300)).await, "100");
    }
}
