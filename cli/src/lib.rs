//! x

/// Sample data: attribution lists of any length, from a seed.
pub mod generate;
