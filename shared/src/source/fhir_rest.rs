//! The payer's own FHIR server as a source.

pub mod credentials;
