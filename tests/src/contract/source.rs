//! The contract of the port `source`.
