//! What is scaled, what is kept from going at once, and by which queues.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::export::Lane;
use shared::queue::rabbitmq::queue_names;

use super::programs::settings;
use super::rendered::{Rendered, everything, list, name_of, number, render, text};

/// What KEDA's scaler for RabbitMQ reads from a trigger. Its schema knows only that they are texts, so that these are written
/// down from its source (`pkg/scalers/rabbitmq_scaler.go`).
const SCALER_SETTINGS: [&str; 14] = [
    "queueName",
    "mode",
    "value",
    "activationValue",
    "host",
    "protocol",
    "vhostName",
    "useRegex",
    "excludeUnacknowledged",
    "pageSize",
    "operation",
    "timeout",
    "unsafeSsl",
    "hostFromEnv",
];

fn scaled(rendered: &Rendered) -> Vec<&Value> {
    rendered.of_kind("HorizontalPodAutoscaler").chain(rendered.of_kind("ScaledObject")).collect()
}

/// A Deployment that said how many there are would have each apply undo what its autoscaler did.
#[test]
fn what_is_scaled_is_there_and_leaves_its_number_to_the_autoscaler() {
    for rendered in everything() {
        for scaler in scaled(&rendered) {
            let target = &scaler["spec"]["scaleTargetRef"];
            let kind = target["kind"].as_str().unwrap_or("Deployment");
            let object = rendered.find(kind, text(&target["name"]));
            let object = object.unwrap_or_else(|| panic!("{}: {} scales nothing", rendered.name, name_of(scaler)));
            assert!(object["spec"]["replicas"].is_null(), "{}: {} says how many", rendered.name, name_of(object));
        }
    }
    let production = render("overlays/production");
    let names: BTreeSet<&str> =
        scaled(&production).into_iter().map(|scaler| text(&scaler["spec"]["scaleTargetRef"]["name"])).collect();
    assert_eq!(names, ["api-service", "export-worker"].into());
}

#[test]
fn workers_are_scaled_by_the_queues_and_permits_of_the_code() {
    let production = render("overlays/production");
    let settings = settings(&production, "export-worker");
    let scaler = production.find("ScaledObject", "export-worker").expect("production scales its workers");
    let mut wanted = BTreeMap::new();
    for (lane, permits) in [(Lane::Express, settings.express_permits), (Lane::Bulk, settings.permits)] {
        let [tasks, _] = queue_names(&settings.namespace, lane);
        wanted.insert(tasks, permits.to_string());
    }
    let mut found = BTreeMap::new();
    for trigger in list(&scaler["spec"]["triggers"]) {
        assert_eq!(trigger["type"], "rabbitmq");
        let metadata = trigger["metadata"].as_object().expect("a trigger has settings");
        for name in metadata.keys() {
            assert!(SCALER_SETTINGS.contains(&name.as_str()), "KEDA's scaler does not read {name}");
        }
        // Over AMQP it would count only what waits.
        assert_eq!((text(&metadata["protocol"]), text(&metadata["mode"])), ("http", "QueueLength"));
        let by = production.find("TriggerAuthentication", text(&trigger["authenticationRef"]["name"]));
        let parameters = list(&by.expect("it is made")["spec"]["secretTargetRef"]);
        assert!(parameters.iter().any(|parameter| parameter["parameter"] == "host"), "the scaler is told where to ask");
        found.insert(text(&metadata["queueName"]).to_owned(), text(&metadata["value"]).to_owned());
    }
    assert_eq!(found, wanted);
}

/// Workers do more than the queues say, so that there is always one; and of one job at most `ATR_WINDOW` tasks are open.
#[test]
fn there_are_as_many_workers_as_are_of_use() {
    let production = render("overlays/production");
    let settings = settings(&production, "export-worker");
    let spec = &production.find("ScaledObject", "export-worker").expect("production scales its workers")["spec"];
    assert!(number(&spec["minReplicaCount"]) >= 1, "somebody looks for due work");
    let at_most = number(&spec["maxReplicaCount"]) * u64::from(settings.permits);
    assert_eq!(at_most, u64::from(settings.window), "the permits of all workers, and the tasks of one job");
}

#[test]
fn both_programs_have_a_budget_that_lets_a_node_go() {
    for rendered in everything() {
        for program in ["api-service", "export-worker"] {
            let budget = rendered.find("PodDisruptionBudget", program).expect("it is in the base");
            let labels = &rendered.program(program).0["metadata"]["labels"];
            assert!(super::rendered::selects(&budget["spec"]["selector"], labels), "{}: {program}", rendered.name);
            assert!(
                budget["spec"]["minAvailable"].is_null(),
                "{}: {program}: with one pod no node could go",
                rendered.name
            );
        }
    }
}
