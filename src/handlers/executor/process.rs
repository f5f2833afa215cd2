//! The script in a virtual environment of this machine: a migration, or a dry run.

use std::process::Stdio;

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::addresses::PINNED;
use super::environment::{Environment, LOOPBACK, uses_own_endpoint};
use super::hex;
use super::script::{Listener, SCRIPT, Said};
use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::HandlerError;
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::model::job::JobInput;
use crate::service::process::{self, Ended};
use crate::service::python::{Dependencies, Venv};
use crate::settings;

/// A script that is ready to be started.
pub(super) struct Prepared {
    pub command: Command,
    pub environment: Environment,
}

/// Prepares a migration.
pub(super) async fn prepare(
    job: &JobInput,
    code: &GeneratedCode,
    infra: &GeneratedInfra,
    ctx: &Context,
) -> Result<Prepared, HandlerError> {
    let mut environment = Environment::of_migration(job, code, ctx).await?;
    if uses_own_endpoint(job) {
        environment.start_endpoint(LOOPBACK, ctx).await?;
    }
    environment.pin();
    let venv = virtual_environment(infra, ctx).await?;
    let command = script_command(&venv, ctx, &environment);
    Ok(Prepared {
        command,
        environment,
    })
}

/// Makes the script's command; secrets are in its environment only.
pub(super) fn script_command(venv: &Venv, ctx: &Context, environment: &Environment) -> Command {
    let mut command = process::command(venv.python());
    let variables = environment.variables.iter();
    command.arg("-I");
    if !environment.addresses.is_empty() {
        command.args(["-c", PINNED]);
    }
    command
        .arg(ctx.artifacts().join(SCRIPT))
        // A script that outlived a killed relvec would hold the target's lock against the run that goes on.
        .arg("--until-stdin-ends")
        .stdin(Stdio::piped())
        .envs(variables.map(|(name, value)| (name, value.expose_secret())))
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Gives the environment of the requirements that were generated; installing them is their check.
pub(super) async fn virtual_environment(
    infra: &GeneratedInfra,
    ctx: &Context,
) -> Result<Venv, HandlerError> {
    let path = ctx.artifacts().join("requirements.txt");
    let requirements = std::fs::read(&path).map_err(|error| {
        HandlerError::permanent(format!("cannot read {}: {error}", path.display()))
    })?;
    if hex(&Sha256::digest(&requirements)) != infra.requirements_sha256 {
        return Err(HandlerError::permanent(format!(
            "{} is not the file that was generated: run the job again",
            path.display()
        )));
    }
    let log = |line: &str| ctx.log(LogLevel::Info, line);
    let venvs = ctx.cache().join("venvs");
    let python = settings::python();
    Ok(Venv::ensure(&venvs, &python, &requirements, Dependencies::Checked, &log).await?)
}

/// Runs the script to its end.
pub(super) async fn execute(mut prepared: Prepared, ctx: &Context) -> Result<Said, HandlerError> {
    let mut listener = Listener::new(&prepared.environment.redactor, ctx);
    let ended = process::run(&mut prepared.command, ctx.cancellation(), |stream, line| {
        listener.hear(stream, line);
    })
    .await
    .map_err(|error| HandlerError::permanent(format!("{SCRIPT} cannot be run: {error}")))?;
    match ended {
        Ended::Exited(status) => Ok(listener.said(status.code(), process::describe(status))),
        Ended::Cancelled => Err(super::stopped()),
    }
}
