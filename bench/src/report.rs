//! What a run has shown: a table for people, JSON for machines.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::check::Checked;
use crate::data::Loaded;
use crate::export::Exported;
use crate::pipe::Piped;
use crate::usage::CpuSeconds;

const MIB: f64 = 1_048_576.0;

/// The figures of a run.
pub struct Report {
    members: u64,
    workers: u16,
    permits: u16,
    loaded_resources: u64,
    loaded_bytes: u64,
    generating_seconds: Option<f64>,
    loading_seconds: Option<f64>,
    rounds: Vec<Round>,
}

struct Round {
    export: Exported,
    pipe: Piped,
    /// Resources in the files, each counted once.
    distinct: u64,
    twice: u64,
}

impl Report {
    /// A report without rounds.
    pub fn new(arguments: &Arguments, data: &Loaded) -> Self {
        Self {
            members: arguments.members,
            workers: arguments.workers,
            permits: arguments.permits,
            loaded_resources: data.made.total(),
            loaded_bytes: data.made.bytes,
            generating_seconds: data.generating_seconds,
            loading_seconds: data.loading_seconds,
            rounds: Vec::new(),
        }
    }

    /// Adds a round.
    pub fn add(&mut self, export: Exported, check: &Checked, pipe: Piped) {
        let (distinct, twice) = (check.keys.len() as u64, check.twice);
        self.rounds.push(Round { export, pipe, distinct, twice });
    }

    /// Whether every round wrote every member, the same number of resources, and nothing twice, and missed nothing.
    pub fn is_right(&self) -> bool {
        let is_right = |round: &Round| {
            let export = &round.export;
            let is_whole = export.members_written == self.members && export.problems == 0;
            is_whole && round.twice == 0 && round.distinct == export.resources()
        };
        let first = self.rounds.first().map(|round| round.distinct);
        let are_equal = self.rounds.iter().all(|round| Some(round.distinct) == first);
        !self.rounds.is_empty() && are_equal && self.rounds.iter().all(is_right)
    }

    fn best_export(&self) -> Option<&Exported> {
        self.rounds.iter().map(|round| &round.export).min_by(|left, right| left.seconds.total_cmp(&right.seconds))
    }

    fn best_pipe(&self) -> Option<&Piped> {
        self.rounds.iter().map(|round| &round.pipe).min_by(|left, right| left.seconds.total_cmp(&right.seconds))
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let mut table = String::from("| figure | value |\n|---|---|\n");
        for (figure, value) in self.figures() {
            writeln!(table, "| {figure} | {value} |").expect("a string takes what is written to it");
        }
        table
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        let mut figures = vec![
            ("members, workers, permits", format!("{}, {}, {}", grouped(self.members), self.workers, self.permits)),
            ("generating", self.rate_of(self.generating_seconds)),
            ("loading", self.rate_of(self.loading_seconds)),
        ];
        let (Some(export), Some(pipe)) = (self.best_export(), self.best_pipe()) else { return figures };
        let (resources, bytes) = (export.resources(), export.bytes());
        figures.extend([
            ("exported", format!("{} resources, {:.0} MB", grouped(resources), megabytes(bytes))),
            ("every member, nothing twice", if self.is_right() { "yes" } else { "NO" }.to_owned()),
            ("kick-off to manifest", format!("{:.2} s", export.seconds)),
            ("kick-off to first file", format!("{:.2} s", export.first_file_seconds)),
            ("export", rate(resources, bytes, export.seconds)),
            ("bare pipe", rate(pipe.resources, pipe.bytes, pipe.seconds)),
            ("export / pipe", format!("{:.0} %", 100.0 * pipe.seconds / export.seconds)),
            ("CPU seconds, export", cpu(&export.cpu_seconds)),
            ("CPU seconds, pipe", cpu(&pipe.cpu_seconds)),
            ("peak memory", self.memory()),
            ("Redis calls / 1,000 resources", per_thousand(export.redis_calls, resources)),
            ("RabbitMQ operations / 1,000 resources", per_thousand(3 * export.attempts, resources)),
        ]);
        figures
    }

    fn rate_of(&self, seconds: Option<f64>) -> String {
        match seconds {
            Some(seconds) => {
                format!("{:.1} s, {}", seconds, rate(self.loaded_resources, self.loaded_bytes, seconds))
            }
            None => "done before".to_owned(),
        }
    }

    /// The most memory that each part has had in any round.
    fn memory(&self) -> String {
        let peaks = self.rounds.last().map(|round| &round.export.peak_memory_bytes);
        let part = |(name, bytes): (&String, &u64)| format!("{name} {:.0} MiB", as_float(*bytes) / MIB);
        peaks.into_iter().flatten().map(part).collect::<Vec<_>>().join(", ")
    }

    /// All figures of all rounds.
    pub fn json(&self) -> String {
        let round = |round: &Round| -> Value {
            let Round { export, pipe, distinct, twice } = round;
            json!({
                "export": {
                    "resources": export.resources(),
                    "bytes": export.bytes(),
                    "seconds": export.seconds,
                    "firstFileSeconds": export.first_file_seconds,
                    "membersWritten": export.members_written,
                    "problems": export.problems,
                    "distinct": distinct,
                    "twice": twice,
                    "cpuSeconds": export.cpu_seconds,
                    "peakMemoryBytes": export.peak_memory_bytes,
                    "redisCalls": export.redis_calls,
                    "attempts": export.attempts,
                },
                "pipe": {
                    "resources": pipe.resources,
                    "bytes": pipe.bytes,
                    "seconds": pipe.seconds,
                    "cpuSeconds": pipe.cpu_seconds,
                },
            })
        };
        let report = json!({
            "members": self.members,
            "workers": self.workers,
            "permits": self.permits,
            "loadedResources": self.loaded_resources,
            "loadedBytes": self.loaded_bytes,
            "generatingSeconds": self.generating_seconds,
            "loadingSeconds": self.loading_seconds,
            "isRight": self.is_right(),
            "rounds": self.rounds.iter().map(round).collect::<Vec<_>>(),
        });
        format!("{report:#}\n")
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn as_float(number: u64) -> f64 {
    number as f64
}

fn megabytes(bytes: u64) -> f64 {
    as_float(bytes) / 1_000_000.0
}

fn rate(resources: u64, bytes: u64, seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a rate, and positive")]
    let a_second = (as_float(resources) / seconds) as u64;
    format!("{} resources/s, {:.0} MB/s", grouped(a_second), megabytes(bytes) / seconds)
}

fn cpu(seconds: &CpuSeconds) -> String {
    let total: f64 = seconds.values().sum();
    let part = |(name, seconds): (&String, &f64)| format!("{name} {seconds:.1}");
    format!("{total:.1}: {}", seconds.iter().map(part).collect::<Vec<_>>().join(", "))
}

fn per_thousand(operations: u64, resources: u64) -> String {
    format!("{:.1}", 1_000.0 * as_float(operations) / as_float(resources.max(1)))
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
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
