//! Containers, through the API of Docker, which Podman's socket speaks too.
//!
//! ```text
//! Docker::connect ── DOCKER_HOST, else /var/run/docker.sock
//!    │ reap(home, epoch, is_dead)     what dead executions left behind
//!    │ image(context)                 built, or found by the hash of what it is built from
//!    ▼
//! run(container) ── create ─ attach ─ start ─ one line on standard input ─▶ lines ─▶ wait ─ inspect ─ remove
//! ```
//!
//! Nothing secret is in an image, a label, an argument or the environment that `docker inspect` shows: what the program has to know
//! is written to its standard input once it runs.

use std::time::Duration;

use bollard::errors::Error as ApiError;
use bollard::{API_DEFAULT_VERSION, ClientVersion};

use crate::error::{Error, ErrorKind, Result};
use crate::settings;

mod container;
mod image;
mod lines;
mod reap;

pub use container::{Container, Ended, HOST_NAME, Limits, Network};
pub use image::ImageContext;

/// How long the daemon may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a request may take that the daemon answers at once.
const REQUEST_SECONDS: u64 = 30;

/// The oldest version of the API that has everything used here: Docker 20.10, Podman 4.
const OLDEST: ClientVersion = ClientVersion {
    major_version: 1,
    minor_version: 41,
};

/// Labels of what relvec makes.
mod label {
    /// The run.
    pub const RUN: &str = "relvec.run";
    /// The execution of the run, counted in milliseconds: a later one has a greater number.
    pub const EPOCH: &str = "relvec.epoch";
    /// The relvec that made it, as a hash of the folder of its runs.
    pub const HOME: &str = "relvec.home";
    /// What an image is built from, as a hash.
    pub const CONTENT: &str = "relvec.content";
}

/// A container daemon that answers.
#[derive(Debug, Clone)]
pub struct Docker {
    client: bollard::Docker,
    host: String,
}

impl Docker {
    /// Connects to the daemon that `DOCKER_HOST` names.
    ///
    /// # Errors
    /// Nothing answers there, or it speaks no version of the API that is known here.
    pub async fn connect() -> Result<Self> {
        let host = settings::docker_host();
        let mut failure = None;
        for version in [API_DEFAULT_VERSION, &OLDEST] {
            match tokio::time::timeout(PATIENCE, connect(&host, version)).await {
                Ok(Ok(client)) => return Ok(Self { client, host }),
                Ok(Err(error)) => failure = Some(error.to_string()),
                Err(_) => failure = Some("no answer within 10 s".to_owned()),
            }
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            format!("no container daemon can be used at {host}"),
        )
        .hint("start Docker, or Podman's service (`podman system service`), and name its socket in DOCKER_HOST")
        .because(failure.unwrap_or_default()))
    }

    /// Gives the daemon's address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// An error of the daemon, or of the way to it.
    fn failed(&self, what: &str, error: &ApiError) -> Error {
        match error {
            ApiError::DockerResponseServerError { message, .. } => Error::new(
                ErrorKind::Failed,
                format!("{what}: the container daemon refuses: {}", message.trim()),
            ),
            ApiError::DockerStreamError { error } => {
                Error::new(ErrorKind::Failed, format!("{what}: {}", error.trim()))
            }
            _ => Error::new(
                ErrorKind::Unavailable,
                format!("{what}: the container daemon at {} does not answer any more", self.host),
            )
            .hint("start it again, then retry the run: what is written stays, and only the rest is embedded")
            .because(error.to_string()),
        }
    }
}

async fn connect(host: &str, version: &ClientVersion) -> Result<bollard::Docker, ApiError> {
    let client = match host.strip_prefix("unix://") {
        Some(path) => bollard::Docker::connect_with_unix(path, REQUEST_SECONDS, version)?,
        None if host.starts_with("tcp://") || host.starts_with("http://") => {
            bollard::Docker::connect_with_http(host, REQUEST_SECONDS, version)?
        }
        None => {
            return Err(ApiError::UnsupportedURISchemeError {
                uri: host.to_owned(),
            });
        }
    };
    client.negotiate_version().await
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
