//! Resources of 50 MiB: a photograph or a scanned document that somebody has put into one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use shared::source::files::{Found, read};

use crate::harness::programs::{program, start, variables};
use crate::harness::store::Store;
use crate::harness::system::{in_namespace, source_url};
use crate::oracle::key_of;
use crate::stories::{coverage, group, member, patient, plain};

const LARGE: usize = 50 << 20;

/// What a worker may hold at most while it has a Patient and a Coverage of 50 MiB in hand at once: about 2½ times each, and 70
/// MiB of its own, with room for half a copy. One more copy of each would be above it.
const MOST_BYTES: u64 = 380 << 20;

/// The most memory that a process has had.
fn most_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") << 10
}

fn lines_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let found = read(&[folder.to_owned()]).expect("the folder can be read");
    let resource = |found| match found {
        Ok(Found::Resource(resource)) => (resource.key.to_string(), resource.body.to_vec()),
        other => panic!("{:?}", other.map(|_| "a bad line")),
    };
    found.map(resource).collect()
}

#[tokio::test]
async fn resources_of_fifty_mebibytes_are_exported_byte_for_byte_in_bounded_memory() {
    in_namespace(async |namespace| export_large(namespace).await).await;
}

async fn export_large(namespace: &str) {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let (sample, out) = (folder.path().join("sample"), folder.path().join("out"));
    let ids: Vec<String> = (100..200).map(|id| id.to_string()).collect();
    let members: Vec<String> = ids
        .iter()
        .map(|id| member(&format!("Patient/{id}"), &format!("Coverage/{id}"), "Organization/clinic"))
        .collect();
    let of = |id: &str| {
        format!(r#""beneficiary":{{"reference":"Patient/{id}"}},"payor":[{{"reference":"Organization/payer"}}]"#)
    };
    let mut lines = vec![group(&members), plain("Organization", "clinic"), plain("Organization", "payer")];
    lines.extend(ids.iter().map(|id| patient(id)));
    lines.extend(ids.iter().map(|id| coverage(id, &of(id))));
    // One of each in the middle of its slice.
    let text = format!(r#"{{"text":{{"status":"additional","div":"{}"}},"#, "x".repeat(LARGE));
    for line in &mut lines {
        if matches!(key_of(line).as_str(), "Patient/150" | "Coverage/150") {
            *line = line.replacen('{', &text, 1);
        }
    }
    fs::create_dir(&sample).expect("the folder can be written to");
    fs::write(sample.join("all.ndjson"), lines.join("\n")).expect("the folder can be written to");
    let run = async |arguments: &[&str]| {
        let output = program("atr").args(arguments).output().await.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["load", "--source", &source_url(namespace), &sample.to_string_lossy()]).await;

    let store = Store::devstore().await.expect("devstore starts");
    let variables = variables(namespace, &store);
    let worker = start("export-worker", &variables).await;
    let api = start("api-service", &variables).await;
    let server = format!("http://127.0.0.1:{}/fhir", api.port);
    run(&["export", "--server", &server, "--list", "g", "--out", &out.to_string_lossy()]).await;
    let most = most_bytes(worker.process.id().expect("it runs"));
    assert!(most < MOST_BYTES, "{} MiB", most >> 20);
    assert!(lines_of(&out) == lines_of(&sample), "the files are what was loaded, byte for byte");
    for service in [worker, api] {
        assert!(service.terminate().await, "SIGTERM ends a service well");
    }
}
