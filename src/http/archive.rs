//! A run's files as one `tar.gz`: the same files give the same bytes, and it is sent while it is made.

use std::io::{self, Write};
use std::path::PathBuf;

use axum::body::{Body, Bytes};
use flate2::{Compression, GzBuilder};
use futures::stream::unfold;
use tar::{Builder, EntryType, Header, HeaderMode};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use uuid::Uuid;

use crate::graph::event::Artifact;
use crate::store::sha256;

/// Bytes that are sent at once.
const CHUNK: usize = 64 << 10;

/// Chunks that wait for a slow reader.
const WAITING: usize = 4;

/// What of the format decides the bytes, so that a tag changes with it.
const FORMAT: &str = "ustar, gzip 6, 1";

/// Gives the SHA-256 that an archive of these files has for its tag: of what it is made of, not of its bytes.
#[must_use]
pub fn hash(run_id: Uuid, files: &[Artifact]) -> String {
    let mut made_of = format!("{FORMAT}\n{run_id}\n");
    for file in files {
        made_of.push_str(&file.sha256);
        made_of.push(' ');
        made_of.push_str(&file.name);
        made_of.push('\n');
    }
    sha256(made_of.as_bytes())
}

/// Gives the archive of a run's files, which `read` gives one by one, as the body of an answer. A file that cannot be read breaks
/// the body off, which a client sees.
pub fn body(
    run_id: Uuid,
    files: Vec<Artifact>,
    read: impl Fn(&Artifact) -> io::Result<Vec<u8>> + Send + 'static,
) -> Body {
    let (sender, receiver) = channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let out = Chunks {
            sender: sender.clone(),
            ready: Vec::with_capacity(CHUNK),
        };
        if let Err(error) = write(out, run_id, &files, &read) {
            // Nobody may be there to be told.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Body::from_stream(unfold(receiver, next))
}

async fn next(
    mut receiver: Receiver<io::Result<Bytes>>,
) -> Option<(io::Result<Bytes>, Receiver<io::Result<Bytes>>)> {
    let chunk = receiver.recv().await?;
    Some((chunk, receiver))
}

fn write(
    out: impl Write,
    run_id: Uuid,
    files: &[Artifact],
    read: &dyn Fn(&Artifact) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    let gzip = GzBuilder::new().mtime(0).write(out, Compression::new(6));
    let mut tar = Builder::new(gzip);
    tar.mode(HeaderMode::Deterministic);
    for file in files {
        let bytes = read(file)?;
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        let path = PathBuf::from(run_id.to_string()).join(&file.name);
        tar.append_data(&mut header, path, bytes.as_slice())?;
    }
    tar.into_inner()?.finish()?.flush()
}

/// Collects what is written into chunks, and waits where the reader is behind.
struct Chunks {
    sender: Sender<io::Result<Bytes>>,
    ready: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ready.extend_from_slice(bytes);
        if self.ready.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.ready, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::body::to_bytes;
    use flate2::read::GzDecoder;
    use tar::Archive;

    use super::*;

    fn file(name: &str, text: &str) -> Artifact {
        Artifact {
            name: name.to_owned(),
            bytes: text.len() as u64,
            sha256: sha256(text.as_bytes()),
        }
    }

    async fn archive(run_id: Uuid, files: &[Artifact]) -> Bytes {
        let read = |file: &Artifact| Ok(file.name.repeat(100_000).into_bytes());
        let body = body(run_id, files.to_vec(), read);
        to_bytes(body, usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn the_same_files_give_the_same_bytes() {
        let run_id = Uuid::nil();
        let files = [file("a.txt", "a"), file("b.py", "b")];
        let first = archive(run_id, &files).await;
        assert_eq!(first, archive(run_id, &files).await);
        let mut found = Vec::new();
        let mut tar = Archive::new(GzDecoder::new(first.as_ref()));
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            found.push((path, text.len()));
        }
        let folder = run_id.to_string();
        assert_eq!(
            found,
            [
                (format!("{folder}/a.txt"), 500_000),
                (format!("{folder}/b.py"), 400_000)
            ]
        );
        assert_ne!(hash(run_id, &files), hash(run_id, &files[..1]));
    }

    #[tokio::test]
    async fn a_file_that_is_gone_breaks_the_archive_off() {
        let gone = |_: &Artifact| Err(io::Error::from(io::ErrorKind::NotFound));
        let body = body(Uuid::nil(), vec![file("a.txt", "a")], gone);
        assert!(to_bytes(body, usize::MAX).await.is_err());
    }
}
