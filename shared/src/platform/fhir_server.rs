//! The payer's FHIR server as the source, and with what it is called: credentials, certificates, authorities.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Identity};

use crate::clock::{Clock, SystemClock};
use crate::export::JobId;
use crate::fault::{Fault, FaultKind};
use crate::metrics::Metrics;
use crate::outputs::OutputStore;
use crate::settings::{Settings, SourceAccess, SourceServer, WrongSetting};
use crate::source::fhir_rest::credentials::Credentials;
use crate::source::fhir_rest::pace::SharedPause;
use crate::source::fhir_rest::shelf::{Pieces, Shelf};
use crate::source::fhir_rest::{FhirRestSource, FhirSettings, Ground};
use crate::token_client::kept::KeptToken;
use crate::token_client::{Endpoint, TokenClient};

/// The source on the FHIR server of the settings, which has lists of jobs held in `outputs`, and asks all processes for
/// patience where they see `pause`.
pub(super) async fn open(
    settings: &Settings,
    outputs: &Arc<dyn OutputStore>,
    pause: Option<Arc<dyn SharedPause>>,
    metrics: &Metrics,
) -> Result<FhirRestSource, WrongSetting> {
    let name = "source_url";
    let server = settings.source_server()?.ok_or_else(|| WrongSetting::of(name, "it must be https://host/path"))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (credentials, http) = open_credentials(settings, &server, Arc::clone(&clock)).await?;
    let ground = Ground {
        base: server.base,
        http,
        credentials,
        own: settings.own_bases()?,
        shelf: Arc::new(OutputShelf(Arc::clone(outputs))),
        pause,
        clock,
        metrics: metrics.clone(),
    };
    let fhir = FhirSettings {
        connections: settings.source_connections,
        request_ids: settings.source_request_ids,
        connect_timeout: Duration::from_secs(settings.call_seconds),
        answer_timeout: Duration::from_secs(settings.source_answer_seconds),
        settle: Duration::from_secs(settings.source_settle_seconds),
    };
    FhirRestSource::connect(ground, fhir).map_err(|fault| WrongSetting::of(name, fault))
}

/// What the tasks of a job share lies beside its files.
pub struct OutputShelf(pub Arc<dyn OutputStore>);

#[async_trait]
impl Shelf for OutputShelf {
    async fn get(&self, job: JobId, name: &str) -> Result<Option<Pieces>, Fault> {
        self.0.kept(job, name).await
    }

    async fn put(&self, job: JobId, name: &str, mut pieces: Pieces) -> Result<(), Fault> {
        let mut writer = self.0.keep(job, name).await?;
        let mut written = Ok(());
        while let Some(piece) = pieces.next().await {
            written = match piece {
                Ok(piece) => writer.write(&piece).await,
                Err(fault) => Err(fault),
            };
            if written.is_err() {
                break;
            }
        }
        match written {
            Ok(()) => writer.finish().await.map(drop),
            Err(fault) => {
                // If its upload cannot be given up now, it is with the job.
                writer.abort().await.ok();
                Err(fault)
            }
        }
    }
}

/// Who this system is to the server, and the client to call it with, to which timeouts are to be added.
///
/// The client follows no redirects, and where the base is https it calls nothing else. Files are read now, so that what is
/// wrong with one is said at the start; the server is not asked for anything. A certificate for the client is read only now:
/// when it is exchanged, the service has to be started anew.
async fn open_credentials(
    settings: &Settings,
    server: &SourceServer,
    clock: Arc<dyn Clock>,
) -> Result<(Credentials, ClientBuilder), WrongSetting> {
    let authorities = authorities(settings).await?;
    let identity = match &server.certificate_and_key {
        Some(files) => Some(identity(files).await?),
        None => None,
    };
    let builder = || {
        let builder = Client::builder().redirect(Policy::none()).tls_certs_merge(authorities.clone());
        if let Some(identity) = identity.clone() { builder.identity(identity) } else { builder }
    };
    let wrong = |error| {
        let (name, what) = match &identity {
            Some(_) => ("source_certificate_file", "it cannot be used with ATR_SOURCE_KEY_FILE"),
            None => ("source_url", "TLS cannot be prepared"),
        };
        WrongSetting::of(name, Fault::new(FaultKind::Invalid, what).because(error))
    };
    let http = builder().build().map_err(wrong)?;
    let credentials = match &server.access {
        SourceAccess::Nobody => Credentials::nobody(&server.base),
        SourceAccess::Password { user, password } => Credentials::password(&server.base, user, password)
            .map_err(|fault| WrongSetting::of("source_url", fault))?,
        SourceAccess::TokenFile(file) => Credentials::token_file(&server.base, file.clone())
            .await
            .map_err(|fault| WrongSetting::of("source_token_file", fault))?,
        SourceAccess::Client { id, key_file, token_url, scope } => {
            let client = TokenClient {
                http,
                endpoint: token_url.clone().map_or_else(|| Endpoint::SaidBy(server.base.clone()), Endpoint::At),
                client_id: id.clone(),
                key_file: key_file.clone(),
                scope: scope.clone(),
                within: Duration::from_secs(settings.call_seconds),
            };
            client.key().await.map_err(|fault| WrongSetting::of("source_client_key_file", fault))?;
            Credentials::client(&server.base, KeptToken::new(client, clock))
        }
    };
    Ok((credentials, builder().https_only(server.base.scheme() == "https")))
}

/// The certificates that are trusted beside those of the system.
pub(super) async fn authorities(settings: &Settings) -> Result<Vec<Certificate>, WrongSetting> {
    let (name, file) = ("authorities_file", &settings.authorities_file);
    if file.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |error: reqwest::Error| {
        WrongSetting::of(name, Fault::new(FaultKind::Invalid, file.display().to_string()).because(error))
    };
    let authorities = Certificate::from_pem_bundle(&read(name, file).await?).map_err(wrong)?;
    if authorities.is_empty() {
        return Err(WrongSetting::of(name, format!("{} holds no certificate in PEM", file.display())));
    }
    // What is in the PEM is looked at only now.
    Client::builder().tls_certs_merge(authorities.clone()).build().map_err(wrong)?;
    Ok(authorities)
}

async fn identity([certificate, key]: &[PathBuf; 2]) -> Result<Identity, WrongSetting> {
    let mut pem = read("source_certificate_file", certificate).await?;
    pem.push(b'\n');
    pem.extend(read("source_key_file", key).await?);
    // Its error is left out: it may quote what it cannot read.
    Identity::from_pem(&pem).map_err(|_| {
        let files = format!("{} and ATR_SOURCE_KEY_FILE, {}", certificate.display(), key.display());
        WrongSetting::of(
            "source_certificate_file",
            format!("{files}, must hold a certificate with its chain and its private key, in PEM"),
        )
    })
}

async fn read(name: &str, file: &PathBuf) -> Result<Vec<u8>, WrongSetting> {
    let unreadable = |error| WrongSetting::of(name, format!("{} cannot be read: {error}", file.display()));
    tokio::fs::read(file).await.map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use reqwest::header::AUTHORIZATION;

    use super::*;
    use crate::token_client::test_endpoint::{CLIENT_ID, TestEndpoint};

    async fn open(settings: &Settings, endpoint: &TestEndpoint) -> Result<(Credentials, ClientBuilder), String> {
        let server = settings.source_server().map_err(|wrong| wrong.to_string())?.expect("its URL is set");
        let opened = open_credentials(settings, &server, Arc::new(endpoint.clock.clone())).await;
        opened.map_err(|wrong| wrong.to_string())
    }

    fn settings_of(endpoint: &TestEndpoint) -> Settings {
        Settings { source_url: endpoint.base.to_string(), ..Settings::default() }
    }

    #[tokio::test]
    async fn a_client_gets_tokens_where_its_server_says_and_another_when_one_is_refused() {
        let endpoint = TestEndpoint::start();
        let settings = Settings {
            source_client_id: CLIENT_ID.to_owned(),
            source_client_key_file: endpoint.key_file.clone(),
            ..settings_of(&endpoint)
        };
        let (credentials, builder) = open(&settings, &endpoint).await.expect("the settings are good");
        assert_eq!(endpoint.asked(), 0, "the server is not asked for anything yet");
        let client = builder.build().expect("it was built once before");
        let sent = async || {
            let authorized = credentials.authorize(client.get(endpoint.base.clone())).await;
            let (request, sent) = authorized.unwrap_or_else(|fault| panic!("{fault}"));
            (request.build().expect("it can be built").headers()[AUTHORIZATION].clone(), sent)
        };
        let (header, first) = sent().await;
        assert_eq!(header, "Bearer token-1");
        assert!(credentials.refused(first).await);
        assert_eq!(sent().await.0, "Bearer token-2");
    }

    #[tokio::test]
    async fn a_file_that_is_no_good_is_named_at_the_start_and_not_quoted() {
        let endpoint = TestEndpoint::start();
        let garbage = endpoint.write("garbage.pem", "-----BEGIN PRIVATE KEY-----\ns3cret\n");
        let empty = endpoint.write("empty.pem", "s3cret");
        let missing = PathBuf::from("/nowhere.pem");
        let local = settings_of(&endpoint);
        let remote = Settings { source_url: "https://fhir.example.org/r4".to_owned(), ..local.clone() };
        for file in [garbage, empty, missing] {
            for (settings, name) in [
                (Settings { source_token_file: file.clone(), ..local.clone() }, "ATR_SOURCE_TOKEN_FILE"),
                (
                    Settings {
                        source_client_id: CLIENT_ID.to_owned(),
                        source_client_key_file: file.clone(),
                        ..local.clone()
                    },
                    "ATR_SOURCE_CLIENT_KEY_FILE",
                ),
                (
                    Settings {
                        source_certificate_file: file.clone(),
                        source_key_file: endpoint.key_file.clone(),
                        ..remote.clone()
                    },
                    "ATR_SOURCE_CERTIFICATE_FILE",
                ),
                (
                    Settings {
                        source_certificate_file: endpoint.key_file.clone(),
                        source_key_file: file.clone(),
                        ..remote.clone()
                    },
                    "ATR_SOURCE_KEY_FILE",
                ),
                (Settings { authorities_file: file.clone(), ..local.clone() }, "ATR_AUTHORITIES_FILE"),
            ] {
                // A text of one word is a token like any other.
                if name == "ATR_SOURCE_TOKEN_FILE" && file.ends_with("empty.pem") {
                    continue;
                }
                let wrong = open(&settings, &endpoint).await.expect_err(name);
                assert!(wrong.contains(name) && wrong.contains(&*file.to_string_lossy()), "{wrong}");
                assert!(!wrong.contains("s3cret") && !wrong.contains('\n'), "{wrong}");
            }
        }
    }
}
