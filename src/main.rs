//! The command line of relvec: arguments, logging, [`relvec::run`], and the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use relvec::cli::Cli;
use relvec::error::Error;
use relvec::settings::Settings;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match Settings::from_environment() {
        Ok(settings) => {
            tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new(&settings.log))
                .with_writer(std::io::stderr)
                .init();
            Box::pin(relvec::run(cli, settings)).await
        }
        Err(error) => Err(error),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Prints an error with its next steps. A closed standard error is no reason to panic.
fn report(error: &Error) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {error}");
    for hint in error.hints() {
        let _ = writeln!(stderr, "  next: {hint}");
    }
}
