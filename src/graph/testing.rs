//! Small handlers, and graphs run to their end, for the engine's own tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::context::{Answer, Context, RunEnvironment, Secrets};
use super::event::{Event, Question, RunStatus, StageStatus};
use super::handler::{
    DeclaredHandler, HandlerError, HandlerType, Interface, NoParams, NodeHandler, OutputSchema,
    ParamError,
};
use super::output::{Kind, Output, Outputs, Read};
use super::plan::Plan;
use super::result::{RecordedStage, RunInput, RunResult};
use super::run::Run;

pub(super) static HANDLERS: &[HandlerType] = &[
    HandlerType::of::<Step>(),
    HandlerType::of::<Effect>(),
    HandlerType::of::<MakeAlpha>(),
    HandlerType::of::<UseAlpha>(),
    HandlerType::of::<MaybeAlpha>(),
    HandlerType::declared::<Declare>(),
];

/// What a [`Step`] does.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Does {
    #[default]
    Succeed,
    Fail,
    FailWithEvidence,
    /// Fails, and may succeed with another attempt.
    Flake,
    /// As [`Does::Flake`], and asks to wait an hour first.
    Busy,
    Panic,
    Park,
    /// Waits until it is told to stop, and then fails.
    Obey,
    /// Reports progress, a log line, a question and an artifact.
    Talk,
    /// Holds its thread as long as the artifact folder is there, or for so long that a test fails.
    Block,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StepParams {
    does: Does,
    /// The attempt from which on it succeeds.
    from_attempt: u32,
    after_ms: u64,
    value: i64,
}

impl Default for StepParams {
    fn default() -> Self {
        Self {
            does: Does::Succeed,
            from_attempt: u32::MAX,
            after_ms: 0,
            value: 0,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Stepped {
    pub value: i64,
}

impl Output for Stepped {
    const KIND: Kind = Kind::new("stepped");
}

#[derive(Debug)]
pub(super) struct Step(StepParams);

impl NodeHandler for Step {
    const NAME: &'static str = "step";
    const SUMMARY: &'static str = "does what its parameters say";
    type Params = StepParams;
    type Input = ();
    type Output = Stepped;

    fn new(params: StepParams) -> Result<Self, ParamError> {
        if params.value < 0 {
            return Err(ParamError {
                key: Some("value".to_owned()),
                message: "it has to be 0 or more".to_owned(),
            });
        }
        Ok(Self(params))
    }

    async fn run(&self, (): (), ctx: &Context) -> Result<Stepped, HandlerError> {
        let StepParams { value, .. } = self.0;
        if self.0.after_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.0.after_ms)).await;
        }
        if ctx.attempt() >= self.0.from_attempt {
            return Ok(Stepped { value });
        }
        match self.0.does {
            Does::Succeed => Ok(Stepped { value }),
            Does::Fail => Err(HandlerError::permanent("it broke")),
            Does::FailWithEvidence => {
                Err(HandlerError::permanent("it broke").with_evidence(&Stepped { value }))
            }
            Does::Flake => Err(HandlerError::transient("it flaked")),
            Does::Busy => {
                let mut error = HandlerError::transient("it was busy");
                error.retry_after = Some(Duration::from_hours(1));
                Err(error)
            }
            Does::Panic => panic!("it panicked"),
            Does::Park if ctx.answer("go").is_some() => Ok(Stepped { value }),
            Does::Park => {
                ctx.ask(question("go"));
                Err(HandlerError::parked("it waits for `go`"))
            }
            Does::Obey => {
                ctx.cancellation().cancelled().await;
                let error = HandlerError::permanent("it was told to stop");
                Err(error.with_evidence(&Stepped { value }))
            }
            Does::Block => {
                let start = std::time::Instant::now();
                while ctx.artifacts().exists() && start.elapsed().as_secs() < 30 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(Stepped { value })
            }
            Does::Talk => {
                ctx.progress(1, Some(2), "steps");
                ctx.log(super::event::LogLevel::Info, "a line");
                ctx.ask(question("talk"));
                ctx.write_artifact("talk.txt", b"text")?;
                Ok(Stepped { value })
            }
        }
    }
}

fn question(id: &str) -> Question {
    Question {
        id: id.to_owned(),
        stage: String::new(),
        text: "go on?".to_owned(),
        choices: vec!["yes".to_owned()],
        default: None,
        expires_at: None,
        blocking: true,
    }
}

macro_rules! handler {
    ($type:ident, $name:literal, $effects:literal, $input:ty, $output:ty, $run:expr) => {
        #[derive(Debug)]
        pub(super) struct $type;

        impl NodeHandler for $type {
            const NAME: &'static str = $name;
            const SUMMARY: &'static str = "for tests";
            const SIDE_EFFECTS: bool = $effects;
            type Params = NoParams;
            type Input = $input;
            type Output = $output;

            fn new(_: NoParams) -> Result<Self, ParamError> {
                Ok(Self)
            }

            async fn run(&self, input: $input, _: &Context) -> Result<$output, HandlerError> {
                let run: fn($input) -> Result<$output, HandlerError> = $run;
                run(input)
            }
        }
    };
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Alpha {
    pub value: i64,
}

impl Output for Alpha {
    const KIND: Kind = Kind::new("alpha");
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Used {
    pub alpha: Option<i64>,
}

impl Output for Used {
    const KIND: Kind = Kind::new("used");
}

handler!(MakeAlpha, "make_alpha", false, (), Alpha, |()| Ok(Alpha {
    value: 7
}));
handler!(UseAlpha, "use_alpha", false, Alpha, Used, |alpha| Ok(
    Used {
        alpha: Some(alpha.value)
    }
));
handler!(
    MaybeAlpha,
    "maybe_alpha",
    false,
    Option<Alpha>,
    Used,
    |alpha| Ok(Used {
        alpha: alpha.map(|alpha| alpha.value)
    })
);
handler!(Effect, "effect", true, (), Stepped, |()| Err(
    HandlerError::transient("it flaked")
));

/// Writes an empty table, of a kind that the graph file declares.
#[derive(Debug)]
pub(super) struct Declare(DeclareParams);

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeclareParams {
    kind: String,
    schema: Option<Value>,
    #[serde(default)]
    reads: Vec<Declared>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Declared {
    kind: String,
    #[serde(default)]
    optional: bool,
}

impl DeclaredHandler for Declare {
    const NAME: &'static str = "declare";
    const SUMMARY: &'static str = "for tests";
    const SIDE_EFFECTS: bool = false;
    type Params = DeclareParams;

    fn new(params: DeclareParams) -> Result<Self, ParamError> {
        Ok(Self(params))
    }

    fn interface(&self) -> Interface {
        let reads = self.0.reads.iter().map(|read| Read {
            kind: Kind::named(read.kind.as_str()),
            required: !read.optional,
        });
        Interface {
            reads: reads.collect(),
            writes: Kind::named(self.0.kind.as_str()),
            schema: OutputSchema::Declared(Arc::new(self.0.schema.clone().unwrap_or(json!(true)))),
        }
    }

    async fn run(&self, _: &Outputs, _: &Context) -> Result<Value, HandlerError> {
        Ok(json!({}))
    }
}

/// Builds a graph whose stages are [`Step`]s unless they say otherwise.
pub(super) fn plan(text: &str) -> Arc<Plan> {
    match Plan::parse("test.toml", text.as_bytes(), HANDLERS) {
        Ok(plan) => Arc::new(plan),
        Err(found) => panic!("{}", found.render(false)),
    }
}

/// Gives the codes of a graph's errors, in the order of the file.
pub(super) fn codes(text: &str) -> Vec<&'static str> {
    match Plan::parse("test.toml", text.as_bytes(), HANDLERS) {
        Ok(_) => Vec::new(),
        Err(found) => found
            .list()
            .iter()
            .filter(|found| found.severity == super::diagnostic::Severity::Error)
            .map(|found| found.code)
            .collect(),
    }
}

/// Gives the codes of the warnings of a graph without errors, in the order of the file.
pub(super) fn warnings(text: &str) -> Vec<&'static str> {
    let plan = plan(text);
    plan.warnings()
        .list()
        .iter()
        .map(|found| found.code)
        .collect()
}

pub(super) fn environment() -> RunEnvironment {
    RunEnvironment {
        run_id: Uuid::nil(),
        secrets: Secrets::default(),
        answers: BTreeMap::new(),
        artifacts: std::path::PathBuf::from("not-used"),
        cache: std::path::PathBuf::from("not-used"),
        allowed: crate::allowed::Allowed::everything(),
        cancel: CancellationToken::new(),
    }
}

pub(super) fn input(job: Value) -> RunInput {
    RunInput {
        job,
        environment: environment(),
        recorded: Vec::new(),
        questions: Vec::new(),
        spent: Duration::ZERO,
    }
}

pub(super) fn answer() -> Answer {
    Answer {
        choice: "yes".to_owned(),
        by: "ada".to_owned(),
        at: "2026-01-01T00:00:00Z".to_owned(),
    }
}

/// What a run said, and what became of it.
pub(super) struct Ran {
    pub events: Vec<Event>,
    pub result: RunResult,
}

impl Ran {
    pub(super) fn status(&self, stage: &str) -> StageStatus {
        let mut stages = self.result.stages.iter();
        stages
            .find(|s| s.id == stage)
            .expect("a stage of the graph")
            .status
    }

    pub(super) fn reason(&self, stage: &str) -> Value {
        let mut stages = self.result.stages.iter();
        let stage = stages
            .find(|s| s.id == stage)
            .expect("a stage of the graph");
        json!(stage.reason)
    }

    /// Gives the run's status and those of its stages, as `succeeded: a succeeded, b skipped`.
    pub(super) fn summary(&self) -> String {
        let stages: Vec<_> = self
            .result
            .stages
            .iter()
            .map(|stage| format!("{} {}", stage.id, stage.status.name()))
            .collect();
        format!(
            "{}: {}",
            json!(self.result.status).as_str().unwrap_or("?"),
            stages.join(", ")
        )
    }

    /// Gives the names of the events with their stage or edge, in order.
    pub(super) fn told(&self) -> Vec<String> {
        self.events
            .iter()
            .map(|event| match event {
                Event::RunStarted { .. } => "run started".to_owned(),
                Event::StageStarted { stage, attempt, .. } => format!("{stage} started {attempt}"),
                Event::StageProgress { stage, .. } => format!("{stage} progress"),
                Event::StageLog { stage, .. } => format!("{stage} log"),
                Event::StageRetrying { stage, attempt, .. } => {
                    format!("{stage} retrying {attempt}")
                }
                Event::QuestionAsked { question } => format!("{} asked", question.stage),
                Event::ArtifactWritten { stage, artifact } => {
                    format!("{stage} wrote {}", artifact.name)
                }
                Event::EdgeDecided { decision } => {
                    format!("{}->{} {}", decision.from, decision.to, decision.taken)
                }
                Event::ConditionEvaluated { stage, holds, .. } => match holds {
                    Some(holds) => format!("{stage} when {holds}"),
                    None => format!("{stage} when failed"),
                },
                Event::EvidenceKept { stage, .. } => format!("{stage} kept evidence"),
                Event::StageFinished { stage, status, .. } => format!("{stage} {}", status.name()),
                Event::RunFinished { .. } => "run finished".to_owned(),
            })
            .collect()
    }

    /// Gives what a store would have recorded.
    pub(super) fn recorded(&self) -> Vec<RecordedStage> {
        let mut recorded = Vec::new();
        for event in &self.events {
            if let Event::StageFinished {
                stage,
                status,
                reason,
                attempts,
                seconds,
                output,
                ..
            } = event
            {
                recorded.push(RecordedStage {
                    id: stage.to_string(),
                    status: *status,
                    reason: Some(reason.clone()),
                    attempts: *attempts,
                    seconds: *seconds,
                    output: output.clone(),
                    decisions: Vec::new(),
                    artifacts: Vec::new(),
                    reused: false,
                });
            }
        }
        for event in &self.events {
            if let Event::EdgeDecided { decision } = event {
                for stage in &mut recorded {
                    if stage.id == *decision.from {
                        stage.decisions.push(decision.clone());
                    }
                }
            }
        }
        recorded
    }
}

pub(super) async fn finish(mut run: Run) -> Ran {
    let mut events = Vec::new();
    while let Some(event) = run.next_event().await {
        events.push(event);
    }
    let result = run.into_result();
    assert!(
        matches!(events.first(), Some(Event::RunStarted { .. })),
        "the first event is RunStarted"
    );
    assert!(
        matches!(events.last(), Some(Event::RunFinished { status, .. }) if *status == result.status),
        "the last event is RunFinished"
    );
    assert_ne!(result.status, RunStatus::Running);
    Ran { events, result }
}

pub(super) async fn run(text: &str, job: Value) -> Ran {
    finish(Run::start(plan(text), input(job))).await
}
