//! A run in words, for people.

use std::fmt::Write as _;
use std::path::Path;

use super::word;
use crate::graph::event::{Question, Reason, RunStatus};
use crate::model::execution::MigrationReport;
use crate::model::run::{RunDocument, StageDocument};
use crate::model::validation::{EntityValidation, ValidationReport};
use crate::report::{reason_text, status_word};

/// Describes a run that this process watched: what its progress did not show yet.
#[must_use]
pub fn ended(document: &RunDocument, artifacts: &Path) -> String {
    let mut text = result(document, artifacts);
    for question in open_questions(document) {
        let _ = writeln!(text, "answer question `{}`:", question.id);
        text.push_str(&answers(document, question));
    }
    let _ = writeln!(text, "status: {}", word(document.status));
    if document.status == RunStatus::Failed {
        let _ = writeln!(
            text,
            "the whole of it: relvec runs show {}",
            document.run_id
        );
    }
    text
}

/// Describes a run: its stages, its verdict, its questions, and where its files are.
#[must_use]
pub fn run(document: &RunDocument, artifacts: &Path) -> String {
    let mut text = format!("run {} of graph {}\n", document.run_id, document.graph);
    if let Some(before) = document.retry_of {
        let _ = writeln!(text, "a retry of run {before}");
    }
    let error = document.error.as_deref().unwrap_or_default();
    for stage in &document.stages {
        text.push_str(&stage_lines(stage, error));
    }
    text.push_str(&result(document, artifacts));
    for question in &document.open_questions {
        let _ = writeln!(text, "question `{}`: {}", question.id, question.text);
        match &question.default {
            Some(default) if !question.blocking => {
                let _ = writeln!(text, "  assumed: {default}");
            }
            Some(_) | None => text.push_str(&answers(document, question)),
        }
    }
    let _ = writeln!(text, "status: {}", word(document.status));
    // What a waiting run waits for, its question says.
    if let Some(error) = &document.error
        && document.status != RunStatus::Waiting
    {
        let _ = writeln!(text, "error: {error}");
    }
    text
}

fn result(document: &RunDocument, artifacts: &Path) -> String {
    let mut text = String::new();
    if let Some(report) = &document.execution_report
        && report.simulated
        && let Some(migration) = &report.migration
    {
        text.push_str(&simulation(migration));
    }
    match (&document.validation_report, &document.execution_report) {
        (Some(report), _) => text.push_str(&verdict(report)),
        (None, Some(report)) if !report.simulated => {
            text.push_str("verdict: none, no stage compared source and target\n");
        }
        (None, _) => {}
    }
    if !document.generated_artifacts.is_empty() {
        let names: Vec<&str> = document
            .generated_artifacts
            .iter()
            .map(|artifact| artifact.name.as_str())
            .collect();
        let _ = writeln!(
            text,
            "artifacts in {}\n  {}",
            artifacts.display(),
            names.join(", ")
        );
    }
    text
}

/// The questions that keep a run waiting.
fn open_questions(document: &RunDocument) -> impl Iterator<Item = &Question> {
    document
        .open_questions
        .iter()
        .filter(|question| question.blocking && document.status == RunStatus::Waiting)
}

/// The command for each choice, while the run waits for one.
fn answers(document: &RunDocument, question: &Question) -> String {
    let mut text = String::new();
    if document.status == RunStatus::Waiting {
        for choice in &question.choices {
            let _ = writeln!(
                text,
                "  next: relvec runs answer {} {} {choice}",
                document.run_id, question.id
            );
        }
    }
    text
}

/// A stage on its line. An error is shown whole, but not where the run's own error says it again.
fn stage_lines(stage: &StageDocument, error: &str) -> String {
    let seconds = stage
        .seconds
        .filter(|_| stage.attempts > 0)
        .map_or_else(String::new, |seconds| format!("{seconds:.1} s"));
    let reason = stage.reason.as_ref().map(reason_text).unwrap_or_default();
    let shown = match &stage.reason {
        Some(Reason::Parked { .. }) => "",
        Some(Reason::Error { .. }) if error.contains(&reason) => "",
        _ => reason.as_str(),
    };
    let line = format!(
        "  {:<18} {:<10} {seconds:>8}  {} {shown}",
        stage.id,
        status_word(stage.status),
        stage.reason.as_ref().map(code).unwrap_or_default()
    );
    format!("{}\n", line.trim_end().replace('\n', "\n    "))
}

/// Gives a reason's code, with what sort of failure it was, in brackets; nothing for a stage that just ran.
fn code(reason: &Reason) -> String {
    match reason {
        Reason::Ran => String::new(),
        Reason::Error { class, .. } | Reason::ErrorSkipped { class, .. } => {
            format!("[{}: {}]", reason.code(), word(class))
        }
        Reason::ConditionFalse { .. }
        | Reason::Disabled { .. }
        | Reason::NoEdgeTaken { .. }
        | Reason::Parked { .. }
        | Reason::RunEnded { .. }
        | Reason::Recorded
        | Reason::Reused { .. } => format!("[{}]", reason.code()),
    }
}

/// Describes what a migration would do, with a line an entity.
fn simulation(migration: &MigrationReport) -> String {
    let mut text = format!(
        "simulated: about {} tokens in {} requests\n",
        migration.tokens, migration.requests
    );
    for entity in &migration.entities {
        let _ = writeln!(
            text,
            "  {:<24} {:>8} rows = {} documents in {} chunks + {} without text",
            entity.entity, entity.source_rows, entity.documents, entity.chunks, entity.empty
        );
    }
    text
}

/// Describes a verdict, with a line an entity.
#[must_use]
pub fn verdict(report: &ValidationReport) -> String {
    let loss = report
        .loss_percentage
        .map_or_else(|| "unknown".to_owned(), |loss| format!("{loss} %"));
    let mut text = format!(
        "verdict: {}, loss {loss} ({})\n",
        word(report.verdict),
        report.reason
    );
    for entity in &report.entities {
        let _ = writeln!(text, "  {:<24} {}", entity.entity, counts(entity));
        for difference in &entity.differences {
            let _ = writeln!(text, "    {difference}");
        }
    }
    text
}

/// Counts that are 0 are left out, but for the two that say that nothing is missing.
fn counts(entity: &EntityValidation) -> String {
    let mut text = format!(
        "{:>8} rows = {} documents",
        entity.source_rows, entity.documents
    );
    for (count, what) in [
        (entity.empty, "without text"),
        (entity.quarantined, "quarantined"),
    ] {
        if count > 0 {
            let _ = write!(text, " + {count} {what}");
        }
    }
    let _ = write!(text, ", {} missing", entity.missing);
    for (count, what) in [(entity.extra, "extra"), (entity.changed, "changed")] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::graph::event::{FailureClass, StageStatus};

    fn waiting() -> RunDocument {
        let stage = |id: &str, status, reason, attempts| StageDocument {
            id: id.to_owned(),
            status,
            reason: Some(reason),
            attempts,
            seconds: Some(0.0),
        };
        let failed = Reason::Error {
            class: FailureClass::Permanent,
            error: "no pgvector\n  next: install it".to_owned(),
        };
        let parked = Reason::Parked {
            message: "nothing is proven".to_owned(),
        };
        RunDocument {
            run_id: Uuid::nil(),
            retry_of: None,
            graph: "default".to_owned(),
            status: RunStatus::Waiting,
            error: Some("nothing is proven".to_owned()),
            created_at: String::new(),
            started_at: None,
            finished_at: None,
            stages: vec![
                stage("analyzer", StageStatus::Succeeded, Reason::Ran, 1),
                stage("executor", StageStatus::Failed, failed, 1),
                stage("gate_review", StageStatus::Waiting, parked, 1),
            ],
            open_questions: vec![Question {
                id: "accept".to_owned(),
                stage: "gate_review".to_owned(),
                text: "Nothing is proven. Accept the run as it is?".to_owned(),
                choices: vec!["approve".to_owned(), "reject".to_owned()],
                default: None,
                expires_at: None,
                blocking: true,
            }],
            generated_artifacts: Vec::new(),
            execution_report: None,
            validation_report: None,
        }
    }

    #[test]
    fn a_waiting_run_says_why_and_what_to_do_next() {
        let id = Uuid::nil();
        let expected = format!(
            "\
run {id} of graph default
  analyzer           done          0.0 s
  executor           failed        0.0 s  [error: permanent] no pgvector
      next: install it
  gate_review        waiting       0.0 s  [parked]
question `accept`: Nothing is proven. Accept the run as it is?
  next: relvec runs answer {id} accept approve
  next: relvec runs answer {id} accept reject
status: waiting
"
        );
        assert_eq!(run(&waiting(), Path::new("x")), expected);
    }

    #[test]
    fn what_progress_showed_is_not_said_again() {
        let mut document = waiting();
        let id = Uuid::nil();
        assert_eq!(
            ended(&document, Path::new("x")),
            format!(
                "answer question `accept`:\n  next: relvec runs answer {id} accept approve\n  \
                 next: relvec runs answer {id} accept reject\nstatus: waiting\n"
            )
        );
        document.status = RunStatus::Failed;
        document.error =
            Some("stage `executor` failed: no pgvector\n  next: install it".to_owned());
        let shown = run(&document, Path::new("x"));
        assert_eq!(shown.matches("no pgvector").count(), 1, "{shown}");
        assert!(!ended(&document, Path::new("x")).contains("no pgvector"));
    }
}
