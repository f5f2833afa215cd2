//! `relvec diff`: two graphs, compared by meaning.

use super::graphs::planned;
use super::{print_json, show};
use crate::cli::{DiffArgs, Format};
use crate::error::Result;
use crate::graph::diff;
use crate::graph::plan::Selection;
use crate::settings::Settings;

/// Compares two graphs and prints what differs. Gives 0 if nothing does, and 1 otherwise.
///
/// # Errors
/// There is no such graph, or one of them has defects.
pub fn diff(args: &DiffArgs, settings: &Settings) -> Result<u8> {
    let all = Selection::default();
    let before = planned(&args.before, &all, settings)?;
    let after = planned(&args.after, &all, settings)?;
    let found = diff::diff(&before, &after);
    match args.format {
        Format::Json => print_json(&found)?,
        Format::Human if found.is_empty() => show("the graphs mean the same\n")?,
        Format::Human => show(&found.to_string())?,
    }
    Ok(u8::from(!found.is_empty()))
}
