//! Mermaid, for Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Fate, History, condition, fate, is_optional, label};
use crate::graph::event::StageStatus;
use crate::graph::plan::Plan;

/// Draws a plan as a Mermaid flowchart: conditions are the edges' labels, and a stage with its own condition is dashed.
///
/// With a run's history each stage says its status and has its colour; edges that were taken are thick, others dotted.
#[must_use]
pub fn mermaid(plan: &Plan, history: Option<&History>) -> String {
    let mut text = String::from("flowchart TD\n");
    for (place, stage) in plan.stages().iter().enumerate() {
        let mut label = escape(&stage.id);
        if let Some(when) = condition(stage) {
            let _ = write!(label, "<br/>{}", escape(&when));
        }
        if let Some(history) = history {
            let _ = write!(label, "<br/><b>{}</b>", history.status(stage).name());
        }
        let _ = writeln!(text, "    s{place}[\"{label}\"]");
    }
    for edge in plan.edges() {
        let (from, to) = (edge.from, edge.to);
        let arrow = match fate(plan, edge, history) {
            None => "-->",
            Some(Fate::Taken) => "==>",
            Some(Fate::NotTaken | Fate::Undecided) => "-.->",
        };
        let label = escape(&label(edge).join(" "));
        let _ = if label.is_empty() {
            writeln!(text, "    s{from} {arrow} s{to}")
        } else {
            writeln!(text, "    s{from} {arrow}|\"{label}\"| s{to}")
        };
    }
    classes(plan, history, &mut text);
    text
}

/// Ends the drawing with what stages of a sort have in common.
fn classes(plan: &Plan, history: Option<&History>, text: &mut String) {
    let mut alike: BTreeMap<&str, (&str, Vec<String>)> = BTreeMap::new();
    for (place, stage) in plan.stages().iter().enumerate() {
        let status = history.map(|history| history.status(stage));
        let optional = is_optional(stage).then_some(("optional", "stroke-dasharray: 4 4"));
        for (name, style) in status
            .map(|it| (it.name(), style(it)))
            .into_iter()
            .chain(optional)
        {
            let (_, stages) = alike.entry(name).or_insert_with(|| (style, Vec::new()));
            stages.push(format!("s{place}"));
        }
    }
    for (name, (style, stages)) in alike {
        let _ = writeln!(text, "    classDef {name} {style}");
        let _ = writeln!(text, "    class {} {name}", stages.join(","));
    }
    let untaken: Vec<String> = (0..plan.edges().len())
        .filter(|&edge| {
            fate(plan, &plan.edges()[edge], history).is_some_and(|it| it != Fate::Taken)
        })
        .map(|edge| edge.to_string())
        .collect();
    if !untaken.is_empty() {
        let _ = writeln!(text, "    linkStyle {} opacity:0.4", untaken.join(","));
    }
}

/// Gives a status its colours, readable on light and on dark pages.
const fn style(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pending => "fill:#f6f8fa,stroke:#8c959f,color:#57606a",
        StageStatus::Running => "fill:#ddf4ff,stroke:#0969da,color:#0a3069",
        StageStatus::Succeeded => "fill:#dafbe1,stroke:#1a7f37,color:#033a16",
        StageStatus::Failed => "fill:#ffebe9,stroke:#cf222e,color:#660018,stroke-width:3px",
        StageStatus::TimedOut => "fill:#fff1e5,stroke:#bc4c00,color:#5c2200,stroke-width:3px",
        StageStatus::Skipped => "fill:#eaeef2,stroke:#57606a,color:#24292f",
        StageStatus::NotTaken => "fill:#ffffff,stroke:#afb8c1,color:#6e7781",
        StageStatus::Waiting => "fill:#fff8c5,stroke:#9a6700,color:#3b2300,stroke-width:3px",
        StageStatus::Cancelled => "fill:#fbefff,stroke:#8250df,color:#3e1f79",
    }
}

/// Mermaid reads `#…;` as a character and some characters as its own syntax.
fn escape(text: &str) -> String {
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
