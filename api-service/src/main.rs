//! The program `api-service`.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match api_service::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("api-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}
