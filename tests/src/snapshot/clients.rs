//! Clients that export while others write: one after the other in full, and chains in which each export asks for what has
//! changed since the one before, and exports that ask for what has changed since the very time of a change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shared::fhir::Instant;
use tokio::time::sleep;

use super::history::{Export, History};
use super::writers::LATE;
use crate::harness::system::System;

/// Since when a client asks each time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// In full.
    Never,
    /// Since the transaction time of its export before.
    LastExport,
    /// Since the millisecond of the stamp of the latest transaction by hand, which is that stamp or just before it.
    LastStamp,
}

/// Exports until all is quiet, and once more.
pub async fn export(
    who: &str,
    asks: Since,
    pause: Duration,
    system: &System,
    history: &History,
    is_quiet: &AtomicBool,
) {
    let mut since: Option<Instant> = None;
    loop {
        let is_last = is_quiet.load(Ordering::SeqCst);
        let path = match since {
            Some(since) => format!("/Group/g/$export?_since={since}"),
            None => "/Group/g/$export".to_owned(),
        };
        let invoked = history.tick();
        let exported = system.export(&path).await;
        let returned = history.tick();
        let time = exported.manifest["transactionTime"].as_str().expect("a manifest has its time");
        let time: Instant = time.parse().expect("it is an instant");
        history.events().exports.push(Export {
            who: who.to_owned(),
            invoked,
            returned,
            since: since.map(Instant::unix_micros),
            transaction_time: time.unix_micros(),
            output: exported.reached.lines,
            deleted: exported.deleted,
            missing: exported.reached.missing,
            unresolvable: exported.reached.unresolvable,
        });
        if is_last {
            return;
        }
        since = match asks {
            Since::Never => None,
            Since::LastExport => Some(time),
            Since::LastStamp => last_stamp(history),
        };
        sleep(pause).await;
    }
}

fn last_stamp(history: &History) -> Option<Instant> {
    let events = history.events();
    let late = events.writes.iter().rfind(|write| write.committed && write.who == LATE)?;
    Some(Instant::from_unix_micros(late.stamp.0).floor_to_millis())
}
