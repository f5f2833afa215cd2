//! `relvec validate`: everything that is wrong with graph files, for people and for programs.

use std::io::Read as _;
use std::mem::ManuallyDrop;
use std::path::Path;

use super::{print_json, show};
use crate::cli::{FindingsFormat, ValidateArgs};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::{Diagnostics, Severity};
use crate::graph::file::MAX_BYTES;
use crate::graph::plan::Plan;
use crate::handlers::CATALOG;
use crate::launch::graphs::{self, GraphOrigin, GraphSource};
use crate::report::findings::{distinct, github, sarif};
use crate::settings::{Settings, colored};

/// What diagnostics call standard input.
const STDIN: &str = "<stdin>";

/// What was found in a file.
struct Checked {
    path: String,
    found: Diagnostics,
    /// Stages and edges, where the graph is sound.
    size: Option<(usize, usize)>,
}

/// Checks graph files, all of them, and prints every finding. Gives 0 where all are sound, 1 where one has an error (or with
/// `--strict` a warning), and 78 where one cannot be read.
///
/// # Errors
/// An argument is a folder, or standard input is named twice.
pub fn validate(args: &ValidateArgs, settings: &Settings) -> Result<u8> {
    refuse(args)?;
    let checked: Vec<Checked> = args
        .files
        .iter()
        .map(|path| check(path, args.strict, settings))
        .collect();
    let findings = distinct(checked.iter().map(|it| &it.found));
    match args.format {
        FindingsFormat::Human => print_human(&checked)?,
        FindingsFormat::Json => print_json(&findings)?,
        FindingsFormat::Sarif => {
            let readable = !checked.iter().any(|it| it.found.is_unreadable());
            print_json(&sarif::log(&findings, readable))?;
        }
        FindingsFormat::Github => show(&github::annotations(&findings))?,
    }
    let code = |it: &Checked| match (it.found.is_unreadable(), it.found.has_errors()) {
        (true, _) => ErrorKind::Configuration.exit_code(),
        (false, true) => ErrorKind::Invalid.exit_code(),
        (false, false) => 0,
    };
    Ok(checked.iter().map(code).max().unwrap_or(0))
}

/// Refuses what cannot be meant.
fn refuse(args: &ValidateArgs) -> Result<()> {
    if let Some(folder) = args.files.iter().find(|path| path.is_dir()) {
        let folder = folder.display();
        return Err(
            Error::new(ErrorKind::Usage, format!("{folder} is a folder"))
                .hint(format!("name the files in it: {folder}/*.toml")),
        );
    }
    if args.files.iter().filter(|path| is_stdin(path)).count() > 1 {
        let message = "standard input can be read only once";
        return Err(Error::new(ErrorKind::Usage, message).hint("name `-` once"));
    }
    Ok(())
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn check(path: &Path, strict: bool, settings: &Settings) -> Checked {
    let graph = match read(path, settings) {
        Ok(graph) => graph,
        Err(error) => return unread(path, &error),
    };
    // The program ends soon, and to take a large graph apart again would be a tenth of its time.
    let file = ManuallyDrop::new(graphs::load(&graph, settings));
    let plan = file.as_ref().map_err(Clone::clone);
    let plan = ManuallyDrop::new(plan.and_then(|file| Plan::build(file, CATALOG)));
    let (mut found, size) = match &*plan {
        Ok(plan) => {
            let size = (plan.stages().len(), plan.edges().len());
            (plan.warnings().clone(), Some(size))
        }
        Err(found) => (found.clone(), None),
    };
    if strict {
        found.harden();
    }
    Checked {
        path: graph.path,
        size: size.filter(|_| !found.has_errors()),
        found,
    }
}

/// Reads a file, standard input, or a graph that has a name.
fn read(path: &Path, settings: &Settings) -> Result<GraphSource> {
    if is_stdin(path) {
        let mut bytes = Vec::new();
        // One byte more than a graph file may have: the check of its size finds it.
        let limit = MAX_BYTES as u64 + 1;
        std::io::stdin()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| {
                let message = "cannot read standard input";
                Error::new(ErrorKind::Configuration, message).because(error)
            })?;
        return Ok(GraphSource {
            name: STDIN.to_owned(),
            path: STDIN.to_owned(),
            bytes,
            origin: GraphOrigin::File,
        });
    }
    if path.is_file() {
        return graphs::at(path);
    }
    graphs::find(&path.to_string_lossy(), settings)
}

fn unread(path: &Path, error: &Error) -> Checked {
    let path = path.to_string_lossy().into_owned();
    Checked {
        found: unreadable(&path, error),
        path,
        size: None,
    }
}

/// Reports a file that cannot be read like any other finding: no format is silent about it.
pub(super) fn unreadable(path: &str, error: &Error) -> Diagnostics {
    let mut found = Diagnostics::new(path, "".into());
    let help = (!error.hints().is_empty()).then(|| error.hints().join("; "));
    found.error("unreadable", 0..0, error.to_string(), help);
    found
}

fn print_human(checked: &[Checked]) -> Result<()> {
    let color = colored(&std::io::stdout());
    for (place, it) in checked.iter().enumerate() {
        let drawn = it.found.render(color);
        // What is drawn takes several lines: an empty one ends it.
        let apart = if drawn.is_empty() || (it.size.is_none() && place + 1 == checked.len()) {
            ""
        } else {
            "\n"
        };
        show(&format!("{drawn}{apart}"))?;
        if let Some((stages, edges)) = it.size {
            let path = &it.path;
            show(&format!("{path}: sound, {stages} stages, {edges} edges\n"))?;
        }
    }
    if checked.len() > 1 {
        show(&totals(checked))?;
    }
    Ok(())
}

fn totals(checked: &[Checked]) -> String {
    let sound = checked.iter().filter(|it| it.size.is_some()).count();
    let files = checked.len();
    let counted = |severity, one: &str| {
        let findings = checked.iter().map(|it| it.found.count(severity));
        match findings.sum::<usize>() {
            1 => format!("1 {one}"),
            number => format!("{number} {one}s"),
        }
    };
    let errors = counted(Severity::Error, "error");
    let warnings = counted(Severity::Warning, "warning");
    let more = match checked.iter().map(|it| it.found.left_out()).sum::<usize>() {
        0 => String::new(),
        number => format!(", and {number} more"),
    };
    format!("{files} files: {sound} sound, {errors}, {warnings}{more}\n")
}
