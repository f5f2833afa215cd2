//! Annotations of GitHub Actions: workflow commands, one a line.
//!
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>

use std::fmt::Write as _;

use super::{path, text};
use crate::graph::diagnostic::{Diagnostic, Severity};

/// Gives an `::error` or a `::warning` for each finding.
#[must_use]
pub fn annotations(findings: &[Diagnostic]) -> String {
    let mut lines = String::new();
    for finding in findings {
        let command = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let _ = writeln!(
            lines,
            "::{command} file={},line={},endLine={},col={},endColumn={},title={}::{}",
            property(path(finding)),
            finding.line,
            finding.end_line,
            finding.column,
            finding.end_column,
            property(finding.code),
            data(&text(finding))
        );
    }
    lines
}

/// Escapes what stands behind `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Escapes the value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
