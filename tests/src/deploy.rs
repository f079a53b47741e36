//! What is deployed agrees with the programs: images, compose file, Kubernetes manifests, alerts, dashboard.

mod alerts;
mod dashboard;
mod exposed;
mod kubernetes;
mod promql;
mod promtool;
mod rules;
