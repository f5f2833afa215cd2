//! relvec takes a relational database to pgvector and proves that nothing was lost.
//!
//! Modules in the order of a first reading.

pub mod cli;
pub mod commands;
pub mod error;
pub mod settings;
pub mod logging;
pub mod access;
pub mod allowed;
pub mod graph;
pub mod model;
pub mod source;
pub mod service;
pub mod reconcile;
pub mod handlers;
pub mod store;
pub mod launch;
pub mod report;
pub mod http;
pub mod schema;
pub mod demo;

pub use commands::dispatch as run;
