//! The files of stages that a retry takes over.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::event::Artifact;
use crate::store::{make_private_folder, sha256};

/// Says what is wrong with the first file that is gone or changed; nothing if all are as they were.
pub(super) fn check(folder: &Path, files: &[Artifact]) -> Option<String> {
    files.iter().find_map(|file| read(folder, file).err())
}

/// Copies files into a new run's folder.
///
/// # Errors
/// A file changed since it was checked, or the folder cannot be written.
pub(super) fn copy<'a>(
    from: &Path,
    to: &Path,
    files: impl Iterator<Item = &'a Artifact>,
) -> Result<()> {
    make_private_folder(to)?;
    for file in files {
        let copied = read(from, file).and_then(|bytes| {
            let path = to.join(&file.name);
            std::fs::write(&path, bytes)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))
        });
        if let Err(problem) = copied {
            remove(to);
            return Err(Error::new(ErrorKind::Failed, problem)
                .hint("see that the disk has room, and retry again"));
        }
    }
    Ok(())
}

/// Removes the folder of a run that did not come to be.
pub(super) fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder) {
        tracing::warn!(folder = %folder.display(), %error, "a folder without a run is left");
    }
}

fn read(folder: &Path, file: &Artifact) -> Result<Vec<u8>, String> {
    let path = folder.join(&file.name);
    let bytes = std::fs::read(&path)
        .map_err(|error| format!("the file {} cannot be read ({error})", path.display()))?;
    if sha256(&bytes) == file.sha256 {
        Ok(bytes)
    } else {
        Err(format!("the file {} was changed", path.display()))
    }
}
