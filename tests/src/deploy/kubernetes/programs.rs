//! What the programs are given is what they take: settings, files, ports, probes, images, time to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use shared::admin::{self, Readiness, Starting};
use shared::export::Lane;
use shared::fault::Fault;
use shared::gauges;
use shared::measured::Port;
use shared::metrics::Metrics;
use shared::outputs::s3::S3Address;
use shared::settings::Settings;
use shared::source::postgres::{PostgresSettings, PostgresSource};

use super::readme::secret;
use super::rendered::{
    PROGRAMS, Rendered, all_values, containers, everything, list, name_of, nothing_is_wrong, number, our_image, text,
};
use crate::harness::system::rabbit;
use crate::house::workspace;

/// What a pod has to spare for a program that takes its whole grace period.
const MARGIN_SECONDS: u64 = 5;

/// The variables of a container, as Kubernetes would set them: those of maps first, then its own, which win.
pub fn environment(rendered: &Rendered, container: &Value) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for from in list(&container["envFrom"]) {
        let map = text(&from["configMapRef"]["name"]);
        let data = rendered.data("ConfigMap", map).unwrap_or_else(|| panic!("{}: no ConfigMap {map}", rendered.name));
        variables.extend(data.iter().map(|(name, value)| (name.clone(), text(value).to_owned())));
    }
    for variable in list(&container["env"]) {
        let by_key = &variable["valueFrom"]["secretKeyRef"];
        let value = match variable["value"].as_str() {
            Some(value) => value.to_owned(),
            None => secret(rendered, text(&by_key["name"]), text(&by_key["key"])),
        };
        variables.insert(text(&variable["name"]).to_owned(), value);
    }
    variables
}

/// The settings of a program, as it reads them itself.
pub fn settings(rendered: &Rendered, program: &str) -> Settings {
    let variables = environment(rendered, rendered.program(program).1);
    Settings::from_variables(variables).unwrap_or_else(|error| panic!("{}: {program}: {error}", rendered.name))
}

/// The port of an address that everybody can reach.
pub fn port(address: &str) -> u16 {
    let address: SocketAddr = address.parse().expect("an address with a port");
    assert!(address.ip().is_unspecified(), "only the pod itself could reach {address}");
    address.port()
}

/// The port of a container that has a name.
pub fn named_port<'a>(container: &'a Value, name: &str) -> &'a Value {
    let port = list(&container["ports"]).iter().find(|port| port["name"] == name);
    &port.unwrap_or_else(|| panic!("{} has no port {name}", container["name"]))["containerPort"]
}

#[tokio::test]
async fn the_programs_take_the_settings_that_they_are_given() {
    for rendered in everything() {
        for program in PROGRAMS {
            let settings = settings(&rendered, program);
            let at = format!("{}: {program}", rendered.name);
            redis::Client::open(settings.jobs_url.as_str())
                .unwrap_or_else(|error| panic!("{at}: ATR_JOBS_URL: {error}"));
            rabbit(&settings.queue_url, &settings.namespace, Lane::Bulk)
                .unwrap_or_else(|error| panic!("{at}: {error}"));
            let seconds = Duration::from_secs(1);
            let postgres = PostgresSettings { connections: 1, connect_timeout: seconds, statement_timeout: seconds };
            PostgresSource::connect(&settings.source_url, postgres).unwrap_or_else(|error| panic!("{at}: {error}"));
            S3Address::parse(&settings.outputs_url).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert!(settings.access.is_some(), "{at}: who may call is said");
        }
    }
}

/// By a variable: the password would else stand among the arguments, which others on the node can see.
#[test]
fn what_loads_is_told_where_to() {
    for rendered in everything() {
        let mut loaders = 0;
        for (object, template) in rendered.templates() {
            for container in containers(template).filter(|container| container["args"][0] == "load") {
                let variables = environment(&rendered, container);
                let source = variables.get("ATR_SOURCE_URL").map(String::as_str).unwrap_or_default();
                assert!(source.starts_with("postgres://"), "{}: {}", rendered.name, name_of(object));
                loaders += 1;
            }
        }
        // A FHIR server has no tables.
        let (_, worker) = rendered.program("export-worker");
        let expected = usize::from(!environment(&rendered, worker).contains_key("TMPDIR"));
        assert_eq!(loaders, expected, "{}: something makes the tables, if there are any", rendered.name);
    }
}

/// A Secret that is mounted by a subPath never changes there.
#[test]
fn a_file_that_a_variable_names_is_in_a_volume_that_follows_its_source() {
    for rendered in everything() {
        for program in PROGRAMS {
            let (template, container) = rendered.program(program);
            let at = format!("{}: {program}", rendered.name);
            assert!(all_values(template).iter().all(|value| value["subPath"].is_null()), "{at}: no subPath");
            let mounts = list(&container["volumeMounts"]);
            let files: Vec<_> =
                environment(&rendered, container).into_iter().filter(|(name, _)| name.ends_with("_FILE")).collect();
            for (name, file) in &files {
                let (folder, key) = file.rsplit_once('/').expect("a path");
                let mount = mounts.iter().find(|mount| mount["mountPath"] == folder);
                let mount = mount.unwrap_or_else(|| panic!("{at}: {name}: nothing is mounted at {folder}"));
                let volumes = list(&template["spec"]["volumes"]);
                let volume =
                    volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("the API server asks");
                if let Some(secret) = volume["secret"]["secretName"].as_str() {
                    let is_known =
                        super::readme::documented().iter().any(|row| row.key == (secret.to_owned(), key.to_owned()));
                    assert!(is_known, "{at}: {name}: the README knows of no key {key} of the Secret {secret}");
                } else {
                    let token = &list(&volume["projected"]["sources"])[0]["serviceAccountToken"];
                    assert_eq!(token["path"], key, "{at}: {name}");
                }
            }
            let variables = environment(&rendered, container);
            let named = files.iter().filter_map(|(_, file)| Some(file.rsplit_once('/')?.0));
            // What lists are held in.
            let named: BTreeSet<&str> = named.chain(variables.get("TMPDIR").map(String::as_str)).collect();
            let mounted: BTreeSet<&str> = mounts.iter().map(|mount| text(&mount["mountPath"])).collect();
            assert_eq!(named, mounted, "{at}: what is mounted is what a variable names");
        }
    }
}

#[test]
fn ports_are_those_that_the_programs_listen_on() {
    for rendered in everything() {
        for program in PROGRAMS {
            let (settings, (_, container)) = (settings(&rendered, program), rendered.program(program));
            assert_eq!(*named_port(container, "admin"), port(&settings.admin_listen), "{}: {program}", rendered.name);
            if program == "api-service" {
                assert_eq!(*named_port(container, "http"), port(&settings.listen), "{}: {program}", rendered.name);
            }
        }
        for service in rendered.of_kind("Service").filter(|service| name_of(service) == "api-service") {
            let ports = list(&service["spec"]["ports"]);
            assert!(
                ports.iter().all(|port| port["targetPort"] == "http"),
                "{}: the admin port is for nobody",
                rendered.name
            );
        }
    }
}

#[test]
fn the_ingress_leads_to_the_base_that_clients_are_told() {
    let mut seen = 0;
    for rendered in everything() {
        let base = settings(&rendered, "api-service").public_base().expect("the settings have been checked");
        for ingress in rendered.of_kind("Ingress") {
            let rule = &ingress["spec"]["rules"][0];
            let path = &rule["http"]["paths"][0];
            assert_eq!(rule["host"], base.host_str().expect("a base has a host"), "{}", rendered.name);
            assert_eq!(ingress["spec"]["tls"][0]["hosts"][0], rule["host"], "{}", rendered.name);
            assert_eq!(
                (path["path"].as_str(), path["pathType"].as_str()),
                (Some(base.path()), Some("Prefix")),
                "{}",
                rendered.name
            );
            let backend = &path["backend"]["service"];
            let service = rendered.find("Service", text(&backend["name"])).expect("it leads to a Service");
            let ports = list(&service["spec"]["ports"]);
            assert!(ports.iter().any(|port| port["name"] == backend["port"]["name"]), "{}", rendered.name);
            seen += 1;
        }
    }
    assert!(seen > 0, "production has an Ingress");
}

/// Has all that it needs.
struct Content;

#[async_trait]
impl Readiness for Content {
    async fn ready(&self) -> Vec<(Port, Result<(), Fault>)> {
        vec![(Port::Jobs, Ok(()))]
    }

    async fn measure(&self, _metrics: &Metrics) {}
}

/// The admin port of a program that is there, and of one that waits for its servers.
#[tokio::test]
async fn probes_ask_the_programs_what_they_answer() {
    let ask = async |readiness: Arc<dyn Readiness>, path: String| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address = listener.local_addr().expect("it has one");
        let server = admin::serve(listener, Metrics::new(), readiness).expect("it is bound");
        let (handle, server) = (server.handle(), tokio::spawn(server));
        let status = reqwest::get(format!("http://{address}{path}")).await.expect("it answers").status().as_u16();
        handle.stop(false).await;
        server.await.expect("it does not panic").expect("it ends");
        status
    };
    for rendered in everything() {
        for program in PROGRAMS {
            let (_, container) = rendered.program(program);
            for (probe, while_waiting) in [("startupProbe", 200), ("livenessProbe", 200), ("readinessProbe", 503)] {
                let at = format!("{}: {program}: {probe}", rendered.name);
                let request = &container[probe]["httpGet"];
                assert_eq!(request["port"], "admin", "{at}");
                let path = text(&request["path"]).to_owned();
                assert_eq!(ask(Arc::new(Content), path.clone()).await, 200, "{at}, when all is there");
                assert_eq!(ask(Arc::new(Starting::default()), path).await, while_waiting, "{at}, while it waits");
            }
            let patience = container["readinessProbe"]["timeoutSeconds"].as_u64().map(Duration::from_secs);
            assert!(
                patience > Some(gauges::PATIENCE),
                "{} {program}: a probe must hear the answer `not ready`",
                rendered.name
            );
        }
    }
}

#[test]
fn a_pod_is_given_the_time_that_its_program_takes_to_stop() {
    for rendered in everything() {
        for program in PROGRAMS {
            let (template, container) = rendered.program(program);
            let grace = settings(&rendered, program).grace_seconds;
            let before = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or(0);
            let given = number(&template["spec"]["terminationGracePeriodSeconds"]);
            assert_eq!(given, before + grace + MARGIN_SECONDS, "{}: {program}", rendered.name);
            let is_called_by_a_service = program == "api-service";
            assert_eq!(before > 0, is_called_by_a_service, "{}: {program}: first it leaves the Service", rendered.name);
        }
    }
}

/// Whoever owns their names in a public registry must not be asked for them.
#[test]
fn our_images_come_from_a_registry_that_is_said_or_were_there_before() {
    let mut wrong = Vec::new();
    for rendered in everything().iter().filter(|rendered| rendered.name != "base") {
        for (object, template) in rendered.templates() {
            for container in containers(template).filter(|container| our_image(container).is_some()) {
                let image = text(&container["image"]);
                let is_safe = image.starts_with("registry.example.org/") || container["imagePullPolicy"] == "Never";
                wrong.extend((!is_safe).then(|| format!("{}: {}: {image}", rendered.name, name_of(object))));
            }
        }
    }
    nothing_is_wrong(&wrong);
}

#[test]
fn our_images_are_those_that_the_dockerfile_makes() {
    let dockerfile = workspace().join("deploy/Dockerfile");
    let dockerfile =
        fs::read_to_string(&dockerfile).unwrap_or_else(|error| panic!("{}: {error}", dockerfile.display()));
    let stages: Vec<&str> = dockerfile
        .lines()
        .filter(|line| line.starts_with("FROM "))
        .filter_map(|line| line.split_once(" AS ").map(|(_, stage)| stage.trim()))
        .collect();
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).expect("the images have a user");
    let user: u64 = user.split(':').next().and_then(|user| user.parse().ok()).expect("as a number");
    let mut wrong = Vec::new();
    for rendered in everything() {
        for (object, template) in rendered.templates() {
            for container in containers(template) {
                let image = text(&container["image"]);
                let at = format!("{}: {}: {image}", rendered.name, name_of(object));
                let Some(ours) = our_image(container) else {
                    let is_server = template["metadata"]["labels"]["app.kubernetes.io/component"] == "server";
                    let is_pinned = image.contains(':') && !image.ends_with(":latest");
                    wrong.extend((!is_server || !is_pinned).then_some(at));
                    continue;
                };
                let (stage, version) = ours.split_once(':').unwrap_or((ours, ""));
                let is_built = stages.contains(&stage) && version == env!("CARGO_PKG_VERSION");
                let is_the_user = template["spec"]["securityContext"]["runAsUser"] == user;
                wrong.extend((!is_built || !is_the_user).then_some(at));
            }
        }
    }
    nothing_is_wrong(&wrong);
}
