//! Who this system is to the FHIR server: each way to say it, against a server that asks for it.

use std::path::PathBuf;

use base64_simd::STANDARD;
use devfhir::{FhirServer, Options};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use shared::fault::FaultKind;
use shared::settings::Settings;

use crate::harness::certificate::Certificate;
use crate::harness::system::on_fhir_server;
use crate::stories::small_list;

fn asking_for(authorization: &str) -> FhirServer {
    let options = Options { authorization: Some(authorization.to_owned()), ..Options::default() };
    FhirServer::start(options).expect("there is a free port")
}

/// Exports a small list from a server, as who the settings say.
async fn is_exported(server: FhirServer, change: impl FnOnce(&mut Settings)) {
    on_fhir_server(server, change, |system| async move {
        system.load(&small_list()).await;
        let exported = system.export("/Group/g/$export").await;
        assert_eq!(exported.reached, system.expected("g").await);
    })
    .await;
}

#[tokio::test]
async fn a_user_and_a_password_are_in_the_url() {
    let server = asking_for(&format!("Basic {}", STANDARD.encode_to_string("payer:p@ss/word")));
    let url = server.base().replacen("http://", "http://payer:p%40ss%2Fword@", 1);
    is_exported(server, |settings| settings.source_url = url).await;
}

#[tokio::test]
async fn a_token_is_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let file = folder.path().join("token");
    std::fs::write(&file, "first-token\n").expect("the folder can be written to");
    is_exported(asking_for("Bearer first-token"), |settings| settings.source_token_file.clone_from(&file)).await;
    let wrong = asking_for("Bearer other-token");
    on_fhir_server(
        wrong,
        |settings| settings.source_token_file = file,
        |system| async move {
            let fault = system.platform.source.transaction_time().await.expect_err("the token is not taken");
            assert_eq!(fault.kind(), FaultKind::Invalid, "{fault}");
            assert!(!fault.to_string().contains("first-token"), "{fault}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_certificate_is_shown_to_a_server_that_asks_for_one() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let write = |name: &str, text: &str| -> PathBuf {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("the folder can be written to");
        file
    };
    let (authority, certificate, key) = client_certificate();
    let own = Certificate::new();
    let options = || Options {
        pem: Some((own.certificate.clone(), own.key.clone())),
        client_authorities: Some(authority.clone()),
        ..Options::default()
    };
    let authorities = write("authorities.pem", &own.certificate);
    let files = [write("client.crt", &certificate), write("client.key", &key)];
    let with_certificate = |settings: &mut Settings| {
        settings.authorities_file.clone_from(&authorities);
        [settings.source_certificate_file, settings.source_key_file] = files;
    };
    is_exported(FhirServer::start(options()).expect("there is a free port"), with_certificate).await;
    let without = |settings: &mut Settings| settings.authorities_file.clone_from(&authorities);
    let server = FhirServer::start(options()).expect("there is a free port");
    on_fhir_server(server, without, |system| async move {
        system.platform.source.ready().await.expect_err("the server lets nobody in without a certificate");
    })
    .await;
}

/// An authority, and a certificate of a client that it has signed, with its key: all in PEM.
fn client_certificate() -> (String, String, String) {
    let mut authority = CertificateParams::new(Vec::new()).expect("there are no names to be wrong");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate().expect("the system gives random numbers");
    let authority_certificate = authority.self_signed(&authority_key).expect("it can be signed");
    let issuer = Issuer::new(authority, authority_key);
    let mut client = CertificateParams::new(vec!["atr".to_owned()]).expect("it is a name");
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("the system gives random numbers");
    let certificate = client.signed_by(&key, &issuer).expect("it can be signed");
    (authority_certificate.pem(), certificate.pem(), key.serialize_pem())
}
