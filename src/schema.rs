//! Every published schema, in one list: what `relvec schema` prints and what `schemas/` holds.

use schemars::JsonSchema;
use serde_json::Value;

use crate::graph::diff::GraphDiff;
use crate::graph::event::Event;
use crate::graph::explain::Explanation;
use crate::graph::schema::schema as graph_schema;
use crate::handlers::HANDLERS;
use crate::model::advice::LlmAdvice;
use crate::model::execution::ExecutionReport;
use crate::model::gate::GateDecision;
use crate::model::generated::{GeneratedCode, GeneratedInfra};
use crate::model::job::JobInput;
use crate::model::metadata::RawMetadata;
use crate::model::plan::MigrationPlan;
use crate::model::run::RunDocument;
use crate::model::schema_context::SchemaContext;
use crate::model::validation::ValidationReport;

/// Gives every published schema by name: graph files, what goes in and comes out of a run, and each kind of output in the
/// order in which the default graph writes them.
#[must_use]
pub fn published() -> Vec<(&'static str, Value)> {
    vec![
        ("graph", graph_schema(HANDLERS)),
        ("job", schema_of::<JobInput>()),
        ("run", schema_of::<RunDocument>()),
        ("event", schema_of::<Event>()),
        ("explanation", schema_of::<Explanation>()),
        ("diff", schema_of::<GraphDiff>()),
        ("raw_metadata", schema_of::<RawMetadata>()),
        ("schema_context", schema_of::<SchemaContext>()),
        ("migration_plan", schema_of::<MigrationPlan>()),
        ("llm_advice", schema_of::<LlmAdvice>()),
        ("generated_code", schema_of::<GeneratedCode>()),
        ("generated_infra", schema_of::<GeneratedInfra>()),
        ("execution_report", schema_of::<ExecutionReport>()),
        ("validation_report", schema_of::<ValidationReport>()),
        ("gate_decision", schema_of::<GateDecision>()),
    ]
}

fn schema_of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::handler::Interface;
    use crate::graph::output::Output;

    #[test]
    fn every_handlers_output_is_published() {
        let published = published();
        for handler in HANDLERS {
            let Some(interface) = handler.interface else {
                continue;
            };
            let Interface {
                writes: kind,
                schema,
                ..
            } = interface();
            let schema = schema.get().as_ref().clone();
            assert!(
                published.contains(&(kind.as_str(), schema)),
                "{kind} of {} is not in the list",
                handler.name
            );
        }
        assert_eq!(published[1].0, JobInput::KIND.as_str());
    }
}
