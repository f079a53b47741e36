//! TLS on the port of the API, and the whole flow of a registered client over it, with the programs as their users start them.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use shared::fhir::Resource;
use shared::source::postgres::Loader;
use tokio::time::{sleep, timeout};

use super::small_list;
use crate::harness::certificate::Certificate;
use crate::harness::namespace;
use crate::harness::programs::{free_port, program, start_at, variables};
use crate::harness::store::Store;
use crate::harness::system::{PATIENCE, clean, source_url};
use crate::oracle::{by_key, reached};

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("the folder can be written to");
    file.to_string_lossy().into_owned()
}

/// A client that trusts this certificate and no other.
fn trusting(certificate: &Certificate) -> Client {
    let authority = reqwest::Certificate::from_pem(certificate.certificate.as_bytes()).expect("it is a certificate");
    Client::builder().no_proxy().tls_certs_only([authority]).build().expect("a client can be had")
}

async fn atr(arguments: &[&str]) -> String {
    let output = program("atr").args(arguments).output().await.expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn registered_clients_export_over_tls_and_the_certificate_is_renewed_while_the_service_runs() {
    let namespace = namespace();
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let mut loader =
        Loader::connect(&source_url(&namespace), shared::fhir::OwnBases::default()).await.expect("PostgreSQL is there");
    let resources: Vec<Resource> =
        small_list().into_iter().map(|line| Resource::read(&line.into()).expect("it is a resource")).collect();
    loader.load(&resources).await.expect("it can be loaded");

    let first = Certificate::new();
    let certificate = write(folder.path(), "tls.crt", &first.certificate);
    let key = write(folder.path(), "tls.key", &first.key);
    let port = free_port();
    let server = format!("https://127.0.0.1:{port}/fhir");
    let (register, out) = (path("clients.json"), path("out"));
    let (elliptic, rsa) = (path("elliptic.pem"), path("rsa.pem"));
    let said = atr(&[
        "client",
        "add",
        "elliptic",
        "--file",
        &register,
        "--list",
        "g",
        "--new-key",
        &elliptic,
        "--server",
        &server,
    ])
    .await;
    assert!(said.contains(&format!("{server}/auth/token")) && said.contains("ES384"), "{said}");
    atr(&["client", "add", "rsa", "--file", &register, "--all-lists", "--new-key", &rsa, "--algorithm", "rs384"]).await;
    let listed = atr(&["client", "list", "--file", &register]).await;
    assert!(listed.contains("elliptic") && listed.contains("rsa"), "{listed}");

    let store = Store::devstore().await.expect("devstore starts");
    let mut variables = variables(&namespace, &store);
    variables.retain(|(name, _)| *name != "ATR_ACCESS");
    variables.extend([
        ("ATR_ACCESS", "smart".to_owned()),
        ("ATR_PUBLIC_URL", server.clone()),
        ("ATR_CLIENTS_FILE", register.clone()),
        ("ATR_TLS_CERTIFICATE_FILE", certificate.clone()),
        ("ATR_TLS_KEY_FILE", key.clone()),
        ("ATR_RELOAD_SECONDS", "1".to_owned()),
        ("ATR_LINKS", "gated".to_owned()),
        ("ATR_AUDIT", format!("file:{}", path("audit.ndjson"))),
    ]);
    let worker = start_at("export-worker", &variables, free_port()).await;
    let api = start_at("api-service", &variables, port).await;

    for (client, key) in [("elliptic", &elliptic), ("rsa", &rsa)] {
        let out = format!("{out}-{client}");
        atr(&[
            "export",
            "--server",
            &server,
            "--list",
            "g",
            "--out",
            &out,
            "--client",
            client,
            "--key",
            key,
            "--authorities",
            &certificate,
        ])
        .await;
        let files = std::fs::read_dir(&out).expect("it was made");
        let lines = files.flat_map(|file| {
            let text = std::fs::read_to_string(file.expect("it can be listed").path()).expect("a file is text");
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(by_key(lines), reached(&by_key(small_list()), "g", &[]).lines, "{client}");
    }
    let refused = ["export", "--server", &server, "--list", "g", "--out", &out, "--authorities", &certificate];
    let refused = program("atr").args(refused).output().await.expect("the program starts");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("401"), "{}", String::from_utf8_lossy(&refused.stderr));

    // Half of a new pair is not taken; the whole is, without a restart.
    let metadata = format!("{server}/metadata");
    let second = Certificate::new();
    assert_eq!(trusting(&first).get(&metadata).send().await.expect("it is the one").status(), StatusCode::OK);
    assert!(trusting(&second).get(&metadata).send().await.is_err());
    write(folder.path(), "tls.crt", &second.certificate);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(trusting(&first).get(&metadata).send().await.expect("it is the one still").status(), StatusCode::OK);
    write(folder.path(), "tls.key", &second.key);
    let renewed = async {
        while trusting(&second).get(&metadata).send().await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, renewed).await.expect("the certificate is read again");
    assert!(trusting(&first).get(&metadata).send().await.is_err());
    // In the clear, nobody answers.
    let plain = Client::builder().no_proxy().build().expect("a client can be had");
    assert!(plain.get(metadata.replace("https:", "http:")).send().await.is_err());

    for service in [worker, api] {
        assert!(service.terminate().await, "SIGTERM ends a service well");
    }
    clean(&namespace).await.expect("the servers are there");
}
