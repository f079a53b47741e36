//! How a port fails.

use std::error::Error;
use std::fmt;

/// What kind of failure it is; the only thing that callers decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// What was asked for is not there.
    NotFound,
    /// Somebody else was first, or the state does not allow it.
    Conflict,
    /// The other side asks for patience.
    Busy,
    /// The other side cannot be reached or did not answer in time.
    Unavailable,
    /// The other side says that the request is wrong: a mistake in the settings or in this program.
    Invalid,
    /// What the other side holds cannot be read.
    Corrupt,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::NotFound, Self::Conflict, Self::Busy, Self::Unavailable, Self::Invalid, Self::Corrupt];

    /// One word for metrics and traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Invalid => "invalid",
            Self::Corrupt => "corrupt",
        }
    }
}

/// A failed call of a port: what was being done, what kind of failure it is, and where it came from.
#[derive(Debug)]
pub struct Fault {
    kind: FaultKind,
    doing: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault while `doing` something: lower case, no full stop, `failed to upload part 3 of …`.
    pub fn new(kind: FaultKind, doing: impl Into<String>) -> Self {
        Self { kind, doing: doing.into(), source: None }
    }

    /// The same fault with the error that caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same fault for one more of those who waited for it.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.kind, self.to_string())
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// Whether trying again later can help. The only place that decides this.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, FaultKind::Busy | FaultKind::Unavailable)
    }
}

impl fmt::Display for Fault {
    /// The whole chain on one line, because a fault is logged once, where it is handled.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        let mut cause: Option<&(dyn Error + 'static)> = self.source.as_ref().map(|source| &**source as _);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The chain is already in `Display`; a `source` here would print it twice.
impl Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_was_being_done_and_why_it_failed() {
        let fault =
            Fault::new(FaultKind::Unavailable, "failed to read job 7").because(std::io::Error::other("broken pipe"));
        assert_eq!(fault.to_string(), "failed to read job 7: broken pipe");
        assert!(fault.is_transient());
    }
}
