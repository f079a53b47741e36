//! The parsers of what clients send, for the fuzzer in `tests/fuzz`: each takes any input and must come back.

use shared::fhir::Instant;

use crate::accept;
use crate::parameters::{Context, Pairs, Parameters, of_body, of_query};
use crate::prefer::{Handling, Preferences};
use crate::start::StartPoint;

/// The query of a kick-off.
pub fn query(text: &str) {
    check(&of_query(text));
}

/// The body of a kick-off.
pub fn body(bytes: &[u8]) {
    if let Ok(pairs) = of_body(bytes) {
        check(&pairs);
    }
}

/// `Accept` and `Prefer`.
pub fn headers(text: &str) {
    let _ = accept::preferred(text, &accept::JSON);
    let _ = Preferences::read(text).applied();
}

fn check(pairs: &Pairs) {
    let now = Instant::from_unix_millis(1_800_000_000_000);
    for start in StartPoint::ALL {
        for (is_post, handling) in [(true, Handling::Strict), (false, Handling::Lenient)] {
            let _ = Parameters::check(pairs, Context { start, is_post, handling, now });
        }
    }
}
