//! TLS on the port of the API, with the programs as their users start them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use shared::fhir::{OwnBases, Resource};
use shared::source::postgres::Loader;
use tokio::time::{sleep, timeout};

use super::small_list;
use crate::harness::certificate::Certificate;
use crate::harness::namespace;
use crate::harness::programs::{Service, free_port, program, start, start_at, variables};
use crate::harness::store::Store;
use crate::harness::system::{PATIENCE, clean, source_url};
use crate::oracle::{Resources, by_key, reached};

/// An API that holds the small list, speaks TLS and gives tokens to the clients of a register; and what it stands on.
struct Tls {
    namespace: String,
    folder: tempfile::TempDir,
    base: String,
    port: u16,
    certificate: Certificate,
    store: Store,
}

impl Tls {
    async fn new() -> Self {
        let port = free_port();
        let namespace = namespace();
        let resource = |line: String| Resource::read(&line.into()).expect("it is a resource");
        let resources: Vec<Resource> = small_list().into_iter().map(resource).collect();
        let loader = Loader::connect(&source_url(&namespace), OwnBases::default()).await;
        loader.expect("PostgreSQL is there").load(&resources).await.expect("it can be loaded");
        let tls = Self {
            namespace,
            folder: tempfile::tempdir().expect("a folder for temporary files can be had"),
            base: format!("https://127.0.0.1:{port}/fhir"),
            port,
            certificate: Certificate::new(),
            store: Store::devstore().await.expect("devstore starts"),
        };
        tls.write("tls.crt", &tls.certificate.certificate);
        tls.write("tls.key", &tls.certificate.key);
        tls
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the folder can be written to");
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = variables(&self.namespace, &self.store);
        variables.retain(|(name, _)| *name != "ATR_ACCESS");
        variables.extend([
            ("ATR_ACCESS", "smart".to_owned()),
            ("ATR_PUBLIC_URL", self.base.clone()),
            ("ATR_CLIENTS_FILE", self.name("clients.json")),
            ("ATR_TLS_CERTIFICATE_FILE", self.name("tls.crt")),
            ("ATR_TLS_KEY_FILE", self.name("tls.key")),
            ("ATR_RELOAD_SECONDS", "1".to_owned()),
            ("ATR_AUDIT", format!("file:{}", self.name("audit.ndjson"))),
        ]);
        variables
    }

    async fn serve(&self) -> Service {
        start_at("api-service", &self.variables(), self.port).await
    }

    /// Runs `atr` with these words, in which `{name}` stands for a file in the folder; what it says, if it ends well.
    async fn atr(&self, words: &str) -> Result<String, String> {
        let place = |word: &str| match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            Some(name) => self.name(name),
            None => word.to_owned(),
        };
        let output = program("atr").args(words.split(' ').map(place)).output().await.expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

/// A client that trusts this certificate and no other.
fn trusting(certificate: &Certificate) -> Client {
    let authority = reqwest::Certificate::from_pem(certificate.certificate.as_bytes()).expect("it is a certificate");
    Client::builder().no_proxy().tls_certs_only([authority]).build().expect("a client can be had")
}

/// All lines of the files in a folder.
fn downloaded(folder: &Path) -> Resources {
    let files = std::fs::read_dir(folder).expect("it was made");
    by_key(files.flat_map(|file| {
        let text = std::fs::read_to_string(file.expect("it can be listed").path()).expect("a file is text");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    }))
}

#[tokio::test]
async fn registered_clients_export_over_tls_with_either_kind_of_key() {
    let tls = Tls::new().await;
    let base = &tls.base;
    let add = format!("client add es384 --file {{clients.json}} --list g --new-key {{es384.pem}} --server {base}");
    let said = tls.atr(&add).await.expect("it is new");
    assert!(said.contains(&format!("{base}/auth/token")) && said.contains("ES384"), "{said}");
    let add = "client add rs384 --file {clients.json} --all-lists --new-key {rs384.pem} --algorithm rs384";
    tls.atr(add).await.expect("it is new");
    let listed = tls.atr("client list --file {clients.json}").await.expect("there are some");
    assert!(listed.contains("es384") && listed.contains("rs384"), "{listed}");

    let services = [start("export-worker", &tls.variables()).await, tls.serve().await];
    let export = format!("export --server {base} --list g --authorities {{tls.crt}} --out");
    for client in ["es384", "rs384"] {
        let words = format!("{export} {{{client}}} --client {client} --key {{{client}.pem}}");
        tls.atr(&words).await.expect("it may export the list");
        assert_eq!(downloaded(&tls.path(client)), reached(&by_key(small_list()), "g", &[]).lines, "{client}");
    }
    let refused = tls.atr(&format!("{export} {{nobody}}")).await.expect_err("it has no token");
    assert!(refused.contains("401"), "{refused}");
    for service in services {
        assert!(service.terminate().await, "SIGTERM ends a service well");
    }
    clean(&tls.namespace).await.expect("the servers are there");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart_and_nothing_is_in_the_clear() {
    let tls = Tls::new().await;
    tls.write("clients.json", r#"{"clients":[]}"#);
    let api = tls.serve().await;
    let metadata = &format!("{}/metadata", tls.base);
    let is_served = async |client: &Client| {
        let response = client.get(metadata).send().await;
        response.is_ok_and(|response| response.status() == StatusCode::OK)
    };
    let (first, renewed) = (trusting(&tls.certificate), Certificate::new());
    let second = trusting(&renewed);
    assert!(is_served(&first).await && !is_served(&second).await);

    tls.write("tls.crt", &renewed.certificate);
    tls.write("tls.key", &renewed.key);
    let looking = async {
        while !is_served(&second).await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, looking).await.expect("the certificate is read again");
    assert!(!is_served(&trusting(&tls.certificate)).await);

    let plain = Client::builder().no_proxy().build().expect("a client can be had");
    assert!(plain.get(metadata.replace("https:", "http:")).send().await.is_err());
    assert!(api.terminate().await, "SIGTERM ends a service well");
    clean(&tls.namespace).await.expect("the servers are there");
}
