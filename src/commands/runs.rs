//! `relvec runs`: the runs that there are, in this machine's store or at a gateway, and what can be done about them.

mod local;
pub(super) mod place;
pub(super) mod remote;

use std::ops::ControlFlow;

use uuid::Uuid;

use self::local::Local;
use self::place::{Choice, Place, Refused, save};
use self::remote::Remote;
use super::jobs::{open, print_ended, print_run, read_json};
use super::{explain, print_json, show, word};
use crate::cli::{Format, LogsArgs, RetryArgs, RunsArgs, RunsCommand};
use crate::error::{Error, ErrorKind, Result};
use crate::model::run::{LogLine, RunDocument};
use crate::settings::Settings;

/// Lists runs, or shows, follows or answers one.
///
/// # Errors
/// There is no such run, an answer is none of the choices, or the store or the gateway does not answer.
pub async fn runs(args: RunsArgs, settings: Settings) -> Result<u8> {
    match &args.server {
        None => at(&Local::new(open(settings).await?), args.command).await,
        Some(server) => at(&Remote::new(server)?, args.command).await,
    }
}

async fn at(place: &impl Place, command: RunsCommand) -> Result<u8> {
    place.settle(run_of(&command)).await?;
    match command {
        RunsCommand::List { limit, format } => list(place, limit, format).await?,
        RunsCommand::Show { run, format } => show_run(place, run, format).await?,
        RunsCommand::Events { run, follow } => {
            let mut print = |_: i64, event: &str| {
                show(&format!("{event}\n"))?;
                Ok(ControlFlow::Continue(()))
            };
            place.events(run, 0, follow, &mut print).await?;
        }
        RunsCommand::Logs(asked) => logs(place, &asked).await?,
        RunsCommand::Artifacts { run, to, format } => {
            let files = place.document(run).await?.generated_artifacts;
            if let Some(to) = to {
                save(place, run, &files, &to).await?;
            }
            match format {
                Format::Json => print_json(&files)?,
                Format::Human => {
                    for file in files {
                        show(&format!(
                            "{}  {:>9} {}\n",
                            file.sha256, file.bytes, file.name
                        ))?;
                    }
                }
            }
        }
        RunsCommand::Explain { run, stage, format } => {
            let explanation = place.explain(run, &stage).await?;
            match format {
                Format::Json => print_json(&explanation)?,
                Format::Human => {
                    let retry_of = place.document(run).await?.retry_of;
                    show(&explain::text(&explanation, retry_of))?;
                }
            }
        }
        RunsCommand::Cancel { run, format } => {
            let document = place.cancel(run).await?;
            print_run(&document, &place.files(run), format)?;
        }
        RunsCommand::Retry(args) => return retry(place, &args).await,
        RunsCommand::Validate { run, input, format } => {
            let job = input.as_deref().map(read_json).transpose()?;
            let document = place.validate(run, job).await?;
            return ended(place, &document, format);
        }
        RunsCommand::Answer {
            run,
            question,
            choice,
            by,
            format,
        } => {
            let choice = Choice {
                question: &question,
                chosen: &choice,
                by: by.as_deref(),
            };
            let document = place.answer(run, choice).await?;
            return ended(place, &document, format);
        }
    }
    Ok(0)
}

/// Gives the run that a command names; none where it is about all.
const fn run_of(command: &RunsCommand) -> Option<Uuid> {
    match command {
        RunsCommand::List { .. } => None,
        RunsCommand::Show { run, .. }
        | RunsCommand::Events { run, .. }
        | RunsCommand::Logs(LogsArgs { run, .. })
        | RunsCommand::Artifacts { run, .. }
        | RunsCommand::Explain { run, .. }
        | RunsCommand::Cancel { run, .. }
        | RunsCommand::Retry(RetryArgs { run, .. })
        | RunsCommand::Validate { run, .. }
        | RunsCommand::Answer { run, .. } => Some(*run),
    }
}

fn ended(place: &impl Place, document: &RunDocument, format: Format) -> Result<u8> {
    print_ended(document, &place.files(document.run_id), format)?;
    Ok(document.exit_code())
}

async fn show_run(place: &impl Place, run: Uuid, format: Format) -> Result<()> {
    let document = place.document(run).await?;
    print_run(&document, &place.files(run), format)?;
    if format == Format::Human && place.is_interrupted(run, document.status).await? {
        show(&format!(
            "no process executes it any more\n  \
             next: `relvec runs cancel {run}`, then `relvec runs retry {run}`, which does only what is left; \
             a run of the gateway goes on with `relvec serve`\n"
        ))?;
    }
    Ok(())
}

async fn list(place: &impl Place, limit: u32, format: Format) -> Result<()> {
    let runs = place.list(limit).await?;
    if format == Format::Json {
        return print_json(&runs);
    }
    for run in runs {
        let status = if place.is_interrupted(run.run_id, run.status).await? {
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

async fn logs(place: &impl Place, asked: &LogsArgs) -> Result<()> {
    let mut all = Vec::new();
    let mut print = |line: LogLine| match asked.format {
        Format::Human => {
            let level = word(line.level);
            show(&format!(
                "{}  {:<18} {level:<5} {}\n",
                line.at, line.stage, line.line
            ))
        }
        // An array that has no end is of no use: what is followed is an object a line.
        Format::Json if asked.follow => {
            let line = serde_json::to_string(&line).map_err(|error| {
                Error::new(ErrorKind::Internal, "a line is not JSON").because(error)
            })?;
            show(&format!("{line}\n"))
        }
        Format::Json => {
            all.push(line);
            Ok(())
        }
    };
    place.logs(asked, &mut print).await?;
    if asked.format == Format::Json && !asked.follow {
        print_json(&all)?;
    }
    Ok(())
}

/// Makes a retry and sees it through.
async fn retry(place: &impl Place, args: &RetryArgs) -> Result<u8> {
    match place.retry(args).await {
        Ok(document) => ended(place, &document, args.format),
        Err(Refused::Error(error)) => Err(error),
        Err(Refused::Drift(error, diff)) => {
            match args.format {
                Format::Json => print_json(&diff)?,
                Format::Human => show(&diff.to_string())?,
            }
            Err(error)
        }
    }
}
