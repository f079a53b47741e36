//! The program `export-worker`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // Whoever asks for help must not start a service.
    if std::env::args_os().len() > 1 {
        eprintln!(
            "export-worker {}: it takes no arguments; its settings are variables ATR_*, see README.md",
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
