//! The gateway's graphs: each is read and planned once, and once more when a file that it is made of changes.
//!
//! ```text
//! get(name) ── files as they were? ──► the graph as it was planned
//!                  │ no
//!                  ▼
//!              read, plan ── sound ──► the graph from now on
//!                  └──────── defects ─► what it was before, and the defects beside it
//! ```
//!
//! A file that is edited can be half written for a moment: what was sound last keeps serving until the file is sound again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use super::graphs::{self, GraphOrigin, GraphSource};
use super::run::{Launch, one_text};
use crate::error::{Error, ErrorKind};
use crate::graph::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::graph::file::GraphFile;
use crate::graph::handler::Catalog;
use crate::graph::plan::{Plan, Selection};
use crate::settings::Settings;
use crate::store::sha256;

/// How long after its last change a file can change again without a trace: the times of some file systems have whole seconds.
const SETTLES_AFTER: u64 = 2;

/// A graph that was read and planned.
#[derive(Debug)]
pub struct ReadyGraph {
    /// Its file.
    pub source: GraphSource,
    /// The one text that a run keeps.
    pub text: String,
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    file: GraphFile,
    plan: Plan,
    catalog: Catalog,
}

impl ReadyGraph {
    /// Reads and plans a graph.
    ///
    /// # Errors
    /// The graph file, or one that it extends, has defects: all of them.
    pub fn new(source: GraphSource, launch: &Launch) -> Result<Self, Diagnostics> {
        let file = graphs::load(&source, launch.settings())?;
        Self::planned(source, file, launch.catalog())
    }

    fn planned(
        source: GraphSource,
        file: GraphFile,
        catalog: Catalog,
    ) -> Result<Self, Diagnostics> {
        let plan = Plan::build(&file, catalog)?;
        Ok(Self {
            text: one_text(&source, &file),
            sha256: sha256(&source.bytes),
            source,
            file,
            plan,
            catalog,
        })
    }

    /// Gives the plan of the whole graph.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Plans the graph without what a job leaves out.
    ///
    /// # Errors
    /// What is left out is no part of the graph, or what remains cannot run.
    pub fn select(&self, selection: &Selection) -> Result<Plan, Diagnostics> {
        Plan::select(&self.file, self.catalog, selection)
    }

    /// Checks that the graph can run without what a job leaves out.
    ///
    /// # Errors
    /// As [`Self::select`].
    pub fn check(&self, selection: &Selection) -> Result<(), Diagnostics> {
        if *selection == Selection::default() {
            return Ok(());
        }
        self.select(selection).map(|_| ())
    }
}

/// Why a graph cannot be run.
#[derive(Debug)]
pub enum Unusable {
    /// It is not there, or its file cannot be read.
    Error(Error),
    /// Its file has defects, and was never sound since the gateway started.
    Defects(Diagnostics),
}

impl From<Error> for Unusable {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What is wrong with a graph's file as it is now.
#[derive(Debug, Clone)]
pub enum Defect {
    /// It cannot be read, in words.
    Unreadable(String),
    /// It has defects.
    Defects(Diagnostics),
}

impl Defect {
    /// Says it in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Unreadable(text) => text.clone(),
            Self::Defects(found) => {
                let all = found.list();
                let is_error = |found: &&&Diagnostic| found.severity == Severity::Error;
                let Some(first) = all.iter().find(is_error).or(all.first()) else {
                    return String::new();
                };
                let more = all.len() - 1 + found.left_out();
                let more = match more {
                    0 => String::new(),
                    more => format!(", and {more} more"),
                };
                let Diagnostic {
                    file,
                    line,
                    column,
                    message,
                    ..
                } = first;
                format!("{file}:{line}:{column}: {message}{more}")
            }
        }
    }
}

/// A graph as it stands on the shelf.
#[derive(Debug, Clone)]
pub struct Shelved {
    /// Its name.
    pub name: String,
    /// Where its file is.
    pub origin: GraphOrigin,
    /// What new runs get; none where the file was never sound.
    pub ready: Option<Arc<ReadyGraph>>,
    /// What is wrong with the file as it is now.
    pub defect: Option<Defect>,
}

/// A file as it was when it was looked at; none where there was none.
type Stamp = Option<Seen>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    len: u64,
    inode: u64,
    device: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn new(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            inode: metadata.ino(),
            device: metadata.dev(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file could have changed since without a trace.
    fn is_fresh(&self, now: u64) -> bool {
        let changed = u64::try_from(self.changed.0).unwrap_or(0);
        changed.saturating_add(SETTLES_AFTER) >= now
    }
}

fn stamp(path: &Path) -> Stamp {
    std::fs::metadata(path).ok().as_ref().map(Seen::new)
}

fn seconds_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(u64::MAX, |now| now.as_secs())
}

#[derive(Debug)]
struct Entry {
    /// The files that the graph is made of, and the places where such a file would have been found first.
    stamps: Vec<(PathBuf, Stamp)>,
    /// Whether a change would show in the stamps.
    is_settled: bool,
    origin: GraphOrigin,
    ready: Option<Arc<ReadyGraph>>,
    defect: Option<Defect>,
}

impl Entry {
    fn is_current(&self) -> bool {
        self.is_settled && self.stamps.iter().all(|(path, seen)| stamp(path) == *seen)
    }

    fn usable(&self) -> Result<Arc<ReadyGraph>, Unusable> {
        match (&self.ready, &self.defect) {
            (Some(ready), _) => Ok(Arc::clone(ready)),
            (None, Some(Defect::Defects(found))) => Err(Unusable::Defects(found.clone())),
            (None, Some(Defect::Unreadable(text))) => {
                Err(Error::new(ErrorKind::Configuration, text.clone()).into())
            }
            (None, None) => Err(Error::new(ErrorKind::Internal, "a graph without a plan").into()),
        }
    }
}

/// The graphs that jobs can name.
#[derive(Debug)]
pub struct Shelf {
    settings: Settings,
    catalog: Catalog,
    entries: RwLock<HashMap<String, Arc<Entry>>>,
}

impl Shelf {
    /// Makes an empty shelf; each graph is read when it is first asked for.
    #[must_use]
    pub fn new(launch: &Launch) -> Self {
        Self {
            settings: launch.settings().clone(),
            catalog: launch.catalog(),
            entries: RwLock::default(),
        }
    }

    /// Gives a graph as new runs get it.
    ///
    /// # Errors
    /// There is no such graph, or its file was never sound.
    pub fn get(&self, name: &str) -> Result<Arc<ReadyGraph>, Unusable> {
        self.entry(name)?.usable()
    }

    /// Lists the graphs that have a name, sorted, each as it is now.
    #[must_use]
    pub fn list(&self) -> Vec<Shelved> {
        let names = graphs::list(&self.settings);
        let shelved = names.into_iter().filter_map(|(name, _)| {
            // One that went away in between is not there.
            let entry = self.entry(&name).ok()?;
            Some(Shelved {
                name,
                origin: entry.origin,
                ready: entry.ready.clone(),
                defect: entry.defect.clone(),
            })
        });
        shelved.collect()
    }

    /// Reads again what changed, so that a file that breaks later has its last good form.
    pub fn refresh(&self) {
        for (name, _) in graphs::list(&self.settings) {
            // One that went away in between is not there.
            let _ = self.entry(&name);
        }
    }

    /// Counts the graphs whose files have defects now.
    #[must_use]
    pub fn broken(&self) -> usize {
        let graphs = self.list();
        graphs.iter().filter(|graph| graph.defect.is_some()).count()
    }

    fn entry(&self, name: &str) -> Result<Arc<Entry>, Error> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let before = entries.get(name).cloned();
        drop(entries);
        if let Some(entry) = &before
            && entry.is_current()
        {
            return Ok(Arc::clone(entry));
        }
        let entry = self.read(name, before.as_deref());
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        match entry {
            Ok(entry) => {
                let entry = Arc::new(entry);
                tell(name, before.as_deref(), &entry);
                entries.insert(name.to_owned(), Arc::clone(&entry));
                Ok(entry)
            }
            Err(error) => {
                entries.remove(name);
                Err(error)
            }
        }
    }

    /// Reads a graph anew. One that is not there is an error, and so is nothing else.
    fn read(&self, name: &str, before: Option<&Entry>) -> Result<Entry, Error> {
        let own = self.settings.graphs.join(format!("{name}.toml"));
        // Looked at before it is read: a change in between shows next time.
        let stamps = RefCell::new(vec![(own.clone(), stamp(&own))]);
        let last = before.and_then(|entry| entry.ready.clone());
        let (origin, read) = match graphs::named(name, &self.settings) {
            Ok(source) => {
                let look = |path: &Path| stamps.borrow_mut().push((path.to_owned(), stamp(path)));
                let read = graphs::load_noting(&source, &self.settings, &look)
                    .and_then(|file| ReadyGraph::planned(source.clone(), file, self.catalog))
                    .map_err(Defect::Defects);
                (source.origin, read)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            Err(error) => (
                GraphOrigin::File,
                Err(Defect::Unreadable(error.to_string())),
            ),
        };
        let stamps = stamps.into_inner();
        let now = seconds_now();
        let is_settled = stamps
            .iter()
            .all(|(_, stamp)| stamp.is_none_or(|seen| !seen.is_fresh(now)));
        let (ready, defect) = match read {
            Ok(ready) => (Some(Arc::new(ready)), None),
            Err(defect) => (last, Some(defect)),
        };
        Ok(Entry {
            stamps,
            is_settled,
            origin,
            ready,
            defect,
        })
    }
}

/// Logs what a change of a graph's file did, once.
fn tell(graph: &str, before: Option<&Entry>, now: &Entry) {
    let summary = |entry: &Entry| entry.defect.as_ref().map(Defect::summary);
    let text = |entry: &Entry| entry.ready.as_ref().map(|ready| ready.text.clone());
    let (was_wrong, is_wrong) = (before.and_then(summary), summary(now));
    if let Some(wrong) = is_wrong {
        if was_wrong.as_ref() != Some(&wrong) {
            let keeps = now.ready.is_some();
            tracing::warn!(graph, keeps_the_last_good_one = keeps, "{wrong}");
        }
    } else if was_wrong.is_some() {
        tracing::info!(graph, "the graph is sound again");
    } else if before.is_some_and(|before| text(before) != text(now)) {
        tracing::info!(graph, "the graph changed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::tests::launch;

    const SOUND: &str = "name = \"ours\"\ninput = \"job\"\n[stages.look]\n";

    fn file(shelf: &Shelf, name: &str) -> PathBuf {
        shelf.settings.graphs.join(name)
    }

    fn text(shelf: &Shelf) -> String {
        shelf.get("ours").expect("a graph").text.clone()
    }

    async fn shelf(home: &Path) -> Shelf {
        let shelf = Shelf::new(&launch(home).await);
        std::fs::create_dir_all(&shelf.settings.graphs).unwrap();
        shelf
    }

    #[tokio::test]
    async fn a_change_shows_and_a_mistake_keeps_what_was_sound() {
        let home = tempfile::tempdir().unwrap();
        let shelf = shelf(home.path()).await;
        let ours = file(&shelf, "ours.toml");
        assert!(matches!(shelf.get("ours"), Err(Unusable::Error(_))));
        std::fs::write(&ours, "name = \"ours\"\n[stages.lok]\n").unwrap();
        assert!(matches!(shelf.get("ours"), Err(Unusable::Defects(_))));
        std::fs::write(&ours, SOUND).unwrap();
        assert_eq!(text(&shelf), SOUND);
        let wrong = SOUND.replace("look", "lokk");
        std::fs::write(&ours, wrong).unwrap();
        assert_eq!(text(&shelf), SOUND);
        let listed = shelf.list();
        let listed = listed.iter().find(|graph| graph.name == "ours").unwrap();
        assert!(listed.defect.is_some() && listed.ready.is_some());
        let other = format!("{SOUND}# another\n");
        std::fs::write(&ours, &other).unwrap();
        assert_eq!(text(&shelf), other);
        let listed = shelf.list();
        let listed = listed.iter().find(|graph| graph.name == "ours").unwrap();
        assert!(listed.defect.is_none());
        std::fs::remove_file(&ours).unwrap();
        assert!(matches!(shelf.get("ours"), Err(Unusable::Error(_))));
    }

    #[tokio::test]
    async fn a_graph_changes_with_what_it_extends_and_what_hides_that() {
        let home = tempfile::tempdir().unwrap();
        let shelf = shelf(home.path()).await;
        let (ours, base) = (file(&shelf, "ours.toml"), file(&shelf, "base.toml"));
        std::fs::write(&ours, "name = \"ours\"\nextends = \"base\"\n").unwrap();
        assert!(matches!(shelf.get("ours"), Err(Unusable::Defects(_))));
        let base_text = SOUND.replace("ours", "base");
        std::fs::write(&base, &base_text).unwrap();
        assert!(!text(&shelf).contains("concurrency"));
        std::fs::write(
            &base,
            base_text.replace("[stages", "concurrency = 3\n[stages"),
        )
        .unwrap();
        assert!(text(&shelf).contains("concurrency = 3"));
    }

    #[tokio::test]
    async fn a_graph_whose_files_are_as_they_were_is_not_read_again() {
        let home = tempfile::tempdir().unwrap();
        let shelf = shelf(home.path()).await;
        let ours = file(&shelf, "ours.toml");
        std::fs::write(&ours, SOUND).unwrap();
        let first = shelf.get("ours").unwrap();
        let entry = shelf.entry("ours").unwrap();
        // Right after a change, times cannot tell: it is read again, until they can.
        assert!(!entry.is_settled);
        let settled = Entry {
            stamps: entry.stamps.clone(),
            is_settled: true,
            origin: entry.origin,
            ready: Some(Arc::clone(&first)),
            defect: None,
        };
        assert!(settled.is_current());
        let mut entries = shelf.entries.write().unwrap();
        entries.insert("ours".to_owned(), Arc::new(settled));
        drop(entries);
        assert!(Arc::ptr_eq(&first, &shelf.get("ours").unwrap()));
        std::fs::write(&ours, format!("{SOUND}\n")).unwrap();
        assert!(!Arc::ptr_eq(&first, &shelf.get("ours").unwrap()));
    }

    #[tokio::test]
    async fn names_that_lead_elsewhere_leave_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let shelf = shelf(home.path()).await;
        for name in ["../ours", "OURS", "", "nope"] {
            assert!(shelf.get(name).is_err(), "{name}");
        }
        assert!(shelf.entries.read().unwrap().is_empty());
        assert!(
            shelf.get("default").is_err(),
            "the tests' handlers are others"
        );
        assert_eq!(shelf.entries.read().unwrap().len(), 1);
    }
}
