//! The objects are of the form that a cluster takes, and the alerts those of `deploy/prometheus`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use super::rendered::{PROGRAMS, everything, list, name_of, render, selects, text, tool};
use crate::house::workspace;

/// `tests/validate-objects` has the schemas: those of Kubernetes, and for what others have brought (KEDA, the Prometheus
/// operator) models that were made from their definitions.
#[test]
fn every_object_has_the_fields_that_its_kind_has_and_no_others() {
    let mut objects = Vec::new();
    for rendered in everything() {
        for object in &rendered.objects {
            let at = format!("{}: {} {}", rendered.name, text(&object["kind"]), name_of(object));
            objects.push(json!({"where": at, "object": object}));
        }
    }
    assert!(objects.len() > 80, "all of them are looked at: {}", objects.len());
    let mut validator = tool("TEST_SCHEMAS_PYTHON")
        .arg(workspace().join("tests/validate-objects"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/run has tried this Python");
    let bytes = serde_json::to_vec(&objects).expect("they were text");
    validator.stdin.take().expect("it was asked for").write_all(&bytes).expect("it reads all of it");
    let output = validator.wait_with_output().expect("it ends");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
    let all = format!("{} objects, 0 wrong\n", objects.len());
    assert!(said.ends_with(&all), "it has seen all of them: {said}");
}

/// Of a plain cluster nothing is asked that somebody would have to install first.
#[test]
fn the_base_and_dev_are_for_a_plain_cluster() {
    for path in ["base", "overlays/dev"] {
        for object in render(path).objects {
            let group = text(&object["apiVersion"]).split('/').next().expect("a text has a beginning").to_owned();
            let is_built_in = !group.contains('.') || group.ends_with(".k8s.io");
            assert!(is_built_in, "{path}: {group} has to be installed first");
        }
    }
}

#[test]
fn the_rules_of_the_operator_are_those_of_prometheus() {
    let rules = fs::read_to_string(workspace().join("deploy/prometheus/rules.yaml")).expect("it is there");
    let rules: Value = serde_saphyr::from_str(&rules).expect("rules are YAML");
    let production = render("overlays/production");
    let rule = production.of_kind("PrometheusRule").next().expect("production has one");
    assert_eq!(rule["spec"], rules, "they differ: run deploy/kubernetes/render-rules");
}

/// The operator takes the name of the job from a label of the pod.
#[test]
fn the_jobs_that_the_rules_ask_for_are_scraped() {
    let production = render("overlays/production");
    let monitor = production.of_kind("PodMonitor").next().expect("production has one");
    let label = text(&monitor["spec"]["jobLabel"]);
    let scraped: Vec<&str> = production
        .templates()
        .map(|(_, template)| &template["metadata"]["labels"])
        .filter(|labels| selects(&monitor["spec"]["selector"], labels))
        .map(|labels| text(&labels[label]))
        .collect();
    assert_eq!(scraped, PROGRAMS);
    let rule = production.of_kind("PrometheusRule").next().expect("production has one").to_string();
    let asked: BTreeSet<&str> =
        rule.split("job=\\\"").skip(1).map(|rest| rest.split('\\').next().expect("a text has a beginning")).collect();
    assert!(!asked.is_empty(), "rules name their jobs");
    assert!(asked.iter().all(|job| scraped.contains(job)), "the rules ask for {asked:?}, and {scraped:?} are scraped");
    for endpoint in list(&monitor["spec"]["podMetricsEndpoints"]) {
        assert_eq!((text(&endpoint["port"]), text(&endpoint["path"])), ("admin", "/metrics"));
    }
}
