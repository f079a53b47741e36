//! The tables of docs/OPERATIONS.md that are made from the code: settings and metrics.

use std::fmt::Write;
use std::fs;

use shared::metrics::{Metrics, Program, Row};
use shared::settings::Settings;

use crate::house::workspace;

/// The settings in the order of their page, each with its default and what is said of it there.
fn settings() -> String {
    let source = fs::read_to_string(workspace().join("shared/src/settings.rs")).expect("it is there");
    let (_, fields) = source.split_once("pub struct Settings {").expect("it is there");
    let (fields, _) = fields.split_once("\n}").expect("it has an end");
    let defaults = format!("{:#?}", Settings::default());
    let mut table = "| setting | if not said | what it is |\n|---|---|---|\n".to_owned();
    let mut said = String::new();
    for line in fields.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            said += text;
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
            let (variable, text) = said.trim().split_once(": ").expect("each setting begins with its variable");
            assert_eq!(variable, format!("`ATR_{}`", name.to_uppercase()), "it is what the doc comment begins with");
            let _ = writeln!(table, "| {variable} | {} | {} |", shown(default_of(&defaults, name)), plain(text));
            said.clear();
        }
    }
    table
}

/// The default of a setting, as `Debug` shows it.
fn default_of<'a>(defaults: &'a str, name: &str) -> &'a str {
    let begin = format!("\n    {name}: ");
    let (_, rest) = defaults.split_once(&begin).expect("every setting has a default");
    rest.lines().next().expect("it has a line").trim_end_matches(',')
}

/// A default as it would be written into a variable.
fn shown(default: &str) -> String {
    match default {
        "\"\"" | "None" => "–".to_owned(),
        // The one setting with words of its own that has a default.
        "Text" => "`text`".to_owned(),
        text => format!("`{}`", text.trim_matches('"')),
    }
}

/// A doc comment as a cell of a table: without bars, and without links to what only the code has.
fn plain(text: &str) -> String {
    text.replace('|', "\\|").replace("[`", "`").replace("`]", "`")
}

/// The metrics in the order of their page.
fn metrics() -> String {
    let mut table = "| metric | of | what it is |\n|---|---|---|\n".to_owned();
    for Row { name, help, labels, buckets, shown_by } in Metrics::ROWS {
        let labels: Vec<&str> = labels.iter().map(|(label, _)| *label).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let kind = if buckets.is_empty() { "" } else { "Histogram. " };
        let of = match *shown_by {
            [Program::Api] => "API",
            [Program::Worker] => "worker",
            _ => "both",
        };
        let _ = writeln!(table, "| `{name}{labels}` | {of} | {kind}{} |", plain(help.trim()));
    }
    table
}

/// Holds a table of the page against the code; `WRITE_DOCS=1` writes it instead.
fn check(name: &str, made: &str) {
    let path = workspace().join("docs/OPERATIONS.md");
    let page = fs::read_to_string(&path).expect("it is there");
    let (begin, end) = (format!("<!-- {name}: made from the code -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&begin).expect("the table has its mark");
    let (table, after) = rest.split_once(&end).expect("the table has its end");
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{made}{end}{after}")).expect("it can be written to");
    } else {
        assert_eq!(
            table, made,
            "docs/OPERATIONS.md is behind the code; `WRITE_DOCS=1 tests/run docs::tables` writes it"
        );
    }
}

#[test]
fn the_table_of_settings_is_the_one_of_the_code() {
    check("settings", &settings());
}

#[test]
fn the_table_of_metrics_is_the_one_of_the_code() {
    check("metrics", &metrics());
}
