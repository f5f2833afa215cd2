//! relvec's own embedding endpoint as a child process, for the provider `relvec`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::process::{self, Group};
use crate::error::{Error, ErrorKind, Result};

/// How long the endpoint may take to say where it listens.
const START: Duration = Duration::from_secs(10);

/// What the endpoint prints before its address.
const ANNOUNCEMENT: &str = "listening on ";

/// An endpoint that runs until this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens, as `http://127.0.0.1:PORT/v1`.
    pub base_url: String,
    // Kept open: a program that finds its output closed may end.
    _stdout: Lines<BufReader<ChildStdout>>,
    // With its standard input, which ends when this process does, however it ends: then so does the endpoint.
    _child: Child,
    _group: Group,
}

impl Endpoint {
    /// Starts `embed-server` of this very program on a free port of the loopback interface.
    ///
    /// # Errors
    /// The program's own path is unknown, or as for [`Endpoint::start_program`].
    pub async fn start() -> Result<Self> {
        Self::start_program(&own_program()?).await
    }

    /// Starts `embed-server` of this very program on another address of this machine: that of a container network's gateway.
    ///
    /// # Errors
    /// As for [`Endpoint::start`].
    pub async fn start_at(address: IpAddr) -> Result<Self> {
        let program = own_program()?;
        Self::start_on(&program, address).await
    }

    /// Starts `embed-server` of another relvec program.
    ///
    /// # Errors
    /// The program cannot be started, ends at once, or does not say within 10 s where it listens.
    pub async fn start_program(program: &Path) -> Result<Self> {
        Self::start_on(program, IpAddr::V4(Ipv4Addr::LOCALHOST)).await
    }

    async fn start_on(program: &Path, address: IpAddr) -> Result<Self> {
        let mut command = process::command(program);
        let address = address.to_string();
        command
            .args(["embed-server", "--port", "0", "--until-stdin-ends"])
            .args(["--address", &address]);
        let shown = format!("{} embed-server --address {address}", program.display());
        Self::listen(command, &shown, &address).await
    }

    async fn listen(mut command: Command, shown: &str, address: &str) -> Result<Self> {
        let failed = |what: &str| {
            Error::new(
                ErrorKind::Failed,
                format!("relvec's embedding endpoint {what} ({shown})"),
            )
            .hint("run that command by hand to see why, or name another embedding provider in the job")
        };
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("cannot be started").because(error))?;
        let group = Group::of(&child);
        let stdout = child.stdout.take().ok_or_else(|| failed("has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(START, lines.next_line())
            .await
            .map_err(|_| failed("did not say within 10 s where it listens"))?
            .map_err(|error| failed("cannot be read").because(error))?
            .ok_or_else(|| failed("ended at once"))?;
        let base_url = line
            .strip_prefix(ANNOUNCEMENT)
            .filter(|url| url.starts_with(&format!("http://{address}:")))
            .ok_or_else(|| failed("did not say where it listens"))?
            .trim_end_matches('/')
            .to_owned();
        Ok(Self {
            base_url,
            _stdout: lines,
            _child: child,
            _group: group,
        })
    }
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|error| {
        Error::new(
            ErrorKind::Internal,
            "the path of relvec's own program is unknown",
        )
        .because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listen(script: &str) -> Result<Endpoint> {
        let mut shell = process::command("/bin/sh");
        shell.arg("-c").arg(script);
        Endpoint::listen(shell, "a script", "127.0.0.1").await
    }

    #[tokio::test]
    async fn reads_where_it_listens() {
        let endpoint = listen("echo 'listening on http://127.0.0.1:4321/v1'; sleep 600")
            .await
            .unwrap();
        assert_eq!(endpoint.base_url, "http://127.0.0.1:4321/v1");
    }

    #[tokio::test]
    async fn one_that_ends_at_once_is_an_error() {
        let error = listen("exit 1").await.unwrap_err();
        assert!(error.to_string().contains("ended at once"), "{error}");
    }

    #[tokio::test]
    async fn an_address_elsewhere_is_refused() {
        let error = listen("echo 'listening on http://example.com/v1'")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("did not say where"), "{error}");
    }
}
