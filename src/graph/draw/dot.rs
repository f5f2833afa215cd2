//! DOT, for GraphViz.

use std::fmt::Write as _;

use super::{Fate, History, condition, fate, is_optional, label};
use crate::graph::event::StageStatus;
use crate::graph::plan::Plan;

/// Draws a plan for GraphViz; with a run's history, each stage says its status, and edges that were not taken are faint.
#[must_use]
pub fn dot(plan: &Plan, history: Option<&History>) -> String {
    let mut text = format!("digraph \"{}\" {{\n", escape(plan.name()));
    text.push_str("    node [shape=box, style=rounded];\n");
    for stage in plan.stages() {
        let status = history.map(|history| history.status(stage));
        let mut lines = vec![escape(&stage.id)];
        lines.extend(condition(stage).map(|when| escape(&when)));
        lines.extend(status.map(|status| escape(status.name())));
        let mut attributes = Vec::new();
        if is_optional(stage) {
            attributes.push("style=\"rounded,dashed\"".to_owned());
        }
        if lines.len() > 1 {
            attributes.push(format!("label=\"{}\"", lines.join("\\n")));
        }
        attributes.extend(status.map(|status| color(status).to_owned()));
        let _ = writeln!(text, "    \"{}\"{};", lines[0], list(&attributes));
    }
    for edge in plan.edges() {
        let from = escape(&plan.stages()[edge.from].id);
        let to = escape(&plan.stages()[edge.to].id);
        let mut attributes = Vec::new();
        let label = escape(&label(edge).join(" "));
        if !label.is_empty() {
            attributes.push(format!("label=\"{label}\""));
        }
        match fate(plan, edge, history) {
            None => {}
            Some(Fate::Taken) => attributes.push("penwidth=2".to_owned()),
            Some(Fate::NotTaken | Fate::Undecided) => {
                attributes.push("style=dashed, color=gray70, fontcolor=gray50".to_owned());
            }
        }
        let _ = writeln!(text, "    \"{from}\" -> \"{to}\"{};", list(&attributes));
    }
    text.push_str("}\n");
    text
}

fn list(attributes: &[String]) -> String {
    if attributes.is_empty() {
        String::new()
    } else {
        format!(" [{}]", attributes.join(", "))
    }
}

const fn color(status: StageStatus) -> &'static str {
    match status {
        StageStatus::Pending => "color=gray60, fontcolor=gray40",
        StageStatus::Running => "color=\"#0969da\", penwidth=2",
        StageStatus::Succeeded => "color=\"#1a7f37\", penwidth=2",
        StageStatus::Failed => "color=\"#cf222e\", penwidth=3",
        StageStatus::TimedOut => "color=\"#bc4c00\", penwidth=3",
        StageStatus::Skipped => "color=gray40, fontcolor=gray30",
        StageStatus::NotTaken => "color=gray75, fontcolor=gray50",
        StageStatus::Waiting => "color=\"#9a6700\", penwidth=3",
        StageStatus::Cancelled => "color=\"#8250df\", penwidth=2",
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            // GraphViz reads entities of HTML in every text.
            '&' => escaped.push_str("&amp;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
