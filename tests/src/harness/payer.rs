//! Where the payer's data of a test is: tables in PostgreSQL, or, with `TEST_SOURCE=fhir` in the environment, a FHIR server.

use std::env;
use std::sync::Arc;

use devfhir::{FhirServer, Options, as_taken};
use shared::fhir::{OwnBases, Resource, ResourceKey};
use shared::source::ResourceSource;
use shared::source::postgres::Loader;

use super::random::OWN_BASE;
use super::system::source_url;
use super::unstamped::Unstamped;

/// A place for data, and the way in.
pub enum Payer {
    /// A schema, of this URL.
    Tables(String, Box<Loader>),
    /// A server, which runs as long as this lives.
    Server(FhirServer),
}

impl Payer {
    /// An empty one, of this namespace.
    pub async fn start(namespace: &str) -> anyhow::Result<Self> {
        if env::var("TEST_SOURCE").is_ok_and(|source| source == "fhir") {
            return Ok(Self::Server(FhirServer::start(Options::default())?));
        }
        let url = source_url(namespace);
        let loader = Loader::connect(&url, OwnBases::new([OWN_BASE])).await?;
        Ok(Self::Tables(url, Box::new(loader)))
    }

    /// What the source of a system is set to.
    pub fn url(&self) -> String {
        match self {
            Self::Tables(url, _) => url.clone(),
            Self::Server(server) => server.base(),
        }
    }

    /// A source on it that gives resources as they were loaded, whatever the server adds to them.
    pub fn unstamped(&self, source: Arc<dyn ResourceSource>) -> Arc<dyn ResourceSource> {
        match self {
            Self::Tables(..) => source,
            Self::Server(_) => Arc::new(Unstamped(source)),
        }
    }

    /// Loads resources; answers them as they are there now.
    pub async fn load(&mut self, lines: &[String]) -> Vec<String> {
        match self {
            Self::Tables(_, loader) => {
                let read = |line: &String| Resource::read(&line.clone().into()).expect("the test's data are resources");
                let resources: Vec<Resource> = lines.iter().map(read).collect();
                loader.load(&resources).await.expect("the source takes resources");
                lines.to_vec()
            }
            Self::Server(server) => {
                let lines: Vec<String> = lines.iter().map(|line| as_taken(line)).collect();
                server.load(&lines);
                lines
            }
        }
    }

    /// Deletes resources.
    pub async fn delete(&mut self, keys: &[ResourceKey]) {
        match self {
            Self::Tables(_, loader) => {
                loader.delete(keys).await.expect("the source deletes resources");
            }
            Self::Server(server) => {
                let keys: Vec<_> = keys.iter().map(|key| (key.resource_type.name(), key.id.as_str())).collect();
                server.delete_all(&keys);
            }
        }
    }
}
