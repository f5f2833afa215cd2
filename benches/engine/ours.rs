//! relvec's engine: a typed handler, events drawn, conditions and reasons on.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use relvec::graph::context::{Context, RunEnvironment, Secrets};
use relvec::graph::event::RunStatus;
use relvec::graph::handler::{HandlerError, HandlerType, NoParams, NodeHandler, ParamError};
use relvec::graph::output::{Kind, Output};
use relvec::graph::plan::Plan;
use relvec::graph::result::RunInput;
use relvec::graph::run::Run;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::shapes::Shape;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {
    verdict: String,
}

impl Output for Nothing {
    const KIND: Kind = Kind::new("nothing");
}

struct Noop;

impl NodeHandler for Noop {
    const NAME: &'static str = "noop";
    const SUMMARY: &'static str = "does nothing";
    const MAY_BLOCK: bool = false;
    type Params = NoParams;
    type Input = ();
    type Output = Nothing;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(&self, (): (), _: &Context) -> Result<Nothing, HandlerError> {
        Ok(Nothing {
            verdict: "validated".to_owned(),
        })
    }
}

/// A shape with the handlers that its file names.
pub struct Planner<'s> {
    text: &'s str,
    handlers: &'static [HandlerType],
}

impl<'s> Planner<'s> {
    /// Names a no-op handler for every stage, and one for stages whose table names it.
    pub fn new(shape: &'s Shape) -> Self {
        let ids = shape.ids.iter();
        // Handlers are part of a program: these live as long as it does.
        let names = ids.map(|id| -> &'static str { id.clone().leak() });
        let noop = HandlerType::of::<Noop>();
        let handlers: Vec<_> = names
            .chain([Noop::NAME])
            .map(|name| HandlerType { name, ..noop })
            .collect();
        Self {
            text: &shape.text,
            handlers: handlers.leak(),
        }
    }

    /// Takes handlers for such as may block their threads.
    pub fn guarded(mut self) -> Self {
        let handlers = self.handlers.iter();
        let guarded: Vec<_> = handlers
            .map(|&handler| HandlerType {
                may_block: true,
                ..handler
            })
            .collect();
        self.handlers = guarded.leak();
        self
    }

    /// Reads and proves the shape's file.
    pub fn plan(&self) -> Plan {
        match Plan::parse("bench.toml", self.text.as_bytes(), self.handlers) {
            Ok(plan) => plan,
            Err(found) => panic!("{}", found.render(false)),
        }
    }
}

/// Gives what a run starts with.
pub fn input() -> RunInput {
    RunInput {
        job: json!({"llm": {"enabled": false}, "require_review": false}),
        environment: RunEnvironment {
            run_id: Uuid::nil(),
            secrets: Secrets::default(),
            answers: BTreeMap::new(),
            artifacts: PathBuf::new(),
            cache: PathBuf::new(),
            allowed: relvec::allowed::Allowed::everything(),
            cancel: CancellationToken::new(),
        },
        recorded: Vec::new(),
        questions: Vec::new(),
        spent: Duration::ZERO,
    }
}

/// Runs a plan to its end and makes its result.
pub async fn execute(plan: Arc<Plan>, input: RunInput) {
    let mut run = Run::start(plan, input);
    while let Some(event) = run.next_event().await {
        black_box(&event);
    }
    let result = run.into_result();
    assert_eq!(result.status, RunStatus::Succeeded, "{:?}", result.error);
}
