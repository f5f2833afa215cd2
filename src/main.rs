//! The command line of relvec: arguments, logging, [`relvec::run`], and the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use relvec::cli::Cli;
use relvec::error::{Error, ErrorKind, Result};
use relvec::logging;
use relvec::service::redact::edge;
use relvec::settings::Settings;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<u8> {
    let settings = Settings::from_environment()?;
    // Ends last, when no task is left that could log.
    let _logging = logging::start(&settings)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        Error::new(ErrorKind::Internal, "the threads cannot be started").because(error)
    })?;
    runtime.block_on(Box::pin(relvec::run(cli, settings)))
}

/// Prints an error with its next steps. A closed standard error is no reason to panic.
fn report(error: &Error) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {}", edge(&error.to_string()));
    for hint in error.hints() {
        let _ = writeln!(stderr, "  next: {}", edge(hint));
    }
}
