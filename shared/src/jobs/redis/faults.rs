//! What an error of Redis means to a caller of the port.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::fault::{Fault, FaultKind};

/// The fault for an error while `doing` something. It carries no data: what the client says about a value that it cannot
/// read quotes the value.
pub(super) fn fault(doing: impl Into<String>, error: &RedisError) -> Fault {
    let cause = match (error.kind(), error.code()) {
        (ErrorKind::Io, _) => error.to_string(),
        (_, Some(code)) => format!("{code}: {}", error.detail().unwrap_or("no detail")),
        _ => error.category().to_owned(),
    };
    Fault::new(kind(error), doing).because(cause)
}

fn kind(error: &RedisError) -> FaultKind {
    use ServerErrorKind as Server;
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::ClusterConnectionNotFound
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::NoValidReplicasFoundBySentinel
        | ErrorKind::Server(
            Server::BusyLoading
            | Server::Moved
            | Server::Ask
            | Server::TryAgain
            | Server::ClusterDown
            | Server::MasterDown
            | Server::ReadOnly
            // Somebody flushed the scripts between the two steps of a call, or the server was exchanged.
            | Server::NoScript,
        ) => FaultKind::Unavailable,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => FaultKind::Corrupt,
        _ => match error.code() {
            // BUSY: another script runs for too long. OOM: somebody must make room.
            Some("BUSY" | "OOM") => FaultKind::Busy,
            // The disk is full, or too few replicas follow: writes are refused until that is mended.
            Some("MISCONF" | "NOREPLICAS" | "UNBLOCKED") => FaultKind::Unavailable,
            Some("WRONGTYPE") => FaultKind::Corrupt,
            _ => FaultKind::Invalid,
        },
    }
}

#[cfg(test)]
mod tests {
    use redis::make_extension_error;

    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let said = |code: &str| kind(&make_extension_error(code.to_owned(), None));
        assert_eq!(said("OOM"), FaultKind::Busy);
        assert_eq!(said("BUSY"), FaultKind::Busy);
        assert_eq!(said("MISCONF"), FaultKind::Unavailable);
        assert_eq!(said("WRONGTYPE"), FaultKind::Corrupt);
        assert_eq!(said("NOAUTH"), FaultKind::Invalid);
        let io = std::io::Error::from(std::io::ErrorKind::TimedOut);
        assert_eq!(kind(&io.into()), FaultKind::Unavailable);
    }
}
