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

#[cfg(test)]
mod tests;
