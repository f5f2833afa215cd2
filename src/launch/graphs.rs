//! From a graph's name to its text: the team's own folder first, then the graphs inside the binary.

use std::collections::BTreeMap;
use std::path::Path;

use include_dir::{Dir, include_dir};
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::file::{GraphFile, MAX_BYTES};
use crate::settings::Settings;

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/graphs");

/// Begins the paths of shipped graphs in diagnostics.
const SHIPPED_PATH: &str = "shipped:";

/// Where a graph came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GraphOrigin {
    /// Inside the binary.
    Shipped,
    /// The folder of the settings, or a path.
    File,
}

/// A graph file's text and where it came from.
#[derive(Debug, Clone)]
pub struct GraphSource {
    /// Its name, or for a path the file's name without its end.
    pub name: String,
    /// What diagnostics call the file.
    pub path: String,
    /// Its bytes, not yet parsed.
    pub bytes: Vec<u8>,
    /// Where it came from.
    pub origin: GraphOrigin,
}

/// Finds a graph by its name, or by the path of a file that ends in `.toml`.
///
/// # Errors
/// There is no such graph, or its file cannot be read.
pub fn find(name_or_path: &str, settings: &Settings) -> Result<GraphSource> {
    let path = Path::new(name_or_path);
    if path.extension().is_some_and(|end| end == "toml") {
        return at(path);
    }
    named(name_or_path, settings).map_err(|error| error.hint("a path to a file ends in .toml"))
}

/// Reads the graph file at a path.
///
/// # Errors
/// There is no such file, or it cannot be read.
pub fn at(path: &Path) -> Result<GraphSource> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    read(&name, path)
}

/// Finds a graph by its name only, as a caller over HTTP gives it.
///
/// # Errors
/// There is no such graph, or its file cannot be read.
pub fn named(name: &str, settings: &Settings) -> Result<GraphSource> {
    if !is_name(name) {
        return Err(unknown(name, settings));
    }
    let file = settings.graphs.join(format!("{name}.toml"));
    if file.is_file() {
        return read(name, &file);
    }
    shipped(name).ok_or_else(|| unknown(name, settings))
}

/// Reads a graph with those that it extends. Each is looked for beside the file that extends it, in the folder of graphs, and
/// among the shipped ones; a file that extends its own name means the shipped graph.
///
/// # Errors
/// One of the files cannot be read as a graph file, or is not there.
pub fn load(graph: &GraphSource, settings: &Settings) -> Result<GraphFile, Diagnostics> {
    load_noting(graph, settings, &|_| ())
}

/// Reads a graph as [`load`] does, and tells before it looks for a file where it looks.
pub(super) fn load_noting(
    graph: &GraphSource,
    settings: &Settings,
    look: &dyn Fn(&Path),
) -> Result<GraphFile, Diagnostics> {
    let first = match graph.origin {
        GraphOrigin::Shipped => shipped_path(&graph.path),
        GraphOrigin::File => graph.path.clone(),
    };
    GraphFile::load(&first, &graph.bytes, &|name, from| {
        base(name, Some(Path::new(from)), settings, look)
    })
}

/// Reads a graph that a caller sent. What it calls its file is for messages only: nothing is looked for beside it.
///
/// # Errors
/// As [`load`].
pub fn load_sent(file: &str, text: &str, settings: &Settings) -> Result<GraphFile, Diagnostics> {
    GraphFile::load(file, text.as_bytes(), &|name, from| {
        let from = (from != file).then(|| Path::new(from));
        base(name, from, settings, &|_| ())
    })
}

fn base(
    name: &str,
    from: Option<&Path>,
    settings: &Settings,
    look: &dyn Fn(&Path),
) -> Option<(String, Vec<u8>)> {
    let file_name = format!("{name}.toml");
    let is_shipped = from.is_some_and(|from| from.to_string_lossy().starts_with(SHIPPED_PATH));
    let from = from.filter(|_| !is_shipped);
    let beside = from.map(|from| from.with_file_name(&file_name));
    let in_folder = (!is_shipped).then(|| settings.graphs.join(&file_name));
    let itself = from.and_then(|from| from.canonicalize().ok());
    let found = [beside, in_folder]
        .into_iter()
        .flatten()
        .inspect(|path| look(path))
        .filter(|path| path.is_file() && path.canonicalize().ok() != itself)
        .find_map(|path| read(name, &path).ok());
    match found {
        Some(found) => Some((found.path, found.bytes)),
        None => shipped(name).map(|found| (shipped_path(&found.path), found.bytes)),
    }
}

/// What diagnostics call a shipped graph that another extends: a file of the same name can be beside it.
fn shipped_path(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("{SHIPPED_PATH}{name}")
}

/// Gives a graph that is part of the program.
#[must_use]
pub fn shipped(name: &str) -> Option<GraphSource> {
    let file_name = format!("{name}.toml");
    let file = SHIPPED.get_file(&file_name)?;
    Some(GraphSource {
        name: name.to_owned(),
        path: format!("graphs/{file_name}"),
        bytes: file.contents().to_vec(),
        origin: GraphOrigin::Shipped,
    })
}

/// Lists the graphs that have a name, sorted; a file of the folder hides a shipped one.
#[must_use]
pub fn list(settings: &Settings) -> Vec<(String, GraphOrigin)> {
    let mut graphs = BTreeMap::new();
    for file in SHIPPED.files() {
        if let Some(name) = graph_name(file.path()) {
            graphs.insert(name, GraphOrigin::Shipped);
        }
    }
    // A folder that is not there, or that cannot be read, holds no graphs of its own.
    for entry in std::fs::read_dir(&settings.graphs)
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Some(name) = graph_name(&entry.path()) {
            graphs.insert(name, GraphOrigin::File);
        }
    }
    graphs.into_iter().collect()
}

/// Gives the candidate that is most like a word, if one is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

fn read(name: &str, path: &Path) -> Result<GraphSource> {
    let unreadable = |what: &str| {
        Error::new(
            ErrorKind::Configuration,
            format!("cannot read the graph file {}{what}", path.display()),
        )
        .hint("see that the path is right and that relvec may read the file")
    };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable("").because(error))?;
    if !metadata.is_file() {
        return Err(unreadable(": it is no file"));
    }
    if metadata.len() > MAX_BYTES as u64 {
        return Err(unreadable(": it is larger than a graph file can be"));
    }
    Ok(GraphSource {
        name: name.to_owned(),
        path: path.display().to_string(),
        bytes: std::fs::read(path).map_err(|error| unreadable("").because(error))?,
        origin: GraphOrigin::File,
    })
}

fn unknown(name: &str, settings: &Settings) -> Error {
    let known: Vec<String> = list(settings).into_iter().map(|(name, _)| name).collect();
    let shown: String = name.chars().take(63).collect();
    let error = Error::new(ErrorKind::NotFound, format!("there is no graph `{shown}`"));
    let error = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    error.hint(format!("the graphs are: {}", known.join(", ")))
}

fn graph_name(path: &Path) -> Option<String> {
    let name = path.file_stem()?.to_str()?;
    (path.extension()? == "toml" && is_name(name)).then(|| name.to_owned())
}

/// Whether a text is `[a-z][a-z0-9_-]{0,62}`: names become file names and URL paths.
fn is_name(name: &str) -> bool {
    let rest = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
    };
    name.len() <= 63
        && name.bytes().all(rest)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::flat::to_toml;
    use crate::launch::tests::settings;

    fn flat(name: &str, settings: &Settings) -> String {
        let graph = named(name, settings).expect("a graph");
        match load(&graph, settings) {
            Ok(file) => to_toml(&file),
            Err(found) => panic!("{}", found.render(false)),
        }
    }

    #[test]
    fn a_team_extends_its_own_graphs_and_the_shipped_ones() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(home.path());
        std::fs::create_dir(&settings.graphs).unwrap();
        for (name, text) in [
            ("default", "concurrency = 7"),
            ("ours", "deadline = \"1h\""),
        ] {
            let text = format!("name = \"{name}\"\nextends = \"default\"\n{text}\n");
            std::fs::write(settings.graphs.join(format!("{name}.toml")), text).unwrap();
        }
        let default = flat("default", &settings);
        assert!(default.contains("concurrency = 7\n"), "{default}");
        assert!(default.contains("\"collect_metadata\""), "{default}");
        let ours = flat("ours", &settings);
        assert!(
            ours.contains("concurrency = 7\ndeadline = \"1h\"\n"),
            "{ours}"
        );
        assert!(ours.contains("\"collect_metadata\""), "{ours}");
    }

    #[test]
    fn only_who_can_name_a_file_is_told_to() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(home.path());
        for (missing, is_told) in [
            (find("nope", &settings), true),
            (named("nope", &settings), false),
        ] {
            let hints = missing.unwrap_err().hints().join("; ");
            assert!(hints.contains("the graphs are: default"), "{hints}");
            assert_eq!(hints.contains(".toml"), is_told, "{hints}");
        }
    }

    #[test]
    fn nothing_is_looked_for_beside_what_a_caller_sent() {
        let home = tempfile::tempdir().unwrap();
        let settings = settings(home.path());
        let secret = home.path().join("secret.toml");
        std::fs::write(&secret, "name = \"secret\"\n").unwrap();
        let label = home.path().join("sent.toml");
        let text = "name = \"sent\"\nextends = \"secret\"\n";
        let found = load_sent(&label.to_string_lossy(), text, &settings).expect_err("not there");
        assert_eq!(found.list()[0].code, "extends-missing");
    }
}
