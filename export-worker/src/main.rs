//! The program `export-worker`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match export_worker::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("export-worker: {error:#}");
            ExitCode::FAILURE
        }
    }
}
