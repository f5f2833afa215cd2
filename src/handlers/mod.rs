//! The table of handlers. A new handler is its file and two lines here.

pub mod collect_metadata;
pub mod normalize_schema;
pub mod analyzer;
pub mod llm_advisor;
pub mod code_generator;
pub mod infra_generator;
pub mod executor;
pub mod run_validation;
pub mod gate_review;
pub mod command;
pub mod http;

use crate::graph::handler::{Catalog, HandlerType, InputType};
use crate::model::job::JobInput;

/// What graph files can name.
pub static CATALOG: Catalog = Catalog {
    handlers: HANDLERS,
    inputs: &[InputType::of::<JobInput>()],
};

/// Every handler: those of the default graph in its order, then those that a graph file declares.
pub static HANDLERS: &[HandlerType] = &[
    HandlerType::of::<collect_metadata::CollectMetadata>(),
    HandlerType::of::<normalize_schema::NormalizeSchema>(),
    HandlerType::of::<analyzer::Analyzer>(),
    HandlerType::of::<llm_advisor::LlmAdvisor>(),
    HandlerType::of::<code_generator::CodeGenerator>(),
    HandlerType::of::<infra_generator::InfraGenerator>(),
    HandlerType::of::<executor::Executor>(),
    HandlerType::of::<run_validation::RunValidation>(),
    HandlerType::of::<gate_review::GateReview>(),
    HandlerType::declared::<command::Command>(),
    HandlerType::declared::<http::Http>(),
];
