//! The benchmark: one command that loads a list, exports it with the real programs on real servers, and shows what it took;
//! of the export itself it checks every line.
//!
//! `arguments` says what can be chosen. Each measurement is a file: `limit` (an export against what the machine gives to a
//! program that does nothing but read and upload, `pipe`), `scale_out` (with a source behind a slow `wire`), `fairness`,
//! `crowd`, `polling`, `fhir` (from a FHIR server). They stand on `data` (generate and load), `system` (start the programs, and stop them whatever
//! happens), `job` (one job over HTTP), `export` (one export and what it took), `check` (download, count) and `usage` (what
//! processes have used), and answer `figures`: a table, and JSON; `spread` is about many values of one thing. The programs are
//! this one, started again with another part to play (`roles`), so that there is one thing to build.

mod arguments;
mod check;
mod crowd;
mod data;
mod export;
mod fairness;
mod fhir;
mod figures;
mod job;
mod limit;
mod pipe;
mod polling;
mod roles;
mod scale_out;
mod spread;
mod system;
mod usage;
mod wire;

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Parser;
use shared::shutdown::Shutdown;

use crate::arguments::{Arguments, Command};
use crate::data::Place;
use crate::figures::Figures;
use crate::system::Ground;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Role { role }) => roles::play(role).await,
        _ => run(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let place = Place::of(&arguments.common);
    let measured = measure(arguments, &place, &shutdown).await;
    // Data of this run only goes, whatever became of it.
    let discarded = if arguments.common.fresh { place.discard().await } else { Ok(()) };
    let Figures { table, json, wrong } = measured?;
    discarded?;
    print!("{table}");
    if let Some(file) = &arguments.common.json {
        tokio::fs::write(file, format!("{json:#}\n")).await?;
    }
    match wrong {
        None => Ok(()),
        Some(wrong) => bail!("{wrong}"),
    }
}

async fn measure(arguments: &Arguments, place: &Place, shutdown: &Shutdown) -> anyhow::Result<Figures> {
    let common = &arguments.common;
    let data = tokio::select! {
        data = data::prepare(common, place) => data?,
        () = shutdown.wished() => return Err(anyhow!("interrupted")),
    };
    let ground = Ground { common, data: &data, shutdown };
    match &arguments.command {
        // A role is played before it comes to this.
        None | Some(Command::Role { .. }) => limit::measure(&ground, &arguments.limit).await,
        Some(Command::ScaleOut(arguments)) => scale_out::measure(&ground, arguments).await,
        Some(Command::Fairness(arguments)) => fairness::measure(&ground, arguments).await,
        Some(Command::Crowd(arguments)) => crowd::measure(&ground, arguments).await,
        Some(Command::Polling(arguments)) => polling::measure(&ground, arguments).await,
        Some(Command::Fhir(arguments)) => fhir::measure(&ground, place, arguments).await,
    }
}
