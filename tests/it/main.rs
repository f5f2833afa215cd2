//! The integration tests: one binary. What is in `with_services` needs what `tests/run` starts; the rest needs nothing.

mod access;
mod answers;
mod bad_input;
#[path = "../corpora/mod.rs"]
mod corpora;
mod discovery;
mod docker;
mod doubts;
mod drawings;
mod findings;
mod fuzz;
mod gateway;
mod graph_files;
mod graphs;
mod mock_api;
mod overdue;
mod relvec;
mod remote;
mod schemas;
mod scripted;
mod services;
mod specification;
mod shipped;
mod sources;
mod tables;
mod team;
mod with_services;
