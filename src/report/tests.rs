use std::sync::{Arc, Mutex};

use serde_json::json;
use uuid::Uuid;

use super::lines::JsonLines;
use super::terminal::Plain;
use super::*;
use crate::graph::event::{FailureClass, LogLevel, Progress, Question, RunStatus};
use crate::graph::output::Kind;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn finished(stage: &str, status: StageStatus, reason: Reason, seconds: f64) -> Event {
    Event::StageFinished {
        stage: stage.into(),
        status,
        reason,
        attempts: 1,
        seconds,
        kind: Some(Kind::new("raw_metadata")),
        output: Some(Arc::new(json!({"rows": ["a row of the user"]}))),
    }
}

fn edge() -> EdgeDecision {
    EdgeDecision {
        from: "executor".into(),
        to: "gate".into(),
        taken: false,
        outcome: StageStatus::Succeeded,
        because: EdgeReason::Condition {
            expression: "job.require_review".into(),
            values: [("job.require_review".to_owned(), json!(false))].into(),
        },
    }
}

fn events() -> Vec<Event> {
    let mut events = course();
    events.extend(failure());
    events
}

fn course() -> Vec<Event> {
    let skipped = Reason::ConditionFalse {
        expression: "job.llm.enabled".into(),
        values: [("job.llm.enabled".to_owned(), json!(false))].into(),
    };
    vec![
        Event::RunStarted {
            run_id: Uuid::nil(),
            graph: "default".to_owned(),
            stages: ["llm", "executor", "gate"].map(Arc::from).to_vec(),
        },
        Event::StageStarted {
            stage: "executor".into(),
            attempt: 1,
            waited_seconds: 0.0,
        },
        Event::StageProgress {
            stage: "executor".into(),
            progress: Progress {
                done: 5,
                total: Some(10),
                unit: "documents".to_owned(),
            },
        },
        Event::StageLog {
            stage: "executor".into(),
            level: LogLevel::Info,
            line: "quiet".to_owned(),
        },
        Event::StageLog {
            stage: "executor".into(),
            level: LogLevel::Warn,
            line: "loud".to_owned(),
        },
        Event::StageRetrying {
            stage: "executor".into(),
            attempt: 1,
            class: FailureClass::Transient,
            error: "gone\nmore".to_owned(),
            delay_seconds: 1.0,
        },
        finished("llm", StageStatus::Skipped, skipped, 0.0),
        finished("executor", StageStatus::Succeeded, Reason::Ran, 3.21),
        Event::EdgeDecided { decision: edge() },
        finished(
            "gate",
            StageStatus::NotTaken,
            Reason::NoEdgeTaken {
                edges: vec![edge()],
            },
            0.0,
        ),
        Event::QuestionAsked {
            question: Question {
                id: "q".to_owned(),
                stage: "gate".into(),
                text: "accept it?".to_owned(),
                choices: vec!["approve".to_owned(), "reject".to_owned()],
                default: None,
                expires_at: None,
                blocking: true,
            },
        },
    ]
}

fn failure() -> Vec<Event> {
    let error = Reason::Error {
        class: FailureClass::Permanent,
        error: "cannot connect\n  next: start it".to_owned(),
    };
    vec![
        finished("check", StageStatus::Failed, error, 0.0),
        finished(
            "late",
            StageStatus::Cancelled,
            Reason::RunEnded {
                cause: EndCause::StageFailed,
                stage: Some("check".into()),
            },
            0.0,
        ),
        Event::RunFinished {
            status: RunStatus::Failed,
            error: Some("stage `check` failed: cannot connect\n  next: start it".to_owned()),
            seconds: 4.0,
        },
    ]
}

#[test]
fn plain_lines_say_what_happened_and_why() {
    let paper = Paper::default();
    let mut plain = Plain::new(paper.clone());
    for event in events() {
        plain.event(&event);
    }
    let expected = "\
run 00000000-0000-0000-0000-000000000000 of graph default
  executor  loud
  executor  attempt 1 failed, again in 1.0 s: gone
- llm       skipped: `job.llm.enabled` is false
✓ executor  done in 3.2 s
- gate      not taken: after executor, `job.require_review` is false
  gate      asks (approve or reject): accept it?
✗ check     failed: cannot connect
  next: start it
run failed after 4.0 s
";
    assert_eq!(paper.text(), expected);
}

#[test]
fn json_lines_hold_every_event_and_no_row() {
    let paper = Paper::default();
    let mut lines = JsonLines::new(paper.clone());
    for event in events() {
        lines.event(&event);
    }
    let text = paper.text();
    assert!(!text.contains("a row"), "{text}");
    let read: Vec<Event> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read.len(), events().len());
}

#[test]
fn a_waiting_run_says_once_what_it_waits_for() {
    let paper = Paper::default();
    let mut plain = Plain::new(paper.clone());
    let question = |id: &str, default: Option<&str>| Event::QuestionAsked {
        question: Question {
            id: id.to_owned(),
            stage: "gate".into(),
            text: "nothing is proven; accept it?".to_owned(),
            choices: vec!["yes".to_owned(), "no".to_owned()],
            default: default.map(str::to_owned),
            expires_at: None,
            blocking: default.is_none(),
        },
    };
    let message = "nothing is proven".to_owned();
    let parked = Reason::Parked {
        message: message.clone(),
    };
    let finish = |error| Event::RunFinished {
        status: RunStatus::Waiting,
        error,
        seconds: 1.0,
    };
    for event in [
        question("guess", Some("yes")),
        question("accept", None),
        finished("gate", StageStatus::Waiting, parked, 0.0),
        finish(Some(message)),
        // Another cause than a stage's is shown.
        finish(Some("no stage said this".to_owned())),
    ] {
        plain.event(&event);
    }
    let expected = "  \
  gate  assumes `yes`: nothing is proven; accept it?
  gate  asks (yes or no): nothing is proven; accept it?
? gate  waiting for an answer
run waiting for an answer after 1.0 s
run waiting for an answer after 1.0 s: no stage said this
";
    assert_eq!(paper.text(), expected);
}

#[test]
fn a_long_condition_is_left_to_the_json() {
    let decision = |from: &str, expression: &str| EdgeDecision {
        from: from.into(),
        because: EdgeReason::Condition {
            expression: expression.into(),
            values: std::collections::BTreeMap::new(),
        },
        ..edge()
    };
    let long = "stages.executor.status != 'succeeded' || job.require_review";
    let text = |edges: Vec<EdgeDecision>| reason_text(&Reason::NoEdgeTaken { edges });
    assert_eq!(
        text(vec![decision("a", long)]),
        "after a, its condition is false"
    );
    assert_eq!(
        text(vec![decision("a", long), decision("b", "job.x")]),
        "the conditions after a and b are false"
    );
    let failed = EdgeDecision {
        outcome: StageStatus::Failed,
        because: EdgeReason::Outcome,
        ..edge()
    };
    assert_eq!(text(vec![failed]), "executor failed");
}
