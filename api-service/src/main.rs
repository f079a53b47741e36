//! The program `api-service`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // Whoever asks for help must not start a service.
    if std::env::args_os().len() > 1 {
        eprintln!(
            "api-service {}: it takes no arguments; its settings are variables ATR_*, see README.md",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::from(2);
    }
    match api_service::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}
