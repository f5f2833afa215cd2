//! The graph engine: from a TOML file to a run. It knows no database, no job and no handler of relvec.
//!
//! 1. [`output`], [`handler`], [`context`]: what a handler's author meets.
//! 2. [`event`]: what a run says about itself.
//! 3. [`mod@file`], [`cases`], [`sources`], [`diagnostic`], [`flat`]: a graph file as it stands, with those that it extends, and what is
//!    wrong with it.
//! 4. [`condition`], [`outcome`]: what decides an edge.
//! 5. [`plan`]: the graph, proved and in order. The front end ends here: no I/O, no tasks so far.
//! 6. [`draw`], [`preview`], [`diff`], [`schema`]: what can be said about a graph without running it.
//! 7. [`run`], [`result`]: the plan's execution, as a stream of events.
//! 8. [`explain`]: what those events say about a stage.
//! 9. [`rehearsal`]: the tests of a graph file, run without its handlers.

pub mod cases;
pub mod condition;
pub mod context;
pub mod diagnostic;
pub mod diff;
pub mod draw;
pub mod event;
pub mod explain;
pub mod file;
pub mod flat;
pub mod handler;
pub mod outcome;
pub mod output;
pub mod plan;
pub mod preview;
pub mod rehearsal;
pub mod result;
pub mod run;
pub mod schema;
pub mod sources;

mod attempt;
mod certain;
mod decide;
mod domain;
mod extends;
mod infer;
mod lint;
mod order;
mod params;
mod partial;
mod places;
mod references;
mod resolve;
mod syntax;
mod tasks;
mod typed;
mod types;
mod walk;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod blocking;
#[cfg(test)]
mod interruption;
#[cfg(test)]
mod left_out;
#[cfg(test)]
mod proof;
#[cfg(test)]
mod semantics;
#[cfg(test)]
mod soundness;
#[cfg(test)]
mod testing;
