//! The fields of log lines: one vocabulary, which docs/OPERATIONS.md lists.

use std::collections::BTreeSet;
use std::fs;

use crate::house::{files, workspace};

/// The fields that the page lists.
pub fn vocabulary() -> BTreeSet<String> {
    let page = fs::read_to_string(workspace().join("docs/OPERATIONS.md")).expect("it is there");
    let (_, section) = page.split_once("\n## Logs and traces\n").expect("it has a section on logs");
    let section = section.split("\n## ").next().expect("it has an end");
    let first_cells = section.lines().filter(|line| line.starts_with("| `")).filter_map(|row| row.split('|').nth(1));
    first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The fields that the macros of a source file name.
fn fields(source: &str) -> Vec<String> {
    let macros = ["info!(", "warn!(", "error!(", "debug!(", "trace!(", "error_span!("];
    let begins = macros.iter().flat_map(|name| source.match_indices(name).map(|(at, _)| at + name.len()));
    // What stands behind the sentence is for the places in it.
    let before_the_sentence = |at| arguments(&source[at..]).into_iter().take_while(|argument| !argument.contains('"'));
    begins.flat_map(before_the_sentence).filter_map(|argument| field(&argument)).collect()
}

/// The arguments of a macro, from its opening parenthesis on, each without the texts in it.
fn arguments(source: &str) -> Vec<String> {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    let mut arguments = vec![String::new()];
    for character in source.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ if in_text => {}
            ')' if depth == 0 => break,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        // Of a text, its end stays.
        if !in_text {
            arguments.last_mut().expect("there is always one").push(character);
        }
    }
    arguments
}

/// The field that an argument sets: `name = value`, or a variable of that name.
fn field(argument: &str) -> Option<String> {
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || "_.".contains(c));
    let name = argument.split('=').next().unwrap_or_default().trim().trim_start_matches(['%', '?']);
    is_name(name).then(|| name.to_owned())
}

#[test]
fn every_field_that_the_code_logs_is_in_the_vocabulary() {
    let vocabulary = vocabulary();
    let rooms = ["shared/src", "api-service/src", "export-worker/src"];
    let (mut seen, mut unknown) = (BTreeSet::new(), Vec::new());
    for file in rooms.iter().flat_map(|room| files(&workspace().join(room))) {
        for field in fields(&fs::read_to_string(&file).expect("source files are text")) {
            unknown.extend((!vocabulary.contains(&field)).then(|| format!("{field} in {}", file.display())));
            seen.insert(field);
        }
    }
    assert!(seen.contains("job.id") && seen.len() > 10, "fields are found: {seen:?}");
    assert!(unknown.is_empty(), "give these another name, or a row in docs/OPERATIONS.md, Logs: {unknown:#?}");
}

#[test]
fn fields_of_a_macro_stand_before_its_sentence() {
    let source = r#"info!(job.id = %task.job, tasks = list(1, 2), %fault, "no = field, \"{x}\"", y);"#;
    assert_eq!(fields(source), ["job.id", "tasks", "fault"]);
}
