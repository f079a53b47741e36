//! The README: the table of Secrets, and that what it tells to type can be typed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use base64_simd::STANDARD;

use super::rendered::{Rendered, all_values, everything, folder, list, name_of, nothing_is_wrong, render, text, tool};
use crate::house::workspace;

/// A row of the table of Secrets.
pub struct Documented {
    /// Name of the Secret, and the key in it.
    pub key: (String, String),
    /// The value that stands there as an example; `None` of a file.
    pub example: Option<String>,
}

/// The table of Secrets.
pub fn documented() -> Vec<Documented> {
    let cells = |line: &str| -> Vec<String> { line.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let page = page();
    let rows = page.lines().skip_while(|line| !line.starts_with("| Secret | key |")).skip(2);
    let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 5, "the README has a table that begins with `| Secret | key |`");
    let row = |line: &str| {
        let cells = cells(line);
        let example = Some(cells.last().expect("a row names things").clone()).filter(|_| !line.ends_with(": a file |"));
        Documented { key: (cells[0].clone(), cells[1].clone()), example }
    };
    rows.into_iter().map(row).collect()
}

/// What a key of a Secret holds: as the overlay has made it, else as the README has it for an example.
pub fn secret(rendered: &Rendered, name: &str, key: &str) -> String {
    if let Some(value) = rendered.data("Secret", name).and_then(|data| data.get(key)) {
        let encoded: String = text(value).split_whitespace().collect();
        let decoded = STANDARD.decode_to_vec(encoded).expect("a Secret is written in base64");
        return String::from_utf8(decoded).expect("it is text");
    }
    let wanted = (name.to_owned(), key.to_owned());
    let row = documented().into_iter().find(|row| row.key == wanted);
    let row = row.unwrap_or_else(|| panic!("{}: the README's table has no Secret {name} with {key}", rendered.name));
    row.example.unwrap_or_else(|| panic!("the README has no example of {name}/{key}"))
}

fn page() -> String {
    fs::read_to_string(folder().join("README.md")).expect("it is there")
}

/// The lines of the README that a shell is to run.
fn commands() -> Vec<String> {
    let page = page();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("a block ends").to_owned());
    let lines: Vec<String> = blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.len() > 10, "the README tells what to type");
    lines
}

/// The keys of Secrets that an object asks for and that the overlay does not make itself; `None` is all of them.
fn asked_for(rendered: &Rendered) -> BTreeSet<(String, Option<String>)> {
    let mut asked = BTreeSet::new();
    for value in rendered.objects.iter().flat_map(all_values) {
        let by_key = &value["secretKeyRef"];
        if by_key.is_object() {
            asked.insert((text(&by_key["name"]).to_owned(), Some(text(&by_key["key"]).to_owned())));
        }
        if let Some(name) = value["secret"]["secretName"].as_str().or(value["secretName"].as_str()) {
            asked.insert((name.to_owned(), None));
        }
        for reference in list(&value["secretTargetRef"]) {
            asked.insert((text(&reference["name"]).to_owned(), Some(text(&reference["key"]).to_owned())));
        }
    }
    asked.retain(|(name, _)| rendered.find("Secret", name).is_none());
    asked
}

#[test]
fn every_key_of_a_secret_that_is_asked_for_is_documented_and_the_other_way_round() {
    let documented: BTreeSet<(String, String)> = documented().into_iter().map(|row| row.key).collect();
    let mut asked_by_any = BTreeSet::new();
    let mut wrong = Vec::new();
    for rendered in everything() {
        for (name, key) in asked_for(&rendered) {
            let found: Vec<_> =
                documented.iter().filter(|(n, k)| *n == name && key.as_ref().is_none_or(|key| key == k)).collect();
            if found.is_empty() {
                wrong.push(format!("{}: {name} {key:?} is asked for, and not in the README's table", rendered.name));
            }
            asked_by_any.extend(found.into_iter().cloned());
        }
    }
    let unasked = documented
        .difference(&asked_by_any)
        .map(|(name, key)| format!("the README has {name}/{key}, and nothing asks for it"));
    wrong.extend(unasked);
    nothing_is_wrong(&wrong);
}

#[test]
fn no_secret_is_in_the_base_or_in_production() {
    for rendered in everything().iter().filter(|rendered| rendered.name != "overlays/dev") {
        let secrets: Vec<_> = rendered.of_kind("Secret").map(name_of).collect();
        assert!(secrets.is_empty(), "{} has Secrets with their values: {secrets:?}", rendered.name);
    }
}

/// `kubectl create secret` tells without a cluster what it would make.
#[test]
fn the_secrets_that_the_readme_tells_to_make_have_the_keys_that_are_asked_for() {
    let here = tempfile::tempdir().expect("a folder for temporary files can be had");
    for file in ["jobs-url", "queue-url", "source-url", "loader-url", "management-url", "clients.json"] {
        fs::write(here.path().join(file), "value").expect("it can be written to");
    }
    let certificate = rcgen::generate_simple_self_signed(vec!["export.example.org".to_owned()]).expect("a name");
    fs::write(here.path().join("tls.crt"), certificate.cert.pem()).expect("it can be written to");
    fs::write(here.path().join("tls.key"), certificate.signing_key.serialize_pem()).expect("it can be written to");
    let mut made = BTreeSet::new();
    for command in commands().iter().filter(|command| command.contains(" create secret ")) {
        let words = command.split_whitespace().skip(1);
        let output = tool("TEST_KUBECTL")
            .args(words)
            .args(["--dry-run=client", "--output", "json"])
            .current_dir(here.path())
            .stdin(Stdio::null())
            .output()
            .expect("tests/run has tried kubectl");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let secret: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it was asked for JSON");
        assert_eq!(secret["metadata"]["namespace"], "attribution-export", "{command}");
        let keys = secret["data"].as_object().expect("it has data").keys();
        made.extend(keys.map(|key| (name_of(&secret).to_owned(), key.clone())));
    }
    let wanted: BTreeSet<_> =
        documented().into_iter().map(|row| row.key).filter(|(name, _)| name != "s3-keys").collect();
    assert_eq!(made, wanted);
}

#[test]
fn the_readme_names_what_is_there() {
    let mut wrong = Vec::new();
    let all = everything();
    for command in commands() {
        let words: Vec<&str> = command.split_whitespace().collect();
        for pair in words.windows(2) {
            let is_there = match pair {
                ["-k" | "-f", path] => workspace().join(path).exists(),
                _ => true,
            };
            wrong.extend((!is_there).then(|| format!("{command}: there is no {}", pair[1])));
        }
        for word in &words {
            let Some((kind, name)) =
                word.split_once('/').filter(|(kind, _)| ["job", "deployment", "service"].contains(kind))
            else {
                continue;
            };
            let is_there = all.iter().any(|rendered| {
                let named = rendered.objects.iter().filter(|object| name_of(object) == name);
                named.into_iter().any(|object| text(&object["kind"]).to_lowercase() == kind)
            });
            wrong.extend((!is_there).then(|| format!("{command}: there is no {word}")));
        }
    }
    let is_path =
        |text: &&str| text.ends_with('/') || Path::new(text).extension().is_some_and(|ending| ending == "yaml");
    for quoted in page().split('`').skip(1).step_by(2).filter(is_path) {
        let is_there = workspace().join(quoted).exists() || folder().join(quoted).exists();
        wrong.extend((!is_there).then(|| format!("there is no {quoted}")));
    }
    nothing_is_wrong(&wrong);
}

/// What is applied first, and what second: the rest is the API's.
#[test]
fn an_upgrade_takes_the_tables_first_then_the_workers_then_the_api() {
    let production = render("overlays/production");
    let named =
        |object: &serde_json::Value| object["metadata"]["labels"]["app.kubernetes.io/name"].as_str().map(str::to_owned);
    let selectors: Vec<String> =
        commands().iter().filter_map(|line| line.split_once(" -l ")).map(|(_, rest)| rest.to_owned()).collect();
    assert_eq!(
        selectors,
        ["'app.kubernetes.io/name notin (api-service,export-worker)'", "app.kubernetes.io/name=export-worker"]
    );
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for object in &production.objects {
        let what = format!("{}/{}", text(&object["kind"]), name_of(object));
        match named(object) {
            Some(name) if name == "export-worker" => second.push(what),
            Some(name) if name == "api-service" => {}
            _ => first.push(what),
        }
    }
    for what in ["Namespace/attribution-export", "Job/tables", "ServiceAccount/loader", "NetworkPolicy/default-deny"] {
        assert!(first.iter().any(|other| other == what), "{what} is not applied first: {first:?}");
    }
    assert!(first.iter().any(|what| what.starts_with("ConfigMap/settings-")), "pods need their settings: {first:?}");
    for what in ["Deployment/export-worker", "ServiceAccount/export-worker", "ScaledObject/export-worker"] {
        assert!(second.iter().any(|other| other == what), "{what} is not applied second: {second:?}");
    }
}
