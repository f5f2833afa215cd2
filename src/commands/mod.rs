//! What each command does, one file a group. Every function gives the process exit code.

mod demo;
mod graphs;
mod inspect;
mod jobs;
mod runs;

use serde::Serialize;

use crate::cli::{Cli, Command};
use crate::error::{Error, ErrorKind, Result};
use crate::settings::Settings;

/// Does what the command line asks for and gives the exit code.
///
/// # Errors
/// What the command could not do; `main` prints it with its hints.
pub async fn dispatch(cli: Cli, settings: Settings) -> Result<u8> {
    match cli.command {
        Command::Demo(args) => demo::demo(&args, settings).await,
        Command::Run(args) => jobs::run(args, settings).await,
        Command::Serve(args) => crate::http::serve(settings, args.listen).await.map(|()| 0),
        Command::Validate(args) => graphs::validate(&args),
        Command::Plan(args) => graphs::plan(&args, &settings),
        Command::Graph(args) => graphs::draw(&args, &settings),
        Command::Inspect(args) => inspect::inspect(&args).await,
        Command::Handlers(args) => graphs::handlers(&args),
        Command::Schema(args) => graphs::schema(&args),
        Command::Runs { command } => runs::runs(command, settings).await,
        Command::EmbedServer(args) => jobs::embed_server(&args).await,
    }
}

/// Prints a value as indented JSON on standard output.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(ErrorKind::Internal, "a result is not JSON").because(error))?;
    println!("{text}");
    Ok(())
}

/// Gives the word that a unit variant has in JSON.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
