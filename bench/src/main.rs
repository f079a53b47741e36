//! The benchmark: one command that loads a list, exports it with the real programs on real servers, checks what came out,
//! and measures beside it, in the same run, what the machine gives to a program that does nothing but read and upload.
//!
//! `arguments` says what can be chosen. A run goes through `data` (generate and load), `system` (start the programs),
//! `export` (kick off, poll), `check` (download, count), `pipe` (the bare program) and `report` (a table, a JSON file);
//! `usage` reads what processes have used. The programs are this one, started again with another part to play (`roles`), so
//! that there is one thing to build.

mod arguments;
mod check;
mod data;
mod export;
mod pipe;
mod report;
mod roles;
mod system;
mod usage;

use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::report::Report;
use crate::system::System;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Role { role }) => roles::play(role).await,
        None => measure(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let data = data::prepare(arguments).await?;
    let system = System::start(arguments, &data).await?;
    let measured = measure_on(&system, arguments, &data).await;
    // What the run has left in the servers goes, whatever became of it.
    let cleaned = system.stop().await;
    let report = measured?;
    cleaned?;
    print!("{}", report.table());
    if let Some(file) = &arguments.json {
        tokio::fs::write(file, report.json()).await?;
    }
    ensure!(report.is_right(), "the export is not right: what is written is not what was loaded");
    Ok(())
}

/// Exports and pipes in turn, so that both meet the same machine, and keeps the best of each.
async fn measure_on(system: &System, arguments: &Arguments, data: &data::Loaded) -> anyhow::Result<Report> {
    let mut report = Report::new(arguments, data);
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}: exporting", arguments.rounds);
        let export = export::run(system, data).await?;
        let check = check::files(&export).await?;
        eprintln!("round {round} of {}: the bare pipe", arguments.rounds);
        let pipe = pipe::run(system, data, &check).await?;
        report.add(export, &check, pipe);
    }
    Ok(report)
}
