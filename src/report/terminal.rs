//! Events for a person: a line a stage, that moves on a terminal and is printed once elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Report, reason_text, status_word};
use crate::graph::event::{Event, LogLevel, Progress, Question, Reason, RunStatus, StageStatus};

/// The most characters of a reason on a stage's line.
const REASON_CHARS: usize = 160;

/// Shows a run on standard error: moving lines where that is a terminal, else [`Plain`] ones.
#[must_use]
pub fn on_standard_error() -> Box<dyn Report> {
    if std::io::stderr().is_terminal() {
        Box::new(Moving::default())
    } else {
        Box::new(Plain::new(std::io::stderr()))
    }
}

/// One line when a stage begins and one when it ends.
pub struct Plain<W> {
    out: W,
    lines: Lines,
}

impl<W: Write + Send> Plain<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            lines: Lines::default(),
        }
    }

    fn line(&mut self, text: &str) {
        // A reader that went away must not stop the run.
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }
}

impl<W: Write + Send> Report for Plain<W> {
    fn event(&mut self, event: &Event) {
        if let Some(line) = self.lines.line_of(event) {
            self.line(&line);
        }
    }
}

/// A spinner or a bar a stage under way, and a line that stays when it ends.
#[derive(Default)]
struct Moving {
    screen: MultiProgress,
    bars: BTreeMap<Arc<str>, ProgressBar>,
    lines: Lines,
}

impl Moving {
    fn move_bar(&mut self, event: &Event) {
        match event {
            Event::StageStarted { stage, .. } => {
                let bar = self.screen.add(ProgressBar::new_spinner());
                bar.set_style(style("{spinner} {prefix}  {elapsed} {msg}"));
                bar.set_prefix(padded(stage, self.lines.width));
                bar.enable_steady_tick(Duration::from_millis(120));
                if let Some(old) = self.bars.insert(Arc::clone(stage), bar) {
                    old.finish_and_clear();
                }
            }
            Event::StageProgress { stage, progress } => {
                if let Some(bar) = self.bars.get(stage) {
                    show_progress(bar, progress);
                }
            }
            // What is only of use while it is new stands beside the spinner.
            Event::StageLog {
                stage,
                level: LogLevel::Info,
                line,
            } => {
                if let Some(bar) = self.bars.get(stage) {
                    bar.set_message(shortened(line));
                }
            }
            Event::StageFinished { stage, .. } => {
                if let Some(bar) = self.bars.remove(stage) {
                    bar.finish_and_clear();
                }
            }
            Event::RunStarted { .. }
            | Event::StageLog { .. }
            | Event::StageRetrying { .. }
            | Event::QuestionAsked { .. }
            | Event::ArtifactWritten { .. }
            | Event::EdgeDecided { .. }
            | Event::ConditionEvaluated { .. }
            | Event::EvidenceKept { .. }
            | Event::RunFinished { .. } => {}
        }
    }
}

fn show_progress(bar: &ProgressBar, progress: &Progress) {
    if let Some(total) = progress.total {
        bar.set_length(total);
        bar.set_style(style(
            "{spinner} {prefix}  {elapsed} [{bar:24}] {human_pos}/{human_len} {msg}",
        ));
    }
    bar.set_position(progress.done);
    bar.set_message(match progress.total {
        Some(_) => progress.unit.clone(),
        None => format!("{} {}", progress.done, progress.unit),
    });
}

impl Report for Moving {
    fn event(&mut self, event: &Event) {
        let line = self.lines.line_of(event);
        self.move_bar(event);
        if let Some(line) = line {
            // A terminal that went away must not stop the run.
            let _ = self.screen.println(line);
        }
    }
}

/// The lines that stay. What one line said, no later one says again.
#[derive(Default)]
struct Lines {
    width: usize,
    /// Stages that asked what blocks.
    asked: BTreeSet<String>,
    /// Errors that a stage's line showed.
    errors: Vec<String>,
}

impl Lines {
    /// The line of an event, for the events that leave one.
    fn line_of(&mut self, event: &Event) -> Option<String> {
        Some(match event {
            Event::RunStarted {
                run_id,
                graph,
                stages,
            } => {
                self.width = widest(stages);
                format!("run {run_id} of graph {graph}")
            }
            Event::StageRetrying {
                stage,
                attempt,
                error,
                delay_seconds,
                ..
            } => format!(
                "  {}  attempt {attempt} failed, again in {delay_seconds:.1} s: {}",
                padded(stage, self.width),
                shortened(error)
            ),
            Event::StageLog {
                stage,
                level: LogLevel::Warn | LogLevel::Error,
                line,
            } => format!("  {}  {}", padded(stage, self.width), shortened(line)),
            Event::QuestionAsked { question } => self.question(question),
            Event::StageFinished {
                stage,
                status,
                reason,
                seconds,
                ..
            } => return self.stage(stage, *status, reason, *seconds),
            Event::RunFinished {
                status,
                error,
                seconds,
            } => {
                let said = |error: &&str| {
                    *status != RunStatus::Cancelled
                        && !self.errors.iter().any(|shown| error.contains(shown))
                };
                run_line(*status, error.as_deref().filter(said), *seconds)
            }
            Event::StageStarted { .. }
            | Event::StageProgress { .. }
            | Event::StageLog { .. }
            | Event::ArtifactWritten { .. }
            | Event::EdgeDecided { .. }
            | Event::ConditionEvaluated { .. }
            | Event::EvidenceKept { .. } => return None,
        })
    }

    fn question(&mut self, question: &Question) -> String {
        let stage = padded(&question.stage, self.width);
        match &question.default {
            Some(default) if !question.blocking => {
                format!("  {stage}  assumes `{default}`: {}", question.text)
            }
            Some(_) | None => {
                self.asked.insert(question.stage.clone());
                let choices = question.choices.join(" or ");
                format!("  {stage}  asks ({choices}): {}", question.text)
            }
        }
    }

    fn stage(
        &mut self,
        stage: &str,
        status: StageStatus,
        reason: &Reason,
        seconds: f64,
    ) -> Option<String> {
        match reason {
            // The run's line says that it ended, and a stage's line why.
            Reason::RunEnded { .. } => return None,
            Reason::Error { error, .. } => self.errors.push(error.clone()),
            Reason::Parked { message } => {
                self.errors.push(message.clone());
                if self.asked.contains(stage) {
                    let stage = padded(stage, self.width);
                    return Some(format!("? {stage}  waiting for an answer"));
                }
            }
            Reason::Ran
            | Reason::ConditionFalse { .. }
            | Reason::Disabled { .. }
            | Reason::ErrorSkipped { .. }
            | Reason::NoEdgeTaken { .. }
            | Reason::Recorded
            | Reason::Reused { .. } => {}
        }
        Some(stage_line(
            &padded(stage, self.width),
            status,
            reason,
            seconds,
        ))
    }
}

fn stage_line(stage: &str, status: StageStatus, reason: &Reason, seconds: f64) -> String {
    // An error is what the reader came for: it is shown whole.
    let (mark, whole) = match status {
        StageStatus::Succeeded => ("✓", false),
        StageStatus::Failed | StageStatus::TimedOut => ("✗", true),
        StageStatus::Skipped | StageStatus::NotTaken | StageStatus::Cancelled => ("-", false),
        StageStatus::Waiting => ("?", false),
        StageStatus::Pending | StageStatus::Running => ("…", false),
    };
    let word = status_word(status);
    let time = if seconds >= 0.05 {
        format!(" in {seconds:.1} s")
    } else {
        String::new()
    };
    let reason = reason_text(reason);
    match (reason.is_empty(), whole) {
        (true, _) => format!("{mark} {stage}  {word}{time}"),
        (false, true) => format!("{mark} {stage}  {word}{time}: {reason}"),
        (false, false) => format!("{mark} {stage}  {word}{time}: {}", shortened(&reason)),
    }
}

fn run_line(status: RunStatus, error: Option<&str>, seconds: f64) -> String {
    let word = match status {
        RunStatus::Queued => "queued",
        RunStatus::Running => "running",
        RunStatus::Waiting => "waiting for an answer",
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
    };
    match error {
        Some(error) => format!("run {word} after {seconds:.1} s: {error}"),
        None => format!("run {word} after {seconds:.1} s"),
    }
}

fn widest(stages: &[Arc<str>]) -> usize {
    stages
        .iter()
        .map(|stage| stage.len())
        .max()
        .unwrap_or_default()
}

fn padded(stage: &str, width: usize) -> String {
    format!("{stage:width$}")
}

/// The first line, cut where it is long.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(REASON_CHARS).collect();
    if short.len() < line.trim_end().len() {
        short.push('…');
    }
    short
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
}
