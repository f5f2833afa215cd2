//! The graph engine: from a TOML file to a run. It knows no database, no job and no handler of relvec.
//!
//! 1. [`output`], [`handler`], [`context`]: what a handler's author meets.
//! 2. [`event`]: what a run says about itself.
//! 3. [`mod@file`], [`sources`], [`diagnostic`], [`flat`]: a graph file as it stands, with those that it extends, and what is
//!    wrong with it.
//! 4. [`condition`], [`outcome`]: what decides an edge.
//! 5. [`plan`]: the graph, proved and in order. The front end ends here: no I/O, no tasks so far.
//! 6. [`draw`], [`preview`], [`schema`]: what can be said about a graph without running it.
//! 7. [`run`], [`result`]: the plan's execution, as a stream of events.

pub mod condition;
pub mod context;
pub mod diagnostic;
pub mod draw;
pub mod event;
pub mod file;
pub mod flat;
pub mod handler;
pub mod outcome;
pub mod output;
pub mod plan;
pub mod preview;
pub mod result;
pub mod run;
pub mod schema;
pub mod sources;

mod attempt;
mod certain;
mod decide;
mod extends;
mod order;
mod references;
mod resolve;
mod shortcut;
mod syntax;
mod tasks;
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
mod semantics;
#[cfg(test)]
mod testing;
