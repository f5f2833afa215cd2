//! The files of a run where gateways on several machines share a store: its bytes are in the store too.

use std::path::Path;

use uuid::Uuid;

use super::run::Launch;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::event::{Artifact, Event};
use crate::store::{FileContent, StoredRun, make_private_folder, sha256};

/// The largest file whose bytes the store takes.
const MOST_BYTES: u64 = 256 << 20;

impl Launch {
    /// Gives the bytes of a run's file: those of the run's folder here, else those that the store has.
    ///
    /// # Errors
    /// Neither has them, or the store cannot be read.
    pub async fn read_file(&self, run_id: Uuid, file: &Artifact) -> Result<Vec<u8>> {
        let path = self.settings().artifacts(run_id).join(&file.name);
        let shared = self.store().is_shared();
        let gone = || {
            Error::new(
                ErrorKind::NotFound,
                format!("the file `{}` of run {run_id} is gone", file.name),
            )
        };
        let error = match tokio::fs::read(&path).await {
            Ok(bytes) if !shared || sha256(&bytes) == file.sha256 => return Ok(bytes),
            Ok(_) => gone(),
            Err(error) => gone().because(error),
        };
        if !shared {
            return Err(error);
        }
        let kept = self.store().content(run_id, &file.name).await?;
        kept.filter(|bytes| sha256(bytes) == file.sha256)
            .ok_or(error)
    }

    /// Brings the files that a run wrote on another machine into its folder here.
    ///
    /// # Errors
    /// The store cannot be read, or the folder cannot be written.
    pub(super) async fn bring_files(&self, stored: &StoredRun) -> Result<()> {
        if !self.store().is_shared() || stored.artifacts.is_empty() {
            return Ok(());
        }
        let folder = self.settings().artifacts(stored.id);
        make_private_folder(&folder)?;
        for (_, file) in &stored.artifacts {
            if is_whole(&folder, file) {
                continue;
            }
            let bytes = self.store().content(stored.id, &file.name).await?;
            // What the store has not either is missed by the stage that needs it, which says so.
            if let Some(bytes) = bytes.filter(|bytes| sha256(bytes) == file.sha256) {
                write(&folder, &file.name, &bytes)?;
            }
        }
        Ok(())
    }

    /// The bytes of the files that events name. One that was written again since is told of by a later event.
    pub(super) fn contents(&self, run_id: Uuid, events: &[Event]) -> Vec<FileContent> {
        let folder = self.settings().artifacts(run_id);
        let written = events.iter().filter_map(|event| match event {
            Event::ArtifactWritten { artifact, .. } => Some(artifact),
            Event::RunStarted { .. }
            | Event::StageStarted { .. }
            | Event::StageProgress { .. }
            | Event::StageLog { .. }
            | Event::StageRetrying { .. }
            | Event::QuestionAsked { .. }
            | Event::EdgeDecided { .. }
            | Event::ConditionEvaluated { .. }
            | Event::EvidenceKept { .. }
            | Event::StageFinished { .. }
            | Event::RunFinished { .. } => None,
        });
        written
            .filter(|file| file.bytes <= MOST_BYTES)
            .filter_map(|file| {
                let bytes = std::fs::read(folder.join(&file.name)).ok()?;
                (sha256(&bytes) == file.sha256).then(|| FileContent {
                    name: file.name.clone(),
                    sha256: file.sha256.clone(),
                    bytes,
                })
            })
            .collect()
    }
}

fn is_whole(folder: &Path, file: &Artifact) -> bool {
    std::fs::read(folder.join(&file.name)).is_ok_and(|bytes| sha256(&bytes) == file.sha256)
}

/// Writes a file whole or not at all.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let part = folder.join(format!(".{name}.part"));
    std::fs::write(&part, bytes)
        .and_then(|()| std::fs::rename(&part, &path))
        .map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format!("cannot write {}", path.display()),
            )
            .because(error)
            .hint("see that the disk has room and that relvec may write there")
        })
}
