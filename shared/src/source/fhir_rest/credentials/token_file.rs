//! A token in a file that somebody else renews, such as a mounted Secret of Kubernetes.
//!
//! It is read for each request: that is nothing beside a request, and a token that has just been exchanged may be the only
//! one that the server takes.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::time::timeout;

use crate::fault::{Fault, FaultKind};
use crate::wire;

/// How long reading the file may take: it may lie on somebody else's machine.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// The file, and what it said last.
pub struct TokenFile {
    path: PathBuf,
    last: Mutex<Last>,
}

struct Last {
    authorization: HeaderValue,
    /// How many tokens there were before.
    number: u64,
    /// Why the file could not be read the last time; empty when it could.
    problem: String,
}

impl TokenFile {
    /// Fails with `Invalid` when it cannot be read or holds no token.
    pub async fn open(path: PathBuf) -> Result<Self, Fault> {
        let invalid = |why: String| Fault::new(FaultKind::Invalid, "failed to read an access token").because(why);
        let authorization = read(&path).await.map_err(invalid)?;
        Ok(Self { path, last: Mutex::new(Last { authorization, number: 0, problem: String::new() }) })
    }

    /// The header that carries the token, and the number of the token. As long as the file cannot be read, which is logged
    /// once, it is the last that was good.
    pub async fn now(&self) -> (HeaderValue, u64) {
        let read = read(&self.path).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(authorization) => {
                if authorization != last.authorization {
                    tracing::info!("read {} again, since it has changed", self.path.display());
                    last.authorization = authorization;
                    last.number += 1;
                }
                last.problem.clear();
            }
            Err(why) if why != last.problem => {
                tracing::error!("{why}; going on with the access token that it held before");
                last.problem = why;
            }
            Err(_) => {}
        }
        (last.authorization.clone(), last.number)
    }
}

async fn read(path: &Path) -> Result<HeaderValue, String> {
    let name = path.display();
    let read = timeout(READ_WITHIN, tokio::fs::read(path)).await;
    let read = read.map_err(|_| format!("{name} is not read within {} seconds", READ_WITHIN.as_secs()))?;
    let read = read.map_err(|error| format!("{name} cannot be read: {error}"))?;
    let token = std::str::from_utf8(&read).ok().and_then(|text| wire::bearer(text.trim()));
    token.ok_or_else(|| format!("{name} holds no access token: one word of printable letters"))
}
