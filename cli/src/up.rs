//! The trial: the whole system in one process, and one export of a list through its own HTTP interface.
//!
//! Jobs and queue are in memory; the object store is `devstore`, so that the S3 adapter and the pre-signed links are the
//! ones that production uses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use api_service::Api;
use devstore::{Devstore, Storage};
use export_worker::Worker;
use shared::access::open::Open;
use shared::clock::SystemClock;
use shared::jobs::memory::MemoryJobs;
use shared::metrics::Metrics;
use shared::platform::{self, Platform};
use shared::queue::Lanes;
use shared::queue::memory::MemoryQueue;
use shared::settings::Settings;
use shared::shutdown::Shutdown;

use crate::arguments::{AccessArguments, ExportArguments, UpArguments};
use crate::export::{Exported, export, print_files};
use crate::{generate, generated, trial_folder};

const BUCKET: &str = "exports";
/// The keys of a store that lives on this machine for as long as this process does.
const ACCESS_KEY: &str = "trial";
const SECRET_KEY: &str = "trial-secret";

/// Starts the system, exports a list, and serves until Ctrl-C.
pub async fn up(arguments: UpArguments) -> anyhow::Result<()> {
    if arguments.listen.is_some_and(|listen| !listen.ip().is_loopback()) && !arguments.open_to_everybody {
        bail!(
            "the trial asks nobody who they are; to let other machines export all that it holds, add --open-to-everybody"
        );
    }
    let data = arguments.data.clone().unwrap_or_else(trial_folder::by_default);
    trial_folder::take(&data)?;
    let listener = listen(arguments.listen)?;
    let address = listener.local_addr()?;
    let host = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    let base = format!("http://{}/fhir", SocketAddr::new(host, address.port()));

    let (source_url, sample) = match &arguments.source {
        Some(source) => (source.clone(), None),
        None => sample(&data, arguments.members).await?,
    };
    let store = start_store(&data, SocketAddr::new(address.ip(), 0)).await?;
    let endpoint = format!("http://{}", SocketAddr::new(host, store.address().port()));
    let settings = Settings {
        listen: address.to_string(),
        public_url: base.clone(),
        source_url,
        outputs_url: format!("s3://{BUCKET}?endpoint={endpoint}&path_style=true"),
        audit: "none".to_owned(),
        log: "warn".to_owned(),
        ..Settings::default()
    };
    shared::telemetry::init_logs(&settings, std::io::stderr)?;
    let metrics = Metrics::new();

    let outputs = platform::open_outputs(&settings, Some((ACCESS_KEY, SECRET_KEY)), &metrics).await?;
    let opened = platform::open_source(&settings, &outputs, None, &metrics).await?;
    for bad in &opened.bad_lines {
        eprintln!("atr: left out {bad}");
    }
    let list = match arguments.list.or(sample) {
        Some(list) => list,
        None => opened
            .largest_list
            .context("cannot look into the source")?
            .context("the source holds no Group to export; name one with --list")?
            .to_string(),
    };
    let platform = Platform {
        jobs: Arc::new(MemoryJobs::new()),
        lanes: Lanes { express: Arc::new(MemoryQueue::new()), bulk: Arc::new(MemoryQueue::new()) },
        source: opened.source,
        outputs,
        clock: Arc::new(SystemClock),
    };
    // From here on a signal stops the parts in good order; before, it ends the process as usual.
    let shutdown = Shutdown::on_signals()?;
    let server = Api::new(platform.clone(), Arc::new(Open), metrics.clone(), &settings)?.serve(listener, None)?;
    let api = server.handle();
    let serving = tokio::spawn(server);
    let working = tokio::spawn(Worker::new(platform, metrics, &settings)?.run(shutdown.clone()));
    println!("the API is at {base}, the object store at {endpoint}");

    let out = data.join("download");
    trial_folder::empty(&out)?;
    let wish = ExportArguments {
        server: base,
        list,
        out: out.clone(),
        types: None,
        since: None,
        access: AccessArguments::default(),
    };
    let exported = tokio::select! {
        exported = export(&wish) => exported.map(Some),
        () = shutdown.wished() => Ok(None),
    };
    if let Ok(Some(exported)) = &exported {
        print(exported, &out);
        if !arguments.once {
            println!("\nserving until Ctrl-C");
            shutdown.wished().await;
        }
    }
    shutdown.stop();
    api.stop(true).await;
    serving.await??;
    working.await?;
    store.stop().await;
    exported.map(|_| ())
}

/// The address that was asked for, or the usual one, or a free port when the usual one is taken.
fn listen(asked: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    if let Some(address) = asked {
        return TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 8080))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .context("cannot listen on any port of 127.0.0.1")
}

/// A generated list, and the URL of the source that holds it.
async fn sample(data: &Path, members: u64) -> anyhow::Result<(String, Option<String>)> {
    let out = data.join("sample");
    let generated = generated(generate::Settings { members, seed: 1, out: out.clone(), list: None }).await?;
    println!("generated a list of {members} members in {}", out.display());
    Ok((format!("file:{}", out.display()), Some(generated.list)))
}

/// Jobs die with the process, so the objects of an earlier trial belong to nobody and go.
async fn start_store(data: &Path, listen: SocketAddr) -> anyhow::Result<Devstore> {
    let folder: PathBuf = data.join("store");
    trial_folder::empty(&folder)?;
    let settings = devstore::Settings {
        listen,
        storage: Storage::Folder(folder),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: SECRET_KEY.to_owned(),
        buckets: vec![BUCKET.to_owned()],
    };
    Devstore::start(settings).await.context("cannot start the object store")
}

fn print(exported: &Exported, out: &Path) {
    println!();
    print_files(exported, out);
    println!("\nto do it again:");
    println!("  curl -i -H 'Prefer: respond-async' '{}'", exported.kick_off);
    println!("  curl -i '{}'   # the Content-Location of the answer", exported.polling);
    if let Some(file) = exported.files.first() {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        println!("  curl -o {name} '{}'   # a url of the manifest", file.url);
    }
}
