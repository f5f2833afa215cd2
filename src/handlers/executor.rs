//! `executor`: runs the generated script, or simulates it.
//!
//! 1. Check that the script in the run's folder is the one that was generated.
//! 2. Choose: [`container`] builds an image and runs it, [`process`] makes a virtual environment and runs `migrate.py` in it,
//!    [`simulate`] runs `--dry-run`. A container without a daemon asks what to do; it never becomes something else by itself.
//! 3. Turn the script's exit code and its last line into the report ([`script`]).
//!
//! Secrets reach the script through its environment or its standard input only, and nothing that it says passes on with one in it.

use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::graph::context::Context;
use crate::graph::event::{Artifact, LogLevel, Question};
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::execution::{ExecutionReport, MigrationReport};
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::model::job::{ExecutionMode, JobInput};
use crate::service::docker::Docker;

mod addresses;
mod container;
mod environment;
mod orphans;
mod process;
mod reach;
mod script;
mod simulate;

pub use orphans::reap_orphans;
use script::SCRIPT;

/// The question that quarantined rows raise.
pub const QUARANTINED: &str = "quarantined";

/// The script's word for a key that the embedding API refuses, and the question that this raises.
pub const KEY_REFUSED: &str = "key_refused";

/// The question that a container without a daemon raises.
pub const NO_DAEMON: &str = "no_container_daemon";

/// Runs the generated script, or simulates it.
#[derive(Debug)]
pub struct Executor;

impl NodeHandler for Executor {
    const NAME: &'static str = "executor";
    const SUMMARY: &'static str =
        "runs the generated migration in a container or a virtual environment, or simulates it";
    const SIDE_EFFECTS: bool = true;
    type Params = NoParams;
    type Input = (JobInput, GeneratedCode, GeneratedInfra);
    type Output = ExecutionReport;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        (job, code, infra): Self::Input,
        ctx: &Context,
    ) -> Result<ExecutionReport, HandlerError> {
        let started = Instant::now();
        for file in code.files.iter().chain(&infra.files) {
            check_artifact(ctx, file)?;
        }
        let place = until_cancelled(ctx, place(&job, ctx)).await?;
        let (mode, said) = match place {
            Place::Container(docker) => {
                let prepare = container::prepare(docker, &job, &code, &infra, ctx);
                let prepared = until_cancelled(ctx, prepare).await?;
                let said = container::execute(prepared, ctx).await?;
                (ExecutionMode::Container, said)
            }
            Place::Process => {
                let prepare = process::prepare(&job, &code, &infra, ctx);
                let prepared = until_cancelled(ctx, prepare).await?;
                let said = process::execute(prepared, ctx).await?;
                (ExecutionMode::Process, said)
            }
            Place::Nowhere => {
                let prepare = simulate::prepare(&code, &infra, ctx);
                let prepared = until_cancelled(ctx, prepare).await?;
                let said = process::execute(prepared, ctx).await?;
                (ExecutionMode::Simulate, said)
            }
        };
        said.report(mode, started, &job, ctx)
    }
}

/// Where the script is run.
enum Place {
    Container(Docker),
    Process,
    /// A simulation.
    Nowhere,
}

/// Gives what the job says, or what a person answered where that is not possible.
async fn place(job: &JobInput, ctx: &Context) -> Result<Place, HandlerError> {
    match job.execution.mode {
        ExecutionMode::Process => return process_if_allowed(ctx),
        ExecutionMode::Simulate => return Ok(Place::Nowhere),
        ExecutionMode::Container => {}
    }
    let answer = ctx.answer(NO_DAEMON);
    let answered = |mode| {
        ctx.log(
            LogLevel::Warn,
            format!("not in a container but as `{mode}`: so `{NO_DAEMON}` was answered"),
        );
    };
    match answer.map(|answer| answer.choice.as_str()) {
        Some("process") => {
            let place = process_if_allowed(ctx)?;
            answered("process");
            return Ok(place);
        }
        Some("simulate") => {
            answered("simulate");
            return Ok(Place::Nowhere);
        }
        Some(_) | None => {}
    }
    match Docker::connect().await {
        Ok(docker) => Ok(Place::Container(docker)),
        Err(error) if answer.is_none() => {
            let reason = HandlerError::from(error).message;
            ctx.ask(daemon_question());
            Err(HandlerError::parked(format!(
                "{reason}\n  next: or answer `{NO_DAEMON}` with `process` or `simulate`"
            )))
        }
        Err(error) => Err(HandlerError::permanent(HandlerError::from(error).message)),
    }
}

/// A job that was accepted may be executed by a gateway with other rules, and an answer is checked by nobody before.
fn process_if_allowed(ctx: &Context) -> Result<Place, HandlerError> {
    if ctx.allowed().process() {
        return Ok(Place::Process);
    }
    Err(HandlerError::permanent(
        "this gateway runs no migration as a process of its machine: use `execution.mode` `container`, or let the operator allow `process`",
    ))
}

async fn until_cancelled<T>(
    ctx: &Context,
    work: impl Future<Output = Result<T, HandlerError>>,
) -> Result<T, HandlerError> {
    tokio::select! {
        done = work => done,
        () = ctx.cancellation().cancelled() => {
            Err(HandlerError::permanent("cancelled before the migration was started"))
        }
    }
}

fn stopped() -> HandlerError {
    HandlerError::permanent(format!(
        "{SCRIPT} was stopped; running it again goes on where it was"
    ))
}

/// Refuses to run anything else than what the generators wrote.
fn check_artifact(ctx: &Context, file: &Artifact) -> Result<(), HandlerError> {
    let path = ctx.artifacts().join(&file.name);
    let bytes = std::fs::read(&path).map_err(|error| {
        HandlerError::permanent(format!("cannot read {}: {error}", path.display()))
    })?;
    if hex(&Sha256::digest(&bytes)) == file.sha256 {
        return Ok(());
    }
    Err(HandlerError::permanent(format!(
        "{} was changed after it was generated: run the job again, or run your own version by hand",
        path.display()
    )))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn daemon_question() -> Question {
    Question {
        id: NO_DAEMON.to_owned(),
        stage: String::new(),
        text: "The job asks for a container and no container daemon answers. How is the migration to be run? `retry` looks for the daemon again."
            .to_owned(),
        choices: ["process", "simulate", "retry"].map(str::to_owned).to_vec(),
        default: None,
        expires_at: None,
        blocking: true,
    }
}

fn key_question() -> Question {
    Question {
        id: KEY_REFUSED.to_owned(),
        stage: String::new(),
        text: "The embedding API refuses the key. Is there a valid one now, so that the migration can go on where it stopped?"
            .to_owned(),
        choices: vec!["retry".to_owned(), "give up".to_owned()],
        default: None,
        expires_at: None,
        blocking: true,
    }
}

fn quarantine_question(migration: &MigrationReport, job: &JobInput) -> Question {
    let entities: Vec<String> = migration
        .entities
        .iter()
        .filter(|entity| entity.quarantined > 0)
        .map(|entity| format!("{} of `{}`", entity.quarantined, entity.entity))
        .collect();
    let count: u64 = migration
        .entities
        .iter()
        .map(|entity| entity.quarantined)
        .sum();
    Question {
        id: QUARANTINED.to_owned(),
        stage: String::new(),
        text: format!(
            "{count} documents could not be embedded ({}). Their keys and the reasons are in the target's table \
             `{}_quarantine`. Is the result good without them?",
            entities.join(", "),
            job.target.table
        ),
        choices: vec!["accept".to_owned(), "reject".to_owned()],
        default: None,
        expires_at: None,
        blocking: true,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use serde_json::json;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::environment::Environment;
    use super::process::Prepared;
    use super::*;
    use crate::graph::context::{RunEnvironment, Secrets};
    use crate::graph::event::Event;

    fn context() -> (Context, UnboundedReceiver<Event>) {
        let (sender, events) = unbounded_channel();
        let run = RunEnvironment {
            run_id: uuid::Uuid::nil(),
            secrets: Secrets::default(),
            answers: std::collections::BTreeMap::new(),
            artifacts: PathBuf::new(),
            cache: PathBuf::new(),
            allowed: crate::allowed::Allowed::everything(),
            cancel: tokio_util::sync::CancellationToken::new(),
        };
        let cancel = run.cancel.child_token();
        let (stage, questions) = (Arc::from("executor"), Arc::default());
        let ctx = Context::new(stage, 1, None, cancel, Arc::new(run), questions, sender);
        (ctx, events)
    }

    fn job() -> JobInput {
        serde_json::from_value(json!({"source": {}})).unwrap()
    }

    /// A script that says what the real one would.
    async fn executed(
        script: &str,
        mode: ExecutionMode,
    ) -> (Result<ExecutionReport, HandlerError>, Vec<Event>) {
        let (ctx, mut events) = context();
        let mut command = crate::service::process::command("/bin/sh");
        command.arg("-c").arg(script);
        let mut environment = Environment::empty();
        environment.add("TARGET_URL", "postgres://u:hunter22@h/d".into());
        let prepared = Prepared {
            command,
            environment,
        };
        let result = match process::execute(prepared, &ctx).await {
            Ok(said) => said.report(mode, Instant::now(), &job(), &ctx),
            Err(error) => Err(error),
        };
        drop(ctx);
        let mut seen = Vec::new();
        while let Some(event) = events.recv().await {
            seen.push(event);
        }
        (result, seen)
    }

    fn report(quarantined: u64) -> String {
        let entity = json!({"entity": "orders", "source_rows": 9, "documents": 9 - quarantined, "chunks": 9,
            "embedded": 9, "unchanged": 0, "empty": 0, "quarantined": quarantined, "removed": 0, "kept": 0, "lost": 0});
        let report = json!({"snapshot_at": "2026-01-01T00:00:00Z", "dimensions": 8, "entities": [entity], "shard": "1/1", "open_shards": [], "passes": 1,
            "tokens": 1, "requests": 1, "retries": 0, "seconds": 0.5});
        format!("echo '{report}'")
    }

    #[tokio::test]
    async fn the_last_line_is_the_report_and_the_others_are_progress_and_log() {
        let script = format!(
            "echo noise; {}; \
             echo '{{\"event\":\"progress\",\"done\":3,\"total\":9,\"unit\":\"documents\"}}' >&2; \
             echo '{{\"event\":\"log\",\"level\":\"info\",\"message\":\"at postgres://u:hunter22@h/d\"}}' >&2; \
             echo 'Traceback: a value' >&2",
            report(0)
        );
        let (result, events) = executed(&script, ExecutionMode::Process).await;
        let result = result.unwrap();
        assert_eq!(result.exit_code, Some(0));
        assert_eq!(result.migration.unwrap().entities[0].documents, 9);
        assert_eq!(result.error_lines, Vec::<String>::new());
        let progress = |event: &Event| matches!(event, Event::StageProgress { progress, .. } if progress.done == 3);
        assert!(events.iter().any(progress));
        let logged: Vec<&str> = events
            .iter()
            .filter_map(|event| {
                if let Event::StageLog { line, .. } = event {
                    Some(line.as_str())
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(logged, ["at ***"]);
    }

    #[tokio::test]
    async fn quarantined_rows_raise_a_blocking_question_unless_it_was_a_simulation() {
        let script = format!("{}; exit 3", report(2));
        let (result, events) = executed(&script, ExecutionMode::Process).await;
        assert_eq!(result.unwrap().exit_code, Some(3));
        let question = events.iter().find_map(|event| {
            if let Event::QuestionAsked { question } = event {
                Some(question)
            } else {
                None
            }
        });
        let question = question.unwrap();
        assert!(question.blocking);
        assert!(
            question
                .text
                .starts_with("2 documents could not be embedded (2 of `orders`)")
        );
        assert!(question.text.contains("relvec_documents_quarantine"));
        let (result, events) = executed(&script, ExecutionMode::Simulate).await;
        assert!(result.unwrap().simulated);
        assert!(events.is_empty());
    }

    #[tokio::test]
    async fn a_failure_keeps_its_evidence_and_hides_secrets() {
        let script = "echo 'cannot connect with hunter22' >&2; exit 1";
        let (result, _) = executed(script, ExecutionMode::Process).await;
        let error = result.unwrap_err();
        assert_eq!(
            error.message,
            "migrate.py failed (exit code 1): cannot connect with ***"
        );
        let evidence = error.evidence.unwrap();
        assert_eq!(evidence["exit_code"], 1);
        assert_eq!(evidence["error_lines"], json!(["cannot connect with ***"]));
    }

    #[tokio::test]
    async fn a_disagreement_a_signal_and_a_missing_report_are_named() {
        let (result, _) = executed("exit 4", ExecutionMode::Process).await;
        assert!(result.unwrap_err().message.contains("disagree"));
        let (result, _) = executed("kill -9 $$", ExecutionMode::Process).await;
        let error = result.unwrap_err();
        assert!(error.message.contains("SIGKILL"), "{error}");
        assert_eq!(
            error.evidence.unwrap()["exit_code"],
            serde_json::Value::Null
        );
        let (result, _) = executed("echo done", ExecutionMode::Process).await;
        assert!(result.unwrap_err().message.contains("no report"));
    }
}
