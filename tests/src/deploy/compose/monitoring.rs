//! Prometheus and Grafana of the compose file find what they are to show.

use std::collections::BTreeSet;

use url::Url;

use super::file::{Compose, Service, yaml};

/// The place of a file or folder of the workspace in the container of a service.
fn place_of(service: &Service, source: &str) -> String {
    let found = service.volumes().into_iter().find(|(other, _)| other == source);
    found.unwrap_or_else(|| panic!("{} does not mount {source}", service.name)).1
}

#[test]
fn prometheus_asks_every_container_of_both_services_at_its_admin_port() {
    let (compose, prometheus) = (Compose::read(), yaml("deploy/prometheus/prometheus.yml"));
    let jobs = prometheus["scrape_configs"].as_array().expect("there are some");
    let names: BTreeSet<&str> = jobs.iter().filter_map(|job| job["job_name"].as_str()).collect();
    // Rules and dashboards know the targets by these names.
    assert_eq!(names, compose.services_of_ours().iter().map(|service| service.name.as_str()).collect());
    for job in jobs {
        let name = job["job_name"].as_str().expect("it has a name");
        // A name has the addresses of all replicas; a fixed target would be one of them.
        let targets = &job["dns_sd_configs"][0];
        assert_eq!((&targets["names"], &targets["type"]), (&serde_json::json!([name]), &"A".into()), "{name}");
        let admin = compose.service(name).settings().admin_listen;
        assert_eq!(format!("0.0.0.0:{}", targets["port"]), admin, "{name}");
    }
}

#[test]
fn prometheus_reads_its_settings_and_the_rules() {
    let compose = Compose::read();
    let service = compose.service("prometheus");
    let own = place_of(service, "./deploy/prometheus/prometheus.yml");
    assert_eq!(own, "/etc/prometheus/prometheus.yml", "where the program looks for them");
    let rules = place_of(service, "./deploy/prometheus/rules.yaml");
    // Paths are relative to the settings.
    let read = yaml("deploy/prometheus/prometheus.yml")["rule_files"].clone();
    assert_eq!(read, serde_json::json!([rules.trim_start_matches("/etc/prometheus/")]));
}

#[test]
fn grafana_asks_prometheus_and_shows_the_dashboards() {
    let compose = Compose::read();
    let service = compose.service("grafana");
    assert_eq!(place_of(service, "./deploy/grafana/provisioning"), "/etc/grafana/provisioning", "where it looks");
    let sources = yaml("deploy/grafana/provisioning/datasources/prometheus.yaml");
    let url = Url::parse(sources["datasources"][0]["url"].as_str().expect("it has one")).expect("it is a URL");
    let port = url.port().expect("it has a port").to_string();
    compose.service(url.host_str().expect("it has a host")).published(&port);
    let boards = yaml("deploy/grafana/provisioning/dashboards/files.yaml");
    let place = place_of(service, "./deploy/grafana/dashboards");
    assert_eq!(boards["providers"][0]["options"]["path"].as_str(), Some(place.as_str()));
}
