//! What is deployed agrees with the programs: images, compose file, Kubernetes manifests, alerts, dashboard.
