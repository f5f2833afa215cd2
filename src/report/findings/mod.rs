//! Findings in graph files, as other programs read them.

pub mod github;
pub mod sarif;

use crate::graph::diagnostic::{Diagnostic, Diagnostics};

/// Gives the findings of several graphs, each once: graphs that extend the same file share its findings.
#[must_use]
pub fn distinct<'a>(found: impl Iterator<Item = &'a Diagnostics>) -> Vec<Diagnostic> {
    let mut findings: Vec<Diagnostic> = Vec::new();
    for finding in found.flat_map(Diagnostics::all) {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// Gives a finding's text with the next step.
fn text(finding: &Diagnostic) -> String {
    match &finding.help {
        Some(help) => format!("{}\n{help}", finding.message),
        None => finding.message.clone(),
    }
}

/// Gives a path as code scanning compares it with a repository's: without a dot in front.
fn path(finding: &Diagnostic) -> &str {
    finding.file.strip_prefix("./").unwrap_or(&finding.file)
}

#[cfg(test)]
mod tests;
