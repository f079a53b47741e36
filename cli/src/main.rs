//! The program `atr`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    atr::run().await
}
