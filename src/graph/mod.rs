//! The graph engine: from a TOML file to a run. It knows no database, no job and no handler of relvec.
//!
//! 1. [`output`], [`handler`], [`context`]: what a handler's author meets.
//! 2. [`event`]: what a run says about itself.

pub mod context;
pub mod event;
pub mod handler;
pub mod output;
