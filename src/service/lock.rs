//! A lock file: one relvec at a time, released by the system when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// How often a lock that another process holds is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// The lock of a run, in its artifact folder: who executes the run holds it.
pub const OF_RUN: &str = ".run.lock";

/// Says whether a process holds the lock of a file. One that is not there is held by nobody.
#[must_use]
pub fn is_held(path: &Path) -> bool {
    // Shared, so that two who ask at once do not take each other for the holder.
    File::open(path).is_ok_and(|file| file.try_lock_shared().is_err())
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// Waits for the lock of a file and takes it; the file is made where it is missing.
///
/// `waiting` is called once if another process holds it.
///
/// # Errors
/// The file cannot be made or locked.
pub async fn acquire(path: &Path, waiting: impl Fn() + Send) -> Result<FileLock> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Failed, format!("cannot lock {}", path.display()))
            .hint(
                "check that the folder can be written to, and that its file system supports locks",
            )
            .because(error)
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(FileLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                if !told {
                    waiting();
                    told = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = acquire(&path, || panic!("nobody holds it")).await.unwrap();
        let waited = AtomicBool::new(false);
        let held = std::cell::Cell::new(Some(first));
        let release = async {
            while !waited.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            drop(held.take());
        };
        let second = acquire(&path, || waited.store(true, Ordering::SeqCst));
        let (second, ()) = tokio::join!(second, release);
        second.unwrap();
        assert!(waited.load(Ordering::SeqCst));
    }
}
