//! The contract of the port `outputs`.
