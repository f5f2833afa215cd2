//! Images: built from a folder's files as a tar stream, and used again where the same files were built before.

use std::collections::HashMap;

use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptions;
use futures::StreamExt as _;
use sha2::{Digest, Sha256};

use super::lines::Lines;
use super::{Docker, label};
use crate::error::{Error, ErrorKind, Result};

/// The name of every image that relvec makes; the tag is the hash of what it was built from.
const NAME: &str = "relvec-migration";

/// Bytes of a line of the build's output that are kept.
const MAX_LINE: usize = 4 * 1024;

/// What an image is built from. None of it is secret.
#[derive(Debug)]
pub struct ImageContext {
    /// Names and contents; one is `Dockerfile`.
    pub files: Vec<(String, Vec<u8>)>,
    /// The image that the Dockerfile begins with, with its digest where it is pinned.
    pub base: String,
    /// The network of the build's commands, the daemon's default if absent.
    pub network: Option<String>,
}

impl Docker {
    /// Gives the id of the image of these files: one that is there, or a new one. Each line of a build goes to `log`.
    ///
    /// # Errors
    /// The build fails, or the daemon does not answer.
    pub async fn image(&self, context: &ImageContext, log: impl Fn(&str) + Send) -> Result<String> {
        // A base image that moved to another version makes another image.
        let base = self.client.inspect_image(&context.base).await;
        let base = base.ok().and_then(|image| image.id).unwrap_or_default();
        let hash = content_hash(context, &base);
        let name = format!("{NAME}:{}", &hash[..16]);
        if let Some(id) = self.built(&name, &hash).await {
            log(&format!(
                "image {name} is there already: nothing in it has changed"
            ));
            return Ok(id);
        }
        log(&format!("building image {name} on {}", context.base));
        self.build(context, &name, &hash, &log).await?;
        self.built(&name, &hash).await.ok_or_else(|| {
            Error::new(
                ErrorKind::Failed,
                format!("image {name} is not there although its build ended well"),
            )
            .hint("see that nothing prunes images while a run builds them")
        })
    }

    /// Gives the id of an image that was built from exactly this.
    async fn built(&self, name: &str, hash: &str) -> Option<String> {
        let image = self.client.inspect_image(name).await.ok()?;
        let labels = image.config?.labels?;
        (labels.get(label::CONTENT).map(String::as_str) == Some(hash)).then_some(image.id)?
    }

    async fn build(
        &self,
        context: &ImageContext,
        name: &str,
        hash: &str,
        log: &(impl Fn(&str) + Send),
    ) -> Result<()> {
        let options = BuildImageOptions {
            dockerfile: "Dockerfile".to_owned(),
            t: Some(name.to_owned()),
            rm: true,
            forcerm: true,
            networkmode: context.network.clone(),
            labels: Some(HashMap::from([(
                label::CONTENT.to_owned(),
                hash.to_owned(),
            )])),
            ..BuildImageOptions::default()
        };
        let body = bollard::body_full(archive(&context.files)?.into());
        let mut output = self.client.build_image(options, None, Some(body));
        let mut lines = Lines::new(MAX_LINE);
        let mut show = |line: &str| {
            if !line.trim().is_empty() {
                log(&format!("build: {line}"));
            }
        };
        let what = format!("image {name} cannot be built");
        while let Some(piece) = output.next().await {
            let BuildInfo {
                stream,
                error_detail,
                status,
                id,
                ..
            } = piece.map_err(|error| self.failed(&what, &error))?;
            if let Some(text) = stream {
                lines.push(text.as_bytes(), &mut show);
            }
            // A pull: the steps of one layer's download are too many to show.
            if let Some(status) = status.filter(|_| id.is_none()) {
                show(&status);
            }
            if let Some(detail) = error_detail {
                lines.finish(show);
                let message = detail.message.unwrap_or_default();
                return Err(Error::new(ErrorKind::Failed, format!("{what}: {}", message.trim()))
                    .hint("the run's log has the build's output; pip inside the build needs the package index, see `execution.build_network`"));
            }
        }
        lines.finish(show);
        Ok(())
    }
}

/// Hashes names, lengths and contents, so that no two contexts hash alike.
fn content_hash(context: &ImageContext, base: &str) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(context.base.as_bytes());
    add(base.as_bytes());
    for (name, content) in &context.files {
        add(name.as_bytes());
        add(content);
    }
    super::hex(&hash.finalize())
}

/// Writes the files as a tar that is the same for the same files.
fn archive(files: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive
            .append_data(&mut header, name, content.as_slice())
            .map_err(|error| of_archive(&error))?;
    }
    archive.into_inner().map_err(|error| of_archive(&error))
}

fn of_archive(error: &std::io::Error) -> Error {
    Error::new(
        ErrorKind::Internal,
        "the files of an image cannot be put into an archive",
    )
    .because(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(files: &[(&str, &str)]) -> ImageContext {
        let files = files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()));
        ImageContext {
            files: files.collect(),
            base: "python:3.11-slim".to_owned(),
            network: None,
        }
    }

    #[test]
    fn the_hash_knows_names_contents_and_the_base() {
        let hash = |files: &[(&str, &str)], base| content_hash(&context(files), base);
        let one = hash(&[("a", "bc"), ("d", "e")], "sha256:1");
        assert_eq!(one, hash(&[("a", "bc"), ("d", "e")], "sha256:1"));
        assert_ne!(one, hash(&[("a", "bc"), ("d", "e")], "sha256:2"));
        assert_ne!(one, hash(&[("ab", "c"), ("d", "e")], "sha256:1"));
        assert_ne!(one, hash(&[("a", "bcd"), ("", "e")], "sha256:1"));
    }

    #[test]
    fn the_archive_is_the_same_each_time_and_holds_the_files() {
        let files = context(&[("Dockerfile", "FROM x"), ("migrate.py", "print()")]).files;
        let bytes = archive(&files).expect("an archive");
        assert_eq!(bytes, archive(&files).expect("an archive"));
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .path()
                    .expect("a path")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(names, ["Dockerfile", "migrate.py"]);
    }
}
