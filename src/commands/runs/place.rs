//! Where runs are: in this machine's store, or at a gateway. Both do the same, and what is printed does not tell.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::Value;
use uuid::Uuid;

use crate::cli::{LogsArgs, RetryArgs};
use crate::error::{Error, Result};
use crate::graph::diff::GraphDiff;
use crate::graph::event::{Artifact, RunStatus};
use crate::graph::explain::Explanation;
use crate::model::run::{LogLine, RunDocument, RunSummary};

/// Takes events with their numbers, until it has enough.
pub type Events<'a> = &'a mut dyn FnMut(i64, &str) -> Result<ControlFlow<()>>;

/// Takes lines of a log.
pub type Lines<'a> = &'a mut dyn FnMut(LogLine) -> Result<()>;

/// An answer to a question.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The question's id.
    pub question: &'a str,
    /// One of its choices.
    pub chosen: &'a str,
    /// Who answers, if somebody says so.
    pub by: Option<&'a str>,
}

/// Who answers where nobody says so.
pub const NOBODY_SAYS: &str = "command line";

/// Why a run is not retried.
#[derive(Debug)]
pub enum Refused {
    /// Its graph means something else now.
    Drift(Error, Box<GraphDiff>),
    /// Something else is in the way.
    Error(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Where runs are. What makes a run go on gives it when it ended, parked or was interrupted, with its progress shown on the way.
pub trait Place {
    /// Lets hold what holds where nobody answered in time, in a run or in all.
    async fn settle(&self, run: Option<Uuid>) -> Result<()>;

    /// Lists the newest runs.
    async fn list(&self, limit: u32) -> Result<Vec<RunSummary>>;

    /// Gives a run.
    async fn document(&self, run: Uuid) -> Result<RunDocument>;

    /// Says whether a run stands as running and no process executes it, as far as that can be seen from here.
    async fn is_interrupted(&self, run: Uuid, status: RunStatus) -> Result<bool>;

    /// Says where a run's files are.
    fn files(&self, run: Uuid) -> PathBuf;

    /// Gives a run's events behind a number: all that are recorded, or all until the run is over.
    async fn events(&self, run: Uuid, after: i64, follow: bool, to: Events<'_>) -> Result<()>;

    /// Gives lines of a run's log.
    async fn logs(&self, asked: &LogsArgs, to: Lines<'_>) -> Result<()>;

    /// Says why a stage has the status it has.
    async fn explain(&self, run: Uuid, stage: &str) -> Result<Explanation>;

    /// Gives the bytes of a run's file.
    async fn read(&self, run: Uuid, file: &Artifact) -> Result<Vec<u8>>;

    /// Cancels a run, and gives it as it is then.
    async fn cancel(&self, run: Uuid) -> Result<RunDocument>;

    /// Makes a retry of a run and sees it through.
    async fn retry(&self, asked: &RetryArgs) -> Result<RunDocument, Refused>;

    /// Makes a validation of a run and sees it through; the job has connection strings that the run could not keep.
    async fn validate(&self, run: Uuid, job: Option<Value>) -> Result<RunDocument>;

    /// Answers a question of a waiting run and sees the run through.
    async fn answer(&self, run: Uuid, choice: Choice<'_>) -> Result<RunDocument>;
}

/// Saves a run's files in a folder, which is made where it is missing.
///
/// # Errors
/// A file cannot be had, or cannot be written.
pub async fn save(place: &impl Place, run: Uuid, files: &[Artifact], to: &Path) -> Result<()> {
    let failed = |path: &Path, error: std::io::Error| {
        let message = format!("cannot write {}", path.display());
        Error::new(crate::error::ErrorKind::Failed, message)
            .because(error)
            .hint("choose another folder with --to")
    };
    std::fs::create_dir_all(to).map_err(|error| failed(to, error))?;
    for file in files {
        let bytes = place.read(run, file).await?;
        let path = to.join(&file.name);
        // A gateway that is not to be trusted names no file outside the folder.
        if Path::new(&file.name).file_name() != Some(file.name.as_ref()) {
            let error = std::io::Error::other("it is no file's name");
            return Err(failed(&path, error));
        }
        std::fs::write(&path, bytes).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
