//! Draws a plan from the same edges that run: Mermaid, GraphViz and JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::outcome::Outcomes;
use super::plan::{Edge, Plan};

/// Draws a plan as a Mermaid flowchart. Conditions are the edges' labels; a stage with its own condition is dashed.
#[must_use]
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart TD\n");
    for (place, stage) in plan.stages().iter().enumerate() {
        let mut label = escape_mermaid(&stage.id);
        if let Some(when) = &stage.when {
            let when = escape_mermaid(when.condition.expression());
            let _ = write!(label, "<br/>when {when}");
        }
        let _ = writeln!(text, "    s{place}[\"{label}\"]");
    }
    for edge in plan.edges() {
        let (from, to) = (edge.from, edge.to);
        let _ = match label(edge) {
            None => writeln!(text, "    s{from} --> s{to}"),
            Some(label) => {
                let label = escape_mermaid(&label);
                writeln!(text, "    s{from} -->|\"{label}\"| s{to}")
            }
        };
    }
    let optional: Vec<_> = (0..plan.stages().len())
        .filter(|&place| plan.stages()[place].when.is_some())
        .map(|place| format!("s{place}"))
        .collect();
    if !optional.is_empty() {
        let _ = writeln!(text, "    classDef optional stroke-dasharray: 4 4");
        let _ = writeln!(text, "    class {} optional", optional.join(","));
    }
    text
}

/// Draws a plan for GraphViz.
#[must_use]
pub fn dot(plan: &Plan) -> String {
    let mut text = format!("digraph \"{}\" {{\n", escape_dot(plan.name()));
    text.push_str("    node [shape=box, style=rounded];\n");
    for stage in plan.stages() {
        let id = escape_dot(&stage.id);
        let _ = match &stage.when {
            None => writeln!(text, "    \"{id}\";"),
            Some(when) => {
                let when = escape_dot(when.condition.expression());
                writeln!(
                    text,
                    "    \"{id}\" [style=\"rounded,dashed\", label=\"{id}\\nwhen {when}\"];"
                )
            }
        };
    }
    for edge in plan.edges() {
        let from = escape_dot(&plan.stages()[edge.from].id);
        let to = escape_dot(&plan.stages()[edge.to].id);
        let _ = match label(edge) {
            None => writeln!(text, "    \"{from}\" -> \"{to}\";"),
            Some(label) => {
                let label = escape_dot(&label);
                writeln!(text, "    \"{from}\" -> \"{to}\" [label=\"{label}\"];")
            }
        };
    }
    text.push_str("}\n");
    text
}

/// Gives a plan as JSON: stages in order, edges in the order of the file.
#[must_use]
pub fn json(plan: &Plan) -> Value {
    let stages: Vec<Value> = plan
        .stages()
        .iter()
        .map(|stage| {
            json!({
                "id": stage.id.as_ref(),
                "handler": stage.handler.name,
                "writes": stage.writes,
                "reads": stage.inputs.iter().map(|input| json!({
                    "kind": input.kind,
                    "required": input.required,
                })).collect::<Vec<_>>(),
                "when": stage.when.as_ref().map(|when| when.condition.expression()),
                "disabled": stage.disabled,
                "on_error": if stage.skips_errors { "skip" } else { "fail" },
                "timeout_seconds": stage.timeout.as_secs_f64(),
                "attempts": stage.retry.attempts,
            })
        })
        .collect();
    let edges: Vec<Value> = plan
        .edges()
        .iter()
        .map(|edge| {
            json!({
                "from": plan.stages()[edge.from].id.as_ref(),
                "to": plan.stages()[edge.to].id.as_ref(),
                "on": edge.on.names().collect::<Vec<_>>(),
                "when": edge.when.as_ref().map(|when| when.condition.expression()),
                "else": edge.otherwise,
            })
        })
        .collect();
    json!({
        "name": plan.name(),
        "description": plan.description(),
        "input": plan.input(),
        "concurrency": plan.concurrency(),
        "stages": stages,
        "edges": edges,
    })
}

/// Says when an edge is taken; `None` where it is on success and nothing else.
fn label(edge: &Edge) -> Option<String> {
    let mut parts = Vec::new();
    if edge.on != Outcomes::SUCCEEDED {
        parts.push(format!(
            "on {}",
            edge.on.names().collect::<Vec<_>>().join(", ")
        ));
    }
    if let Some(when) = &edge.when {
        parts.push(format!("when {}", when.condition.expression()));
    }
    if edge.otherwise {
        parts.push("else".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// Mermaid reads `#…;` as a character and some characters as its own syntax.
fn escape_mermaid(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | '|' | '`' | ';' => {
                let _ = write!(escaped, "#{};", u32::from(c));
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn escape_dot(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::plan;

    const TEXT: &str = r#"
name = "drawn"
edges = [
    { from = "a", to = "b", on = ["succeeded", "failed"], when = "stages.a.status == \"x\"" },
    { from = "a", to = "c", else = true },
    { chain = ["b", "d"] },
]
[stages.a]
handler = "step"
[stages.b]
handler = "step"
[stages.c]
handler = "step"
when = "stages.a.output.value < 3"
[stages.d]
handler = "step"
"#;

    #[test]
    fn mermaid_has_conditions_as_labels() {
        assert_eq!(
            mermaid(&plan(TEXT)),
            r#"flowchart TD
    s0["a"]
    s1["b"]
    s2["c<br/>when stages.a.output.value #60; 3"]
    s3["d"]
    s0 -->|"on succeeded, failed when stages.a.status == #34;x#34;"| s1
    s0 -->|"else"| s2
    s1 --> s3
    classDef optional stroke-dasharray: 4 4
    class s2 optional
"#
        );
    }

    #[test]
    fn dot_quotes_what_it_must() {
        let text = dot(&plan(TEXT));
        let edge = r#""a" -> "b" [label="on succeeded, failed when stages.a.status == \"x\""];"#;
        assert!(text.contains(edge), "{text}");
        assert!(text.contains(r#""b" -> "d";"#), "{text}");
    }

    #[test]
    fn json_has_the_edges_that_run() {
        let drawn = json(&plan(TEXT));
        assert_eq!(drawn["edges"][1]["else"], true);
        assert_eq!(drawn["edges"][0]["on"], json!(["succeeded", "failed"]));
        assert_eq!(drawn["stages"][2]["when"], "stages.a.output.value < 3");
    }
}
