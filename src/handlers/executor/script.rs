//! What the script says while it runs, and what its end means.

use std::collections::VecDeque;
use std::time::Instant;

use serde::Deserialize;

use super::{KEY_REFUSED, key_question, quarantine_question};
use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::HandlerError;
use crate::model::execution::{ExecutionReport, MigrationReport};
use crate::model::job::{ExecutionMode, JobInput};
use crate::service::process::Stream;
use crate::service::redact::Redactor;

/// The generated script.
pub(super) const SCRIPT: &str = "migrate.py";

/// The variable of the source's URL.
pub(super) const SOURCE_URL: &str = "SOURCE_URL";

/// Lines of standard error that a report keeps.
const LAST_LINES: usize = 20;

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

/// Turns the script's lines into the run's log and the stage's progress.
pub(super) struct Listener<'a> {
    redactor: &'a Redactor,
    ctx: &'a Context,
    last_output: String,
    error_lines: VecDeque<String>,
    code: Option<String>,
}

impl<'a> Listener<'a> {
    pub(super) const fn new(redactor: &'a Redactor, ctx: &'a Context) -> Self {
        Self {
            redactor,
            ctx,
            last_output: String::new(),
            error_lines: VecDeque::new(),
            code: None,
        }
    }

    pub(super) fn hear(&mut self, stream: Stream, line: &str) {
        match stream {
            Stream::Stdout if line.trim().is_empty() => {}
            Stream::Stdout => line.clone_into(&mut self.last_output),
            Stream::Stderr => match serde_json::from_str(line) {
                Ok(ScriptLine::Progress { done, total, unit }) => {
                    self.ctx.progress(done, total, &unit);
                }
                Ok(ScriptLine::Log {
                    level,
                    message,
                    code,
                }) => {
                    let message = self.redactor.clean(&message);
                    self.code = code;
                    self.ctx.log(level, message.as_str());
                    if matches!(level, LogLevel::Warn | LogLevel::Error) {
                        self.keep(message);
                    }
                }
                // Not the script's own words: a traceback may hold a row's value, so it does not go to the log.
                Err(_) => self.keep(self.redactor.clean(line)),
            },
        }
    }

    fn keep(&mut self, line: String) {
        if line.trim().is_empty() {
            return;
        }
        self.error_lines.push_back(line);
        if self.error_lines.len() > LAST_LINES {
            self.error_lines.pop_front();
        }
    }

    /// Gives the last line that says what is wrong.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.error_lines.back().map(String::as_str)
    }

    /// Ends with an exit code, or none where a signal ended it, and how that is said.
    pub(super) fn said(self, exit_code: Option<i32>, how: String) -> Said {
        Said {
            exit_code,
            how,
            last_output: self.last_output,
            error_lines: self.error_lines,
            code: self.code,
        }
    }
}

/// What the script said, and how it ended.
pub(super) struct Said {
    exit_code: Option<i32>,
    how: String,
    last_output: String,
    error_lines: VecDeque<String>,
    /// The script's own word for why it failed.
    pub code: Option<String>,
}

impl Said {
    /// Turns exit code and last line into the stage's result; quarantined rows raise a question.
    pub(super) fn report(
        self,
        mode: ExecutionMode,
        started: Instant,
        job: &JobInput,
        ctx: &Context,
    ) -> Result<ExecutionReport, HandlerError> {
        let migration = serde_json::from_str::<MigrationReport>(&self.last_output).ok();
        let code = self.exit_code;
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

    /// Says more about how the script ended: what only whoever ran it knows.
    pub(super) fn explained(mut self, more: &str) -> Self {
        self.how = format!("{}: {more}", self.how);
        self
    }

    fn failure(&self) -> String {
        let how = &self.how;
        let last = self
            .error_lines
            .back()
            .map_or("it wrote no reason", String::as_str);
        match self.exit_code {
            Some(4) => {
                format!("{SCRIPT} counted source and target and they disagree ({how}): {last}")
            }
            Some(_) | None => format!("{SCRIPT} failed ({how}): {last}"),
        }
    }
}
