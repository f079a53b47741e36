//! The file, read as Compose reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use shared::settings::Settings;

use crate::deploy::dockerfile::Dockerfile;
use crate::house::workspace;

/// A YAML file of the workspace.
pub fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What `docker compose up` starts.
pub struct Compose {
    pub services: Vec<Service>,
    /// The named volumes.
    pub volumes: BTreeSet<String>,
}

/// A service of it.
pub struct Service {
    pub name: String,
    pub value: Value,
}

impl Compose {
    /// The file of this workspace.
    pub fn read() -> Self {
        let file = yaml("docker-compose.yml");
        let services = file["services"].as_object().expect("there are services").clone();
        let volumes = file["volumes"].as_object().expect("there are volumes");
        Self {
            services: services.into_iter().map(|(name, value)| Service { name, value }).collect(),
            volumes: volumes.keys().cloned().collect(),
        }
    }

    /// The service of this name; panics when there is none.
    pub fn service(&self, name: &str) -> &Service {
        let found = self.services.iter().find(|service| service.name == name);
        found.unwrap_or_else(|| panic!("docker-compose.yml has no service {name}"))
    }

    /// Those that run our programs.
    pub fn ours(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.is_ours())
    }

    /// The API and the workers.
    pub fn services_of_ours(&self) -> [&Service; 2] {
        ["api-service", "export-worker"].map(|name| self.service(name))
    }
}

impl Service {
    /// Whether it runs a program of this workspace.
    pub fn is_ours(&self) -> bool {
        !self.value["build"].is_null()
    }

    /// The stage of the Dockerfile that it is built from.
    pub fn target(&self) -> &str {
        self.value["build"]["target"].as_str().expect("it is built from a stage")
    }

    /// Its variables, as the file has them.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let Some(variables) = self.value["environment"].as_object() else { return BTreeMap::new() };
        let text = |(name, value): (&String, &Value)| {
            let value = value.as_str().unwrap_or_else(|| panic!("{}: {name} is to be in quotes", self.name));
            (name.clone(), value.to_owned())
        };
        variables.iter().map(text).collect()
    }

    /// The variables `ATR_*` that the program finds: those of its image, and those of the file.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let dockerfile = Dockerfile::read();
        let mut variables = dockerfile.stage(self.target()).expect("it is there").variables();
        variables.extend(self.environment());
        variables.retain(|name, _| name.starts_with("ATR_"));
        variables
    }

    /// The settings that the program has.
    pub fn settings(&self) -> Settings {
        Settings::from_variables(self.variables()).unwrap_or_else(|wrong| panic!("{}: {wrong}", self.name))
    }

    /// Its arguments.
    pub fn command(&self) -> Vec<String> {
        let words = self.value["command"].as_array().unwrap_or_else(|| panic!("{} has arguments", self.name));
        words.iter().map(|word| word.as_str().expect("arguments are text").to_owned()).collect()
    }

    /// The argument that follows this one.
    pub fn after(&self, name: &str) -> &str {
        let mut words = self.value["command"].as_array().expect("it has arguments").iter().map(|word| word.as_str());
        let found = words.find(|word| *word == Some(name)).and_then(|_| words.next().flatten());
        found.unwrap_or_else(|| panic!("{} has no argument {name}", self.name))
    }

    /// The services that it waits for, and what it waits for.
    pub fn depends_on(&self) -> BTreeMap<String, String> {
        let others = self.value["depends_on"].as_object().into_iter().flatten();
        let text = |value: &Value| value["condition"].as_str().expect("it says what it waits for").to_owned();
        others.map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// Whether it is asked how it is.
    pub fn has_health_check(&self) -> bool {
        self.value["healthcheck"]["test"][0] == "CMD"
    }

    /// What is mounted, and where.
    pub fn volumes(&self) -> Vec<(String, String)> {
        let mounts = self.value["volumes"].as_array().into_iter().flatten();
        let mounts = mounts.map(|mount| mount.as_str().expect("it is SOURCE:PLACE"));
        let mut parts = mounts.map(|mount| mount.split(':'));
        std::iter::from_fn(|| parts.next())
            .map(|mut mount| (mount.next().unwrap_or_default().to_owned(), mount.next().unwrap_or_default().to_owned()))
            .collect()
    }

    /// The address of this machine at which a port of the container is published.
    pub fn published(&self, port: &str) -> String {
        let ports = self.value["ports"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let found = ports.filter_map(|text| text.rsplit_once(':')).find(|(_, inside)| *inside == port);
        found.unwrap_or_else(|| panic!("{} does not publish its port {port}", self.name)).0.to_owned()
    }
}
