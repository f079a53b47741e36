//! What is deployed agrees with the programs: images, compose file, Kubernetes manifests, alerts, dashboard.

mod alerts;
mod compose;
mod dashboard;
mod dockerfile;
mod exposed;
mod images;
mod kubernetes;
mod promql;
mod promtool;
mod rules;
