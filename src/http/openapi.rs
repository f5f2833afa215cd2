//! `/openapi.json`: the routes from their code, and the types they speak from their Rust types.

use axum::Json;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::graphs::{Findings, GraphName, GraphText};
use super::jobs::{NewAnswer, RunPage, Submission};
use super::problem::Details;
use super::retry::NewRetry;
use super::stages::LogPage;
use crate::graph::event::Artifact;
use crate::graph::explain::Explanation;
use crate::model::job::JobInput;
use crate::model::run::RunDocument;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "relvec",
        description = "Takes a relational database to pgvector and proves that nothing was lost."
    ),
    paths(
        super::jobs::submit,
        super::jobs::list,
        super::jobs::show,
        super::jobs::cancel,
        super::jobs::answer,
        super::jobs::form,
        super::retry::retry,
        super::stages::explain,
        super::stages::logs,
        super::events::stream,
        super::artifacts::list,
        super::artifacts::download,
        super::graphs::list,
        super::graphs::show,
        super::graphs::validate,
        super::health::alive,
        super::health::ready,
        document
    )
)]
struct Api;

/// Describes the gateway (`OpenAPI` 3.1).
#[utoipa::path(get, path = "/openapi.json", tag = "health",
    responses((status = 200, description = "the description", content_type = "application/json")))]
pub(super) async fn document() -> Json<Value> {
    Json(describe())
}

/// Gives the description of the gateway.
#[must_use]
pub fn describe() -> Value {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    document["components"] = json!({ "schemas": schemas() });
    document
}

/// Every type that a route speaks, with the types inside it, under the place where the routes refer to them.
fn schemas() -> Map<String, Value> {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    generator.subschema_for::<Submission>();
    generator.subschema_for::<JobInput>();
    generator.subschema_for::<RunDocument>();
    generator.subschema_for::<RunPage>();
    generator.subschema_for::<NewAnswer>();
    generator.subschema_for::<NewRetry>();
    generator.subschema_for::<Explanation>();
    generator.subschema_for::<LogPage>();
    generator.subschema_for::<GraphText>();
    generator.subschema_for::<Findings>();
    generator.subschema_for::<Details>();
    let artifact = generator.subschema_for::<Artifact>().to_value();
    let graph = generator.subschema_for::<GraphName>().to_value();
    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    schemas.insert(
        "Artifacts".to_owned(),
        json!({ "type": "array", "items": artifact }),
    );
    schemas.insert(
        "Graphs".to_owned(),
        json!({ "type": "array", "items": graph }),
    );
    if let Some(input) = schemas.get_mut("Submission") {
        input["properties"]["input"] = json!({ "$ref": "#/components/schemas/JobInput" });
    }
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    found.push(reference.clone());
                }
                object.values().for_each(|inner| references(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = describe();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
