//! Who speaks to whom: selectors find their pods, and policies let through what the settings need and nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::outputs::s3::S3Address;
use url::Url;

use super::programs::{environment, port, settings};
use super::rendered::{PROGRAMS, Rendered, containers, everything, list, name_of, nothing_is_wrong, selects, text};

/// The servers that a program calls by its settings: host and port. A bucket of AWS, the givers of its credentials and the
/// keys of clients are reached by HTTPS.
fn servers(rendered: &Rendered, program: &str) -> BTreeSet<(String, u16)> {
    let settings = settings(rendered, program);
    let mut servers: BTreeSet<_> =
        [&settings.jobs_url, &settings.queue_url, &settings.source_url].map(|url| place(url)).into();
    let outputs = S3Address::parse(&settings.outputs_url).expect("the settings have been checked");
    let the_world = || ("the world".to_owned(), 443);
    servers.insert(outputs.endpoint.map_or_else(the_world, |endpoint| place(&endpoint)));
    if settings.asks_for_tokens() {
        servers.insert(the_world());
    }
    let collector = environment(rendered, rendered.program(program).1).remove("ATR_OTLP_URL");
    servers.extend(collector.filter(|url| !url.is_empty()).map(|url| place(&url)));
    servers
}

fn place(url: &str) -> (String, u16) {
    let url = Url::parse(url).expect("a URL");
    let usual = match url.scheme() {
        "redis" | "rediss" => 6379,
        "amqp" => 5672,
        "amqps" => 5671,
        "postgres" => 5432,
        _ => url.port_or_known_default().expect("a scheme with a port"),
    };
    (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(usual))
}

/// The rules of the policies that hold for pods with these labels; `way` is `ingress` or `egress`.
fn rules<'a>(rendered: &'a Rendered, labels: &'a Value, way: &'a str) -> impl Iterator<Item = &'a Value> {
    let policies = rendered.of_kind("NetworkPolicy").filter(|policy| selects(&policy["spec"]["podSelector"], labels));
    policies.flat_map(move |policy| list(&policy["spec"][way]))
}

/// The ports of a rule; that of names, which everybody may ask for, is left out.
fn ports(rule: &Value) -> impl Iterator<Item = u16> {
    let numbers = list(&rule["ports"]).iter().map(|port| port["port"].as_u64().expect("policies name ports by number"));
    numbers.filter(|port| *port != 53).map(|port| u16::try_from(port).expect("a port"))
}

/// Whether a rule lets pods with these labels through by name: `from` of an ingress rule, `to` of an egress rule.
fn admits(rule: &Value, end: &str, labels: &Value, port: u16) -> bool {
    let is_named = list(&rule[end]).iter().any(|peer| {
        peer["namespaceSelector"].is_null() && peer["podSelector"].is_object() && selects(&peer["podSelector"], labels)
    });
    is_named && ports(rule).any(|open| open == port)
}

#[test]
fn nobody_may_speak_to_anybody_unless_it_is_said() {
    for rendered in everything() {
        let policy = rendered.find("NetworkPolicy", "default-deny").expect("it is in the base");
        assert_eq!(
            policy["spec"],
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
            "{}",
            rendered.name
        );
    }
}

#[test]
fn programs_may_speak_to_the_servers_of_their_settings_and_to_no_others() {
    for rendered in everything() {
        for program in PROGRAMS {
            let labels = &rendered.program(program).0["metadata"]["labels"];
            let open: BTreeSet<u16> = rules(&rendered, labels, "egress").flat_map(ports).collect();
            let needed: BTreeSet<u16> = servers(&rendered, program).into_iter().map(|(_, port)| port).collect();
            assert_eq!(
                open, needed,
                "{}: {program}: the ports of the policies, and those of the settings",
                rendered.name
            );
        }
    }
}

#[test]
fn what_loads_may_speak_to_the_database_and_to_nobody_else() {
    for rendered in everything() {
        for (object, template) in rendered.templates().filter(|(object, _)| object["kind"] == "Job") {
            let open: BTreeSet<u16> =
                rules(&rendered, &template["metadata"]["labels"], "egress").flat_map(ports).collect();
            let urls = containers(template).flat_map(|container| environment(&rendered, container).into_values());
            let needed: BTreeSet<u16> = urls.map(|url| place(&url).1).collect();
            assert_eq!(open, needed, "{}: {}", rendered.name, name_of(object));
        }
    }
}

/// Servers in the cluster are Services, whose pods have to listen to those that call them.
#[test]
fn servers_in_the_cluster_are_there_and_can_be_reached() {
    let mut reached = 0;
    for rendered in everything().iter().filter(|rendered| rendered.find("StatefulSet", "redis").is_some()) {
        let mut callers: Vec<_> =
            PROGRAMS.map(|program| (rendered.program(program).0, servers(rendered, program))).into();
        for (_, template) in rendered.templates().filter(|(object, _)| object["kind"] == "Job") {
            let urls = containers(template).flat_map(|container| environment(rendered, container).into_values());
            callers.push((template, urls.map(|url| place(&url)).collect()));
        }
        for (caller, servers) in callers {
            let caller = &caller["metadata"]["labels"];
            for (host, port) in servers {
                let at = format!("{}: {} to {host}:{port}", rendered.name, caller["app.kubernetes.io/name"]);
                let service =
                    rendered.find("Service", &host).unwrap_or_else(|| panic!("{at}: there is no such Service"));
                let open = list(&service["spec"]["ports"]).iter().find(|open| open["port"] == port);
                let open = open.unwrap_or_else(|| panic!("{at}: the Service has no such port"));
                let selector = json!({"matchLabels": service["spec"]["selector"]});
                let mut templates = rendered.templates().map(|(_, template)| template);
                let template = templates.find(|template| selects(&selector, &template["metadata"]["labels"]));
                let template = template.unwrap_or_else(|| panic!("{at}: the Service has no pods"));
                let listens =
                    super::programs::named_port(&template["spec"]["containers"][0], text(&open["targetPort"]));
                assert_eq!(*listens, port, "{at}");
                let server = &template["metadata"]["labels"];
                assert!(
                    rules(rendered, caller, "egress").any(|rule| admits(rule, "to", server, port)),
                    "{at}: may not go out"
                );
                assert!(
                    rules(rendered, server, "ingress").any(|rule| admits(rule, "from", caller, port)),
                    "{at}: may not come in"
                );
                reached += 1;
            }
        }
    }
    assert!(reached >= 9, "dev has its servers in the cluster: {reached}");
}

#[test]
fn clients_reach_the_api_and_prometheus_the_admin_ports() {
    for rendered in everything() {
        for program in PROGRAMS {
            let settings = settings(&rendered, program);
            let labels = &rendered.program(program).0["metadata"]["labels"];
            let from = |namespace: &str| -> BTreeSet<u16> {
                let wanted = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
                let rules = rules(&rendered, labels, "ingress");
                rules.filter(|rule| rule["from"] == json!([{"namespaceSelector": wanted}])).flat_map(ports).collect()
            };
            let api: BTreeSet<u16> = (program == "api-service").then(|| port(&settings.listen)).into_iter().collect();
            assert_eq!(from("ingress"), api, "{}: {program}", rendered.name);
            assert_eq!(from("monitoring"), [port(&settings.admin_listen)].into(), "{}: {program}", rendered.name);
            let all = rules(&rendered, labels, "ingress").count();
            assert_eq!(all, 1 + api.len(), "{}: {program}: and nobody else", rendered.name);
        }
    }
}

#[test]
fn every_selector_finds_pods() {
    let mut wrong = Vec::new();
    for rendered in everything() {
        for object in &rendered.objects {
            let kind = text(&object["kind"]);
            let at = format!("{}: {kind} {}", rendered.name, name_of(object));
            let spec = &object["spec"];
            let mut selectors = Vec::new();
            match kind {
                "Service" => selectors.push(json!({"matchLabels": spec["selector"]})),
                "Deployment" | "StatefulSet" => {
                    let labels = &spec["template"]["metadata"]["labels"];
                    wrong.extend(
                        (!selects(&spec["selector"], labels)).then(|| format!("{at} does not select its own pods")),
                    );
                    for constraint in list(&spec["template"]["spec"]["topologySpreadConstraints"]) {
                        let is_its_own = selects(&constraint["labelSelector"], labels);
                        wrong.extend((!is_its_own).then(|| format!("{at} spreads other pods than its own")));
                    }
                }
                "PodDisruptionBudget" | "PodMonitor" => selectors.push(spec["selector"].clone()),
                "NetworkPolicy" => {
                    selectors.push(spec["podSelector"].clone());
                    let peers = |way: &str, end: &str| -> Vec<Value> {
                        list(&spec[way]).iter().flat_map(|rule| list(&rule[end]).to_vec()).collect()
                    };
                    let peers = [peers("ingress", "from"), peers("egress", "to")].concat();
                    let here = peers
                        .into_iter()
                        .filter(|peer| peer["namespaceSelector"].is_null() && peer["ipBlock"].is_null());
                    selectors.extend(here.map(|peer| peer["podSelector"].clone()));
                }
                _ => {}
            }
            let lost = selectors.iter().filter(|selector| !rendered.selects_some_pod(selector));
            wrong.extend(lost.map(|selector| format!("{at} selects no pod: {selector}")));
        }
    }
    nothing_is_wrong(&wrong);
}
