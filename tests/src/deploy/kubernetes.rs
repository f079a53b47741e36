//! `deploy/kubernetes`: what `kubectl kustomize` makes of it is held against the programs, the README, and the schemas.
//!
//! `rendered` is what would be applied, and how the tests find their way in it. No cluster is needed, and none was asked: that
//! one takes these objects is what the schemas say, and that the pods come up in it remains to be seen.

mod containers;
mod network;
mod programs;
mod readme;
mod rendered;
mod scaling;
mod schemas;
