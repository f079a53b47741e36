//! The program `api-service`.

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
            "api-service {}: its settings are variables ATR_*, see README.md; its one argument is --health, which asks the service \
             with these settings whether it is ready",
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
