//! An export against the limit of the machine: what it gives, in the same run, to a bare pipe.

use serde_json::{Value, json};

use crate::arguments::LimitArguments;
use crate::check::{self, Checked};
use crate::export::{self, Exported};
use crate::figures::{Figures, as_float, grouped, megabytes, rate, table};
use crate::pipe::{self, Piped};
use crate::system::{Ground, Setup, System};
use crate::usage::CpuSeconds;

const MIB: f64 = 1_048_576.0;

/// What an attempt at a task costs the broker at most: a publish with its confirm, a delivery, an ack, and, unless it was
/// asked a moment ago, the question how full the lane is, which looks at two queues.
const OPERATIONS_AN_ATTEMPT: u64 = 5;

/// Exports and pipes in turn, so that both meet the same machine, and keeps the best of each.
pub async fn measure(ground: &Ground<'_>, arguments: &LimitArguments) -> anyhow::Result<Figures> {
    let setup = Setup::of(arguments.workers, ground.data);
    let report = System::during(ground, &setup, async |system| {
        let (mut report, rounds) = (Report::new(ground, arguments), arguments.rounds);
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}: exporting");
            let mut export = export::run(system, &ground.data.list).await?;
            let check = check::files(&export).await?;
            let pipe = if arguments.without_pipe {
                None
            } else {
                eprintln!("round {round} of {rounds}: the bare pipe");
                Some(pipe::run(system, ground.data, &check).await?)
            };
            export.delete().await?;
            report.add(export, &check, pipe);
        }
        Ok(report)
    })
    .await?;
    Ok(Figures { table: table(&["figure", "value"], &report.figures()), json: report.json(), wrong: report.wrong() })
}

/// The figures of a run.
struct Report {
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
    pipe: Option<Piped>,
    /// Resources in the files, each counted once.
    distinct: u64,
    twice: u64,
}

impl Report {
    /// A report without rounds.
    fn new(ground: &Ground<'_>, arguments: &LimitArguments) -> Self {
        let data = ground.data;
        Self {
            members: ground.common.members,
            workers: arguments.workers.workers,
            permits: arguments.workers.permits,
            loaded_resources: data.made.total(),
            loaded_bytes: data.made.bytes,
            generating_seconds: data.generating_seconds,
            loading_seconds: data.loading_seconds,
            rounds: Vec::new(),
        }
    }

    /// Adds a round.
    fn add(&mut self, export: Exported, check: &Checked, pipe: Option<Piped>) {
        let (distinct, twice) = (check.keys.len() as u64, check.twice);
        self.rounds.push(Round { export, pipe, distinct, twice });
    }

    /// What is wrong with the first round that did not write every member, nothing twice, nothing missing, and the same
    /// number of resources as the round before.
    fn wrong(&self) -> Option<String> {
        let expected = self.rounds.first().map(|round| round.distinct);
        let is_wrong = |round: &&Round| {
            let export = &round.export;
            let is_whole = export.members_written == self.members && export.problems == 0;
            !is_whole || round.twice > 0 || round.distinct != export.resources() || Some(round.distinct) != expected
        };
        self.rounds.iter().find(is_wrong).map(|Round { export, distinct, twice, .. }| {
            format!(
                "the export is not right: {} of {} members written, {} problems, {distinct} resources, {twice} of them twice",
                export.members_written, self.members, export.problems
            )
        })
    }

    fn best_export(&self) -> Option<&Exported> {
        self.rounds.iter().map(|round| &round.export).min_by(|left, right| left.seconds.total_cmp(&right.seconds))
    }

    fn best_pipe(&self) -> Option<&Piped> {
        self.rounds
            .iter()
            .filter_map(|round| round.pipe.as_ref())
            .min_by(|left, right| left.seconds.total_cmp(&right.seconds))
    }

    /// The rows of the table.
    fn figures(&self) -> Vec<Vec<String>> {
        let mut figures = vec![
            ("members, workers, permits", format!("{}, {}, {}", grouped(self.members), self.workers, self.permits)),
            ("generating", self.rate_of(self.generating_seconds)),
            ("loading", self.rate_of(self.loading_seconds)),
        ];
        let Some(export) = self.best_export() else { return rows(figures) };
        let (resources, bytes) = (export.resources(), export.bytes());
        figures.extend([
            ("exported", format!("{} resources, {:.0} MB", grouped(resources), megabytes(bytes))),
            ("every member, nothing twice", if self.wrong().is_none() { "yes" } else { "NO" }.to_owned()),
            ("kick-off to manifest", format!("{:.2} s", export.seconds)),
            ("kick-off to first file", format!("{:.2} s", export.first_file_seconds)),
            ("export", rate(resources, bytes, export.seconds)),
            ("CPU seconds, export", cpu(&export.cpu_seconds)),
            ("peak memory", self.memory()),
            ("Redis calls / 1,000 resources", per_thousand(export.redis_calls, resources)),
            ("RabbitMQ operations / 1,000 resources", per_thousand(OPERATIONS_AN_ATTEMPT * export.attempts, resources)),
        ]);
        if let Some(pipe) = self.best_pipe() {
            figures.extend([
                ("bare pipe", rate(pipe.resources, pipe.bytes, pipe.seconds)),
                ("export / pipe", format!("{:.0} %", 100.0 * pipe.seconds / export.seconds)),
                ("CPU seconds, pipe", cpu(&pipe.cpu_seconds)),
            ]);
        }
        rows(figures)
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
    fn json(&self) -> Value {
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
                "pipe": pipe.as_ref().map(|pipe| json!({
                    "resources": pipe.resources,
                    "bytes": pipe.bytes,
                    "seconds": pipe.seconds,
                    "cpuSeconds": pipe.cpu_seconds,
                })),
            })
        };
        json!({
            "members": self.members,
            "workers": self.workers,
            "permits": self.permits,
            "loadedResources": self.loaded_resources,
            "loadedBytes": self.loaded_bytes,
            "generatingSeconds": self.generating_seconds,
            "loadingSeconds": self.loading_seconds,
            "isRight": self.wrong().is_none(),
            "rounds": self.rounds.iter().map(round).collect::<Vec<_>>(),
        })
    }
}

fn rows(figures: Vec<(&str, String)>) -> Vec<Vec<String>> {
    figures.into_iter().map(|(figure, value)| vec![figure.to_owned(), value]).collect()
}

fn cpu(seconds: &CpuSeconds) -> String {
    let total: f64 = seconds.values().sum();
    let part = |(name, seconds): (&String, &f64)| format!("{name} {seconds:.1}");
    format!("{total:.1}: {}", seconds.iter().map(part).collect::<Vec<_>>().join(", "))
}

fn per_thousand(operations: u64, resources: u64) -> String {
    format!("{:.1}", 1_000.0 * as_float(operations) / as_float(resources.max(1)))
}
