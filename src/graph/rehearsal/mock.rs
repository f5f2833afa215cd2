//! A handler that does what a test says.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::graph::cases::{Asked, Case, Mock, MockOutcome};
use crate::graph::context::Context;
use crate::graph::event::Question;
use crate::graph::handler::{ErasedHandler, HandlerError, HandlerFuture, Interface};
use crate::graph::output::Outputs;
use crate::graph::plan::Stage;

/// Gives what performs a stage in a test.
pub(super) fn of(stage: &Stage, case: &Case) -> Arc<dyn ErasedHandler> {
    let mut mocks = case.stages.iter();
    let mock = mocks.find(|mock| mock.id.get_ref().as_str() == stage.id.as_ref());
    Arc::new(Mocked {
        interface: stage.interface(),
        outcome: mock.map_or(MockOutcome::Succeeded, |mock| mock.outcome),
        output: mock.and_then(output),
        asks: mock.map(|mock| mock.asks.clone()).unwrap_or_default(),
    })
}

fn output(mock: &Mock) -> Option<Value> {
    let output = mock.output.as_ref()?;
    Some(Value::Object(output.values.clone()))
}

struct Mocked {
    interface: Interface,
    outcome: MockOutcome,
    output: Option<Value>,
    asks: Vec<Asked>,
}

impl Mocked {
    fn perform(&self, ctx: &Context) -> Result<Value, HandlerError> {
        for asked in &self.asks {
            ctx.ask(Question {
                id: asked.id.clone(),
                stage: String::new(),
                text: "asked by a test".to_owned(),
                choices: Vec::new(),
                default: None,
                expires_at: None,
                blocking: asked.blocking,
            });
        }
        let mut error = match self.outcome {
            MockOutcome::Succeeded => {
                return Ok(self.output.clone().unwrap_or_else(|| json!({})));
            }
            MockOutcome::Failed => HandlerError::permanent("the test lets it fail"),
            MockOutcome::TimedOut => HandlerError::timed_out("the test lets it time out"),
            MockOutcome::Waiting => HandlerError::parked("the test lets it wait"),
        };
        error.evidence.clone_from(&self.output);
        Err(error)
    }
}

impl ErasedHandler for Mocked {
    fn interface(&self) -> Interface {
        self.interface.clone()
    }

    fn run<'a>(&'a self, _: &'a Outputs, ctx: &'a Context) -> HandlerFuture<'a> {
        Box::pin(std::future::ready(self.perform(ctx)))
    }
}
