//! `promtool`, which knows Prometheus' languages. `tests/run` provides it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What it has to say against what it is shown; `Ok` when nothing.
pub fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Result<(), String> {
    let program = std::env::var("TEST_PROMTOOL").expect("tests/run provides promtool and names it in TEST_PROMTOOL");
    let mut process = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("TEST_PROMTOOL is a program");
    let mut stdin = process.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads its input before it says anything");
    drop(stdin);
    let output = process.wait_with_output().expect("it was started here");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(()) } else { Err(said(&output.stdout) + &said(&output.stderr)) }
}
