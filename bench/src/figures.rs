//! What a measurement has shown: a table for people, JSON for machines, and how numbers are written in the table.

use std::fmt::Write;

use serde_json::Value;

/// The outcome of a measurement.
pub struct Figures {
    /// In Markdown.
    pub table: String,
    /// All figures.
    pub json: Value,
    /// Why the figures count for nothing: the sentence that says what was exported wrongly.
    pub wrong: Option<String>,
}

/// A table in Markdown.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        writeln!(table, "| {} |", row.join(" | ")).expect("a string takes what is written to it");
    }
    table
}

/// A whole number as a float; beyond 2^53 it loses digits that no figure shows.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn as_float(number: u64) -> f64 {
    number as f64
}

/// Resources and bytes in a second.
pub fn rate(resources: u64, bytes: u64, seconds: f64) -> String {
    format!("{} resources/s, {:.0} MB/s", a_second(resources, seconds), megabytes(bytes) / seconds)
}

/// How many in a second.
pub fn a_second(count: u64, seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a rate, and positive")]
    let a_second = (as_float(count) / seconds) as u64;
    grouped(a_second)
}

pub fn megabytes(bytes: u64) -> f64 {
    as_float(bytes) / 1_000_000.0
}

/// A number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_their_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
