//! The programs, started as their users start them: from the target folder, with settings in variables.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::StatusCode;
use shared::source::files::{Found, read};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::signal::signal;
use super::store::Store;
use super::system::{PATIENCE, source_url};
use super::{amqp_url, redis_url};

/// A program of the workspace: `api-service`, `export-worker`, `atr` or `devstore`, with no `ATR_*` variable from outside.
/// One with a path is that program.
pub fn program(name: &str) -> Command {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps");
    let path: PathBuf = folder.join(name);
    assert!(
        path.is_file(),
        "{} is not built: `tests/run` builds it, or `cargo build --workspace --bins`",
        path.display()
    );
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ATR_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A service of the last version, which `tests/run` builds, by its path.
pub fn last_version(name: &str) -> String {
    let folder = std::env::var("TEST_LAST_VERSION")
        .expect("`tests/run`, `tests/run faults` or `tests/run upgrade` builds the last version");
    format!("{folder}/{name}")
}

/// A port of 127.0.0.1 on which nobody listened a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be had");
    listener.local_addr().expect("it is bound").port()
}

/// Has `atr load` bring these resources into the tables of a namespace.
pub async fn load(namespace: &str, lines: &[String]) {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    std::fs::write(folder.path().join("all.ndjson"), lines.join("\n")).expect("it can be written to");
    let path = folder.path().to_string_lossy().into_owned();
    let loaded = program("atr").args(["load", "--source", &source_url(namespace), &path]).output().await;
    let loaded = loaded.expect("the program starts");
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
}

/// The resources in the files of a folder, each as it is written.
pub fn resources(folder: &Path) -> impl Iterator<Item = String> {
    read(&[folder.to_owned()]).expect("the folder can be read").map(|found| {
        match found.expect("the folder can be read") {
            Found::Resource(resource) => String::from_utf8(resource.body.to_vec()).expect("a resource is UTF-8"),
            Found::Bad(bad) => panic!("{bad}"),
        }
    })
}

/// A service that runs, and its ports.
pub struct Service {
    /// The process.
    pub process: Child,
    /// The port of the API; of a worker, nobody listens there.
    pub port: u16,
    /// The admin port.
    pub admin_port: u16,
}

/// The address of the objects in a store.
pub fn outputs_url(store: &Store) -> String {
    let endpoint = store.address.endpoint.as_deref().expect("a store of a test has an endpoint");
    format!("s3://{}/files?endpoint={endpoint}&region=us-east-1&path_style=true", store.address.bucket)
}

/// The variables that both services need.
pub fn variables(namespace: &str, store: &Store) -> Vec<(&'static str, String)> {
    vec![
        ("ATR_JOBS_URL", redis_url()),
        ("ATR_QUEUE_URL", amqp_url()),
        ("ATR_SOURCE_URL", source_url(namespace)),
        ("ATR_OUTPUTS_URL", outputs_url(store)),
        ("ATR_NAMESPACE", namespace.to_owned()),
        ("ATR_ACCESS", "open-to-everybody".to_owned()),
        ("AWS_ACCESS_KEY_ID", store.access_key.clone()),
        ("AWS_SECRET_ACCESS_KEY", store.secret_key.clone()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ]
}

/// Starts a service and waits until it is ready.
pub async fn start(name: &str, variables: &[(&'static str, String)]) -> Service {
    start_at(name, variables, free_port()).await
}

/// The same, with all that it says, on either stream, at the end of a file.
pub async fn start_heard(name: &str, variables: &[(&'static str, String)], file: &Path) -> Service {
    let open = || File::options().create(true).append(true).open(file).expect("the folder can be written to");
    let mut command = program(name);
    command.stdout(open()).stderr(open());
    launch(command, variables, free_port()).await
}

/// The same, with the API on a port that is known before.
pub async fn start_at(name: &str, variables: &[(&'static str, String)], port: u16) -> Service {
    launch(program(name), variables, port).await
}

async fn launch(mut command: Command, variables: &[(&'static str, String)], port: u16) -> Service {
    let admin_port = free_port();
    let process = command
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .env("ATR_LISTEN", format!("127.0.0.1:{port}"))
        .env("ATR_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}"))
        .spawn()
        .expect("the program starts");
    let service = Service { process, port, admin_port };
    let ready = format!("http://127.0.0.1:{admin_port}/health/ready");
    let asking = async {
        while !reqwest::get(&ready).await.is_ok_and(|response| response.status() == StatusCode::OK) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "{} is not ready", command.as_std().get_program().display());
    service
}

impl Service {
    /// The sum of a metric over those of its lines that hold `part`.
    pub async fn metric(&self, name: &str, part: &str) -> f64 {
        let text = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.admin_port)).await;
        let text = text.expect("it serves metrics").text().await.expect("metrics are text");
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(part));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Ends the service with SIGTERM and answers whether it ended well.
    pub async fn terminate(mut self) -> bool {
        signal("TERM", i64::from(self.process.id().expect("it runs")));
        let ended = timeout(PATIENCE, self.process.wait()).await.expect("a service that is told to stop stops");
        ended.expect("it was started here").success()
    }
}
