//! The program `export-worker`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments == ["--health"] {
        return shared::probe::health().await;
    }
    // Whoever asks for help must not start a service.
    if !arguments.is_empty() {
        eprintln!(
            "export-worker {}: its settings are variables ATR_*, see README.md; its one argument is --health, which asks the service \
             with these settings whether it is ready",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::from(2);
    }
    match export_worker::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("export-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
