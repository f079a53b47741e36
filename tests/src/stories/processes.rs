//! Stories of programs: started as their users start them, from the target folder.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use reqwest::StatusCode;
use shared::export::JobId;
use tokio::time::{sleep, timeout};

use crate::harness::namespace;
use crate::harness::programs::{free_port, program, resources, start, variables};
use crate::harness::store::Store;
use crate::harness::system::{PATIENCE, clean, source_url};
use crate::oracle::{Reached, Resources, by_key, key_of, reached};

/// What the manifest's files in a folder hold; panics when a resource stands twice.
fn downloaded(folder: &Path) -> Resources {
    let mut lines = Resources::new();
    for line in resources(folder) {
        let key = key_of(&line);
        assert!(lines.insert(key.clone(), line).is_none(), "{key} stands twice");
    }
    lines
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn atr(arguments: &[&str]) -> Output {
    program("atr").args(arguments).output().await.expect("the program starts")
}

#[tokio::test]
async fn two_workers_and_an_api_export_a_list_of_twenty_thousand_members() {
    let namespace = namespace();
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let (sample, out) = (folder.path().join("sample"), folder.path().join("out"));
    let (sample_name, out_name) = (sample.to_string_lossy().into_owned(), out.to_string_lossy().into_owned());
    assert!(atr(&["generate", "--members", "20000", "--seed", "7", "--out", &sample_name]).await.status.success());
    let loaded = atr(&["load", "--source", &source_url(&namespace), &sample_name]).await;
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));

    let store = Store::devstore().await.expect("devstore starts");
    let mut variables = variables(&namespace, &store);
    // Small slices, so that there is something to share out.
    variables.push(("ATR_SLICE_IDS", "3000".to_owned()));
    let workers = [start("export-worker", &variables).await, start("export-worker", &variables).await];
    let api = start("api-service", &variables).await;
    let server = format!("http://127.0.0.1:{}/fhir", api.port);
    let exported = atr(&["export", "--server", &server, "--list", "sample", "--out", &out_name]).await;
    assert!(exported.status.success(), "{}", text(&exported.stderr));

    let expected = reached(&by_key(resources(&sample)), "sample", &[]);
    assert_eq!(expected.missing.len() + expected.unresolvable.len(), 0);
    let files = downloaded(&out);
    assert_eq!(files.len(), expected.lines.len());
    assert!(files == expected.lines, "the files are what an independent walk reaches, byte for byte");

    let mut attempts = 0;
    for worker in &workers {
        let metrics =
            reqwest::get(format!("http://127.0.0.1:{}/metrics", worker.admin_port)).await.expect("it serves metrics");
        let metrics = metrics.text().await.expect("metrics are text");
        let completed = metrics
            .lines()
            .find(|line| line.starts_with(r#"atr_task_attempts_total{kind="listed",outcome="completed"}"#));
        let count: u64 =
            completed.and_then(|line| line.rsplit(' ').next()).and_then(|count| count.parse().ok()).unwrap_or(0);
        assert!(count > 0, "each worker takes its share");
        attempts += count;
    }
    assert!(attempts > 10, "{attempts} slices");
    for service in workers.into_iter().chain([api]) {
        assert!(service.terminate().await, "SIGTERM ends a service well");
    }
    clean(&namespace).await.expect("the servers are there");
}

#[tokio::test]
async fn a_wrong_setting_stops_the_start_with_one_line_that_names_it() {
    for (program_name, name, value) in [
        ("api-service", "ATR_JOBS_URL", "memory:"),
        ("api-service", "ATR_JOBS_URL", ""),
        ("api-service", "ATR_QUEUE_URL", "http://127.0.0.1"),
        ("api-service", "ATR_PUBLIC_URL", "nonsense"),
        ("api-service", "ATR_ACCESS", "everybody"),
        ("api-service", "ATR_ACCESS", "open"),
        ("export-worker", "ATR_ACCESS", "open"),
        ("api-service", "ATR_AUDIT", "file:/nowhere/audit.ndjson"),
        ("api-service", "ATR_LISTEN", "nowhere"),
        ("api-service", "ATR_NO_SUCH_SETTING", "1"),
        ("export-worker", "ATR_SOURCE_URL", "mysql://127.0.0.1"),
        ("export-worker", "ATR_SOURCE_URL", "postgres://[broken"),
        ("export-worker", "ATR_OUTPUTS_URL", "s3://"),
        ("export-worker", "ATR_OUTPUTS_URL", "s3://bucket?endpoint=nonsense"),
        ("export-worker", "ATR_PERMITS", "-1"),
    ] {
        let store = Store::devstore().await.expect("devstore starts");
        let good = variables(&namespace(), &store);
        let mut command = program(program_name);
        command
            .envs(good.iter().map(|(name, value)| (*name, value)))
            .env("ATR_ADMIN_LISTEN", "127.0.0.1:0")
            .env("ATR_LISTEN", "127.0.0.1:0");
        let output = command.env(name, value).output().await.expect("the program starts");
        let line = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}={value}: {line}");
        assert!(line.contains(name) && line.trim_end().lines().count() == 1, "{name}={value}: {line}");
    }
}

#[tokio::test]
async fn open_access_is_never_a_default() {
    let store = Store::devstore().await.expect("devstore starts");
    let mut command = program("api-service");
    command.envs(variables(&namespace(), &store).iter().map(|(name, value)| (*name, value))).env_remove("ATR_ACCESS");
    let output = command
        .env("ATR_ADMIN_LISTEN", "127.0.0.1:0")
        .env("ATR_LISTEN", "127.0.0.1:0")
        .output()
        .await
        .expect("the program starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("ATR_ACCESS"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn the_trial_exports_its_sample_and_leaves() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let data = folder.path().to_string_lossy().into_owned();
    let trial = atr(&["--once", "--listen", "127.0.0.1:0", "--members", "300", "--data", &data]).await;
    let said = text(&trial.stdout);
    assert!(trial.status.success(), "{}", text(&trial.stderr));
    assert!(said.contains("curl -i 'http://127.0.0.1:") && said.contains("Patient.00001.ndjson"), "{said}");
    let expected = reached(&by_key(resources(&folder.path().join("sample"))), "sample", &[]);
    assert_eq!(expected, Reached { lines: downloaded(&folder.path().join("download")), ..Reached::default() });
}

#[tokio::test]
async fn the_trial_takes_a_folder_of_somebody_s_own() {
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let (own, data) = (folder.path().join("own"), folder.path().join("data"));
    std::fs::create_dir(&own).expect("it can be made");
    std::fs::write(own.join("all.ndjson"), super::small_list().join("\n")).expect("it can be written to");
    let source = format!("file:{}", own.display());
    let trial =
        atr(&["up", "--once", "--listen", "127.0.0.1:0", "--source", &source, "--data", &data.to_string_lossy()]).await;
    assert!(trial.status.success(), "{}", text(&trial.stderr));
    let expected = reached(&by_key(super::small_list()), "g", &[]);
    assert_eq!(downloaded(&data.join("download")), expected.lines);
}

#[tokio::test]
async fn a_load_reports_bad_lines_with_their_place_and_loads_the_rest() {
    let namespace = namespace();
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it can be written to");
    let lines = super::small_list();
    write("a.ndjson", &format!("{}\n{{broken\n\n{}\n", lines[0], lines[1]));
    write(
        "b.json",
        &format!(
            "{{\n  \"resourceType\": \"Bundle\",\n  \"entry\": [{{\"resource\": {}}}, {{\"resource\": {}}}]\n}}\n",
            lines[2], lines[4]
        ),
    );
    write("c.json", "{\n  \"resourceType\": \"Patient\",\n  \"id\": \"c\",\n  \"x\": 1.10\n}\n");
    let (url, path) = (source_url(&namespace), folder.path().to_string_lossy().into_owned());
    let first = atr(&["load", "--source", &url, &path]).await;
    assert_eq!(first.status.code(), Some(2), "{}", text(&first.stderr));
    assert!(text(&first.stderr).contains("a.ndjson:2: "), "{}", text(&first.stderr));
    assert_eq!(text(&first.stdout), "5 new, 0 changed, 0 unchanged, 1 left out\n");
    let second = atr(&["load", "--source", &url, &path]).await;
    assert_eq!(text(&second.stdout), "0 new, 0 changed, 5 unchanged, 1 left out\n");
    clean(&namespace).await.expect("the servers are there");
}

#[tokio::test]
async fn a_service_tells_of_its_health_and_its_work() {
    let namespace = namespace();
    let store = Store::devstore().await.expect("devstore starts");
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    std::fs::write(folder.path().join("all.ndjson"), super::small_list().join("\n")).expect("it can be written to");
    let loaded = atr(&["load", "--source", &source_url(&namespace), &folder.path().to_string_lossy()]).await;
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    let api = start("api-service", &variables(&namespace, &store)).await;
    let get = async |path: &str| {
        let response = reqwest::get(format!("http://127.0.0.1:{}{path}", api.admin_port)).await.expect("it answers");
        (response.status(), response.text().await.expect("it is text"))
    };
    assert_eq!(get("/health/live").await.0, StatusCode::OK);
    let (status, parts) = get("/health/ready").await;
    assert_eq!((status, parts.as_str()), (StatusCode::OK, "jobs: ready\nsource: ready\n"));
    let unknown = format!("http://127.0.0.1:{}/fhir/export/{}", api.port, JobId::random());
    assert_eq!(reqwest::get(unknown).await.expect("it answers").status(), StatusCode::NOT_FOUND);
    let (_, metrics) = get("/metrics").await;
    assert!(metrics.contains(r#"atr_request_seconds_count{route="/fhir/export/{job}",status="404"} 1"#), "{metrics}");
    assert!(metrics.contains("process_resident_memory_bytes"), "{metrics}");
    assert!(api.terminate().await);
    clean(&namespace).await.expect("the servers are there");
}

#[tokio::test]
async fn a_service_that_waits_for_redis_is_alive_and_not_ready() {
    let store = Store::devstore().await.expect("devstore starts");
    let variables = variables(&namespace(), &store);
    for name in ["api-service", "export-worker"] {
        let (nobody, admin_port) = (free_port(), free_port());
        let mut command = program(name);
        command.envs(variables.iter().map(|(name, value)| (*name, value))).stderr(Stdio::null());
        command.env("ATR_JOBS_URL", format!("redis://127.0.0.1:{nobody}"));
        command.env("ATR_LISTEN", "127.0.0.1:0").env("ATR_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}"));
        let _process = command.spawn().expect("the program starts");
        let live = format!("http://127.0.0.1:{admin_port}/health/live");
        let asking = async {
            while !reqwest::get(&live).await.is_ok_and(|response| response.status() == StatusCode::OK) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, asking).await.is_ok(), "{name} is not alive");
        let ready = reqwest::get(live.replace("live", "ready")).await.expect("it answers");
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(ready.text().await.expect("it is text").contains("waiting for the job store"));
    }
}

#[tokio::test]
async fn a_load_takes_the_source_from_a_variable_so_that_its_password_is_no_argument() {
    let namespace = namespace();
    let mut load = program("atr");
    load.args(["load", "/dev/null"]).env("ATR_SOURCE_URL", source_url(&namespace));
    let loaded = load.output().await.expect("the program starts");
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    assert_eq!(text(&loaded.stdout), "0 new, 0 changed, 0 unchanged, 0 left out\n");
    let help = text(&atr(&["load", "--help"]).await.stdout);
    assert!(help.contains("ATR_SOURCE_URL"), "{help}");
    clean(&namespace).await.expect("the servers are there");
}
