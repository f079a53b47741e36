//! The benchmark in its short form: that each measurement runs, and that what it exports is right. Its figures are for those
//! who read them.

use std::path::Path;

use serde_json::Value;

use crate::harness::programs::program;
use crate::harness::{amqp_url, postgres_url, redis_url};

const MEMBERS: u64 = 500;

/// Runs a measurement on data of its own, and answers its figures and what it said.
async fn measured(arguments: &[&str]) -> (Value, String) {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let path = |name: &str| Path::join(folder.path(), name);
    let output = program("bench")
        .args(arguments)
        .args(["--fresh", "--members", &MEMBERS.to_string()])
        .args(["--postgres", &postgres_url(), "--redis", &redis_url(), "--amqp", &amqp_url()])
        .arg("--data")
        .arg(path("data"))
        .arg("--json")
        .arg(path("figures.json"))
        .output()
        .await
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let figures = std::fs::read_to_string(path("figures.json")).expect("the figures are written");
    (serde_json::from_str(&figures).expect("they are JSON"), said)
}

#[tokio::test]
async fn the_benchmark_exports_a_list_and_finds_every_member_and_nothing_twice() {
    let (figures, said) = measured(&["--rounds", "2", "--workers", "2"]).await;
    assert!(said.contains("| every member, nothing twice | yes |"), "{said}");
    assert_eq!((&figures["isRight"], &figures["members"]), (&Value::from(true), &Value::from(MEMBERS)));
    let rounds = figures["rounds"].as_array().expect("there are some");
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        let (export, pipe) = (&round["export"], &round["pipe"]);
        assert_eq!(export["membersWritten"], MEMBERS);
        assert!(export["resources"].as_u64().is_some_and(|resources| resources > 2 * MEMBERS), "{export}");
        for figure in ["resources", "bytes"] {
            assert_eq!(export[figure], pipe[figure], "the pipe carries what the export wrote");
        }
        for process in ["api", "worker", "store", "postgresql", "redis", "rabbitmq"] {
            assert!(export["cpuSeconds"][process].is_number(), "{process}: {export}");
        }
    }
}

#[tokio::test]
async fn the_benchmark_exports_the_same_with_each_number_of_workers() {
    let (figures, said) = measured(&["scale-out", "--counts", "1,2", "--delay-ms", "1", "--page-ids", "100"]).await;
    assert_eq!(figures["isRight"], Value::from(true), "{said}");
    let workers: Vec<&Value> =
        figures["steps"].as_array().expect("there are some").iter().map(|step| &step["workers"]).collect();
    assert_eq!(workers, [1, 2]);
}

#[tokio::test]
async fn the_benchmark_exports_small_lists_beside_a_large_one() {
    let (figures, said) = measured(&["fairness", "--large", "2", "--small", "3"]).await;
    assert_eq!(figures["aloneSeconds"]["count"], Value::from(3), "{said}");
    assert!((1..=3).contains(&figures["besideSeconds"]["count"].as_u64().unwrap_or(0)), "{said}");
}

#[tokio::test]
async fn the_benchmark_watches_many_jobs_to_their_ends() {
    let (figures, said) = measured(&["crowd", "--jobs", "4"]).await;
    assert_eq!(figures["jobs"], Value::from(4), "{said}");
    assert!(figures["lines"].as_u64().is_some_and(|lines| lines > 8 * MEMBERS), "{said}");
}

#[tokio::test]
async fn the_benchmark_polls_jobs() {
    let (figures, said) = measured(&["polling", "--clients", "20", "--polls", "2"]).await;
    assert_eq!(figures["polls"], Value::from(40), "{said}");
}

#[tokio::test]
async fn the_benchmark_keeps_files_on_the_disk_and_leaves_out_the_pipe_if_told_so() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let store = folder.path().join("store");
    let (figures, said) = measured(&["--without-pipe", "--store", &store.to_string_lossy()]).await;
    assert!(store.is_dir(), "the store was there");
    assert_eq!((&figures["isRight"], &figures["rounds"][0]["pipe"]), (&Value::from(true), &Value::Null), "{said}");
}
