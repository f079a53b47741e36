//! Servers of a test's own, to be killed, paused and started again: `tests/server` says how each runs.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use shared::export::Lane;
use shared::queue::TaskQueue;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::programs::free_port;
use super::signal::signal;
use super::system::{PATIENCE, rabbit};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Redis, which has each change on the disk before it answers.
    Redis,
    /// RabbitMQ.
    RabbitMq,
    /// PostgreSQL, with a database `test`.
    PostgreSql,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
            Self::PostgreSql => "postgresql",
        }
    }

    /// The signal that ends it as a crash would. A PostgreSQL that is killed leaves processes and shared memory behind, in
    /// the way of the next one; told to quit, it stops as it stands and recovers when it starts.
    fn crash(self) -> &'static str {
        if self == Self::PostgreSql { "QUIT" } else { "KILL" }
    }
}

/// A server that runs while this value lives; its data go with it.
pub struct OwnServer {
    kind: Kind,
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl OwnServer {
    /// A server with nothing in it, once it answers.
    pub async fn start(kind: Kind) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        // PostgreSQL passes through as another user.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).expect("it was made here");
        fs::create_dir(folder.path().join("data")).expect("it is empty");
        let mut server = Self { kind, folder, port: free_port(), process: None };
        server.start_again().await;
        server
    }

    /// Starts it again with what it had, and waits until it answers.
    pub async fn start_again(&mut self) {
        let log = self.folder.path().join("log");
        let output = File::options().create(true).append(true).open(&log).expect("it can be written to");
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("server"));
        command.arg(self.kind.name()).arg(self.data()).arg(self.port.to_string());
        if self.kind == Kind::Redis {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("it is open")).stderr(output);
        self.process = Some(command.process_group(0).spawn().expect("tests/server starts"));
        let asking = async {
            while !self.answers().await {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let has_started = timeout(PATIENCE, asking).await.is_ok();
        let last_words = || fs::read_to_string(&log).unwrap_or_default();
        assert!(has_started, "{} does not start: {}", self.kind.name(), last_words());
    }

    /// Ends it as a crash would.
    pub async fn crash(&mut self) {
        self.signal(self.kind.crash());
        if let Some(mut process) = self.process.take() {
            process.wait().await.expect("it was started here");
        }
    }

    /// Sends a signal to all its processes, as `STOP` and `CONT`.
    pub fn signal(&self, name: &str) {
        if let Some(id) = self.process.as_ref().and_then(Child::id) {
            signal(name, -i64::from(id));
        }
    }

    /// Its URL, as the settings have it.
    pub fn url(&self) -> String {
        match self.kind {
            Kind::Redis => format!("redis://127.0.0.1:{}", self.port),
            Kind::RabbitMq => format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port),
            Kind::PostgreSql => format!("postgres://postgres@127.0.0.1:{}/test", self.port),
        }
    }

    /// A command to RabbitMQ as its operator gives them; panics when it does not succeed.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) {
        let output = Command::new(self.data().join("rabbitmqctl")).args(arguments).output().await.expect("it starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    async fn answers(&self) -> bool {
        match self.kind {
            Kind::Redis => match redis::Client::open(self.url()) {
                Ok(client) => client.get_multiplexed_async_connection().await.is_ok(),
                Err(_) => false,
            },
            Kind::RabbitMq => rabbit(&self.url(), "ready", Lane::Express).expect("a URL").depth().await.is_ok(),
            Kind::PostgreSql => match tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    client.simple_query("select 1").await.is_ok()
                }
                Err(_) => false,
            },
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // One that stands still would not hear anything else.
        self.signal("CONT");
        self.signal(self.kind.crash());
    }
}
