//! Signals to processes.

use std::process::Command;

/// Sends a signal, such as `KILL`, `STOP` or `CONT`, to a process, or to a group of them when the number is negative. One that
/// is gone does not mind.
pub fn signal(name: &str, process: i64) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), "--", &process.to_string()])
        .stderr(std::process::Stdio::null())
        .status();
    status.expect("there is a program `kill`");
}
