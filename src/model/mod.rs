//! The outputs that handlers exchange, in the order in which the default graph writes them.

pub mod advice;
pub mod analysis;
pub mod execution;
pub mod gate;
pub mod generated;
pub mod job;
pub mod metadata;
pub mod plan;
pub mod run;
pub mod schema_context;
pub mod validation;
