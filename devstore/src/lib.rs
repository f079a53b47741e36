#![doc = include_str!("../README.md")]

mod backend;
mod catalog;
mod faults;
mod intake;
mod server;
mod storage;
mod store;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::{AwsNameValidation, NameValidation as _};
use tokio::net::TcpListener;

pub use crate::faults::{Failure, Faults, Requests};

use crate::backend::Backend;
use crate::server::Server;
use crate::storage::Medium;
use crate::storage::folder::Folder;
use crate::storage::memory::Memory;
use crate::store::{Store, blocking, now_seconds};

/// How to start a store.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen. Port 0 is any that is free; see [`Devstore::address`].
    pub listen: SocketAddr,
    /// Where the objects rest.
    pub storage: Storage,
    /// The only access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Buckets that are there from the start; made if they are not.
    pub buckets: Vec<String>,
}

impl fmt::Debug for Settings {
    /// Without the secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("listen", &self.listen)
            .field("storage", &self.storage)
            .field("access_key", &self.access_key)
            .field("buckets", &self.buckets)
            .finish_non_exhaustive()
    }
}

/// Where the objects rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory, until the store stops.
    Memory,
    /// In this folder, made if it is not there. One store at a time may use it.
    Folder(PathBuf),
}

/// A running S3 store.
///
/// Dropping it ends it as well, but nobody waits for that; [`Devstore::stop`] does.
pub struct Devstore {
    server: Server,
    faults: Faults,
    unfinished: Arc<AtomicUsize>,
}

impl Devstore {
    /// Starts a store. It is bound and has its buckets when this returns.
    ///
    /// Fails if the address is taken, the folder cannot be used or another store has it, or a bucket's name is none.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let Settings { listen, storage, access_key, secret_key, buckets } = settings;
        let faults = Faults::default();
        let auth = SimpleAuth::from_single(access_key, secret_key);
        let (service, unfinished) = match storage {
            Storage::Memory => serve(Store::new(Memory, catalog::Catalog::default()), auth, buckets).await?,
            Storage::Folder(root) => {
                let shown = root.display().to_string();
                let opened = blocking(move || Folder::open(&root)).await.flatten();
                let (folder, catalog) = opened.with_context(|| format!("failed to open the folder {shown}"))?;
                serve(Store::new(folder, catalog), auth, buckets).await?
            }
        };
        let listener = TcpListener::bind(listen).await.with_context(|| format!("failed to listen on {listen}"))?;
        let server = Server::start(listener, service, faults.clone()).context("failed to start serving")?;
        Ok(Self { server, faults, unfinished })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What to give an S3 client as endpoint, for path-style requests: `http://127.0.0.1:port`. A store that listens on every
    /// address names the loopback one.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let mut address = self.address();
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        format!("http://{address}")
    }

    /// The faults of this store: what is injected here strikes its requests.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// How many multi-part uploads have begun and are neither completed nor aborted.
    #[must_use]
    pub fn unfinished_uploads(&self) -> usize {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Accepts no more, waits at most 5 s for the requests under way, then cuts them. No task of the store is left behind.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// The service on `store`, with its buckets made, and the store's count of unfinished uploads.
async fn serve<M: Medium>(
    store: Store<M>,
    auth: SimpleAuth,
    buckets: Vec<String>,
) -> anyhow::Result<(S3Service, Arc<AtomicUsize>)> {
    for name in buckets {
        ensure!(AwsNameValidation::new().validate_bucket_name(&name), "{name:?} cannot be the name of a bucket");
        let made = store.change(move |catalog, _| match catalog.bucket(&name) {
            Ok(_) => Ok((Vec::new(), ())),
            Err(_) => Ok((vec![catalog.make_bucket(name, now_seconds())?], ())),
        });
        made.await.context("failed to make a bucket")?;
    }
    let unfinished = store.unfinished();
    let mut builder = S3ServiceBuilder::new(Backend(store));
    builder.set_auth(auth);
    Ok((builder.build(), unfinished))
}
