//! The benchmark in its short form: that it runs, and that what it exports is right. Its figures are for those who read them.

use serde_json::Value;

use crate::harness::programs::program;
use crate::harness::{amqp_url, postgres_url, redis_url};

#[tokio::test]
async fn the_benchmark_exports_a_list_and_finds_every_member_and_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let (data, json) = (folder.path().join("data"), folder.path().join("figures.json"));
    let members = 500;
    let output = program("bench")
        .args(["--fresh", "--workers", "2", "--rounds", "2", "--members", &members.to_string()])
        .args(["--postgres", &postgres_url(), "--redis", &redis_url(), "--amqp", &amqp_url()])
        .arg("--data")
        .arg(&data)
        .arg("--json")
        .arg(&json)
        .output()
        .await
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("| every member, nothing twice | yes |"), "{said}");
    let figures = std::fs::read_to_string(&json).expect("the figures are written");
    let figures: Value = serde_json::from_str(&figures).expect("they are JSON");
    assert_eq!((&figures["isRight"], &figures["members"]), (&Value::from(true), &Value::from(members)));
    let rounds = figures["rounds"].as_array().expect("there are some");
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        let (export, pipe) = (&round["export"], &round["pipe"]);
        assert_eq!(export["membersWritten"], members);
        assert!(export["resources"].as_u64().is_some_and(|resources| resources > 2 * members), "{export}");
        for figure in ["resources", "bytes"] {
            assert_eq!(export[figure], pipe[figure], "the pipe carries what the export wrote");
        }
        for process in ["api", "worker", "store", "postgresql", "redis", "rabbitmq"] {
            assert!(export["cpuSeconds"][process].is_number(), "{process}: {export}");
        }
    }
}
