//! `relvec test`: the tests of graph files, without their handlers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::validate::unreadable;
use super::{print_json, show};
use crate::cli::{Format, TestArgs};
use crate::error::{ErrorKind, Result};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::event::{EdgeDecision, EdgeReason, Reason};
use crate::graph::rehearsal::{Mismatch, Rehearsal, Why, rehearse};
use crate::handlers::CATALOG;
use crate::launch::graphs::{find, load};
use crate::report::reason_text;
use crate::settings::{Settings, colored};

/// Runs the tests of graph files, of all of them, and prints what they gave. Gives 0 where all pass and enough is covered, 1 where one
/// fails, a file has errors or too little is covered, and 78 where a file cannot be read.
///
/// # Errors
/// Standard output cannot be written.
pub async fn test(args: &TestArgs, settings: &Settings) -> Result<u8> {
    let color = colored(&std::io::stdout());
    let mut all = Vec::new();
    let mut worst = 0;
    for name in &args.files {
        let (path, ran) = rehearsed(name, settings).await;
        let code = match &ran {
            Ok(ran) => u8::from(!has_passed(ran, args.min_coverage)),
            Err(found) if found.is_unreadable() => ErrorKind::Configuration.exit_code(),
            Err(_) => ErrorKind::Invalid.exit_code(),
        };
        worst = worst.max(code);
        match (args.format, &ran) {
            (Format::Human, Ok(ran)) => show(&report(&path, ran, args.min_coverage))?,
            (Format::Human, Err(found)) => show(&found.render(color))?,
            (Format::Json, Ok(ran)) => all.push(json!({
                "file": path,
                "passed": code == 0,
                "tests": ran.tests,
                "coverage": ran.coverage,
                "diagnostics": [],
            })),
            (Format::Json, Err(found)) => all.push(json!({
                "file": path,
                "passed": false,
                "tests": [],
                "coverage": null,
                "diagnostics": found.to_json(),
            })),
        }
    }
    if args.format == Format::Json {
        print_json(&all)?;
    }
    Ok(worst)
}

async fn rehearsed(name: &str, settings: &Settings) -> (String, Result<Rehearsal, Diagnostics>) {
    let graph = match find(name, settings) {
        Ok(graph) => graph,
        Err(error) => return (name.to_owned(), Err(unreadable(name, &error))),
    };
    let ran = match load(&graph, settings) {
        Ok(file) => rehearse(&file, CATALOG).await,
        Err(found) => Err(found),
    };
    (graph.path, ran)
}

fn has_passed(ran: &Rehearsal, minimum: Option<u8>) -> bool {
    ran.tests.iter().all(|test| test.mismatches.is_empty()) && is_enough(ran, minimum)
}

fn is_enough(ran: &Rehearsal, minimum: Option<u8>) -> bool {
    ran.coverage.covered * 100 >= ran.coverage.total * usize::from(minimum.unwrap_or(0))
}

fn report(path: &str, ran: &Rehearsal, minimum: Option<u8>) -> String {
    let mut text = format!("{path}\n");
    for test in &ran.tests {
        let mark = if test.mismatches.is_empty() {
            "ok    "
        } else {
            "failed"
        };
        let _ = writeln!(text, "  {mark} {}", test.name);
        for mismatch in &test.mismatches {
            let Mismatch {
                what,
                expected,
                came,
                why,
            } = mismatch;
            let _ = writeln!(text, "         {what}: expected {expected}, came {came}");
            for line in why.as_ref().map(why_lines).unwrap_or_default() {
                let _ = writeln!(text, "           {line}");
            }
        }
    }
    if ran.tests.is_empty() {
        text.push_str("  there are no tests: add `[[tests]]` to the file\n");
    }
    let coverage = &ran.coverage;
    let _ = writeln!(
        text,
        "  coverage {} %: {} of {}",
        coverage.percent, coverage.covered, coverage.total
    );
    for gap in &coverage.gaps {
        let _ = writeln!(text, "         {gap}");
    }
    if let (Some(minimum), false) = (minimum, is_enough(ran, minimum)) {
        let _ = writeln!(
            text,
            "  failed: the coverage has to be {minimum} % at least"
        );
    }
    text
}

fn why_lines(why: &Why) -> Vec<String> {
    let text = match why {
        Why::Edges(edges) => {
            let line = |edge: &EdgeDecision| {
                let taken = if edge.taken { "taken" } else { "not taken" };
                format!(
                    "{} -> {} is {taken}: {}",
                    edge.from,
                    edge.to,
                    edge_text(edge)
                )
            };
            return edges.iter().map(line).collect();
        }
        Why::Stage(Reason::ConditionFalse { expression, values }) => {
            format!("`{expression}` is false: {}", values_text(values))
        }
        Why::Stage(reason) => reason_text(reason),
        Why::Error(error) => error.clone(),
    };
    text.lines().map(str::to_owned).collect()
}

fn edge_text(decision: &EdgeDecision) -> String {
    let from = format!("{} is {}", decision.from, decision.outcome.name());
    match &decision.because {
        EdgeReason::Unconditional => format!("{from}, and the edge has no condition"),
        EdgeReason::Outcome => format!("{from}, which the edge's `on` does not name"),
        EdgeReason::Condition { expression, values } => {
            let holds = decision.taken;
            format!("`{expression}` is {holds}: {}", values_text(values))
        }
        EdgeReason::ConditionFailed {
            expression,
            values,
            error,
        } => format!("`{expression}` {error}: {}", values_text(values)),
        EdgeReason::NothingEnabled => "nothing behind it is enabled".to_owned(),
        EdgeReason::Else {
            sibling_taken: true,
        } => "it is the `else` edge, and another one was taken".to_owned(),
        EdgeReason::Else {
            sibling_taken: false,
        } => "it is the `else` edge, and no other one was taken".to_owned(),
    }
}

fn values_text(values: &BTreeMap<String, Value>) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|(path, value)| format!("{path} = {value}"))
        .collect();
    values.join(", ")
}
