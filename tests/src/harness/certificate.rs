//! Certificates for servers on this machine.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate for 127.0.0.1, and its key.
pub struct Certificate {
    /// The certificate in PEM, which is its own authority.
    pub certificate: String,
    /// The private key in PEM.
    pub key: String,
}

impl Certificate {
    /// A new one.
    pub fn new() -> Self {
        let made = generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]);
        let CertifiedKey { cert, signing_key } = made.expect("the system gives random numbers");
        Self { certificate: cert.pem(), key: signing_key.serialize_pem() }
    }

    /// A server with this certificate, for any client.
    pub fn server_config(&self) -> ServerConfig {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is a key");
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for them")
            .with_no_client_auth()
            .with_single_cert(chain.expect("it is a certificate"), key)
            .expect("they fit")
    }
}
