#![doc = include_str!("../README.md")]

mod answer;
mod batch;
mod bundle;
mod clock;
mod elements;
mod faults;
mod history;
mod log;
mod pages;
mod question;
mod resource;
mod routes;
mod search;
mod server;
mod site;
mod spoil;
mod stamp;
mod statement;
mod store;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use crate::faults::{Fault, Harm, Requests};
pub use crate::log::Asked;
pub use crate::stamp::{as_taken, without_stamp};

use crate::clock::Moment;
use crate::resource::Resource;
use crate::routes::ROOT;
use crate::server::Server;
use crate::site::Site;

/// How to start a server.
#[derive(Clone)]
pub struct Options {
    /// How long every request takes, in addition to its work.
    pub latency: Duration,
    /// Its certificates, its own first, and the key of its own, both in PEM; then it speaks HTTPS.
    pub pem: Option<(String, String)>,
    /// Who must have signed the certificate of a client, in PEM; without `pem` it means nothing.
    pub client_authorities: Option<String>,
    /// What the header `Authorization` must be, else the answer is 401.
    pub authorization: Option<String>,
    /// How many rows a page has at most, and without `_count`.
    pub page: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { latency: Duration::ZERO, pem: None, client_authorities: None, authorization: None, page: 1000 }
    }
}

impl fmt::Debug for Options {
    /// Without the secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("latency", &self.latency)
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}

/// What a server is able to do. By default everything, and version ids are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an ability of its own, and any may be missing")]
pub struct Abilities {
    /// `_id` in a search; else a search with it is refused.
    pub id_search: bool,
    /// Searches by POST; else they are answered with 405.
    pub post_search: bool,
    /// Batches; else they are answered with 405.
    pub batch: bool,
    /// The history of a resource and of a type, and the read of a version; else they are answered with 404.
    pub history: bool,
    /// The CapabilityStatement; else 404.
    pub statement: bool,
    /// `_elements` in a search; else it is an unknown parameter.
    pub elements: bool,
    /// `_lastUpdated` in a search; else it is an unknown parameter.
    pub last_updated: bool,
    /// What is written from now on has version ids that show no order.
    pub opaque_versions: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            id_search: true,
            post_search: true,
            batch: true,
            history: true,
            statement: true,
            elements: true,
            last_updated: true,
            opaque_versions: false,
        }
    }
}

/// A running FHIR server.
///
/// It runs as long as this lives. Dropping it cuts what is under way.
pub struct FhirServer {
    site: Arc<Site>,
    /// Held for its end.
    _server: Server,
}

impl FhirServer {
    /// Starts one on a free port of this machine, in a thread of its own. It answers when this returns.
    ///
    /// Fails if there is no port or no thread to be had, or if the certificates are none or do not fit the key.
    pub fn start(options: Options) -> io::Result<Self> {
        let Options { latency, pem, client_authorities, authorization, page } = options;
        let tls = pem.map(|(chain, key)| tls::config(&chain, &key, client_authorities.as_deref())).transpose()?;
        let listener = Server::listener()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{}", listener.local_addr()?);
        let site = Arc::new(Site {
            base: format!("{origin}{ROOT}"),
            origin,
            authorization,
            latency,
            page,
            store: Mutex::default(),
            abilities: Mutex::default(),
            rules: Mutex::default(),
            pages: Mutex::default(),
            log: log::Log::default(),
            met: Mutex::default(),
        });
        let server = Server::start(listener, Arc::clone(&site), tls)?;
        Ok(Self { site, _server: server })
    }

    /// `http://127.0.0.1:1234/fhir`.
    #[must_use]
    pub fn base(&self) -> String {
        self.site.base.clone()
    }

    /// Writes these resources, given as JSON, in one go and with one stamp: those that are new or differ from what is there. The
    /// last one of an id wins.
    ///
    /// # Panics
    /// If one is no resource with an id, or has a `meta.versionId` or a `meta.lastUpdated` of its own: those are the server's.
    pub fn load<S: AsRef<str>>(&self, resources: &[S]) {
        let resources = resources.iter().map(|text| Resource::read(text.as_ref(), &self.site.base)).collect();
        let opaque_versions = lock(&self.site.abilities).opaque_versions;
        let mut store = lock(&self.site.store);
        store.load(resources, opaque_versions, Moment::now());
    }

    /// Deletes a resource, if it is there.
    pub fn delete(&self, resource_type: &str, id: &str) {
        self.delete_all(&[(resource_type, id)]);
    }

    /// Deletes those of these resources that are there, given by type and id, in one go and with one stamp.
    pub fn delete_all(&self, resources: &[(&str, &str)]) {
        lock(&self.site.store).delete(resources, Moment::now());
    }

    /// Changes what it is able to do, from the next request on.
    pub fn abilities(&self, change: impl FnOnce(&mut Abilities)) {
        change(&mut lock(&self.site.abilities));
    }

    /// Adds a fault.
    pub fn misbehave(&self, fault: Fault) {
        lock(&self.site.rules).add(fault);
    }

    /// Forgets all faults.
    pub fn behave(&self) {
        lock(&self.site.rules).clear();
    }

    /// How many answers were spoiled so far, by whatever fault.
    #[must_use]
    pub fn met(&self) -> usize {
        *lock(&self.site.met)
    }

    /// What was asked so far, in the order in which it came.
    #[must_use]
    pub fn requests(&self) -> Vec<Asked> {
        self.site.log.asked()
    }

    /// The most requests that were in progress at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.site.log.most_at_once()
    }
}

/// Nothing that is behind these locks can be left half changed by a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
