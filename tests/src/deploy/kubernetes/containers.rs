//! What every container has, whatever runs in it.

use serde_json::json;

use super::rendered::{containers, everything, name_of, nothing_is_wrong, our_image};

#[test]
fn no_container_is_without_requests_and_limits() {
    let mut wrong = Vec::new();
    for rendered in everything() {
        for (object, template) in rendered.templates() {
            for container in containers(template) {
                for (kind, of) in [("requests", "cpu"), ("requests", "memory"), ("limits", "cpu"), ("limits", "memory")]
                {
                    let is_said = container["resources"][kind][of].is_string();
                    let at = format!("{}: {}: {}", rendered.name, name_of(object), container["name"]);
                    wrong.extend((!is_said).then(|| format!("{at} has no {kind} of {of}")));
                }
            }
        }
    }
    nothing_is_wrong(&wrong);
}

/// What the namespace's label `restricted` asks for, and for what is ours a root that cannot be written to.
#[test]
fn every_container_is_as_restricted_as_its_namespace_wants() {
    for rendered in everything() {
        let labels = &rendered.find("Namespace", "attribution-export").expect("it is made")["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted", "{}", rendered.name);
        for (object, template) in rendered.templates() {
            let at = format!("{}: {}", rendered.name, name_of(object));
            let pod = &template["spec"];
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{at}");
            assert!(
                pod["securityContext"]["runAsUser"].as_u64() > Some(0),
                "{at}: a user that is a number, and not root"
            );
            assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}), "{at}");
            assert_eq!(pod["automountServiceAccountToken"], false, "{at}: nothing here asks Kubernetes for anything");
            for container in containers(template) {
                let context = &container["securityContext"];
                let at = format!("{at}: {}", container["name"]);
                assert_eq!(context["allowPrivilegeEscalation"], false, "{at}");
                assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}), "{at}");
                let is_ours = our_image(container).is_some();
                assert!(
                    !is_ours || context["readOnlyRootFilesystem"] == true,
                    "{at}: our programs write nothing there"
                );
            }
        }
    }
}

#[test]
fn whatever_runs_for_long_is_probed() {
    let mut wrong = Vec::new();
    for rendered in everything() {
        for (object, template) in rendered.templates().filter(|(object, _)| object["kind"] != "Job") {
            for container in containers(template) {
                for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                    let at = format!("{}: {}: {}", rendered.name, name_of(object), container["name"]);
                    wrong.extend((!container[probe].is_object()).then(|| format!("{at} has no {probe}")));
                }
            }
        }
    }
    nothing_is_wrong(&wrong);
}

/// A Service `atr…` in the namespace would bring variables `ATR_…_PORT`, at which a program refuses to start.
#[test]
fn services_make_no_variables() {
    for rendered in everything() {
        for (object, template) in rendered.templates() {
            assert_eq!(template["spec"]["enableServiceLinks"], false, "{}: {}", rendered.name, name_of(object));
        }
    }
}
