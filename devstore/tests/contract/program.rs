//! The program: one line with the endpoint, and an end on SIGTERM.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

#[tokio::test]
async fn the_program_prints_its_endpoint_and_ends_when_asked() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_devstore"))
        .args(["--memory", "--listen", "127.0.0.1:0", "--bucket", "one"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut output = BufReader::new(program.stdout.take().expect("its output is piped"));
    let mut endpoint = String::new();
    output.read_line(&mut endpoint).unwrap();
    let anonymous = reqwest::get(format!("{}/one", endpoint.trim())).await.unwrap();
    assert_eq!(anonymous.status(), 403);

    let asked = Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert!(program.wait().unwrap().success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "one line and no more");
}

#[test]
fn the_program_wants_to_know_where_to_keep_objects() {
    let refused = Command::new(env!("CARGO_BIN_EXE_devstore")).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--memory"));
}
