//! `executor`: runs the generated script, or simulates it.
//!
//! 1. Check that the script in the run's folder is the one that was generated.
//! 2. `process`: resolve and check the target, make the virtual environment, start relvec's embedding endpoint where the
//!    job uses it, run `migrate.py`. `simulate`: compile everything, make the virtual environment, run `--dry-run`.
//! 3. Turn the script's exit code and its last line into the report.
//!
//! Secrets reach the script through its environment only, and nothing that it says passes on with one in it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use crate::graph::context::Context;
use crate::graph::event::{Artifact, LogLevel, Question};
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::execution::{ExecutionReport, MigrationReport};
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::model::job::{EmbeddingProvider, ExecutionMode, JobInput, secret};
use crate::service::endpoint::Endpoint;
use crate::service::process::{self, Ended, Stream};
use crate::service::python::{self, Dependencies, Venv};
use crate::service::redact::Redactor;
use crate::service::target;
use crate::settings;

/// The generated script.
const SCRIPT: &str = "migrate.py";

/// The question that quarantined rows raise.
pub const QUARANTINED: &str = "quarantined";

/// The script's word for a key that the embedding API refuses, and the question that this raises.
pub const KEY_REFUSED: &str = "key_refused";

/// Lines of standard error that a report keeps.
const LAST_LINES: usize = 20;

/// Runs the generated script, or simulates it.
#[derive(Debug)]
pub struct Executor;

impl NodeHandler for Executor {
    const NAME: &'static str = "executor";
    const SUMMARY: &'static str =
        "runs the generated migration in a virtual environment, or simulates it";
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
        let prepared = tokio::select! {
            prepared = prepare(&job, &code, &infra, ctx) => prepared?,
            () = ctx.cancellation().cancelled() => {
                return Err(HandlerError::permanent("cancelled before the migration was started"));
            }
        };
        let said = execute(prepared, ctx).await?;
        said.report(job.execution.mode, started, &job, ctx)
    }
}

/// A script that is ready to be started.
struct Prepared {
    command: Command,
    redactor: Redactor,
    // Stops when this is dropped, so it has to live as long as the script.
    _endpoint: Option<Endpoint>,
}

async fn prepare(
    job: &JobInput,
    code: &GeneratedCode,
    infra: &GeneratedInfra,
    ctx: &Context,
) -> Result<Prepared, HandlerError> {
    let source = ctx.need_secret(secret::SOURCE_URL)?;
    let mut redactor = Redactor::default().hide(source);
    let mut environment = vec![(OsString::from("SOURCE_URL"), source.clone())];
    let mut endpoint = None;
    match job.execution.mode {
        ExecutionMode::Container => {
            return Err(HandlerError::permanent(
                "execution mode `container` is not built yet; use `process` or `simulate`",
            ));
        }
        ExecutionMode::Process => {
            let driver = crate::source::open(source)?;
            crate::source::fan_out::refuse(driver.as_ref(), &code.plan).await?;
            let target = target::resolve(job, ctx).await?;
            target::check(&target).await?;
            redactor = redactor.hide(&target);
            environment.push(("TARGET_URL".into(), target));
            if let Some(key) = ctx.secret(secret::EMBEDDING_API_KEY) {
                let name = code.embedding.api_key_env.as_deref();
                redactor = redactor.hide(key);
                environment.push((name.unwrap_or("EMBEDDING_API_KEY").into(), key.clone()));
            }
            if uses_own_endpoint(job) {
                let started = Endpoint::start().await?;
                ctx.log(
                    LogLevel::Info,
                    format!(
                        "relvec's embedding endpoint listens on {}",
                        started.base_url
                    ),
                );
                let url = SecretString::from(started.base_url.as_str());
                environment.push(("EMBEDDING_BASE_URL".into(), url));
                endpoint = Some(started);
            }
        }
        ExecutionMode::Simulate => {
            python::compiles(&settings::python(), &sources(code, ctx)).await?;
        }
    }
    let venv = virtual_environment(infra, ctx).await?;
    let mut command = script_command(&venv, ctx, &environment);
    match job.execution.mode {
        ExecutionMode::Simulate => {
            command.arg("--dry-run");
        }
        ExecutionMode::Container | ExecutionMode::Process => {}
    }
    Ok(Prepared {
        command,
        redactor,
        _endpoint: endpoint,
    })
}

/// Makes the script's command; secrets are in its environment only.
fn script_command(venv: &Venv, ctx: &Context, environment: &[(OsString, SecretString)]) -> Command {
    let mut command = process::command(venv.python());
    command
        .arg("-I")
        .arg(ctx.artifacts().join(SCRIPT))
        // A script that outlived a killed relvec would hold the target's lock against the run that goes on.
        .arg("--until-stdin-ends")
        .stdin(Stdio::piped())
        .envs(
            environment
                .iter()
                .map(|(name, value)| (name, value.expose_secret())),
        )
        // What libpq would read besides the URL.
        .env("PGPASSFILE", "/dev/null")
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Says whether relvec has to start its own endpoint: the job uses it and does not say that it runs somewhere.
fn uses_own_endpoint(job: &JobInput) -> bool {
    job.embedding.provider == EmbeddingProvider::Relvec && job.embedding.base_url.is_none()
}

fn sources(code: &GeneratedCode, ctx: &Context) -> Vec<PathBuf> {
    let files = code
        .files
        .iter()
        .map(|file| ctx.artifacts().join(&file.name));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect()
}

async fn virtual_environment(infra: &GeneratedInfra, ctx: &Context) -> Result<Venv, HandlerError> {
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

/// A line of the script's standard error.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum ScriptLine {
    Progress {
        done: u64,
        total: Option<u64>,
        unit: String,
    },
    Log {
        level: LogLevel,
        message: String,
        /// What failed, for programs.
        code: Option<String>,
    },
}

/// What the script said, and how it ended.
struct Said {
    status: ExitStatus,
    last_output: String,
    error_lines: VecDeque<String>,
    /// The script's own word for why it failed.
    code: Option<String>,
}

async fn execute(mut prepared: Prepared, ctx: &Context) -> Result<Said, HandlerError> {
    let mut last_output = String::new();
    let mut error_lines = VecDeque::new();
    let mut said_code = None;
    let redactor = &prepared.redactor;
    let ended = process::run(&mut prepared.command, ctx.cancellation(), |stream, line| {
        match stream {
            Stream::Stdout if line.trim().is_empty() => {}
            Stream::Stdout => line.clone_into(&mut last_output),
            Stream::Stderr => match serde_json::from_str(line) {
                Ok(ScriptLine::Progress { done, total, unit }) => ctx.progress(done, total, &unit),
                Ok(ScriptLine::Log {
                    level,
                    message,
                    code,
                }) => {
                    let message = redactor.clean(&message);
                    said_code = code;
                    ctx.log(level, message.as_str());
                    if matches!(level, LogLevel::Warn | LogLevel::Error) {
                        keep(&mut error_lines, message);
                    }
                }
                // Not the script's own words: a traceback may hold a row's value, so it does not go to the log.
                Err(_) => keep(&mut error_lines, redactor.clean(line)),
            },
        }
    })
    .await
    .map_err(|error| HandlerError::permanent(format!("{SCRIPT} cannot be run: {error}")))?;
    match ended {
        Ended::Exited(status) => Ok(Said {
            status,
            last_output,
            error_lines,
            code: said_code,
        }),
        Ended::Cancelled => Err(HandlerError::permanent(format!(
            "{SCRIPT} was stopped; running it again goes on where it was"
        ))),
    }
}

fn keep(lines: &mut VecDeque<String>, line: String) {
    if line.trim().is_empty() {
        return;
    }
    lines.push_back(line);
    if lines.len() > LAST_LINES {
        lines.pop_front();
    }
}

impl Said {
    /// Turns exit code and last line into the stage's result; quarantined rows raise a question.
    fn report(
        self,
        mode: ExecutionMode,
        started: Instant,
        job: &JobInput,
        ctx: &Context,
    ) -> Result<ExecutionReport, HandlerError> {
        let migration = serde_json::from_str::<MigrationReport>(&self.last_output).ok();
        let code = self.status.code();
        let complete = matches!(code, Some(0 | 3));
        let report = ExecutionReport {
            mode,
            simulated: mode == ExecutionMode::Simulate,
            exit_code: code,
            migration,
            error_lines: if complete {
                Vec::new()
            } else {
                self.error_lines.iter().cloned().collect()
            },
            seconds: started.elapsed().as_secs_f64(),
        };
        if self.code.as_deref() == Some(KEY_REFUSED) && ctx.answer(KEY_REFUSED).is_none() {
            ctx.ask(key_question());
            return Err(HandlerError::parked(format!(
                "{}; mend that, then answer `{KEY_REFUSED}` with `retry`: what is written stays, and only the rest is embedded",
                self.failure()
            )));
        }
        if !complete {
            let message = self.failure();
            return Err(HandlerError::permanent(message).with_evidence(&report));
        }
        let Some(migration) = &report.migration else {
            let message = format!("{SCRIPT} ended well but its last line is no report");
            return Err(HandlerError::permanent(message).with_evidence(&report));
        };
        // A simulation has put nothing aside yet: its report says what would be.
        if code == Some(3) && !report.simulated {
            ctx.ask(quarantine_question(migration, job));
        }
        Ok(report)
    }

    fn failure(&self) -> String {
        let how = process::describe(self.status);
        let last = self
            .error_lines
            .back()
            .map_or("it wrote no reason", String::as_str);
        match self.status.code() {
            Some(4) => {
                format!("{SCRIPT} counted source and target and they disagree ({how}): {last}")
            }
            Some(_) | None => format!("{SCRIPT} failed ({how}): {last}"),
        }
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
    use std::sync::Arc;

    use serde_json::json;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

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
        let mut command = process::command("/bin/sh");
        command.arg("-c").arg(script);
        let prepared = Prepared {
            command,
            redactor: Redactor::default().hide(&"postgres://u:hunter22@h/d".into()),
            _endpoint: None,
        };
        let result = match execute(prepared, &ctx).await {
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
