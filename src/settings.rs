//! Settings: the only place that reads the environment.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as WordError;

use crate::error::{Error, ErrorKind, Result};
use crate::model::job::ExecutionMode;

mod access;
mod keep;

pub use self::access::AccessSettings;
pub use self::keep::{Keep, Kept};

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
    /// The PostgreSQL database that holds the run store: `RELVEC_STORE`; a SQLite file in `home` if it is not set.
    pub store: Option<SecretString>,
    /// How many runs there may be, and who owns them for how long.
    pub runs: RunSettings,
    /// How it is logged: `RELVEC_LOG_FORMAT`, `text` or `json`, else `text`.
    pub log_format: LogFormat,
    /// Where spans are sent (OTLP over HTTP): `RELVEC_OTLP_ENDPOINT`, else nowhere.
    pub otlp_endpoint: Option<String>,
    /// Who may use the gateway, and what a caller's job may reach.
    pub access: AccessSettings,
}

/// Where the run store is.
#[derive(Debug, Clone)]
pub enum StorePlace {
    /// In a SQLite file, which one machine's processes share.
    File(PathBuf),
    /// In a PostgreSQL database, which the gateways of several machines share.
    Postgres {
        /// Its URL.
        url: SecretString,
        /// How long a run stays with an owner that is not heard of.
        lease: Duration,
    },
}

/// How many runs there may be, and who owns them for how long.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// The most runs that a gateway executes at once: `RELVEC_RUNS_AT_ONCE`, else 4.
    pub at_once: usize,
    /// The most of them that are of one graph: `RELVEC_RUNS_PER_GRAPH`, else as many as run at once.
    pub per_graph: usize,
    /// The most runs that wait to be executed before a gateway refuses more: `RELVEC_QUEUE_LENGTH`, else 20,000.
    pub queue: u64,
    /// How long a run in a PostgreSQL store stays with an owner that is not heard of: `RELVEC_LEASE_SECONDS`, else 15 s.
    pub lease: Duration,
    /// How the gateway may run the generated script: `RELVEC_EXECUTION_MODES`, a list with commas; all if it is not set.
    pub modes: BTreeSet<ExecutionMode>,
    /// What is kept of runs that are over: `RELVEC_KEEP_…`, else everything.
    pub keep: Keep,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            at_once: 4,
            per_graph: usize::MAX,
            queue: 20_000,
            lease: Duration::from_secs(15),
            modes: BTreeSet::from(ALL_MODES),
            keep: Keep::default(),
        }
    }
}

impl RunSettings {
    fn from_environment() -> Result<Self> {
        let default = Self::default();
        let modes = match variable("RELVEC_EXECUTION_MODES") {
            Some(names) => modes(&names)?,
            None => default.modes,
        };
        Ok(Self {
            at_once: number("RELVEC_RUNS_AT_ONCE", 1..=10_000)?.unwrap_or(default.at_once),
            per_graph: number("RELVEC_RUNS_PER_GRAPH", 1..=10_000)?.unwrap_or(default.per_graph),
            queue: number("RELVEC_QUEUE_LENGTH", 1..=10_000_000)?.unwrap_or(default.queue),
            lease: number("RELVEC_LEASE_SECONDS", 1..=3_600)?
                .map_or(default.lease, Duration::from_secs),
            modes,
            keep: Keep::from_environment()?,
        })
    }
}

const ALL_MODES: [ExecutionMode; 3] = [
    ExecutionMode::Container,
    ExecutionMode::Process,
    ExecutionMode::Simulate,
];

fn modes(names: &str) -> Result<BTreeSet<ExecutionMode>> {
    let wrong = || {
        Error::new(
            ErrorKind::Configuration,
            format!("RELVEC_EXECUTION_MODES is `{names}`, which is no list of execution modes"),
        )
        .hint("list some of: container, process, simulate")
    };
    let words = names
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let modes = words
        .map(|word| {
            let word = word.into_deserializer();
            ExecutionMode::deserialize(word).map_err(|_: WordError| wrong())
        })
        .collect::<Result<BTreeSet<_>>>()?;
    if modes.is_empty() {
        Err(wrong())
    } else {
        Ok(modes)
    }
}

/// Reads a whole number, if the variable is set.
fn number<N>(name: &str, allowed: std::ops::RangeInclusive<N>) -> Result<Option<N>>
where
    N: FromStr + PartialOrd + std::fmt::Display,
{
    let Some(text) = variable(name) else {
        return Ok(None);
    };
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|number| allowed.contains(number));
    number.map(Some).ok_or_else(|| {
        Error::new(
            ErrorKind::Configuration,
            format!("{name} is `{text}`, which is no whole number that it can have"),
        )
        .hint(format!(
            "set it to {} to {}",
            allowed.start(),
            allowed.end()
        ))
    })
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl LogFormat {
    fn from_environment() -> Result<Self> {
        match variable("RELVEC_LOG_FORMAT").as_deref() {
            None | Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            Some(_) => Err(Error::new(
                ErrorKind::Configuration,
                "RELVEC_LOG_FORMAT is neither `text` nor `json`",
            )
            .hint("set it to one of the two, or unset it for `text`")),
        }
    }
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
            store: variable("RELVEC_STORE").map(SecretString::from),
            runs: RunSettings::from_environment()?,
            log_format: LogFormat::from_environment()?,
            otlp_endpoint: variable("RELVEC_OTLP_ENDPOINT"),
            access: AccessSettings::from_environment()?,
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

    /// Gives where the run store is.
    #[must_use]
    pub fn store(&self) -> StorePlace {
        self.store.clone().map_or_else(
            || StorePlace::File(self.home.join("runs.db")),
            |url| StorePlace::Postgres {
                url,
                lease: self.runs.lease,
            },
        )
    }
}

/// Gives the Python that makes virtual environments: `RELVEC_PYTHON`, else `python3`.
#[must_use]
pub fn python() -> String {
    variable("RELVEC_PYTHON").unwrap_or_else(|| "python3".to_owned())
}

/// Gives the place at which a test kills the process: `RELVEC_FAILPOINT`, in debug builds only.
#[cfg(debug_assertions)]
#[must_use]
pub fn failpoint() -> Option<String> {
    variable("RELVEC_FAILPOINT")
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Gives the names of relvec's variables in a text.
    fn names(text: &str) -> Vec<&str> {
        let starts = text.match_indices("\"RELVEC_");
        let names = starts.map(|(start, _)| {
            let name = &text[start + 1..];
            name.split('"').next().unwrap_or_default()
        });
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        names.filter(|name| name.bytes().all(is_name)).collect()
    }

    #[test]
    fn every_variable_is_in_the_pages_for_operators() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let of = |folder: &str, end: &str| {
            let files = std::fs::read_dir(root.join(folder)).unwrap();
            let paths = files.map(|file| file.unwrap().path());
            let paths = paths.filter(|path| path.extension().is_some_and(|found| found == end));
            paths.map(|path| read(&path)).collect::<String>()
        };
        let pages = of("docs", "md");
        let sources = read(&root.join("src/settings.rs")) + &of("src/settings", "rs");
        let names = names(&sources);
        assert!(names.len() > 8, "{names:?}");
        // The one that only tests' builds know is for nobody else.
        for name in names.into_iter().filter(|name| *name != "RELVEC_FAILPOINT") {
            assert!(pages.contains(name), "{name} is in no page");
        }
    }
}
