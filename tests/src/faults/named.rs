//! Steps of the work of a program, by what it sends or is sent.

use crate::harness::tripwire::Side;

/// A step: its name, and what is sent there.
pub type Step = (&'static str, Side, Vec<u8>);

/// A script of the job store, as Redis is asked for it: by its digest. Its text is that of the programs that were built.
macro_rules! script {
    ($name:literal) => {{
        let text = include_str!(concat!("../../../shared/src/jobs/redis/", $name, ".lua"));
        let digest = redis::Script::new(text).get_hash().as_bytes().to_vec();
        ($name, $crate::harness::tripwire::Side::Client, digest)
    }};
}
pub(super) use script;

/// A method of AMQP, by its class and number (AMQP 0-9-1 §1.8).
pub fn method(name: &'static str, side: Side, class: u8, number: u8) -> Step {
    (name, side, vec![0, class, 0, number])
}

/// A request of which this is a part.
pub fn request(name: &'static str, text: &str) -> Step {
    (name, Side::Client, text.as_bytes().to_vec())
}
