//! S3 stores for tests: `devstore` inside the process, and SeaweedFS, which is nobody's here, to keep the first one honest.
//!
//! `TEST_S3_URL` names a SeaweedFS that runs already (`s3://exports?endpoint=http://127.0.0.1:8333`), with its keys in
//! `TEST_S3_ACCESS_KEY` and `TEST_S3_SECRET_KEY`: `tests/run` starts one for all tests. Without it, each test that needs one
//! starts its own (about a second) from the program `TEST_SEAWEEDFS`, or `weed` on the `PATH`.

use std::env;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use devstore::{Devstore, Faults};
use shared::outputs::OutputStore;
use shared::outputs::s3::{Credentials, S3Address, S3Outputs, S3Settings};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

const BUCKET: &str = "exports";
const ACCESS_KEY: &str = "devkey";
const SECRET_KEY: &str = "devsecret123";

/// How long a SeaweedFS may take to start. It takes one second; more when every core compiles.
const STARTED_WITHIN: Duration = Duration::from_mins(1);

/// A store that runs while this value lives, and how to reach it.
pub struct Store {
    /// The bucket, with nothing in front of the namespaces.
    pub address: S3Address,
    /// The keys that it takes.
    pub access_key: String,
    /// Their secret.
    pub secret_key: String,
    runs_as: RunsAs,
}

enum RunsAs {
    Devstore(Devstore),
    SeaweedFs(#[expect(dead_code, reason = "runs until it is dropped")] SeaweedFs),
    SomebodyElses,
}

impl Store {
    /// A devstore, in memory.
    pub async fn devstore() -> anyhow::Result<Self> {
        Self::devstore_with(devstore::Storage::Memory).await
    }

    /// A devstore that keeps its objects there.
    pub async fn devstore_with(storage: devstore::Storage) -> anyhow::Result<Self> {
        let settings = devstore::Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            storage,
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            buckets: vec![BUCKET.to_owned()],
        };
        let store = Devstore::start(settings).await?;
        Self::at(&format!("s3://{BUCKET}?endpoint={}", store.endpoint()), RunsAs::Devstore(store))
    }

    /// The SeaweedFS of `TEST_S3_URL`, or one of its own.
    pub async fn seaweedfs() -> anyhow::Result<Self> {
        let Ok(url) = env::var("TEST_S3_URL") else { return start_seaweedfs().await };
        let key = |name: &str| env::var(name).with_context(|| format!("TEST_S3_URL is there, and {name} is not"));
        let mut store = Self::at(&url, RunsAs::SomebodyElses)?;
        store.access_key = key("TEST_S3_ACCESS_KEY")?;
        store.secret_key = key("TEST_S3_SECRET_KEY")?;
        Ok(store)
    }

    fn at(address: &str, runs_as: RunsAs) -> anyhow::Result<Self> {
        Ok(Self {
            address: S3Address::parse(address)?,
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            runs_as,
        })
    }

    /// The keys that it takes, as the adapter wants them.
    pub fn credentials(&self) -> Credentials {
        Credentials::Static { access_key: self.access_key.clone(), secret_key: self.secret_key.clone() }
    }

    /// Objects in it, in a namespace.
    pub async fn outputs(&self, namespace: &str, settings: &S3Settings) -> anyhow::Result<S3Outputs> {
        Ok(S3Outputs::connect(&self.address, namespace, self.credentials(), settings).await?)
    }

    /// How many uploads were begun and neither completed nor aborted. Only a devstore tells.
    pub fn unfinished_uploads(&self) -> usize {
        match &self.runs_as {
            RunsAs::Devstore(store) => store.unfinished_uploads(),
            _ => panic!("only a devstore counts its uploads"),
        }
    }

    /// Where its requests can be made to fail. Only a devstore does that.
    pub fn faults(&self) -> &Faults {
        match &self.runs_as {
            RunsAs::Devstore(store) => store.faults(),
            _ => panic!("only a devstore fails on demand"),
        }
    }
}

/// A SeaweedFS of a test's own. It ends with this value, and its files go.
struct SeaweedFs {
    process: Child,
    log: PathBuf,
    ports: [u16; 10],
    _folder: TempDir,
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        // To end it kindly takes seconds, and would still leave some of its sockets, which it makes outside its folder.
        let _ = self.process.start_kill();
        for (port, name) in self.ports.iter().zip(PORTS) {
            let socket = format!("/tmp/seaweedfs-{}-{port}.sock", name.replace(".port", "").replace('.', "-"));
            let _ = fs::remove_file(socket);
        }
    }
}

/// The ports that it opens; those of gRPC would be 10,000 higher if it were not told, and that may be too high.
const PORTS: [&str; 10] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "admin.port",
    "admin.port.grpc",
];

async fn start_seaweedfs() -> anyhow::Result<Store> {
    let program = env::var("TEST_SEAWEEDFS").unwrap_or_else(|_| "weed".to_owned());
    // Ports that are free now may be taken a moment later by another test.
    let mut tries = 1;
    loop {
        match try_seaweedfs(&program).await {
            Ok(store) => return Ok(store),
            Err(error) if tries == 3 => return Err(error),
            Err(_) => tries += 1,
        }
    }
}

async fn try_seaweedfs(program: &str) -> anyhow::Result<Store> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let output = File::create(&log)?;
    let ports = free_ports()?;
    let process = Command::new(program)
        .arg("mini")
        .arg(format!("-dir={}", folder.path().display()))
        .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", &format!("-bucket={BUCKET}")])
        .args(PORTS.iter().zip(ports).map(|(name, port)| format!("-{name}={port}")))
        // It reports to its makers, makes buckets that nobody asked for, and opens more ports, unless told not to.
        .args(["-master.telemetry=false", "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false"])
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"])
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("GOMEMLIMIT", "300MiB")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("failed to start SeaweedFS as {program}; tests/run provides it (TEST_SEAWEEDFS)"))?;
    let mut seaweedfs = SeaweedFs { process, log, ports, _folder: folder };
    let address = format!("s3://{BUCKET}?endpoint=http://127.0.0.1:{}", ports[0]);
    seaweedfs.starts(&Store::at(&address, RunsAs::SomebodyElses)?).await?;
    Store::at(&address, RunsAs::SeaweedFs(seaweedfs))
}

impl SeaweedFs {
    /// Waits until it has its bucket.
    async fn starts(&mut self, store: &Store) -> anyhow::Result<()> {
        let outputs = store.outputs("ready", &S3Settings { attempts: 1, ..S3Settings::default() }).await?;
        let begin = Instant::now();
        loop {
            let Err(why) = outputs.ready().await else { return Ok(()) };
            if let Some(status) = self.process.try_wait()? {
                bail!("SeaweedFS ended with {status}: {}", fs::read_to_string(&self.log)?);
            }
            if begin.elapsed() > STARTED_WITHIN {
                bail!("SeaweedFS did not start ({why}): {}", fs::read_to_string(&self.log)?);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Ports on which nobody listens. Held all at once, so that they differ.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let held = (0..N).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<Vec<_>, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
