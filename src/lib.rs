//! relvec takes a relational database to pgvector and proves that nothing was lost.
//!
//! Modules in the order of a first reading.

pub mod demo;
pub mod error;
pub mod graph;
pub mod handlers;
pub mod model;
pub mod service;
pub mod settings;
pub mod source;
