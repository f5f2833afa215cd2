//! Runs the tests of a graph file: the plan that runs, in the engine that runs it, with a mock in each handler's place.
//!
//! There is one engine: a mocked run and a real one whose stages end the same way take the same edges. Nothing is read or written, and
//! no attempt is made twice.

mod check;
mod coverage;
mod mock;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cases::{Case, EdgeName, Expectation};
use super::context::{RunEnvironment, Secrets};
use super::diagnostic::Diagnostics;
use super::event::{EdgeDecision, EdgeReason, Event, Reason, RunStatus};
use super::file::GraphFile;
use super::handler::Catalog;
use super::plan::{Plan, Selection};
use super::result::{RunInput, RunResult};
use super::run::Run;

pub(super) use self::check::check;
pub use self::coverage::{Coverage, Distinction, Gap};

/// What the tests of a file gave.
#[derive(Debug, Serialize)]
pub struct Rehearsal {
    /// Each test, in the order of the file.
    pub tests: Vec<Verdict>,
    /// What they cover together.
    pub coverage: Coverage,
}

/// What a test gave.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// Its name.
    pub name: String,
    /// Where it did not go as expected; empty if it passed.
    pub mismatches: Vec<Mismatch>,
}

/// Where a test did not go as expected.
#[derive(Debug, Serialize)]
pub struct Mismatch {
    /// What was looked at: `the run`, `stage a`, `edge a -> b`.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub came: String,
    /// Why.
    pub why: Option<Why>,
}

/// Why something came as it did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A stage's reason.
    Stage(Reason),
    /// Decisions about edges, with the values that conditions read: the edges that led to a stage or did not, and where an `else` was
    /// not taken, what was taken before it.
    Edges(Vec<EdgeDecision>),
    /// The run's error, or a defect of the plan.
    Error(String),
}

/// Runs the tests of a graph file.
///
/// # Errors
/// The graph or a test has defects: all of them.
pub async fn rehearse(
    file: &GraphFile,
    catalog: impl Into<Catalog>,
) -> Result<Rehearsal, Diagnostics> {
    let catalog = catalog.into();
    let plan = Plan::build(file, catalog)?;
    let mut coverage = coverage::Covered::of(&plan);
    // The tests are checked by now; the plan of each of them need not check them all again.
    let graph = GraphFile {
        tests: Vec::new(),
        ..file.clone()
    };
    let mut tests = Vec::with_capacity(file.tests.len());
    for case in &file.tests {
        let mismatches = match plan_of(case, &graph, catalog) {
            Ok(plan) => {
                let ran = run(plan, case).await;
                for event in &ran.events {
                    coverage.observe(event);
                }
                ran.mismatches(&case.expect)
            }
            Err(found) => vec![unplanned(&found)],
        };
        tests.push(Verdict {
            name: case.name.get_ref().clone(),
            mismatches,
        });
    }
    Ok(Rehearsal {
        tests,
        coverage: coverage.finish(),
    })
}

/// Plans what a test runs. What the test leaves out may be needed: then there is no plan.
fn plan_of(case: &Case, graph: &GraphFile, catalog: Catalog) -> Result<Plan, Diagnostics> {
    let names = |list: &[toml::Spanned<String>]| {
        let names = list.iter().map(|name| name.get_ref().clone());
        names.collect()
    };
    let selection = Selection {
        skip: names(&case.skip),
        only: names(&case.only),
    };
    let plan = Plan::select(graph, catalog, &selection)?;
    Ok(plan.with_handlers(|stage| mock::of(stage, case)))
}

fn unplanned(found: &Diagnostics) -> Mismatch {
    let error = found.list().first().map(|found| found.message.clone());
    Mismatch {
        what: "the plan".to_owned(),
        expected: "sound without what the test leaves out".to_owned(),
        came: "refused".to_owned(),
        why: error.map(Why::Error),
    }
}

/// What became of a test's run.
struct Ran {
    events: Vec<Event>,
    result: RunResult,
}

async fn run(plan: Plan, case: &Case) -> Ran {
    let input = RunInput {
        job: Value::Object(case.input.values.clone()),
        environment: RunEnvironment {
            run_id: Uuid::nil(),
            secrets: Secrets::default(),
            answers: BTreeMap::new(),
            // A mock writes nothing.
            artifacts: PathBuf::new(),
            cache: PathBuf::new(),
            allowed: crate::allowed::Allowed::everything(),
            cancel: CancellationToken::new(),
        },
        recorded: Vec::new(),
        questions: Vec::new(),
        spent: Duration::ZERO,
    };
    let mut run = Run::start(Arc::new(plan), input);
    let mut events = Vec::new();
    while let Some(event) = run.next_event().await {
        events.push(event);
    }
    Ran {
        events,
        result: run.into_result(),
    }
}

impl Ran {
    fn mismatches(&self, expect: &Expectation) -> Vec<Mismatch> {
        let mut found = Vec::new();
        if let Some(status) = expect.status
            && status != self.result.status
        {
            found.push(Mismatch {
                what: "the run".to_owned(),
                expected: word(status),
                came: word(self.result.status),
                why: self.result.error.clone().map(Why::Error),
            });
        }
        for (id, status) in &expect.stages {
            let mut stages = self.result.stages.iter();
            let stage = stages.find(|stage| stage.id == *id.get_ref());
            if let Some(stage) = stage.filter(|stage| stage.status != *status) {
                found.push(Mismatch {
                    what: format!("stage {}", stage.id),
                    expected: status.name().to_owned(),
                    came: stage.status.name().to_owned(),
                    why: stage
                        .reason
                        .clone()
                        .map(|reason| self.why(&stage.id, reason)),
                });
            }
        }
        for (edges, taken) in [(&expect.taken, true), (&expect.not_taken, false)] {
            found.extend(edges.iter().filter_map(|edge| self.edge(edge, taken)));
        }
        found
    }

    fn decisions(&self) -> impl Iterator<Item = &EdgeDecision> {
        self.events.iter().filter_map(|event| match event {
            Event::EdgeDecided { decision } => Some(decision),
            _ => None,
        })
    }

    fn why(&self, stage: &str, reason: Reason) -> Why {
        match reason {
            Reason::Ran => {
                let led = self
                    .decisions()
                    .filter(|made| made.taken && *made.to == *stage);
                let led: Vec<_> = led.collect();
                if led.is_empty() {
                    return Why::Stage(reason);
                }
                self.because(led)
            }
            Reason::NoEdgeTaken { edges } => self.because(edges.iter().collect()),
            Reason::ConditionFalse { .. }
            | Reason::Disabled { .. }
            | Reason::ErrorSkipped { .. }
            | Reason::Error { .. }
            | Reason::Parked { .. }
            | Reason::RunEnded { .. }
            | Reason::Reused { .. }
            | Reason::Recorded => Why::Stage(reason),
        }
    }

    /// Behind an `else` edge that was not taken stands what was taken in its place.
    fn because(&self, edges: Vec<&EdgeDecision>) -> Why {
        let mut all = Vec::with_capacity(edges.len());
        for edge in edges {
            all.push(edge.clone());
            if matches!(
                edge.because,
                EdgeReason::Else {
                    sibling_taken: true
                }
            ) {
                let taken = self.decisions();
                let taken = taken.filter(|made| made.taken && made.from == edge.from);
                all.extend(taken.cloned());
            }
        }
        Why::Edges(all)
    }

    fn edge(&self, edge: &EdgeName, expected: bool) -> Option<Mismatch> {
        let mut decisions = self.decisions();
        let decision = decisions.find(|made| *made.from == *edge.from && *made.to == *edge.to);
        if decision.is_some_and(|made| made.taken) == expected {
            return None;
        }
        let name = |taken| if taken { "taken" } else { "not taken" };
        let (came, why) = if let Some(made) = decision {
            (name(made.taken), Some(self.because(vec![made])))
        } else {
            let mut stages = self.result.stages.iter();
            let from = stages.find(|stage| stage.id == edge.from);
            let reason = from.and_then(|stage| stage.reason.clone());
            ("not decided", reason.map(Why::Stage))
        };
        Some(Mismatch {
            what: format!("edge {edge}"),
            expected: name(expected).to_owned(),
            came: came.to_owned(),
            why,
        })
    }
}

fn word(status: RunStatus) -> String {
    json!(status).as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
