//! What an error of Redis means to a caller of the port.

use redis::{ErrorKind, RedisError};

use crate::fault::{Fault, FaultKind};

/// The fault for an error while `doing` something. It carries no data: what the client says about a value that it cannot
/// read quotes the value.
pub(super) fn fault(doing: impl Into<String>, error: &RedisError) -> Fault {
    // The one way to the words of the server that works for a single command and for a pipeline alike.
    let said = error.clone().into_server_errors();
    let said = said.as_ref().and_then(|errors| errors.first()).map(|(_, error)| error);
    let kind =
        said.map_or_else(|| kind_of(error.kind()), |said| kind_said(said.code(), said.details().unwrap_or_default()));
    let cause = match said {
        Some(said) => format!("{} {}", said.code(), said.details().unwrap_or_default()),
        None if error.is_io_error() => error.to_string(),
        None => error.category().to_owned(),
    };
    Fault::new(kind, doing).because(cause)
}

/// The same for a call on a connection that was good once. There a refused password or user is an outage like any other: it is
/// being changed, on one side before the other, and whatever waits must not be given up for that.
pub(super) fn fault_of_call(doing: impl Into<String>, error: &RedisError) -> Fault {
    if is_refused_at_the_door(error) || code(error).as_deref() == Some("NOPERM") {
        return Fault::new(FaultKind::Unavailable, doing).because("redis refuses the user or the password");
    }
    fault(doing, error)
}

/// Whether the server does not let us in: it refuses the password, or what a client says first on a connection, of which the
/// client tells nothing but that it failed.
pub(super) fn is_refused_at_the_door(error: &RedisError) -> bool {
    match (code(error), error.kind()) {
        (Some(code), _) => matches!(code.as_str(), "NOAUTH" | "WRONGPASS"),
        (None, ErrorKind::Parse | ErrorKind::UnexpectedReturnType) => false,
        (None, _) => !error.is_io_error(),
    }
}

/// The first word of what the server says.
fn code(error: &RedisError) -> Option<String> {
    let said = error.clone().into_server_errors()?;
    said.first().map(|(_, error)| error.code().to_owned())
}

/// By the first word of what the server says. A script of ours that fails has met values that it cannot read, or a command in
/// it was refused: Redis 6.2 says which behind its own words.
fn kind_said(code: &str, details: &str) -> FaultKind {
    if code == "ERR" && details.contains("user_script") {
        let refused = details.split_once(" -").and_then(|(_, refused)| refused.split([' ', ':']).next());
        return refused.map_or(FaultKind::Corrupt, |code| kind_said(code, ""));
    }
    match code {
        // Another script runs for too long, or somebody must make room.
        "BUSY" | "OOM" => FaultKind::Busy,
        // The server starts, changes its part in a cluster, or has lost the scripts between the two steps of a call; the
        // disk is full or too few replicas follow, so that it takes no writes.
        "LOADING" | "MASTERDOWN" | "READONLY" | "CLUSTERDOWN" | "MOVED" | "ASK" | "TRYAGAIN" | "NOSCRIPT"
        | "MISCONF" | "NOREPLICAS" => FaultKind::Unavailable,
        "WRONGTYPE" => FaultKind::Corrupt,
        _ => FaultKind::Invalid,
    }
}

/// What the client says of itself.
fn kind_of(kind: ErrorKind) -> FaultKind {
    match kind {
        ErrorKind::Io
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel => FaultKind::Unavailable,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => FaultKind::Corrupt,
        _ => FaultKind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        for (code, kind) in [
            ("OOM", FaultKind::Busy),
            ("BUSY", FaultKind::Busy),
            ("MISCONF", FaultKind::Unavailable),
            ("WRONGTYPE", FaultKind::Corrupt),
            ("NOAUTH", FaultKind::Invalid),
            ("ERR", FaultKind::Invalid),
        ] {
            let fault = fault("failed to ask", &make_extension_error(code.to_owned(), Some("no luck".to_owned())));
            assert_eq!((fault.kind(), fault.to_string()), (kind, format!("failed to ask: {code} no luck")));
        }
        for (details, kind) in [
            ("user_script:16: attempt to compare nil with number script: f1, on @user_script:16.", FaultKind::Corrupt),
            (
                "Error running script (call to f_1): @user_script:1: -OOM command not allowed when used memory > 'maxmemory'.",
                FaultKind::Busy,
            ),
        ] {
            let error = make_extension_error("ERR".to_owned(), Some(details.to_owned()));
            assert_eq!(fault("failed to ask", &error).kind(), kind, "{details}");
        }
        let refused = make_extension_error("NOAUTH".to_owned(), Some("Authentication required.".to_owned()));
        assert_eq!(fault_of_call("failed to ask", &refused).kind(), FaultKind::Unavailable);
        let timed_out = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert_eq!(fault("failed to ask", &timed_out.into()).kind(), FaultKind::Unavailable);
    }
}
