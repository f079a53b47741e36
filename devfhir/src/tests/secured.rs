use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::{Certificate, Client, Identity};

use super::{client, get, sent};
use crate::{FhirServer, Options};

#[tokio::test]
async fn who_does_not_say_the_word_is_not_let_in() {
    let options = Options { authorization: Some("Bearer x".to_owned()), ..Options::default() };
    let server = FhirServer::start(options).expect("a port can be had");
    assert_eq!(get(&server, "metadata").await.status, 401);
    let url = format!("{}/metadata", server.base());
    for (word, status) in [("Bearer y", 401), ("Bearer x", 200)] {
        assert_eq!(sent(client().get(&url).header("authorization", word)).await.status, status, "{word}");
    }
    let words: Vec<_> = server.requests().into_iter().map(|asked| asked.authorization).collect();
    assert_eq!(words, [None, Some("Bearer y".to_owned()), Some("Bearer x".to_owned())]);
}

#[tokio::test]
async fn a_client_without_a_certificate_of_the_authority_is_not_let_in() {
    let authority = authority();
    let (server_certificate, server_key) = signed(&authority);
    let (certificate, key) = signed(&authority);
    let (stranger, stranger_key) = signed(&self::authority());
    let options = Options {
        pem: Some((server_certificate, server_key)),
        client_authorities: Some(authority.pem()),
        ..Options::default()
    };
    let server = FhirServer::start(options).expect("the certificates fit");
    let url = format!("{}/metadata", server.base());
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let with = |identity: Option<String>| {
        let root = Certificate::from_pem(authority.pem().as_bytes()).expect("it is a certificate");
        let mut client = Client::builder().tls_certs_only([root]);
        if let Some(pem) = identity {
            client = client.identity(Identity::from_pem(pem.as_bytes()).expect("it is a certificate with its key"));
        }
        client.build().expect("a client can be made").get(&url).send()
    };
    assert!(with(None).await.is_err());
    assert!(with(Some(format!("{stranger}{stranger_key}"))).await.is_err());
    assert!(with(Some(format!("{certificate}{key}"))).await.is_ok_and(|response| response.status() == 200));
}

#[test]
fn certificates_that_do_not_fit_are_refused() {
    let (certificate, key) = signed(&authority());
    let (_, other) = signed(&authority());
    for pem in [(certificate.clone(), other), (certificate.clone(), String::new()), (String::new(), key)] {
        assert!(FhirServer::start(Options { pem: Some(pem), ..Options::default() }).is_err());
    }
}

#[tokio::test]
async fn a_server_is_gone_when_it_is_dropped_whatever_is_under_way() {
    let server = FhirServer::start(Options { latency: Duration::from_hours(1), ..Options::default() });
    let server = server.expect("a port can be had");
    let url = format!("{}/metadata", server.base());
    let asked = tokio::spawn(client().get(&url).send());
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    // It waits for the threads of the server, which need none of this one.
    drop(server);
    assert!(asked.await.expect("a client does not panic").is_err());
    assert!(client().get(&url).send().await.is_err());
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).expect("there are no names to be wrong");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("the system gives random numbers");
    CertifiedIssuer::self_signed(parameters, key).expect("a key can sign")
}

/// A certificate for 127.0.0.1 and its key.
fn signed(authority: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("it is an address");
    let key = KeyPair::generate().expect("the system gives random numbers");
    let certificate = parameters.signed_by(&key, authority).expect("a key can sign");
    (certificate.pem(), key.serialize_pem())
}
