//! Settings: the only place that reads the environment.

use std::io::IsTerminal;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

/// What the environment decides.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where runs, their store and caches live: `RELVEC_HOME`, else the user's data folder.
    pub home: PathBuf,
    /// Where graph files are looked for before the shipped ones: `RELVEC_GRAPHS`, else `graphs`.
    pub graphs: PathBuf,
    /// The Python that makes virtual environments: `RELVEC_PYTHON`, else `python3`.
    pub python: String,
    /// What is logged to standard error: `RELVEC_LOG`, else `warn`.
    pub log: String,
}

impl Settings {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// Neither `RELVEC_HOME` nor a home folder is set.
    pub fn from_environment() -> Result<Self> {
        let home = variable("RELVEC_HOME")
            .map(PathBuf::from)
            .or_else(|| variable("XDG_DATA_HOME").map(|path| PathBuf::from(path).join("relvec")))
            .or_else(|| {
                variable("HOME").map(|path| PathBuf::from(path).join(".local/share/relvec"))
            })
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Configuration,
                    "no folder for relvec's data: neither RELVEC_HOME nor HOME is set",
                )
                .hint("set RELVEC_HOME to a folder that relvec may write to")
            })?;
        let home = std::path::absolute(&home).map_err(|error| {
            Error::new(
                ErrorKind::Configuration,
                format!("cannot resolve {}", home.display()),
            )
            .because(error)
        })?;
        Ok(Self {
            home,
            graphs: variable("RELVEC_GRAPHS").map_or_else(|| "graphs".into(), PathBuf::from),
            python: python(),
            log: variable("RELVEC_LOG").unwrap_or_else(|| "warn".to_owned()),
        })
    }

    /// Gives the folder that outlives runs: virtual environments, the embedded target.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.home.join("cache")
    }

    /// Gives the folder of a run's generated files.
    #[must_use]
    pub fn artifacts(&self, run_id: uuid::Uuid) -> PathBuf {
        self.home.join("runs").join(run_id.to_string())
    }

    /// Gives the run store's file.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.home.join("runs.db")
    }
}

/// Gives the Python that makes virtual environments: `RELVEC_PYTHON`, else `python3`.
#[must_use]
pub fn python() -> String {
    variable("RELVEC_PYTHON").unwrap_or_else(|| "python3".to_owned())
}

/// Gives the address of the container daemon: `DOCKER_HOST`, else Docker's usual socket.
#[must_use]
pub fn docker_host() -> String {
    variable("DOCKER_HOST").unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

/// Says whether what is printed may have colours: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
#[must_use]
pub fn colored(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && variable("NO_COLOR").is_none()
}

/// Gives those of the named variables that are set, for a child process whose environment is otherwise empty.
#[must_use]
pub fn inherited<'n>(names: &[&'n str]) -> Vec<(&'n str, String)> {
    names
        .iter()
        .filter_map(|name| variable(name).map(|value| (*name, value)))
        .collect()
}

/// Gives an environment variable that a job names, if it is set and not empty.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
