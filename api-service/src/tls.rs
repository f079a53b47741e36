//! TLS on the port of the API (standards §1.1: 1.2 or later), with a certificate that may change while the service runs.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use shared::metrics::Metrics;
use shared::settings::{Settings, WrongSetting};
use shared::watched::{Files, Watched};

/// The certificate of the settings, if they have one; read again when it changes. A pair that does not fit is not taken.
pub async fn certificate(
    settings: &Settings,
    metrics: &Metrics,
) -> Result<Option<Watched<CertifiedKey>>, WrongSetting> {
    let Some(files) = settings.tls_files()? else { return Ok(None) };
    let files = Files {
        paths: files.into(),
        every: Duration::from_secs(settings.reload_seconds),
        failing: metrics.reload_failing.with_label_values(&["certificate"]),
    };
    let read = |contents: &[Vec<u8>]| certified(&contents[0], &contents[1]);
    let watched = Watched::files(files, read).await;
    watched.map(Some).map_err(|why| WrongSetting::of("tls_certificate_file", why))
}

/// A chain of certificates and the key of the first, both in PEM.
fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| format!("the certificate is no PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in the file for it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the private key is no PEM: {error}"))?;
    let provider = aws_lc_rs::default_provider();
    // This looks whether the two belong together; half a rotation does not.
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| format!("certificate and key do not fit: {error}"))
}

/// How the server speaks TLS with this certificate.
pub fn server_config(certificate: Watched<CertifiedKey>) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .expect("the provider has suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current(certificate)))
}

/// Whatever the certificate is when somebody connects.
struct Current(Watched<CertifiedKey>);

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the current certificate")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.now())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    /// A certificate and its key, in PEM.
    fn pair() -> (String, String) {
        let made = generate_simple_self_signed(["localhost".to_owned()]).expect("the system gives random numbers");
        let CertifiedKey { cert, signing_key } = made;
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_goes_with_its_own_key_and_with_no_other() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        assert!(certified(certificate.as_bytes(), key.as_bytes()).is_ok());
        let chain = format!("{certificate}{}", pair().0);
        assert!(certified(chain.as_bytes(), key.as_bytes()).is_ok_and(|certified| certified.cert.len() == 2));
        let half = certified(certificate.as_bytes(), other.as_bytes()).expect_err("half of a new pair");
        assert!(half.contains("do not fit"), "{half}");
    }

    #[test]
    fn what_is_no_pem_is_told_apart() {
        let (certificate, key) = pair();
        for (certificate, key, part) in [
            ("", key.as_str(), "no certificate"),
            (&key, &key, "no certificate"),
            (&certificate, "", "private key"),
            (&certificate, &certificate, "private key"),
        ] {
            let problem = certified(certificate.as_bytes(), key.as_bytes()).expect_err(part);
            assert!(problem.contains(part), "{problem}");
        }
    }
}
