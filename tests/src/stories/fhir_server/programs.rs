//! The programs on a FHIR server: several workers, of which one dies.

use std::time::Duration;

use devfhir::{FhirServer, Options, as_taken, without_stamp};
use tokio::time::sleep;

use crate::harness::programs::{program, resources, start, variables};
use crate::harness::store::Store;
use crate::harness::system::in_namespace;
use crate::oracle::{Resources, by_key, key_of, reached};

/// What the server is given at a time.
const BATCH: usize = 5_000;

#[tokio::test]
async fn a_worker_that_dies_loses_nothing_of_a_list_that_comes_from_a_fhir_server() {
    in_namespace(async |namespace| {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let (sample, out) = (folder.path().join("sample"), folder.path().join("out"));
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let generated =
            program("atr").args(["generate", "--members", "4000", "--seed", "7", "--out", &path(&sample)]).status();
        assert!(generated.await.expect("the program starts").success());
        let lines: Vec<String> = resources(&sample).map(|line| as_taken(&line)).collect();
        let server = FhirServer::start(Options { latency: Duration::from_millis(5), ..Options::default() });
        let server = server.expect("there is a free port");
        lines.chunks(BATCH).for_each(|lines| server.load(lines));

        let store = Store::devstore().await.expect("devstore starts");
        let mut variables = variables(namespace, &store);
        variables.retain(|(name, _)| *name != "ATR_SOURCE_URL");
        variables.extend([
            ("ATR_SOURCE_URL", server.base()),
            ("ATR_SOURCE_SETTLE_SECONDS", "0".to_owned()),
            ("ATR_SOURCE_CONNECTIONS", "2".to_owned()),
            ("ATR_SOURCE_REQUEST_IDS", "50".to_owned()),
            ("ATR_SLICE_IDS", "1500".to_owned()),
            ("ATR_WORKING_DUE_SECONDS", "2".to_owned()),
        ]);
        let mut dies = start("export-worker", &variables).await;
        let survivor = start("export-worker", &variables).await;
        let api = start("api-service", &variables).await;
        let base = format!("http://127.0.0.1:{}/fhir", api.port);
        let mut export = program("atr");
        export.args(["export", "--server", &base, "--list", "sample", "--out", &path(&out)]);
        let exporting = tokio::spawn(async move { export.output().await });
        let searches = |asked: &devfhir::Asked| asked.query.iter().any(|(name, _)| name == "_id");
        let is_at_work = || server.requests().iter().filter(|asked| searches(asked)).count() > 20;
        while !is_at_work() {
            sleep(Duration::from_millis(5)).await;
        }
        dies.process.kill().await.expect("it runs");
        let exported = exporting.await.expect("nobody panics").expect("the program starts");
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));

        let mut found = Resources::new();
        for line in resources(&out) {
            let key = key_of(&line);
            assert!(found.insert(key.clone(), without_stamp(&line)).is_none(), "{key} stands twice");
        }
        assert!(
            found == reached(&by_key(lines), "sample", &[]).lines,
            "the files are what an independent walk reaches"
        );
        assert!(survivor.terminate().await && api.terminate().await, "SIGTERM ends a service well");
    })
    .await;
}
