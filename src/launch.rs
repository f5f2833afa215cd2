//! From a job to a run: the one path that the command line, the demo and the gateway take.
//!
//! 1. [`job`]: a job as a caller writes it becomes a [`JobInput`](crate::model::job::JobInput) and its secrets.
//! 2. [`graphs`]: a graph's name becomes its text; [`shelf`] keeps those that the gateway runs.
//! 3. [`run`]: a run is made durable; [`own`]: it gets an owner; [`execute`]: it is executed, recorded event by event, and shown. [`files`]: its files
//!    where several machines share the store.
//! 4. [`retry`]: a run that is over becomes a new one, which does only what is left.
//! 5. [`explain`]: what a run recorded, as the answer to why.

pub mod execute;
pub mod explain;
mod failpoint;
pub mod files;
pub mod graphs;
mod clean;
pub mod job;
pub mod own;
mod permission;
pub mod retry;
pub mod run;
pub mod schema_errors;
pub mod shelf;

pub use self::job::{PreparedJob, prepare, prepare_within, set};
pub use self::own::Owned;
pub use self::run::{Accepted, Control, Launch, Request};

#[cfg(test)]
pub(crate) mod tests;
