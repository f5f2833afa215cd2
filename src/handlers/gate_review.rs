//! `gate_review`: parks the run until a person decides.
//!
//! A graph can have several gates. Each asks for itself: the answer to one is no answer to another.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::graph::context::Context;
use crate::graph::event::Question;
use crate::graph::file::parse_duration;
use crate::graph::handler::{HandlerError, NodeHandler, ParamError};
use crate::model::execution::ExecutionReport;
use crate::model::gate::GateDecision;
use crate::model::plan::MigrationPlan;
use crate::model::validation::{ValidationReport, Verdict};

/// The id of the question that the stage `gate_review` asks. A gate with another id asks a question with that id.
pub const ACCEPT: &str = "accept";
/// Who answers what nobody answered in time.
pub const TIME_OVER: &str = "response_timeout";

const APPROVE: &str = "approve";
const REJECT: &str = "reject";

/// What `with = {…}` holds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// What is asked, after a sentence that says what happened; whether to accept the run as it is, if absent.
    #[serde(default)]
    question: Option<String>,
    /// How long a person has to answer, such as `"24h"`; for ever if absent. A gateway watches the time; without one, what holds then holds when somebody looks.
    #[serde(default)]
    response_timeout: Option<String>,
    /// What holds when the time is over.
    #[serde(default)]
    on_timeout: OnTimeout,
}

/// What holds when nobody answered in time.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnTimeout {
    /// The run is rejected.
    #[default]
    Reject,
    /// The run is approved.
    Approve,
}

/// Asks a person whether the run counts as done, or may go on.
#[derive(Debug, Default)]
pub struct GateReview {
    question: Option<String>,
    /// How long a person has, and the choice that holds then.
    timeout: Option<(Duration, &'static str)>,
}

impl NodeHandler for GateReview {
    const NAME: &'static str = "gate_review";
    const SUMMARY: &'static str = "parks the run with its open questions until a person decides";
    const FOR_PEOPLE: bool = true;
    const MAY_BLOCK: bool = false;
    type Params = Params;
    type Input = (
        Option<MigrationPlan>,
        Option<ExecutionReport>,
        Option<ValidationReport>,
    );
    type Output = GateDecision;

    fn new(params: Params) -> Result<Self, ParamError> {
        let question = params.question;
        if question.as_ref().is_some_and(|text| text.trim().is_empty()) {
            return Err(ParamError {
                key: Some("question".to_owned()),
                message: "ask something, or leave it out".to_owned(),
            });
        }
        let read = |text: &str| {
            parse_duration(text).ok_or_else(|| ParamError {
                key: Some("response_timeout".to_owned()),
                message: format!("`{text}` is no duration: write it as `24h`"),
            })
        };
        let timeout = params.response_timeout.as_deref().map(read).transpose()?;
        let choice = match params.on_timeout {
            OnTimeout::Reject => REJECT,
            OnTimeout::Approve => APPROVE,
        };
        Ok(Self {
            question,
            timeout: timeout.map(|timeout| (timeout, choice)),
        })
    }

    async fn run(&self, input: Self::Input, ctx: &Context) -> Result<GateDecision, HandlerError> {
        let (plan, execution, validation) = input;
        let happened = what_happened(plan.as_ref(), execution.as_ref(), validation.as_ref());
        let question = self.question.as_deref();
        let question = question.unwrap_or("Accept the run as it is?");
        let id = match ctx.stage() {
            Self::NAME => ACCEPT,
            stage => stage,
        };
        ctx.ask(Question {
            id: id.to_owned(),
            stage: String::new(),
            text: format!("{happened}. {question}"),
            choices: vec![APPROVE.to_owned(), REJECT.to_owned()],
            default: self.timeout.map(|(_, choice)| choice.to_owned()),
            expires_at: self.timeout.and_then(|(timeout, _)| {
                let at = OffsetDateTime::now_utc().checked_add(timeout.try_into().ok()?)?;
                at.format(&Rfc3339).ok()
            }),
            blocking: true,
        });
        let Some(answer) = ctx.answer(id) else {
            return Err(HandlerError::parked(format!(
                "{happened}; answer `{id}` with `{APPROVE}` or `{REJECT}`"
            )));
        };
        match answer.choice.as_str() {
            APPROVE => Ok(GateDecision {
                approved: true,
                by: answer.by.clone(),
                at: answer.at.clone(),
            }),
            REJECT => Err(HandlerError::permanent(format!(
                "rejected by {}",
                answer.by
            ))),
            other => Err(HandlerError::parked(format!(
                "`{other}` is no answer to `{id}`; answer `{APPROVE}` or `{REJECT}`"
            ))),
        }
    }
}

/// Says in one sentence why a person is asked. What happened last says most.
fn what_happened(
    plan: Option<&MigrationPlan>,
    execution: Option<&ExecutionReport>,
    validation: Option<&ValidationReport>,
) -> String {
    if let Some(validation) = validation {
        let result = match validation.verdict {
            Verdict::Validated => "validated",
            Verdict::Mismatched => "mismatched",
            Verdict::Unverified => "unverified",
        };
        return format!("The result is {result}: {}", trimmed(&validation.reason));
    }
    if let Some(execution) = execution {
        return match (execution.exit_code, execution.error_lines.last()) {
            (Some(0) | None, _) if execution.simulated => {
                "The execution was simulated: nothing was written".to_owned()
            }
            (Some(0), _) => {
                "The script ran and nothing was validated: a review comes first".to_owned()
            }
            (Some(3), _) => "The script ran, and left rows in quarantine".to_owned(),
            (_, Some(line)) => format!("The executor failed: {}", trimmed(line)),
            (Some(code), None) => format!("The executor failed: exit code {code}"),
            (None, None) => "The executor failed before the script ended".to_owned(),
        };
    }
    match plan {
        Some(plan) => {
            let entities = match plan.entities.len() {
                1 => "1 entity".to_owned(),
                more => format!("{more} entities"),
            };
            format!("The plan has {entities}, and no execution came to its end: nothing is proven")
        }
        None => "Nothing was planned or executed".to_owned(),
    }
}

/// The sentence gets its own full stop.
fn trimmed(text: &str) -> &str {
    text.trim().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    use tokio::sync::mpsc::unbounded_channel;
    use tokio_util::sync::CancellationToken;
    use uuid::Uuid;

    use super::*;
    use crate::graph::context::{Answer, RunEnvironment, Secrets};
    use crate::graph::handler::FailureKind;
    use crate::model::execution::ExecutionReport;
    use crate::model::job::ExecutionMode;

    fn context(choice: Option<&str>) -> Context {
        context_of("gate_review", choice)
    }

    /// The context of a stage in a run that has an answer to `accept`.
    fn context_of(stage: &str, choice: Option<&str>) -> Context {
        let answer = choice.map(|choice| Answer {
            choice: choice.to_owned(),
            by: "ada".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
        });
        let run = RunEnvironment {
            run_id: Uuid::nil(),
            secrets: Secrets::default(),
            answers: answer
                .map(|answer| (ACCEPT.to_owned(), answer))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            artifacts: PathBuf::from("not-used"),
            cache: PathBuf::from("not-used"),
            allowed: crate::allowed::Allowed::everything(),
            cancel: CancellationToken::new(),
        };
        // Nobody reads what the gate says here.
        let (events, _) = unbounded_channel();
        let questions = Arc::new(Mutex::new(Vec::new()));
        let cancel = CancellationToken::new();
        Context::new(
            stage.into(),
            1,
            None,
            cancel,
            Arc::new(run),
            questions,
            events,
        )
    }

    fn unverified() -> ValidationReport {
        ValidationReport {
            verdict: Verdict::Unverified,
            reason: "the execution was simulated.".to_owned(),
            loss_percentage: None,
            source_read_at: None,
            checks: Vec::new(),
            entities: Vec::new(),
            vectors: None,
        }
    }

    #[tokio::test]
    async fn parks_and_asks_until_there_is_an_answer() {
        let ctx = context(None);
        let input = (None, None, Some(unverified()));
        let error = GateReview::default()
            .run(input, &ctx)
            .await
            .expect_err("no answer");
        assert_eq!(error.kind, FailureKind::Parked);
        let question = &ctx.questions()[0];
        assert_eq!((question.id.as_str(), question.blocking), (ACCEPT, true));
        assert_eq!(
            question.text,
            "The result is unverified: the execution was simulated. Accept the run as it is?"
        );
    }

    #[tokio::test]
    async fn approves_rejects_and_goes_on_waiting() {
        let approved = GateReview::default()
            .run((None, None, None), &context(Some(APPROVE)))
            .await;
        assert_eq!(approved.expect("a decision").by, "ada");
        let rejected = GateReview::default()
            .run((None, None, None), &context(Some(REJECT)))
            .await;
        let rejected = rejected.expect_err("a rejection");
        assert_eq!(
            (rejected.kind, rejected.message.as_str()),
            (FailureKind::Permanent, "rejected by ada")
        );
        let other = GateReview::default()
            .run((None, None, None), &context(Some("perhaps")))
            .await;
        assert_eq!(other.expect_err("no choice").kind, FailureKind::Parked);
    }

    #[tokio::test]
    async fn another_gate_asks_its_own_question() {
        let gate = GateReview::new(Params {
            question: Some("Execute it?".to_owned()),
            ..Params::default()
        });
        let gate = gate.expect("a gate");
        let ctx = context_of("plan_review", Some(APPROVE));
        let error = gate.run((None, None, None), &ctx).await;
        let error = error.expect_err("that answer is another gate's");
        assert_eq!(error.kind, FailureKind::Parked);
        let asked = &ctx.questions()[0];
        assert_eq!(asked.id, "plan_review");
        assert!(asked.text.ends_with(". Execute it?"), "{}", asked.text);
    }

    #[tokio::test]
    async fn a_gate_that_does_not_wait_for_ever_says_until_when_and_what_holds_then() {
        for (on_timeout, choice) in [(OnTimeout::Reject, REJECT), (OnTimeout::Approve, APPROVE)] {
            let gate = GateReview::new(Params {
                response_timeout: Some("24h".to_owned()),
                on_timeout,
                ..Params::default()
            });
            let ctx = context(None);
            let asked = gate.expect("a gate").run((None, None, None), &ctx).await;
            assert_eq!(asked.expect_err("no answer").kind, FailureKind::Parked);
            let question = &ctx.questions()[0];
            assert_eq!(question.default.as_deref(), Some(choice));
            let until = question.expires_at.as_deref().expect("an end");
            assert!(OffsetDateTime::parse(until, &Rfc3339).is_ok(), "{until}");
        }
        let wrong = GateReview::new(Params {
            response_timeout: Some("soon".to_owned()),
            ..Params::default()
        });
        assert_eq!(
            wrong.expect_err("no duration").key.as_deref(),
            Some("response_timeout")
        );
    }

    #[test]
    fn says_what_the_executor_did() {
        let report = |exit_code, simulated, line: Option<&str>| ExecutionReport {
            mode: ExecutionMode::Process,
            simulated,
            exit_code,
            migration: None,
            error_lines: line.map(str::to_owned).into_iter().collect(),
            seconds: 1.0,
        };
        for (report, says) in [
            (
                report(Some(1), false, Some("no such table: orders")),
                "The executor failed: no such table: orders",
            ),
            (
                report(Some(4), false, None),
                "The executor failed: exit code 4",
            ),
            (
                report(Some(3), false, None),
                "The script ran, and left rows in quarantine",
            ),
            (
                report(None, true, None),
                "The execution was simulated: nothing was written",
            ),
        ] {
            assert_eq!(what_happened(None, Some(&report), None), says);
        }
    }
}
