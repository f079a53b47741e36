//! The command `atr`: the trial (`up`), the loader (`load`), the generator (`generate`), a client (`export`) and the
//! register of clients (`client`).

mod arguments;
mod client;
mod export;
pub mod generate;
pub mod load;
mod progress;
mod tokens;
mod trial_folder;
mod up;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, GenerateArguments};

/// Runs the command that this process was called with. What goes wrong is one line on standard error and exit code 1; a
/// load that left out bad lines exits with 2.
pub async fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command.unwrap_or(Command::Up(arguments.up)) {
        Command::Up(arguments) => up::up(arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Load(arguments) => load::load(arguments).await,
        Command::Generate(arguments) => generate_data(arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Export(arguments) => export::export(&arguments).await.map(|exported| {
            export::print_files(&exported, &arguments.out);
            ExitCode::SUCCESS
        }),
        Command::Client(command) => client::client(command).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("atr: {error:#}");
        ExitCode::FAILURE
    })
}

async fn generate_data(arguments: GenerateArguments) -> anyhow::Result<()> {
    let out = arguments.out.clone();
    let settings = generate::Settings {
        members: arguments.members,
        seed: arguments.seed,
        out: arguments.out,
        list: arguments.list,
    };
    let generated = generated(settings).await?;
    let resources: u64 = generated.resources.values().sum();
    println!(
        "{resources} resources ({} MB) in {}; the list is Group/{}",
        generated.bytes / 1_000_000,
        out.display(),
        generated.list
    );
    Ok(())
}

/// Generates with a progress bar, on a thread where blocking is no harm.
async fn generated(settings: generate::Settings) -> anyhow::Result<generate::Generated> {
    let bar = progress::counter("generating", "resources");
    let counted = bar.clone();
    let generated =
        tokio::task::spawn_blocking(move || generate::generate(&settings, |written| counted.set_position(written)))
            .await??;
    bar.finish_and_clear();
    Ok(generated)
}
