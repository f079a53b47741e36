//! `--health`: a health check that the program of a service makes itself, for images that hold nothing else that could.
//!
//! It takes the address from the same settings as the service, so that the two cannot disagree.

use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admin::READY;
use crate::settings::Settings;

/// Longer than a service itself waits for its parts before it says that one does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the service that has the settings of this process whether it is ready. Exit code 0 if it is, else 1; what the
/// service says of each of its parts is printed, on standard error when it is not ready.
pub async fn health() -> ExitCode {
    let asked = match Settings::read() {
        Ok(settings) => ready(&settings.admin_listen, PATIENCE).await,
        Err(wrong) => Err(wrong.to_string()),
    };
    match asked {
        Ok(parts) => {
            print!("{parts}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// What a service says of its parts, on its admin address. Fails with what it says when it is not ready, or with why it
/// says nothing.
async fn ready(address: &str, patience: Duration) -> Result<String, String> {
    let answer = match timeout(patience, ask(address)).await {
        Ok(answer) => answer.map_err(|error| format!("nobody answers at {address}: {error}"))?,
        Err(_) => return Err(format!("no answer at {address} within {} seconds", patience.as_secs_f32())),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(format!("not ready: {}\n{body}", head.lines().next().unwrap_or_default())),
    }
}

/// One request, as HTTP 1.0 has it: the server closes when it has said all. A service that listens on 0.0.0.0 can be
/// reached by that address from the machine that it is on.
async fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {READY} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use async_trait::async_trait;

    use super::*;
    use crate::admin::{self, Readiness};
    use crate::fault::{Fault, FaultKind};
    use crate::measured::Port;
    use crate::metrics::Metrics;

    /// A service with one part, which is ready or not.
    struct Part(bool);

    #[async_trait]
    impl Readiness for Part {
        async fn ready(&self) -> Vec<(Port, Result<(), Fault>)> {
            let ready = if self.0 { Ok(()) } else { Err(Fault::new(FaultKind::Unavailable, "away")) };
            vec![(Port::Jobs, ready)]
        }

        async fn measure(&self, _metrics: &Metrics) {}
    }

    /// What is said of a service that listens on all addresses, as in an image.
    async fn said_of(part: Part) -> Result<String, String> {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port can be had");
        let address = listener.local_addr().expect("it is bound").to_string();
        let server = admin::serve(listener, Metrics::new(), Arc::new(part)).expect("it serves");
        let (handle, serving) = (server.handle(), tokio::spawn(server));
        let said = ready(&address, PATIENCE).await;
        handle.stop(false).await;
        serving.await.expect("it does not panic").expect("it ends well");
        said
    }

    #[tokio::test]
    async fn a_service_that_is_ready_passes() {
        assert_eq!(said_of(Part(true)).await, Ok("jobs: ready\n".to_owned()));
    }

    #[tokio::test]
    async fn a_service_that_is_not_ready_says_which_part_is_missing() {
        let why = said_of(Part(false)).await.expect_err("it is not ready");
        assert!(why.contains("503") && why.contains("jobs: away"), "{why}");
    }

    #[tokio::test]
    async fn a_service_that_does_not_run_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let why = ready(&address, PATIENCE).await.expect_err("nobody listens there");
        assert!(why.contains(&address), "{why}");
    }

    #[tokio::test]
    async fn a_service_that_says_nothing_fails_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address = listener.local_addr().expect("it is bound").to_string();
        let why = ready(&address, Duration::from_millis(50)).await.expect_err("it accepts and says nothing");
        assert!(why.contains("no answer"), "{why}");
    }
}
