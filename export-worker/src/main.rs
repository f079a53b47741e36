//! The program `export-worker`.

fn main() {}
