//! What PostgreSQL's errors mean to a caller of the port.
//!
//! The texts of PostgreSQL may quote values of rows, and so people. Only the SQLSTATE and words of our own are passed on.

use std::error::Error as _;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::fault::{Fault, FaultKind};

/// The fault for an error while `doing` something.
pub(super) fn fault(doing: impl Into<String>, error: &Error) -> Fault {
    let Some(state) = error.code() else {
        // Not an answer of the server, so the connection's fault, or that of a column which is not what it should be.
        let text = error.to_string();
        return if text.starts_with("error deserializing column") || text.starts_with("invalid column") {
            Fault::new(FaultKind::Corrupt, doing).because("a column holds another kind of value")
        } else {
            Fault::new(FaultKind::Unavailable, doing).because(cause(error))
        };
    };
    let (kind, why) = meaning(state);
    Fault::new(kind, doing).because(format!("{why} (SQLSTATE {})", state.code()))
}

/// What kind of failure a SQLSTATE is, and what to say about it (PostgreSQL, appendix A).
fn meaning(state: &SqlState) -> (FaultKind, &'static str) {
    use FaultKind::{Busy, Corrupt, Invalid, Unavailable};
    match state.code() {
        "42P01" | "42883" | "3F000" => {
            (Invalid, "its tables are missing or older than this program: run `atr load` first, it makes them")
        }
        "42501" => (Invalid, "the user has no right to do this"),
        "57014" => (Unavailable, "the statement took too long and was cancelled"),
        "53300" => (Busy, "the server has no connection to spare"),
        "40001" | "40P01" | "55P03" => (Busy, "others are at work on the same rows"),
        "3D000" => (Invalid, "there is no such database"),
        "XX001" | "XX002" => (Corrupt, "the server says that its data are damaged"),
        code => match &code[..2] {
            "08" => (Unavailable, "the connection broke"),
            "28" => (Invalid, "the user or the password was refused"),
            "53" => (Busy, "the server has run out of something"),
            "57" | "58" | "XX" => (Unavailable, "the server cannot answer now"),
            "22" => (Corrupt, "a value cannot be read"),
            _ => (Invalid, "the server refused the statement"),
        },
    }
}

/// The fault when the pool has no connection to give.
pub(super) fn pool_fault(doing: &str, error: &PoolError) -> Fault {
    match error {
        PoolError::Backend(error) => fault(doing, error),
        PoolError::Timeout(TimeoutType::Wait) => {
            Fault::new(FaultKind::Busy, doing).because("every connection to PostgreSQL is in use")
        }
        PoolError::Timeout(_) => {
            Fault::new(FaultKind::Unavailable, doing).because("PostgreSQL took no connection in time")
        }
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            Fault::new(FaultKind::Unavailable, doing).because("the connections to PostgreSQL are shut down")
        }
    }
}

/// An error that is no answer of the server, with what brought it about.
pub(super) fn cause(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_transient_and_what_will_not_is_not() {
        for (state, kind) in [
            (SqlState::ADMIN_SHUTDOWN, FaultKind::Unavailable),
            (SqlState::CANNOT_CONNECT_NOW, FaultKind::Unavailable),
            (SqlState::QUERY_CANCELED, FaultKind::Unavailable),
            (SqlState::CONNECTION_FAILURE, FaultKind::Unavailable),
            (SqlState::TOO_MANY_CONNECTIONS, FaultKind::Busy),
            (SqlState::DISK_FULL, FaultKind::Busy),
            (SqlState::UNDEFINED_TABLE, FaultKind::Invalid),
            (SqlState::INVALID_PASSWORD, FaultKind::Invalid),
            (SqlState::DATA_CORRUPTED, FaultKind::Corrupt),
        ] {
            assert_eq!(meaning(&state).0, kind, "{state:?}");
        }
    }
}
