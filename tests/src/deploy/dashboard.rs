//! The dashboard: Grafana can read it, each panel says how to read it, and each query finds something.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use super::exposed::exposed;
use super::promtool::promtool;
use crate::house::workspace;

/// The schema of the first Grafana 10.
const GRAFANA_10: u64 = 38;

fn dashboard() -> Value {
    let text = fs::read_to_string(workspace().join("deploy/grafana/dashboards/atr.json")).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// A query, with a time in the place of Grafana's own.
fn query(target: &Value) -> String {
    text(target, "expr").replace("$__rate_interval", "5m")
}

#[test]
fn grafana_can_read_it_and_knows_its_panels_again() {
    let dashboard = dashboard();
    assert!(!text(&dashboard, "uid").is_empty() && !text(&dashboard, "title").is_empty());
    assert!(dashboard["id"].is_null(), "an id belongs to one Grafana");
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= GRAFANA_10));
    let variables: Vec<&str> = list(&dashboard["templating"], "list").iter().map(|one| text(one, "name")).collect();
    assert_eq!(variables, ["datasource", "namespace", "instance"]);
    for asking in list(&dashboard["templating"], "list").iter().filter(|one| one["type"] == "query") {
        assert_eq!(
            asking["datasource"]["uid"], "${datasource}",
            "{}: whoever reads it chooses the data source",
            asking["name"]
        );
    }
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
    for panel in list(&dashboard, "panels") {
        let title = text(panel, "title");
        assert!(ids.insert(panel["id"].as_u64().expect("a panel has an id")), "{title}: its id is another's, too");
        let place = |field: &str| panel["gridPos"][field].as_u64().expect("a panel has a place");
        assert!(place("x") + place("w") <= 24, "{title}: the grid has 24 columns");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                let below = taken.insert((x, y), title);
                assert!(below.is_none(), "{title} lies on {below:?}");
            }
        }
    }
}

#[test]
fn each_panel_says_how_to_read_it() {
    for panel in list(&dashboard(), "panels").iter().filter(|panel| panel["type"] != "row") {
        let title = text(panel, "title");
        assert!(text(panel, "description").ends_with('.'), "{title}: its description is a sentence");
        let units = [&panel["fieldConfig"]["defaults"], &panel["options"]["yAxis"]].map(|place| text(place, "unit"));
        assert!(units.concat() != "", "{title}: its numbers have a unit");
        let targets = list(panel, "targets");
        assert!(!targets.is_empty(), "{title}: it shows something");
        for source in targets.iter().chain([panel]).map(|part| &part["datasource"]) {
            assert_eq!(source["uid"], "${datasource}", "{title}: whoever reads it chooses the data source");
        }
    }
}

#[test]
fn each_query_is_promql() {
    let dashboard = dashboard();
    let targets = list(&dashboard, "panels").iter().flat_map(|panel| list(panel, "targets"));
    let rule = |(number, target): (usize, &Value)| json!({"record": format!("q:{number}"), "expr": query(target)});
    let rules: Vec<Value> = targets.enumerate().map(rule).collect();
    assert!(rules.len() > 30, "there are queries: {}", rules.len());
    let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
    // JSON is YAML, too.
    let file = json!({"groups": [{"name": "queries", "rules": rules}]}).to_string();
    fs::write(folder.path().join("queries.yaml"), file).expect("it can be written to");
    promtool(&["check", "rules", "queries.yaml"], folder.path(), "").unwrap_or_else(|said| panic!("{said}"));
}

#[tokio::test]
async fn it_asks_for_nothing_but_what_is_exposed_and_shows_all_of_it() {
    let exposed = exposed().await;
    let dashboard = dashboard();
    let mut misses = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        let queries = list(panel, "targets").iter().map(query);
        misses.extend(
            queries.flat_map(|query| exposed.misses(&query)).map(|miss| format!("{}: {miss}", text(panel, "title"))),
        );
    }
    assert!(misses.is_empty(), "{misses:#?}");
    let shown = dashboard.to_string();
    // The library adds these to those of the process that tell something.
    let more = ["process_virtual_memory_bytes"];
    let unseen: Vec<&str> = exposed.metrics().filter(|name| !shown.contains(name) && !more.contains(name)).collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
}
