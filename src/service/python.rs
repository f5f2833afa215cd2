//! Python: cached virtual environments, one per requirements file and interpreter.
//!
//! An environment is built where it stays, under a lock, and counts only once its marker file is there: a build that was
//! interrupted has no marker and is made again.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::lock;
use super::process::{self, Ended};
use crate::error::{Error, ErrorKind, Result};
use crate::settings;

/// Where progress is told, a line at a time.
pub type Log<'a> = &'a (dyn Fn(&str) + Sync);

/// Variables by which users tell pip where packages come from.
const PIP_VARIABLES: &[&str] = &[
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_PROXY",
    "PIP_CACHE_DIR",
    "PIP_NO_CACHE_DIR",
];

/// Those of them that name another place than the usual one.
const PIP_SOURCES: &[&str] = &["PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_NO_INDEX"];

/// Variables by which users tell uv the same.
const UV_VARIABLES: &[&str] = &[
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_CACHE_DIR",
    "UV_NATIVE_TLS",
    "UV_OFFLINE",
];

/// The file that says that an environment is whole.
const READY: &str = ".relvec-ready";

/// Lines of a failed program that an error shows.
const LAST_LINES: usize = 6;

/// Whether pip installs what the requirements depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependencies {
    /// The requirements are the full closure; pip checks that.
    Checked,
    /// Left out on purpose: only files of the named packages are used.
    LeftOut,
}

/// A virtual environment that is whole.
#[derive(Debug, Clone)]
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// Gives the environment for a requirements file with hashes, below `folder`; makes it where it is missing.
    ///
    /// Safe for two processes at once. Only wheels are installed, so no package's build script ever runs.
    ///
    /// # Errors
    /// `python` cannot be started or cannot make virtual environments, pip fails, or the disk refuses.
    pub async fn ensure(
        folder: &Path,
        python: &str,
        requirements: &[u8],
        dependencies: Dependencies,
        log: Log<'_>,
    ) -> Result<Self> {
        let name = name(python, requirements);
        let venv = Self {
            folder: folder.join(&name),
        };
        if venv.is_ready() {
            return Ok(venv);
        }
        std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
        let _lock = lock::acquire(&folder.join(format!("{name}.lock")), || {
            log("waiting for another relvec that makes the same virtual environment");
        })
        .await?;
        if !venv.is_ready() {
            venv.build(python, requirements, dependencies, log).await?;
        }
        Ok(venv)
    }

    /// Gives the environment's interpreter.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// Gives the folder in which packages are installed.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn site_packages(&self) -> Result<PathBuf> {
        let lib = self.folder.join("lib");
        let entries = std::fs::read_dir(&lib).map_err(|error| cannot_read(&lib, error))?;
        let mut found = entries
            .filter_map(io::Result::ok)
            .map(|entry| entry.path().join("site-packages"))
            .filter(|path| path.is_dir());
        match (found.next(), found.next()) {
            (Some(path), None) => Ok(path),
            (None, _) | (_, Some(_)) => Err(Error::new(
                ErrorKind::Failed,
                format!(
                    "{} is not one Python's virtual environment",
                    self.folder.display()
                ),
            )
            .hint(format!("remove {} and run again", self.folder.display()))),
        }
    }

    /// Whole, and its interpreter is still there: an upgrade of the system's Python takes it away.
    fn is_ready(&self) -> bool {
        self.folder.join(READY).is_file() && self.python().exists()
    }

    async fn build(
        &self,
        python: &str,
        requirements: &[u8],
        dependencies: Dependencies,
        log: Log<'_>,
    ) -> Result<()> {
        log("making a virtual environment (once; later runs reuse it)");
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)
                .map_err(|error| cannot_write(&self.folder, error))?;
        }
        let mut venv = process::command(python);
        venv.args(["-m", "venv"]).arg(&self.folder);
        let last = finish(&mut venv, |_| ()).await;
        match last {
            Ok(None) => {}
            Ok(Some(lines)) => return Err(venv_failed(python, &lines)),
            Err(error) => return Err(cannot_start(python, error)),
        }
        let file = self.folder.join("requirements.txt");
        std::fs::write(&file, requirements).map_err(|error| cannot_write(&file, error))?;
        self.install(&file, dependencies, log).await?;
        let ready = self.folder.join(READY);
        std::fs::write(&ready, python).map_err(|error| cannot_write(&ready, error))
    }

    async fn install(
        &self,
        requirements: &Path,
        dependencies: Dependencies,
        log: Log<'_>,
    ) -> Result<()> {
        if self.install_with_uv(requirements, dependencies).await {
            log("installed the pinned requirements with uv");
            return Ok(());
        }
        log("installing the pinned requirements with pip:");
        let mut pip = process::command(self.python());
        pip.envs(settings::inherited(PIP_VARIABLES))
            .args([
                "-m",
                "pip",
                "install",
                "--no-input",
                "--disable-pip-version-check",
            ])
            .args(["--progress-bar=off", "--timeout=30", "--retries=3"])
            .args(["--only-binary=:all:", "--require-hashes"]);
        match dependencies {
            Dependencies::Checked => {}
            Dependencies::LeftOut => {
                pip.arg("--no-deps");
            }
        }
        pip.arg("-r").arg(requirements);
        let told = |line: &str| {
            if let Some(package) = line.strip_prefix("Collecting ") {
                log(package.split(" (from").next().unwrap_or(package));
            }
        };
        match finish(&mut pip, told).await {
            Ok(None) => Ok(()),
            Ok(Some(lines)) => Err(pip_failed(&lines)),
            Err(error) => Err(cannot_start("the virtual environment's python", error)),
        }
    }
}

impl Venv {
    /// Installs with uv where it is on the path and pip is not told where packages come from: uv reads none of pip's settings.
    /// Where it fails, pip tries, and says why.
    async fn install_with_uv(&self, requirements: &Path, dependencies: Dependencies) -> bool {
        if !settings::inherited(PIP_SOURCES).is_empty() {
            return false;
        }
        let mut uv = process::command("uv");
        uv.envs(settings::inherited(UV_VARIABLES))
            .args(["pip", "install", "--quiet", "--no-config", "--python"])
            .arg(self.python())
            .args(["--only-binary=:all:", "--require-hashes"]);
        match dependencies {
            Dependencies::Checked => {}
            Dependencies::LeftOut => {
                uv.arg("--no-deps");
            }
        }
        uv.arg("-r").arg(requirements);
        matches!(finish(&mut uv, |_| ()).await, Ok(None))
    }
}

/// Checks that Python files compile. Nothing is run and nothing is written beside them.
///
/// # Errors
/// `python` cannot be started, or a file does not compile: the error shows where.
pub async fn compiles(python: &str, files: &[PathBuf]) -> Result<()> {
    const CHECK: &str =
        "import sys\nfor p in sys.argv[1:]: compile(open(p, 'rb').read(), p, 'exec')";
    let mut check = process::command(python);
    check.args(["-I", "-c", CHECK]).args(files);
    match finish(&mut check, |_| ()).await {
        Ok(None) => Ok(()),
        Ok(Some(lines)) => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "the generated Python does not compile: {}",
                lines.join(" | ")
            ),
        )
        .hint("this is a defect of relvec's templates: please report it with the schema")),
        Err(error) => Err(cannot_start(python, error)),
    }
}

/// Runs a command; gives its last lines where it failed.
async fn finish(
    command: &mut Command,
    mut told: impl FnMut(&str) + Send,
) -> io::Result<Option<Vec<String>>> {
    let mut last = std::collections::VecDeque::new();
    // Nobody cancels it: a caller that gives up drops the future, and that ends the whole group.
    let ended = process::run(command, &CancellationToken::new(), |_, line| {
        told(line);
        if !line.trim().is_empty() {
            last.push_back(line.to_owned());
        }
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    })
    .await?;
    Ok(match ended {
        Ended::Exited(status) if status.success() => None,
        Ended::Exited(status) => {
            last.push_back(process::describe(status));
            Some(last.into())
        }
        Ended::Cancelled => Some(vec!["cancelled".to_owned()]),
    })
}

/// The folder's name: the requirements' hash, and the interpreter's because each needs its own environment.
fn name(python: &str, requirements: &[u8]) -> String {
    let mut name = hex(&Sha256::digest(requirements));
    name.push('-');
    name.push_str(&hex(&Sha256::digest(python.as_bytes())[..4]));
    name
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn cannot_start(python: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Configuration, format!("cannot start `{python}`"))
        .hint("install Python 3.10 or later (Debian: apt-get install python3 python3-venv)")
        .hint("or set RELVEC_PYTHON to the path of another Python")
        .because(error)
}

fn venv_failed(python: &str, lines: &[String]) -> Error {
    let text = lines.join(" | ");
    let missing = text.contains("ensurepip") || text.contains("No module named");
    let error = Error::new(
        ErrorKind::Configuration,
        if missing {
            format!(
                "`{python}` cannot make virtual environments: its module venv or ensurepip is missing"
            )
        } else {
            format!("`{python} -m venv` failed: {text}")
        },
    );
    if missing {
        error.hint("install it (Debian: apt-get install python3-venv) and run again")
    } else {
        error.hint(
            "check the folder's free space, or set RELVEC_PYTHON to another Python (3.10 or later)",
        )
    }
}

fn pip_failed(lines: &[String]) -> Error {
    Error::new(
        ErrorKind::Failed,
        format!("pip could not install the requirements: {}", lines.join(" | ")),
    )
    .hint("check that the package index can be reached (PIP_INDEX_URL, PIP_CERT and proxies are respected)")
    .hint("the requirements are pinned for Python 3.10 to 3.13: set RELVEC_PYTHON if yours is another")
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Failed,
        format!("cannot write {}", path.display()),
    )
    .hint("check its permissions and the free space, or set RELVEC_HOME to another folder")
    .because(error)
}

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Failed, format!("cannot read {}", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(_: &str) {}

    #[tokio::test]
    async fn makes_an_environment_once_and_remakes_a_broken_one() {
        let folder = tempfile::tempdir().unwrap();
        let ensure = || {
            Venv::ensure(
                folder.path(),
                "python3",
                b"# nothing\n",
                Dependencies::Checked,
                &quiet,
            )
        };
        let venv = ensure().await.unwrap();
        assert!(venv.site_packages().unwrap().join("pip").is_dir());
        let witness = venv.folder.join("witness");
        std::fs::write(&witness, "").unwrap();
        ensure().await.unwrap();
        assert!(witness.exists(), "a whole environment is reused");
        std::fs::remove_file(venv.folder.join(READY)).unwrap();
        ensure().await.unwrap();
        assert!(!witness.exists(), "one without its marker is made again");
    }

    #[tokio::test]
    async fn a_missing_python_is_named_with_the_next_step() {
        let folder = tempfile::tempdir().unwrap();
        let error = Venv::ensure(
            folder.path(),
            "python-that-is-not-there",
            b"",
            Dependencies::Checked,
            &quiet,
        )
        .await
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot start `python-that-is-not-there`")
        );
        assert!(error.hints()[1].contains("RELVEC_PYTHON"));
    }

    #[tokio::test]
    async fn a_file_that_does_not_compile_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good.py");
        let bad = folder.path().join("bad.py");
        std::fs::write(&good, "x = 1\n").unwrap();
        std::fs::write(&bad, "x = = 1\n").unwrap();
        compiles("python3", std::slice::from_ref(&good))
            .await
            .unwrap();
        let error = compiles("python3", &[good, bad]).await.unwrap_err();
        assert!(error.to_string().contains("bad.py"), "{error}");
    }

    #[test]
    fn a_python_without_ensurepip_gets_the_package_to_install() {
        let error = venv_failed("python3", &["ensurepip is not available".to_owned()]);
        assert!(error.hints()[0].contains("python3-venv"));
    }
}
