//! What a handler can reach: cancellation, deadline, progress, log, questions, secrets by name, and its two folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::event::{Artifact, Event, LogLevel, Progress, Question};
use super::handler::HandlerError;
use crate::allowed::Allowed;

/// Secrets of a run by name. They live in memory only: no output, event or store ever holds one.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    known: BTreeMap<String, SecretString>,
    gone: BTreeMap<String, String>,
}

impl Secrets {
    /// Adds or replaces a secret.
    pub fn insert(&mut self, name: impl Into<String>, value: SecretString) {
        self.known.insert(name.into(), value);
    }

    /// Records that a secret which the run once had cannot be had again, and why: only a stage that needs it fails.
    pub fn withhold(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.gone.insert(name.into(), why.into());
    }

    /// Gives every secret.
    pub fn values(&self) -> impl Iterator<Item = &SecretString> {
        self.known.values()
    }

    /// Gives a secret, if the job has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SecretString> {
        self.known.get(name)
    }
}

/// A person's answer to a question.
#[derive(
    Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The choice.
    pub choice: String,
    /// Who chose.
    pub by: String,
    /// When, in RFC 3339.
    pub at: String,
}

/// What the whole run shares with every stage's [`Context`].
#[derive(Debug, Clone)]
pub struct RunEnvironment {
    /// The run.
    pub run_id: Uuid,
    /// Secrets by name.
    pub secrets: Secrets,
    /// Answers given so far, by question id.
    pub answers: BTreeMap<String, Answer>,
    /// The run's own folder for generated files.
    pub artifacts: PathBuf,
    /// A folder that outlives the run: virtual environments, the embedded target.
    pub cache: PathBuf,
    /// What of the network and of this machine the run may reach.
    pub allowed: Allowed,
    /// Cancels the run.
    pub cancel: CancellationToken,
}

/// What every [`Context`] of a run shares.
pub(super) struct Shared {
    pub environment: Arc<RunEnvironment>,
    pub questions: Arc<Mutex<Vec<Question>>>,
    pub events: mpsc::UnboundedSender<Event>,
    /// Cancelled when the run stops.
    pub stop: CancellationToken,
}

impl Shared {
    pub(super) fn emit(&self, event: Event) {
        // The receiver is gone only when the run is over, and then nobody reads events.
        let _ = self.events.send(event);
    }
}

/// One attempt's view of its run.
pub struct Context {
    stage: Arc<str>,
    attempt: u32,
    deadline: Option<Instant>,
    /// Made when somebody first asks for it: most handlers end by themselves.
    cancel: OnceLock<CancellationToken>,
    run: Arc<Shared>,
}

impl Context {
    /// Makes the context of one attempt by itself. `cancel` is cancelled when the attempt has to stop.
    #[must_use]
    pub fn new(
        stage: Arc<str>,
        attempt: u32,
        deadline: Option<Instant>,
        cancel: CancellationToken,
        run: Arc<RunEnvironment>,
        questions: Arc<Mutex<Vec<Question>>>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let run = Shared {
            environment: run,
            questions,
            events,
            stop: cancel.clone(),
        };
        Self {
            stage,
            attempt,
            deadline,
            cancel: OnceLock::from(cancel),
            run: Arc::new(run),
        }
    }

    /// Makes the context of one attempt of a run.
    pub(super) fn of(run: &Arc<Shared>, stage: Arc<str>, attempt: u32, deadline: Instant) -> Self {
        Self {
            stage,
            attempt,
            deadline: Some(deadline),
            cancel: OnceLock::new(),
            run: Arc::clone(run),
        }
    }

    /// Gives the run's id.
    #[must_use]
    pub fn run_id(&self) -> Uuid {
        self.run.environment.run_id
    }

    /// Gives the stage's id.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Gives the attempt, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Gives the time at which the attempt is stopped, if it has one.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Gives a token that is cancelled when the attempt has to stop.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        self.cancel.get_or_init(|| self.run.stop.child_token())
    }

    /// Gives a secret of the job by name.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&SecretString> {
        self.run.environment.secrets.get(name)
    }

    /// Gives a secret that the stage cannot do without.
    ///
    /// # Errors
    /// The job has none by that name, or it was lost with the process that held it.
    pub fn need_secret(&self, name: &str) -> Result<&SecretString, HandlerError> {
        let secrets = &self.run.environment.secrets;
        secrets.get(name).ok_or_else(|| {
            HandlerError::permanent(secrets.gone.get(name).map_or_else(
                || format!("the job has no `{name}`"),
                |why| format!("`{name}`: {why}"),
            ))
        })
    }

    /// Gives the answer to a question, if a person gave one.
    #[must_use]
    pub fn answer(&self, question: &str) -> Option<&Answer> {
        self.run.environment.answers.get(question)
    }

    /// Gives the questions asked so far in the run.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.lock_questions().clone()
    }

    /// Gives the run's folder for generated files.
    #[must_use]
    pub fn artifacts(&self) -> &Path {
        &self.run.environment.artifacts
    }

    /// Gives what of the network and of this machine the run may reach.
    #[must_use]
    pub fn allowed(&self) -> &Allowed {
        &self.run.environment.allowed
    }

    /// Gives the folder that outlives the run.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.run.environment.cache
    }

    /// Reports how far the stage has come.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: &str) {
        self.run.emit(Event::StageProgress {
            stage: Arc::clone(&self.stage),
            progress: Progress {
                done,
                total,
                unit: unit.to_owned(),
            },
        });
    }

    /// Writes a line to the run's log. Never a row value, never a secret.
    pub fn log(&self, level: LogLevel, line: impl Into<String>) {
        self.run.emit(Event::StageLog {
            stage: Arc::clone(&self.stage),
            level,
            line: line.into(),
        });
    }

    /// Asks a question; asking it again, as a second attempt does, changes nothing.
    pub fn ask(&self, mut question: Question) {
        self.stage.as_ref().clone_into(&mut question.stage);
        let mut questions = self.lock_questions();
        if questions.iter().any(|asked| asked.id == question.id) {
            return;
        }
        questions.push(question.clone());
        drop(questions);
        self.run.emit(Event::QuestionAsked { question });
    }

    /// Writes a file to the run's folder, whole or not at all, and records it as an artifact.
    ///
    /// # Errors
    /// The name is not a plain file name, or the disk refuses.
    pub fn write_artifact(&self, name: &str, bytes: &[u8]) -> Result<Artifact, HandlerError> {
        if !is_plain_name(name) {
            return Err(HandlerError::permanent(format!(
                "`{name}` is not a name for an artifact: letters, digits, `.`, `_` and `-` only"
            )));
        }
        let folder = self.artifacts();
        let path = folder.join(name);
        let part = folder.join(format!(".{name}.part"));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&part, bytes))
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|error| {
                HandlerError::permanent(format!("cannot write {}: {error}", path.display()))
            })?;
        let artifact = Artifact {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
        };
        self.run.emit(Event::ArtifactWritten {
            stage: Arc::clone(&self.stage),
            artifact: artifact.clone(),
        });
        Ok(artifact)
    }

    fn lock_questions(&self) -> std::sync::MutexGuard<'_, Vec<Question>> {
        self.run
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=100).contains(&name.len()) && name != "." && name != ".." && name.chars().all(plain)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
