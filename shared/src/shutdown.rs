//! The wish that this process ends: from a signal, or from the program that runs it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Passed to everything that runs for long. Clones share one wish.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Nobody wishes to stop yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wishes to stop when the process gets SIGTERM or SIGINT. Fails when the system gives no way to hear of them.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let wish = shutdown.clone();
        // It ends with the process: a second signal must still be heard, so that it does not kill what is draining.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                wish.stop();
            }
        });
        Ok(shutdown)
    }

    /// Wishes to stop.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Waits until somebody wishes to stop.
    pub async fn wished(&self) {
        self.0.cancelled().await;
    }

    /// Whether somebody wishes to stop.
    #[must_use]
    pub fn is_wished(&self) -> bool {
        self.0.is_cancelled()
    }
}
