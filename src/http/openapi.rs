//! `/openapi.json`: the routes from their code, and the types they speak from their Rust types.
//!
//! 1. utoipa gives each route as its own attributes describe it.
//! 2. `schemas` gives the types, from the same derives that `schemas/` is made of.
//! 3. `complete` adds what all routes have in common: problems, what every request can meet, and what parameters of a name look like.

use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::response::Response;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::conditional::{answer, tag};
use super::graphs::{Findings, GraphName, GraphText};
use super::health::Readiness;
use super::jobs::{NewAnswer, RunPage, Submission};
use super::logs::LogPage;
use super::problem::Details;
use super::retry::{NewRetry, NewValidation};
use crate::graph::event::Artifact;
use crate::graph::explain::Explanation;
use crate::graph::preview::Preview;
use crate::model::job::JobInput;
use crate::model::run::RunDocument;
use crate::store::sha256;

mod security;

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
        super::retry::validate,
        super::stages::explain,
        super::logs::logs,
        super::events::stream,
        super::artifacts::list,
        super::artifacts::archived,
        super::artifacts::download,
        super::graphs::list,
        super::graphs::show,
        super::graphs::plan,
        super::graphs::validate,
        super::health::alive,
        super::health::ready,
        super::metrics::show,
        document
    )
)]
struct Api;

/// Describes the gateway (`OpenAPI` 3.1).
#[utoipa::path(get, path = "/openapi.json", tag = "operation",
    params(("If-None-Match" = Option<String>, Header, description = "tags that the client has")),
    responses(
        (status = 200, description = "the description", body = ref("#/components/schemas/OpenApi"),
            headers(("ETag" = String, description = "the tag of this description"))),
        (status = 304, description = "the description is one that `If-None-Match` names")))]
pub(super) async fn document(headers: HeaderMap) -> Response {
    static DOCUMENT: LazyLock<(String, String)> = LazyLock::new(|| {
        let text = describe().to_string();
        (tag(&sha256(text.as_bytes())), text)
    });
    let (tag, text) = &*DOCUMENT;
    answer(&headers, tag, &[], "application/json", text.as_str())
}

/// Gives the description of the gateway.
#[must_use]
pub fn describe() -> Value {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    document["components"] = json!({
        "schemas": schemas(),
        "securitySchemes": security::schemes(),
    });
    security::add(&mut document);
    complete(&mut document);
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
    generator.subschema_for::<NewValidation>();
    generator.subschema_for::<Explanation>();
    generator.subschema_for::<LogPage>();
    generator.subschema_for::<GraphText>();
    generator.subschema_for::<Findings>();
    generator.subschema_for::<Readiness>();
    generator.subschema_for::<Details>();
    let lists = [
        ("Artifacts", generator.subschema_for::<Artifact>()),
        ("Graphs", generator.subschema_for::<GraphName>()),
        ("Previews", generator.subschema_for::<Preview>()),
    ];
    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (name, item) in lists {
        let list = json!({ "type": "array", "items": item });
        schemas.insert(name.to_owned(), list);
    }
    // What a JSON Schema or an OpenAPI document looks like is described elsewhere.
    for name in ["Form", "OpenApi"] {
        schemas.insert(name.to_owned(), json!({ "type": "object" }));
    }
    if let Some(input) = schemas.get_mut("Submission") {
        input["properties"]["input"] = json!({ "$ref": "#/components/schemas/JobInput" });
    }
    schemas
}

/// What every request can meet: its status and when.
const EVERYWHERE: [(&str, &str); 4] = [
    (
        "400",
        "the request cannot be read: its headers, its address or its parameters",
    ),
    (
        "403",
        "the `Host` or the `Origin` is not one that the gateway answers to, or the token does not have the route's scope",
    ),
    ("500", "relvec met a fault of its own"),
    (
        "503",
        "the store does not answer, or the gateway is about to stop",
    ),
];

/// What a request with a body can meet beside.
const WITH_A_BODY: [(&str, &str); 4] = [
    ("408", "the body took too long"),
    ("413", "the body is too large, or broke off"),
    ("415", "the body is not JSON, or is compressed"),
    ("422", "the body does not have the expected shape"),
];

/// Adds what the routes have in common.
fn complete(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (path, methods) in paths {
        let operations = methods.as_object_mut().into_iter().flatten();
        for (_, operation) in operations {
            // A function's name is its own only beside its tag: clients are generated from these.
            let [tag, function] = ["/tags/0", "/operationId"].map(|place| {
                let word = operation.pointer(place).and_then(Value::as_str);
                word.unwrap_or_default().to_owned()
            });
            operation["operationId"] = json!(format!("{tag}_{function}"));
            let parameters = operation.get_mut("parameters");
            let parameters = parameters.and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap_or_default().to_owned();
                complete_parameter(path, &name, &mut parameter["schema"]);
            }
            let has_body = operation.get("requestBody").is_some();
            if has_body {
                operation["requestBody"]["required"] = json!(true);
            }
            let met = EVERYWHERE.iter();
            let met = met.chain(WITH_A_BODY.iter().filter(|_| has_body));
            let responses = &mut operation["responses"];
            for (status, when) in met {
                if responses.get(status).is_none() {
                    responses[status] = json!({"description": when, "content": {"application/problem+json": problem()}});
                }
            }
            for (status, response) in responses.as_object_mut().into_iter().flatten() {
                complete_response(path, status, response);
            }
        }
    }
}

fn problem() -> Value {
    json!({"schema": {"$ref": "#/components/schemas/Problem"}})
}

/// Says what a parameter of a name looks like.
fn complete_parameter(path: &str, name: &str, schema: &mut Value) {
    // A parameter is there or is not: it is never null.
    if let Some(types) = schema["type"].as_array() {
        let kind = types.iter().find(|kind| **kind != "null").cloned();
        schema["type"] = kind.unwrap_or_default();
    }
    match name {
        "run_id" | "cursor" => schema["format"] = json!("uuid"),
        // The number of a line there, a run here.
        "after" if path == "/jobs" => schema["format"] = json!("uuid"),
        "status" => *schema = json!({"$ref": "#/components/schemas/RunStatus"}),
        "name" if path.starts_with("/graphs") => {
            schema["pattern"] = json!("^[a-z][a-z0-9_-]{0,62}$");
        }
        "Idempotency-Key" => {
            schema["pattern"] = json!(r#"^("([ !#-\[\]-~]|\\["\\])+"|[!#-~]+)$"#);
            schema["maxLength"] = json!(200);
        }
        _ => {}
    }
}

fn complete_response(path: &str, status: &str, response: &mut Value) {
    let content = &mut response["content"];
    if content.is_null() {
        response
            .as_object_mut()
            .map(|response| response.remove("content"));
    } else if let Some(form) = content.get("application/json")
        && form["schema"]["$ref"] == "#/components/schemas/Problem"
    {
        *content = json!({ "application/problem+json": problem() });
    } else {
        complete_content(path, status, content);
    }
    response["headers"]["X-Request-Id"] = json!({
        "description": "the request's id: the one that the client sent, else its trace's, else a new one",
        "schema": {"type": "string"},
    });
}

/// Names the other forms in which some routes answer.
fn complete_content(path: &str, status: &str, content: &mut Value) {
    match (path, status) {
        ("/jobs/{run_id}/logs", "200") => {
            content["text/event-stream"] = sent_event();
        }
        ("/jobs/{run_id}/events", "200") => content["text/event-stream"] = sent_event(),
        ("/artifacts/{run_id}/{name}", "200" | "206") => {
            *content = json!({"application/json": {}, "text/plain": {}, "text/x-python": {}});
        }
        ("/artifacts/{run_id}.tar.gz", "200") => *content = json!({"application/gzip": {}}),
        _ => {}
    }
}

/// What an event of a stream looks like.
fn sent_event() -> Value {
    json!({"schema": {
        "type": "object",
        "description": "one event of the stream",
        "required": ["id", "data"],
        "properties": {
            "id": {"type": "string", "description": "its number, for `Last-Event-ID`"},
            "event": {"const": "message"},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    }})
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

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let document = describe();
        let mut ids = std::collections::BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{method} {path}: {id}");
            }
        }
        assert!(ids.len() > 20 && ids.contains("jobs_submit"), "{ids:?}");
    }

    #[test]
    fn every_error_is_a_problem_and_no_parameter_is_null() {
        let document = describe();
        let mut answers = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (_, operation) in methods.as_object().unwrap() {
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(
                        !parameter["schema"]["type"].is_array(),
                        "{path} {parameter}"
                    );
                }
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let types = response["content"].as_object();
                    let mut types = types.into_iter().flat_map(Map::keys);
                    if status.starts_with(['4', '5']) {
                        assert_eq!(types.next().unwrap(), "application/problem+json");
                    }
                    assert!(
                        types.all(|kind| kind != "application/problem+json"),
                        "{path}"
                    );
                    answers += 1;
                }
            }
        }
        assert!(answers > 100, "{answers}");
    }
}
