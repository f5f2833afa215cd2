//! `relvec test`: the tests of graph files, without their handlers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

use serde_json::{Value, json};

use super::{print_json, show};
use crate::cli::{Format, TestArgs};
use crate::error::Result;
use crate::graph::event::{EdgeDecision, EdgeReason, Reason};
use crate::graph::rehearsal::{Mismatch, Rehearsal, Why, rehearse};
use crate::handlers::CATALOG;
use crate::launch::graphs::{find, load};
use crate::report::reason_text;
use crate::settings::Settings;

/// Runs the tests of graph files and prints what they gave. Gives 1 if one fails, a file has errors, or too little is covered.
///
/// # Errors
/// A file cannot be read.
pub async fn test(args: &TestArgs, settings: &Settings) -> Result<u8> {
    let color = std::io::stdout().is_terminal();
    let mut all = Vec::new();
    let mut failed = false;
    for name in &args.files {
        let graph = find(name, settings)?;
        let ran = match load(&graph, settings) {
            Ok(file) => rehearse(&file, CATALOG).await,
            Err(found) => Err(found),
        };
        let passed = ran
            .as_ref()
            .is_ok_and(|ran| has_passed(ran, args.min_coverage));
        failed |= !passed;
        match (args.format, &ran) {
            (Format::Human, Ok(ran)) => show(&report(&graph.path, ran, args.min_coverage))?,
            (Format::Human, Err(found)) => show(&found.render(color))?,
            (Format::Json, Ok(ran)) => all.push(json!({
                "file": graph.path,
                "passed": passed,
                "tests": ran.tests,
                "coverage": ran.coverage,
                "diagnostics": [],
            })),
            (Format::Json, Err(found)) => all.push(json!({
                "file": graph.path,
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
    Ok(u8::from(failed))
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
            if let Some(why) = why.as_ref().map(why_text).filter(|why| !why.is_empty()) {
                let _ = writeln!(text, "           {why}");
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

fn why_text(why: &Why) -> String {
    match why {
        Why::Stage(Reason::ConditionFalse { expression, values }) => {
            format!("`{expression}` is false: {}", values_text(values))
        }
        Why::Stage(Reason::NoEdgeTaken { edges }) => {
            let edges: Vec<String> = edges.iter().map(edge_text).collect();
            edges.join("; ")
        }
        Why::Stage(reason) => reason_text(reason),
        Why::Edge(decision) => edge_text(decision),
        Why::Error(error) => error.clone(),
    }
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
