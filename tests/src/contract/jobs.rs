//! The contract of the port `jobs`.
