//! What the programs expose, as they say themselves after an export.

use std::collections::{BTreeMap, BTreeSet};

use api_service::routes;
use shared::fhir::ResourceType;
use shared::metrics::{Metrics, Program, Row};

use super::promql::{Matcher, alternatives, asked, fits};
use super::promtool::promtool;
use super::rules::rules;
use crate::harness::certificate::Certificate;
use crate::harness::exposition::{Series, metrics, series};
use crate::harness::namespace;
use crate::harness::programs::{free_port, load, program, start, start_at, variables};
use crate::harness::store::Store;
use crate::harness::system::clean;
use crate::house::workspace;
use crate::stories::small_list;

/// Labels that a scrape adds.
const OF_TARGETS: [&str; 3] = ["job", "instance", "namespace"];

/// The values of each label of a metric.
type Values = BTreeMap<String, BTreeSet<String>>;

/// What an API and a worker expose.
pub struct Exposed {
    /// The text of each, by its scrape job.
    texts: BTreeMap<&'static str, String>,
    /// Its series.
    series: BTreeMap<&'static str, BTreeMap<String, Values>>,
    /// The series that rules record.
    recorded: BTreeSet<String>,
}

/// Starts an API with all that it may have (a register of clients, a certificate, an audit trail), a worker and a store,
/// exports a small list, and looks at the metrics of both.
pub async fn exposed() -> Exposed {
    let namespace = namespace();
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let atr = async |arguments: &[&str]| {
        let output = program("atr").args(arguments).output().await.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    load(&namespace, &small_list()).await;
    let (register, key, out) = (path("clients.json"), path("north.pem"), path("out"));
    atr(&["client", "add", "north", "--file", &register, "--list", "g", "--new-key", &key]).await;
    let store = Store::devstore().await.expect("devstore starts");
    let port = free_port();
    let server = format!("https://127.0.0.1:{port}/fhir");
    let (authority, certificate) = (path("tls.crt"), Certificate::new());
    std::fs::write(&authority, &certificate.certificate).expect("the folder can be written to");
    std::fs::write(path("tls.key"), &certificate.key).expect("the folder can be written to");
    let mut variables = variables(&namespace, &store);
    variables.retain(|(name, _)| *name != "ATR_ACCESS");
    variables.extend([
        ("ATR_ACCESS", "smart".to_owned()),
        ("ATR_PUBLIC_URL", server.clone()),
        ("ATR_CLIENTS_FILE", register),
        ("ATR_TLS_CERTIFICATE_FILE", authority.clone()),
        ("ATR_TLS_KEY_FILE", path("tls.key")),
        ("ATR_AUDIT", format!("file:{}", path("audit.ndjson"))),
    ]);
    let worker = start("export-worker", &variables).await;
    let api = start_at("api-service", &variables, port).await;
    let export = ["export", "--server", &server, "--list", "g", "--out", &out];
    atr(&[&export[..], &["--client", "north", "--key", &key, "--authorities", &authority]].concat()).await;
    let texts = BTreeMap::from([
        ("api-service", metrics(api.admin_port).await),
        ("export-worker", metrics(worker.admin_port).await),
    ]);
    for service in [api, worker] {
        assert!(service.terminate().await, "SIGTERM ends a service well");
    }
    clean(&namespace).await.expect("the servers are there");
    let mut series: BTreeMap<_, _> = texts.iter().map(|(job, text)| (*job, read(text))).collect();
    for row in Metrics::ROWS {
        for program in row.shown_by {
            let job = if *program == Program::Api { "api-service" } else { "export-worker" };
            complete(series.get_mut(job).expect("both were asked"), row);
        }
    }
    Exposed { texts, series, recorded: rules().into_iter().filter_map(|rule| rule.record).collect() }
}

/// The labels of each metric of a text, with the values that they have there.
fn read(text: &str) -> BTreeMap<String, Values> {
    let mut read: BTreeMap<String, Values> = BTreeMap::new();
    for Series { name, labels } in series(text) {
        let values = read.entry(name.to_owned()).or_default();
        for (label, value) in labels {
            values.entry(label.to_owned()).or_default().insert(value.to_owned());
        }
    }
    read
}

/// Adds what an export that goes well does not show: other values of labels, and counters of which nothing is seen before the
/// first event, because the values of a label are not listed.
fn complete(series: &mut BTreeMap<String, Values>, row: &Row) {
    let is_shown_late = row.name.ends_with("_total") && row.labels.iter().any(|(_, values)| values.is_empty());
    if is_shown_late {
        series.entry(row.name.to_owned()).or_default();
    }
    for suffix in ["", "_bucket", "_sum", "_count"] {
        let Some(seen) = series.get_mut(&format!("{}{suffix}", row.name)) else { continue };
        for (label, values) in row.labels {
            let seen = seen.entry((*label).to_owned()).or_default();
            seen.extend(values.iter().map(|value| (*value).to_owned()));
        }
    }
}

impl Exposed {
    /// What a query asks for that is not there.
    pub fn misses(&self, query: &str) -> Vec<String> {
        let asked = asked(query);
        let mut labels: BTreeSet<&str> = OF_TARGETS.into();
        let mut misses = Vec::new();
        // Whether a target is up, Prometheus says itself.
        for selector in asked.selectors.iter().filter(|selector| selector.name != "up") {
            let name = &selector.name;
            if let Some((of_labels, _)) = name.split_once(':') {
                labels.extend(of_labels.split('_'));
                misses.extend((!self.recorded.contains(name)).then(|| format!("no rule records {name}")));
                continue;
            }
            let mut sides = Vec::new();
            for job in selector.value("job").unwrap_or_default().split('|') {
                match self.series.get(job).and_then(|series| series.get(name)) {
                    Some(values) => sides.push(values),
                    None => misses.push(format!("{name} is not exposed by the scrape job '{job}'")),
                }
            }
            labels.extend(sides.iter().flat_map(|values| values.keys()).map(String::as_str));
            let of_its_own = selector.matchers.iter().filter(|matcher| !OF_TARGETS.contains(&matcher.label.as_str()));
            misses.extend(of_its_own.filter(|_| !sides.is_empty()).filter_map(|matcher| miss(name, matcher, &sides)));
        }
        // The labels of a metric that is not there are not known.
        if misses.is_empty() {
            let unknown = asked.labels.iter().filter(|label| !labels.contains(label.as_str()));
            misses.extend(unknown.map(|label| format!("nothing has the label '{label}' in: {query}")));
        }
        misses
    }

    /// The names of all metrics.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        let types = self.texts.values().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split(' ').next()).collect::<BTreeSet<_>>().into_iter()
    }
}

/// Whether a metric has not the label of a matcher, or never has its value.
fn miss(metric: &str, matcher: &Matcher, sides: &[&Values]) -> Option<String> {
    let Matcher { label, value, is_pattern } = matcher;
    if !sides.iter().any(|values| values.contains_key(label)) {
        return Some(format!("{metric} has no label '{label}'"));
    }
    let mut known: BTreeSet<String> = sides.iter().filter_map(|values| values.get(label)).flatten().cloned().collect();
    // Of these the page of the metrics does not list the values.
    match label.as_str() {
        "route" => known.extend(routes::TABLE.iter().map(|row| format!("/fhir/{}", row.path))),
        "status" => known.extend((200..600).map(|status: u16| status.to_string())),
        "type" => known.extend(ResourceType::ATTRIBUTION.map(|one| one.name().to_owned())),
        _ => {}
    }
    let is_known = if *is_pattern {
        alternatives(value).iter().all(|one| known.iter().any(|value| fits(one, value)))
    } else {
        // The base of an API may have any path before it.
        known.iter().any(|one| one == value || (label == "route" && value.ends_with(one.as_str())))
    };
    (!is_known).then(|| format!("{metric} never has {label}=\"{value}\", but one of {known:?}"))
}

#[tokio::test]
async fn metrics_have_the_form_that_promtool_asks_for() {
    for (job, text) in exposed().await.texts {
        promtool(&["check", "metrics"], &workspace(), &text).unwrap_or_else(|said| panic!("{job}: {said}"));
    }
}

#[test]
fn what_is_not_exposed_is_missed() {
    let text = "# TYPE a_total counter\na_total{outcome=\"ok\",route=\"/fhir/export/{job}\"} 1\n";
    let exposed = Exposed {
        texts: BTreeMap::new(),
        series: BTreeMap::from([("api-service", read(text)), ("export-worker", BTreeMap::new())]),
        recorded: ["namespace:a:rate5m".to_owned()].into(),
    };
    for (query, misses) in [
        (r#"sum by (outcome) (rate(a_total{job="api-service", outcome="ok"}[5m])) + namespace:a:rate5m + up"#, 0),
        (r#"a_total{job="api-service", route=~".*/export/[{]job[}]"}"#, 0),
        (r#"a_total{job="api-service", route="/payer/fhir/{type}/{id}"}"#, 0),
        ("a_total", 1),
        (r#"a_total{job="export-worker"}"#, 1),
        (r#"a_total{job=~"api-service|export-worker"}"#, 1),
        (r#"b_total{job="api-service"}"#, 1),
        (r#"a_total{job="api-service", colour="red"}"#, 1),
        (r#"a_total{job="api-service", outcome="bad"}"#, 1),
        (r#"a_total{job="api-service", outcome=~"ok|bad"}"#, 1),
        (r#"a_total{job="api-service", outcome!="bad"}"#, 1),
        (r#"sum by (colour) (a_total{job="api-service"})"#, 1),
        ("namespace:b:rate5m", 1),
    ] {
        let found = exposed.misses(query);
        assert_eq!(found.len(), misses, "{query}: {found:?}");
    }
}
