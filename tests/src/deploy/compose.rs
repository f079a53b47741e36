//! `docker-compose.yml` agrees with the programs, with itself, and with what the README says of it.

mod file;
mod monitoring;
mod sample;

use std::collections::BTreeSet;

use shared::outputs::s3::S3Address;
use shared::settings::Access;
use url::Url;

use super::dockerfile::Dockerfile;
use crate::house::workspace;
use file::{Compose, Service};

#[test]
fn our_images_are_made_here_and_never_pulled() {
    let (compose, dockerfile) = (Compose::read(), Dockerfile::read());
    for service in compose.ours() {
        let (name, build) = (&service.name, &service.value["build"]);
        let target = build["target"].as_str().expect("it is built from a stage");
        assert!(dockerfile.images().iter().any(|image| image.name == target), "{name}: there is no image {target}");
        assert_eq!((build["context"].as_str(), build["dockerfile"].as_str()), (Some("."), Some("deploy/Dockerfile")));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(service.value["image"].as_str(), Some(format!("atr/{target}:{version}").as_str()), "{name}");
        assert_eq!(service.value["pull_policy"], "build", "{name}: somebody else may own this name in a registry");
    }
    let programs: BTreeSet<&str> = compose.ours().map(file::Service::target).collect();
    assert_eq!(programs, ["api-service", "atr", "export-worker"].into());
}

#[test]
fn our_programs_may_write_nothing_and_become_nobody() {
    let (compose, dockerfile) = (Compose::read(), Dockerfile::read());
    for service in compose.ours() {
        let (name, value) = (&service.name, &service.value);
        assert_eq!(value["read_only"], true, "{name}");
        assert_eq!(value["cap_drop"], serde_json::json!(["ALL"]), "{name}");
        assert_eq!(value["security_opt"], serde_json::json!(["no-new-privileges:true"]), "{name}");
        let image = dockerfile.stage(service.target()).expect("it is there");
        for (_, place) in service.volumes() {
            let made = format!("--from=build --chown=65532:65532 {place} {place}");
            assert!(image.all("COPY").contains(&made.as_str()), "{name} cannot write to a new volume at {place}");
        }
    }
}

#[test]
fn both_services_take_their_settings() {
    let compose = Compose::read();
    for service in compose.services_of_ours() {
        let settings = service.settings();
        assert_eq!(settings.access, Some(Access::OpenToEverybody), "{}", service.name);
        S3Address::parse(&settings.outputs_url).unwrap_or_else(|error| panic!("{}: {error}", service.name));
        let stop = service.value["stop_grace_period"].as_str().and_then(|text| text.strip_suffix('s')?.parse().ok());
        let stop: u64 = stop.unwrap_or_else(|| panic!("{} says in seconds how long it may take to stop", service.name));
        assert!(stop > settings.grace_seconds, "{} is killed while it finishes what it has begun", service.name);
    }
}

#[test]
fn every_url_in_a_setting_leads_to_a_service_and_its_port() {
    let compose = Compose::read();
    let mut urls: Vec<String> = Vec::new();
    for service in compose.services_of_ours() {
        let settings = service.settings();
        let store = S3Address::parse(&settings.outputs_url).expect("it is an address");
        urls.extend([settings.jobs_url, settings.queue_url, settings.source_url]);
        urls.extend([store.endpoint.expect("the store is one of the services")]);
    }
    urls.push(compose.service("load").after("--source").to_owned());
    for url in urls {
        let url = Url::parse(&url).expect("it is a URL");
        let (host, port) = (url.host_str().expect("it has a host"), url.port().expect("it has a port"));
        let ports = [("redis", 6379), ("rabbitmq", 5672), ("postgres", 5432), ("seaweedfs", 8333)];
        assert!(ports.contains(&(host, port)), "{url}: nobody listens there");
        compose.service(host);
    }
}

#[test]
fn users_and_passwords_are_those_of_the_servers() {
    let compose = Compose::read();
    let broker = compose.service("rabbitmq").environment();
    let database = compose.service("postgres").environment();
    let store = compose.service("seaweedfs").environment();
    let loads_from = compose.service("load").after("--source").to_owned();
    for service in compose.services_of_ours() {
        let (settings, own) = (service.settings(), service.environment());
        let url = Url::parse(&settings.queue_url).expect("it is a URL");
        let (user, password) = (&broker["RABBITMQ_DEFAULT_USER"], &broker["RABBITMQ_DEFAULT_PASS"]);
        assert_eq!((url.username(), url.password()), (user.as_str(), Some(password.as_str())));
        let url = Url::parse(&settings.source_url).expect("it is a URL");
        let (user, password) = (&database["POSTGRES_USER"], &database["POSTGRES_PASSWORD"]);
        assert_eq!((url.username(), url.password()), (user.as_str(), Some(password.as_str())));
        assert_eq!(url.path(), format!("/{}", database["POSTGRES_DB"]));
        assert_eq!(settings.source_url, loads_from, "the sample is loaded into another database");
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            assert_eq!(own[key], store[key], "{}: {key}", service.name);
        }
        let bucket = S3Address::parse(&settings.outputs_url).expect("it is an address").bucket;
        let store = compose.service("seaweedfs");
        assert!(store.command().contains(&format!("-bucket={bucket}")), "the store has no bucket {bucket}");
    }
}

#[test]
fn nothing_is_published_but_on_this_machine() {
    for service in &Compose::read().services {
        for port in service.value["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().expect("a port is written in quotes");
            assert!(port.starts_with("127.0.0.1:"), "{}: {port} is open to the network", service.name);
        }
    }
}

#[test]
fn clients_reach_the_api_and_the_files_by_the_urls_that_they_are_told() {
    let compose = Compose::read();
    let api = compose.service("api-service");
    let settings = api.settings();
    let public = settings.public_base().expect("it is a URL");
    let listens = settings.listen.rsplit_once(':').expect("it has a port").1.to_owned();
    assert_eq!(api.published(&listens), public.authority());
    let store = S3Address::parse(&settings.outputs_url).expect("it is an address");
    let links = Url::parse(&store.public_endpoint.expect("links are for this machine")).expect("it is a URL");
    let inside = Url::parse(&store.endpoint.expect("it is there")).expect("it is a URL");
    let inside = inside.port().expect("it has a port").to_string();
    assert_eq!(compose.service("seaweedfs").published(&inside), links.authority());
    assert!(compose.service("seaweedfs").command().contains(&format!("-s3.port={inside}")));
}

#[test]
fn the_readme_asks_for_the_list_that_is_loaded_where_it_is_served() {
    let compose = Compose::read();
    let base = compose.service("api-service").settings().public_base().expect("it is a URL");
    let list = compose.service("generate").after("--list").to_owned();
    let readme = std::fs::read_to_string(workspace().join("README.md")).expect("it is there");
    let section = readme.split("\n## ").find(|section| section.starts_with("With Docker\n"));
    let section = section.expect("the README has a section \"With Docker\"");
    let kick_off = format!("'{base}/Group/{list}/$davinci-data-export'");
    assert!(section.contains(&kick_off), "With Docker: the kick-off is {kick_off}");
}

#[test]
fn who_depends_on_a_service_can_tell_when_it_is_there() {
    let compose = Compose::read();
    for service in &compose.services {
        for (name, condition) in service.depends_on() {
            let other = compose.service(&name);
            let fits = match condition.as_str() {
                "service_healthy" => other.has_health_check(),
                "service_completed_successfully" => !other.has_health_check(),
                _ => false,
            };
            assert!(fits, "{} waits for {name} by {condition}, which never comes true, or too early", service.name);
        }
    }
}

#[test]
fn every_service_has_a_health_check_or_ends_by_itself() {
    let compose = Compose::read();
    let ends = |service: &Service| {
        let waits = |other: &Service| other.depends_on().get(&service.name).map(String::as_str).map(str::to_owned);
        compose.services.iter().any(|other| waits(other).as_deref() == Some("service_completed_successfully"))
    };
    for service in &compose.services {
        assert!(service.has_health_check() || ends(service), "{} has no health check", service.name);
    }
}

/// Our images hold one program each: what is called has to be that, as the image has it.
#[test]
fn our_services_ask_themselves_whether_they_are_ready() {
    let (compose, dockerfile) = (Compose::read(), Dockerfile::read());
    for service in compose.services_of_ours() {
        let image = dockerfile.stage(service.target()).expect("it is there");
        let wanted = [vec!["CMD".to_owned()], image.entrypoint(), vec!["--health".to_owned()]].concat();
        assert_eq!(service.value["healthcheck"]["test"], serde_json::json!(wanted), "{}", service.name);
    }
}

#[test]
fn every_volume_and_every_file_that_is_mounted_is_there() {
    let compose = Compose::read();
    let mut used = BTreeSet::new();
    for service in &compose.services {
        for (source, _) in service.volumes() {
            if source.starts_with('.') {
                let there = workspace().join(&source).exists();
                assert!(there, "{}: {source} is not there, and Docker would make an empty folder of it", service.name);
            } else {
                used.insert(source);
            }
        }
    }
    assert_eq!(compose.volumes, used, "the volumes that are declared, and those that are used");
}

#[test]
fn servers_are_of_a_version_that_stays() {
    for service in Compose::read().services.iter().filter(|service| !service.is_ours()) {
        let image = service.value["image"].as_str().expect("it has an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
        assert!(tag.starts_with(|first: char| first.is_ascii_digit() || first == 'v'), "{image} names no version");
    }
}

#[test]
fn jobs_outlive_a_restart_of_redis() {
    let compose = Compose::read();
    let redis = compose.service("redis");
    assert_eq!(redis.after("--appendonly"), "yes");
    assert_eq!(redis.after("--maxmemory-policy"), "noeviction", "a job that is thrown out is lost");
    assert!(redis.volumes().iter().any(|(_, place)| place == "/data"), "its files are in /data");
}

#[test]
fn nobody_reports_to_its_makers() {
    let compose = Compose::read();
    let store = compose.service("seaweedfs").command();
    for switch in [
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-webdav=false",
    ] {
        assert!(store.iter().any(|word| word == switch), "SeaweedFS wants {switch}");
    }
    let grafana = compose.service("grafana").environment();
    for (name, value) in [
        ("GF_ANALYTICS_REPORTING_ENABLED", "false"),
        ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
        ("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false"),
        ("GF_NEWS_NEWS_FEED_ENABLED", "false"),
        ("GF_PLUGINS_PREINSTALL_DISABLED", "true"),
    ] {
        assert_eq!(grafana.get(name).map(String::as_str), Some(value), "Grafana wants {name}");
    }
}
