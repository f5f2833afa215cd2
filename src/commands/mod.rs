//! What each command does, one file a group. Every function gives the process exit code.

pub mod describe;
mod diff;
mod draw;
mod explain;
mod graphs;
mod inspect;
pub mod jobs;
mod runs;
mod target;
mod test;
mod token;
mod validate;

use std::io::Write as _;

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
        Command::Demo(args) => Box::pin(crate::demo::demo(&args, settings)).await,
        Command::Run(args) => Box::pin(jobs::run(args, settings)).await,
        Command::Serve(args) => crate::http::serve(settings, args.listen).await.map(|()| 0),
        Command::Validate(args) => validate::validate(&args, &settings),
        Command::Test(args) => test::test(&args, &settings).await,
        Command::Plan(args) => graphs::plan(&args, &settings).await,
        Command::Graph(args) => draw::draw(&args, settings).await,
        Command::Diff(args) => diff::diff(&args, &settings),
        Command::Inspect(args) => inspect::inspect(&args).await,
        Command::Handlers(args) => graphs::handlers(&args),
        Command::Schema(args) => graphs::print_schema(&args),
        Command::Runs(args) => runs::runs(args, settings).await,
        Command::Target { command } => target::target(command, &settings).await,
        Command::Token { command } => token::token(command, &settings).await,
        Command::EmbedServer(args) => jobs::embed_server(&args).await,
    }
}

/// Prints a text on standard output. A reader that went away, as `head` does, is no error.
///
/// # Errors
/// Standard output cannot be written: a full disk.
pub fn show(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Failed, "cannot write to standard output").because(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a value as indented JSON on standard output.
fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::new(ErrorKind::Internal, "a result is not JSON").because(error))?;
    show(&format!("{text}\n"))
}

/// Gives the word that a unit variant has in JSON.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
