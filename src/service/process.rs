//! Child processes: an environment of named variables only, a process group of their own, output line by line.
//!
//! ```text
//! command(program)         environment = INHERITED, nothing else
//! bare(program, names)     environment = PATH and what is named
//!      │ run(command, cancel, on_line), or talk(command, input, cancel, on_line)
//!      ▼
//! Group ── ends by itself ─────────────────────────────▶ Ended::Exited(status)
//!      └── cancelled: SIGTERM, after 3 s SIGKILL ──────▶ Ended::Cancelled
//! ```
//!
//! Dropping the future of [`run`] or [`talk`] kills the whole group at once, and so does the program's end: what it started and left
//! behind goes with it. So does the end of relvec itself, also by SIGKILL: the group's leader is a shell that waits for it.

use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::settings;

/// Variables that a child may see: where programs are, where temporary files go, how to reach the network.
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// How long a cancelled process may take to finish what it has begun.
const GRACE: Duration = Duration::from_secs(3);

/// How long output is still read once the process is gone and something else holds its pipes.
const DRAIN: Duration = Duration::from_secs(1);

/// Bytes of a line that are kept; the rest of a longer line is dropped.
const MAX_STDERR_LINE: usize = 16 * 1024;
const MAX_STDOUT_LINE: usize = 8 * 1024 * 1024;

/// Waits until its standard input ends, a pipe that only relvec holds, and kills its group. Whoever may stop in order is not to stop this.
const WATCH: &str = "trap '' TERM; while read -r _; do :; done; kill -KILL 0";

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, or by a signal that relvec did not send.
    Exited(ExitStatus),
    /// It was stopped because the caller cancelled.
    Cancelled,
}

/// Makes a command that sees the variables that every child may see, and no others.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    with_variables(program, settings::inherited(INHERITED))
}

/// Makes a command that sees `PATH` and the given variables, and no others.
#[must_use]
pub fn bare(program: impl AsRef<OsStr>, variables: &[(&str, String)]) -> Command {
    let mut command = with_variables(program, settings::inherited(&["PATH"]));
    command.envs(variables.iter().map(|(name, value)| (*name, value)));
    command
}

fn with_variables(program: impl AsRef<OsStr>, variables: Vec<(&str, String)>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(variables).stdin(Stdio::null());
    command
}

/// Runs a command to its end in a process group of its own, and gives each line of its output to `on_line`.
///
/// Lines are UTF-8 with odd bytes replaced, and cut at 16 KiB (standard error) or 8 MiB (standard output).
///
/// # Errors
/// The program cannot be started, or its output cannot be read.
pub async fn run(
    command: &mut Command,
    cancel: &CancellationToken,
    on_line: impl FnMut(Stream, &str) + Send,
) -> io::Result<Ended> {
    drive(command, None, cancel, on_line).await
}

/// Runs a command as [`run`] does, and writes `input` to its standard input. A program that does not read it is no error.
///
/// # Errors
/// As [`run`].
pub async fn talk(
    command: &mut Command,
    input: &[u8],
    cancel: &CancellationToken,
    on_line: impl FnMut(Stream, &str) + Send,
) -> io::Result<Ended> {
    drive(command.stdin(Stdio::piped()), Some(input), cancel, on_line).await
}

async fn drive(
    command: &mut Command,
    input: Option<&[u8]>,
    cancel: &CancellationToken,
    mut on_line: impl FnMut(Stream, &str) + Send,
) -> io::Result<Ended> {
    // Before the program, which has no moment without it.
    let mut leader = lead()?;
    let mut group = Group::of(&leader);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(group.number())
        .kill_on_drop(true)
        .spawn()?;
    let mut feeding = std::pin::pin!(feed(child.stdin.take(), input));
    let mut fed = false;
    let mut stdout = Lines::new(child.stdout.take(), MAX_STDOUT_LINE);
    let mut stderr = Lines::new(child.stderr.take(), MAX_STDERR_LINE);
    let mut status = None;
    let mut cancelled = false;
    // What the timer stands for depends on the state: the grace after SIGTERM, or the drain after the end.
    let mut timer = None;
    while status.is_none() || stdout.is_open() || stderr.is_open() {
        tokio::select! {
            line = stdout.next(), if stdout.is_open() => {
                if let Some(line) = line? { on_line(Stream::Stdout, &line); }
            }
            line = stderr.next(), if stderr.is_open() => {
                if let Some(line) = line? { on_line(Stream::Stderr, &line); }
            }
            () = &mut feeding, if !fed => fed = true,
            ended = child.wait(), if status.is_none() => {
                status = Some(ended?);
                timer = Some(Instant::now() + DRAIN);
            }
            () = cancel.cancelled(), if !cancelled && status.is_none() => {
                cancelled = true;
                group.signal(Signal::TERM);
                timer = Some(Instant::now() + GRACE);
            }
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {
                group.signal(Signal::KILL);
                timer = None;
                if status.is_some() { break; }
            }
        }
    }
    group.signal(Signal::KILL);
    // Until then the group's number is nobody else's.
    leader.wait().await?;
    group.disarm();
    Ok(match status {
        Some(status) if !cancelled => Ended::Exited(status),
        Some(_) | None => Ended::Cancelled,
    })
}

/// Starts the leader of a group, which ends the group when relvec is gone.
fn lead() -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", WATCH])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("/bin/sh, which watches over it, cannot be started: {error}"),
            )
        })
}

/// Writes a program's input and closes it. Where there is none and the program has a pipe, that stays open until the end: waiting
/// for a child would close it.
async fn feed(stdin: Option<ChildStdin>, input: Option<&[u8]>) {
    match (stdin, input) {
        (Some(mut stdin), Some(input)) => {
            // It fails where the program is gone or does not read: its exit code says what that means.
            let _ = stdin.write_all(input).await;
        }
        (stdin, _) => {
            std::future::pending::<()>().await;
            drop(stdin);
        }
    }
}

/// Says how a process ended, in words: `exit code 1`, or the signal that killed it.
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => {
            "killed by signal 9 (SIGKILL), as the kernel does when memory runs out".to_owned()
        }
        (None, Some(11)) => "killed by signal 11 (SIGSEGV), a crash".to_owned(),
        (None, Some(15)) => "killed by signal 15 (SIGTERM)".to_owned(),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended without a status".to_owned(),
    }
}

/// A process group that is killed when it is dropped, unless its end was seen.
#[derive(Debug)]
pub struct Group(Option<Pid>);

impl Group {
    /// Gives the group of a child that was started with `process_group(0)`.
    #[must_use]
    pub fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Gives its number, for further members.
    fn number(&self) -> i32 {
        self.0.map_or(0, |group| group.as_raw_nonzero().get())
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It fails where the group is gone already, which is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Leaves the group alone from now on: its leader's end was seen, so its number may be another's.
    pub fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Lines of bounded length; a read that is dropped half-way loses nothing.
struct Lines<R> {
    reader: Option<BufReader<R>>,
    line: Vec<u8>,
    max: usize,
}

impl<R: tokio::io::AsyncRead + Unpin> Lines<R> {
    fn new(reader: Option<R>, max: usize) -> Self {
        Self {
            reader: reader.map(BufReader::new),
            line: Vec::new(),
            max,
        }
    }

    const fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    /// Gives the next line without its end, and closes at the end of the stream.
    async fn next(&mut self) -> io::Result<Option<String>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        loop {
            let (used, complete) = take_line(reader, &mut self.line, self.max).await?;
            reader.consume(used);
            if used == 0 {
                self.reader = None;
                let rest = std::mem::take(&mut self.line);
                return Ok((!rest.is_empty()).then(|| text(&rest)));
            }
            if complete {
                return Ok(Some(text(&std::mem::take(&mut self.line))));
            }
        }
    }
}

/// Adds what is buffered, up to the line's end, to `line`; gives the bytes used and whether the line is complete.
async fn take_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    max: usize,
) -> io::Result<(usize, bool)> {
    let buffer = reader.fill_buf().await?;
    let end = buffer.iter().position(|byte| *byte == b'\n');
    let piece = &buffer[..end.unwrap_or(buffer.len())];
    let room = max.saturating_sub(line.len()).min(piece.len());
    line.extend_from_slice(&piece[..room]);
    Ok((piece.len() + usize::from(end.is_some()), end.is_some()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = command("/bin/sh");
        shell.arg("-c").arg(script);
        shell
    }

    async fn lines(script: &str) -> (Ended, Vec<(Stream, String)>) {
        let mut lines = Vec::new();
        let ended = run(
            &mut shell(script),
            &CancellationToken::new(),
            |stream, line| lines.push((stream, line.to_owned())),
        )
        .await
        .unwrap();
        (ended, lines)
    }

    #[tokio::test]
    async fn gives_every_line_and_the_status() {
        let (ended, lines) = lines("echo one; echo two >&2; printf three; exit 3").await;
        assert!(matches!(ended, Ended::Exited(status) if status.code() == Some(3)));
        assert!(lines.contains(&(Stream::Stdout, "one".to_owned())));
        assert!(lines.contains(&(Stream::Stderr, "two".to_owned())));
        assert!(lines.contains(&(Stream::Stdout, "three".to_owned())));
    }

    #[tokio::test]
    async fn cuts_a_line_without_an_end() {
        let (_, lines) =
            lines("head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2; echo y >&2").await;
        assert_eq!(lines[0].1.len(), MAX_STDERR_LINE);
        assert_eq!(lines[1].1, "y");
    }

    #[tokio::test]
    async fn cancelling_ends_the_whole_group() {
        let cancel = CancellationToken::new();
        let mut grandchild = None;
        let ended = run(
            &mut shell("sleep 600 & echo $!; wait"),
            &cancel,
            |_, line| {
                grandchild = line.parse().ok().and_then(Pid::from_raw);
                cancel.cancel();
            },
        )
        .await
        .unwrap();
        assert_eq!(ended, Ended::Cancelled);
        wait_until_gone(grandchild.unwrap()).await;
    }

    #[tokio::test]
    async fn dropping_the_future_ends_the_whole_group() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let mut script = shell("trap '' TERM; sleep 600 & echo $!; wait");
        let running = run(&mut script, &cancel, |_, line| {
            sender.send(line.to_owned()).unwrap();
        });
        let line = tokio::select! {
            _ = running => None,
            line = receiver.recv() => line,
        };
        let grandchild = line
            .and_then(|line| line.parse().ok())
            .and_then(Pid::from_raw);
        wait_until_gone(grandchild.unwrap()).await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it() {
        let (ended, lines) = lines("sleep 600 >/dev/null 2>&1 & echo $!").await;
        assert!(matches!(ended, Ended::Exited(status) if status.success()));
        let left: Option<i32> = lines[0].1.parse().ok();
        wait_until_gone(left.and_then(Pid::from_raw).unwrap()).await;
    }

    /// Waits until the process is gone, or a zombie that its new parent has not collected yet.
    async fn wait_until_gone(process: Pid) {
        let stat = format!("/proc/{}/stat", process.as_raw_nonzero());
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn input_that_is_not_read_blocks_nobody() {
        let input = vec![b'x'; 1 << 20];
        for (script, says) in [("wc -c", "1048576"), ("echo no", "no")] {
            let mut lines = Vec::new();
            let cancel = CancellationToken::new();
            let ended = talk(&mut shell(script), &input, &cancel, |_, line| {
                lines.push(line.trim().to_owned());
            })
            .await
            .unwrap();
            assert!(matches!(ended, Ended::Exited(status) if status.success()));
            assert_eq!(lines, [says]);
        }
    }

    #[tokio::test]
    async fn a_child_sees_nothing_that_is_not_named() {
        // Cargo sets CARGO_MANIFEST_DIR for tests, so this process has it.
        let (_, lines) = lines("echo \"[$CARGO_MANIFEST_DIR]\"").await;
        assert_eq!(lines[0].1, "[]");
    }
}
