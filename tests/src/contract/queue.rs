//! The contract of the port `queue`.
