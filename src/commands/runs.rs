//! `relvec runs`: what the run store holds.

use uuid::Uuid;

use super::jobs::{open, print_ended, print_run, until_interrupted};
use super::{print_json, show, word};
use crate::cli::{Format, RunsCommand};
use crate::error::Result;
use crate::graph::event::RunStatus;
use crate::launch::{Control, Launch};
use crate::report::Report;
use crate::report::terminal;
use crate::settings::Settings;

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
        RunsCommand::List { limit, format } => {
            let runs = store.list(limit, None).await?;
            if format == Format::Json {
                print_json(&runs)?;
                return Ok(0);
            }
            for run in runs {
                let status = if is_interrupted(&launch, run.run_id, run.status) {
                    "interrupted".to_owned()
                } else {
                    word(run.status)
                };
                show(&format!(
                    "{}  {status:<11} {:<16} {}\n",
                    run.run_id, run.graph, run.created_at
                ))?;
            }
        }
        RunsCommand::Show { run, format } => {
            let document = store.document(run).await?;
            print_run(&document, &launch, format)?;
            if format == Format::Human && is_interrupted(&launch, run, document.status) {
                show(
                    "no process executes it any more\n  \
                     next: `relvec run` with the same job does only what is left; a run of the gateway goes on with `relvec serve`\n",
                )?;
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
        RunsCommand::Answer {
            run,
            question,
            choice,
            by,
            format,
        } => {
            store.answer(run, &question, &choice, &by).await?;
            let control = Control::default();
            let mut reports: Vec<Box<dyn Report>> = vec![terminal::on_standard_error()];
            let resumed = launch.resume(run, &control, &mut reports);
            let document = until_interrupted(&control, resumed).await?;
            print_ended(&document, &launch, format)?;
            return Ok(document.exit_code());
        }
    }
    Ok(0)
}

/// A run whose process was killed stays `running` in the store.
fn is_interrupted(launch: &Launch, run: Uuid, status: RunStatus) -> bool {
    status == RunStatus::Running && !launch.is_executed(run)
}
