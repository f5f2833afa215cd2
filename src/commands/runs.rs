//! `relvec runs`: what the run store holds, and what can be done about it.

use std::path::Path;

use uuid::Uuid;

use super::jobs::{open, print_ended, print_run, read_json, until_interrupted};
use super::{explain, print_json, show, word};
use crate::cli::{Format, RetryArgs, RunsCommand};
use crate::error::{ErrorKind, Result};
use crate::graph::event::RunStatus;
use crate::launch::retry::{Refusal, Retried, RetryRequest, Wanted};
use crate::launch::{Accepted, Control, Launch, prepare};
use crate::report::Report;
use crate::report::terminal;
use crate::settings::{Settings, variable};
use crate::store::{LOCAL, Origin};

/// The most events that are read at once.
const PAGE: u32 = 500;

/// Lists runs, or shows, follows or answers one.
///
/// # Errors
/// There is no such run, an answer is none of the choices, or the store cannot be read.
pub async fn runs(command: RunsCommand, settings: Settings) -> Result<u8> {
    let launch = open(settings).await?;
    let store = launch.store();
    match command {
        RunsCommand::List { limit, format } => list(&launch, limit, format).await?,
        RunsCommand::Show { run, format } => {
            let document = store.document(run).await?;
            print_run(&document, &launch, format)?;
            if format == Format::Human && is_interrupted(&launch, run, document.status).await? {
                show(&format!(
                    "no process executes it any more\n  \
                     next: `relvec runs cancel {run}`, then `relvec runs retry {run}`, which does only what is left; \
                     a run of the gateway goes on with `relvec serve`\n"
                ))?;
            }
        }
        RunsCommand::Events { run } => {
            let mut after = 0;
            loop {
                let events = store.events(run, after, PAGE).await?;
                let Some(last) = events.last() else { break };
                after = last.seq;
                for event in &events {
                    show(&format!("{}\n", event.event))?;
                }
            }
        }
        RunsCommand::Logs { run, stage, format } => {
            logs(&launch, run, stage.as_deref(), format).await?;
        }
        RunsCommand::Explain { run, stage, format } => {
            let explanation = launch.explain(run, &stage).await?;
            match format {
                Format::Json => print_json(&explanation)?,
                Format::Human => {
                    let retry_of = store.document(run).await?.retry_of;
                    show(&explain::text(&explanation, retry_of))?;
                }
            }
        }
        RunsCommand::Cancel { run, format } => {
            launch.cancel(run).await?;
            print_run(&store.document(run).await?, &launch, format)?;
        }
        RunsCommand::Retry(args) => return retry(&launch, &args).await,
        RunsCommand::Validate { run, input, format } => {
            return validate(&launch, run, input.as_deref(), format).await;
        }
        RunsCommand::Answer {
            run,
            question,
            choice,
            by,
            format,
        } => {
            store.answer(run, &question, &choice, &by).await?;
            return match resume(&launch, run, format).await {
                // A gateway was quicker.
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    eprintln!("note: {error}");
                    print_run(&store.document(run).await?, &launch, format)?;
                    Ok(0)
                }
                ended => ended,
            };
        }
    }
    Ok(0)
}

async fn list(launch: &Launch, limit: u32, format: Format) -> Result<()> {
    let runs = launch.store().list(None, limit, None).await?;
    if format == Format::Json {
        return print_json(&runs);
    }
    for run in runs {
        let status = if is_interrupted(launch, run.run_id, run.status).await? {
            "interrupted".to_owned()
        } else {
            word(run.status)
        };
        show(&format!(
            "{}  {status:<11} {:<16} {}\n",
            run.run_id, run.graph, run.created_at
        ))?;
    }
    Ok(())
}

/// Goes on with a run in this process.
async fn resume(launch: &Launch, run: Uuid, format: Format) -> Result<u8> {
    let control = Control::default();
    let mut reports: Vec<Box<dyn Report>> = vec![terminal::on_standard_error()];
    let resumed = launch.resume(run, &control, &mut reports);
    let document = until_interrupted(&control, resumed).await?;
    print_ended(&document, launch, format)?;
    Ok(document.exit_code())
}

async fn logs(launch: &Launch, run: Uuid, stage: Option<&str>, format: Format) -> Result<()> {
    let mut after = 0;
    let mut all = Vec::new();
    if let Some(stage) = stage {
        // A stage that wrote nothing is not a stage that is not there.
        launch.explain(run, stage).await?;
    }
    loop {
        let lines = launch.store().logs(run, stage, after, PAGE).await?;
        let Some(last) = lines.last() else { break };
        after = last.seq;
        match format {
            Format::Json => all.extend(lines),
            Format::Human => {
                for line in &lines {
                    let level = word(line.level);
                    show(&format!(
                        "{}  {:<18} {level:<5} {}\n",
                        line.at, line.stage, line.line
                    ))?;
                }
            }
        }
    }
    if format == Format::Json {
        print_json(&all)?;
    }
    Ok(())
}

/// Makes a retry and executes it in this process.
async fn retry(launch: &Launch, args: &RetryArgs) -> Result<u8> {
    let retried = launch
        .accept_retry(RetryRequest {
            run_id: args.run,
            wanted: Wanted::new(&args.from, &args.only)?,
            accept_drift: args.accept_drift,
            tenant: LOCAL,
            origin: Origin::Command,
            idempotency_key: None,
        })
        .await;
    let Retried { accepted, notes } = match retried {
        Ok(retried) => retried,
        Err(Refusal::Error(error)) => return Err(error),
        Err(Refusal::Drift(error, diff)) => {
            match args.format {
                Format::Json => print_json(&diff)?,
                Format::Human => show(&diff.to_string())?,
            }
            return Err(error);
        }
    };
    for note in notes {
        eprintln!("note: {note}");
    }
    eprintln!("run {} is a retry of run {}", accepted.run_id, args.run);
    execute_accepted(launch, accepted, args.format).await
}

/// Makes a validation of an earlier run and executes it in this process.
async fn validate(launch: &Launch, run: Uuid, input: Option<&Path>, format: Format) -> Result<u8> {
    let job = input.map(read_json).transpose()?;
    let job = job.map(|job| prepare(&job, variable)).transpose()?;
    let accepted = launch.accept_validation(run, job, Origin::Command).await?;
    eprintln!("run {} validates run {run}", accepted.run_id);
    execute_accepted(launch, accepted, format).await
}

async fn execute_accepted(launch: &Launch, accepted: Accepted, format: Format) -> Result<u8> {
    let control = Control::default();
    let mut reports: Vec<Box<dyn Report>> = vec![terminal::on_standard_error()];
    let secrets = accepted.secrets.unwrap_or_default();
    let executed = launch.execute(accepted.run_id, secrets, &control, &mut reports);
    let document = until_interrupted(&control, executed).await?;
    print_ended(&document, launch, format)?;
    Ok(document.exit_code())
}

/// A run whose process was killed stays `running` in the store.
async fn is_interrupted(launch: &Launch, run: Uuid, status: RunStatus) -> Result<bool> {
    Ok(status == RunStatus::Running && !launch.is_executed(run).await?)
}
