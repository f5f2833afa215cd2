//! `command`: a team's own program as a stage. JSON goes to its standard input, and one JSON value comes from its standard output.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command as Process;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::{DeclaredHandler, HandlerError, Interface, OutputSchema, ParamError};
use crate::graph::output::Outputs;
use crate::service::exchange::{Exchange, SchemaParam, check_variable, duration, refused};
use crate::service::process::{self, Ended, Stream};
use crate::service::redact::Redactor;
use crate::settings;

/// The exit code by which a program says that another attempt may succeed (`EX_TEMPFAIL` of `sysexits.h`).
const TEMPORARY: i32 = 75;
/// The most bytes of output that a graph file can allow, and what it allows where it does not say.
const MOST_OUTPUT: usize = 8 << 20;
/// Variables that hold no secret, and whose values are parts of ordinary text.
const PLAIN: [&str; 7] = ["HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];
/// Lines of standard error that go into the run's log; the rest is counted.
const MOST_LINES: usize = 1_000;
/// Lines of standard error that the error of a failed program shows.
const LAST_LINES: usize = 5;

/// What `with = {…}` holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The program: a name that is looked for on relvec's `PATH`, or a path. There is no shell.
    program: String,
    /// Its arguments.
    #[serde(default)]
    args: Vec<String>,
    /// The kinds that it gets; one that ends in `?` may be absent.
    #[serde(default)]
    reads: Vec<String>,
    /// The kind that it writes.
    kind: String,
    /// The JSON Schema of what it writes; any object if absent.
    #[serde(default)]
    schema: Option<SchemaParam>,
    /// The environment variables that are passed on. Beside `PATH` it sees no others. Their values are hidden in the log, and an output
    /// that holds one is refused, but for what says where a program runs: `HOME`, `USER`, `LANG`, `LC_ALL`, `LC_CTYPE`, `TZ`, `TMPDIR`.
    #[serde(default)]
    env: Vec<String>,
    /// How long it may take; the stage's `timeout` holds as well.
    #[serde(default)]
    timeout: Option<String>,
    /// The folder that it runs in. Like a `program` with a `/`, it is relative to the folder in which relvec was started, and
    /// that is where it runs if this is absent.
    #[serde(default)]
    folder: Option<PathBuf>,
    /// The most bytes that it may write: 8 MiB, which is also the most that can be allowed.
    #[serde(default)]
    #[schemars(range(min = 1, max = 8_388_608))]
    max_output: Option<usize>,
}

/// The handler.
#[derive(Debug)]
pub struct Command {
    program: String,
    args: Vec<String>,
    env: Vec<String>,
    timeout: Option<Duration>,
    folder: Option<PathBuf>,
    max_output: usize,
    exchange: Exchange,
}

impl DeclaredHandler for Command {
    const NAME: &'static str = "command";
    const SUMMARY: &'static str = "runs a program with JSON on its standard input and output";
    const SIDE_EFFECTS: bool = true;
    type Params = Params;

    fn new(params: Params) -> Result<Self, ParamError> {
        if params.program.trim().is_empty() {
            return Err(refused("program", "name the program"));
        }
        for name in &params.env {
            check_variable("env", name)?;
        }
        let texts = params.args.iter().chain([&params.program]);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(refused("args", "an argument cannot hold a NUL character"));
        }
        let max_output = params.max_output.unwrap_or(MOST_OUTPUT);
        if !(1..=MOST_OUTPUT).contains(&max_output) {
            let message = format!("it has to be 1 to {MOST_OUTPUT} bytes");
            return Err(refused("max_output", message));
        }
        let schema = match params.schema {
            Some(SchemaParam(schema)) => Value::Object(schema),
            None => json!({"type": "object"}),
        };
        let timeout = params.timeout.as_deref();
        Ok(Self {
            timeout: timeout.map(|text| duration("timeout", text)).transpose()?,
            exchange: Exchange::new(&params.reads, &params.kind, schema)?,
            program: params.program,
            args: params.args,
            env: params.env,
            folder: params.folder,
            max_output,
        })
    }

    fn interface(&self) -> Interface {
        Interface {
            reads: self.exchange.reads(),
            writes: self.exchange.kind(),
            schema: OutputSchema::Declared(Arc::new(self.exchange.schema().clone())),
        }
    }

    async fn run(&self, inputs: &Outputs, ctx: &Context) -> Result<Value, HandlerError> {
        let mut input = self.exchange.message(inputs, ctx);
        input.insert("attempt".to_owned(), json!(ctx.attempt()));
        input.insert("artifacts".to_owned(), json!(ctx.artifacts()));
        let mut input = Value::Object(input).to_string();
        input.push('\n');
        let (mut command, redactor) = self.prepare()?;
        let stop = ctx.cancellation().child_token();
        let mut heard = Heard {
            ctx,
            redactor: &redactor,
            stop: &stop,
            room: self.max_output,
            output: String::new(),
            too_long: false,
            lines: 0,
            last_lines: VecDeque::new(),
        };
        let status = self.talk(&mut command, &input, &stop, &mut heard).await?;
        if status.success() {
            self.read(&heard.output, &redactor)
        } else {
            Err(self.failure(status, &heard.last_lines))
        }
    }
}

/// What a program says: its output, and its last words.
struct Heard<'a> {
    ctx: &'a Context,
    redactor: &'a Redactor,
    /// Stops the program once it wrote too much.
    stop: &'a CancellationToken,
    room: usize,
    output: String,
    too_long: bool,
    lines: usize,
    last_lines: VecDeque<String>,
}

impl Heard<'_> {
    fn hear(&mut self, stream: Stream, line: &str) {
        match stream {
            Stream::Stdout if self.output.len() + line.len() < self.room => {
                self.output.push_str(line);
                self.output.push('\n');
            }
            Stream::Stdout => {
                self.too_long = true;
                self.stop.cancel();
            }
            Stream::Stderr if line.trim().is_empty() => {}
            Stream::Stderr => {
                let line = self.redactor.clean(line);
                self.lines += 1;
                if self.lines <= MOST_LINES {
                    self.ctx.log(LogLevel::Info, line.as_str());
                }
                self.last_lines.push_back(line);
                if self.last_lines.len() > LAST_LINES {
                    self.last_lines.pop_front();
                }
            }
        }
    }
}

impl Command {
    /// Makes the process, with what keeps the values of its variables out of the log.
    fn prepare(&self) -> Result<(Process, Redactor), HandlerError> {
        let mut redactor = Redactor::default();
        let mut variables = Vec::with_capacity(self.env.len());
        for name in &self.env {
            let value = settings::variable(name).ok_or_else(|| {
                HandlerError::permanent(format!(
                    "the environment variable {name}, which `env` passes on to `{}`, is not set\n  next: set it where relvec runs, or leave it out of `env`",
                    self.program
                ))
            })?;
            if !PLAIN.contains(&name.as_str()) {
                redactor = redactor.hide(&value.as_str().into());
            }
            variables.push((name.as_str(), value));
        }
        let place = |path: &Path| {
            std::path::absolute(path).map_err(|error| {
                HandlerError::permanent(format!("cannot resolve {}: {error}", path.display()))
            })
        };
        // A path is made absolute first: it must not depend on the folder that the program runs in.
        let mut command = if self.program.contains('/') {
            process::bare(place(Path::new(&self.program))?, &variables)
        } else {
            process::bare(&self.program, &variables)
        };
        if let Some(folder) = &self.folder {
            let folder = place(folder)?;
            if !folder.is_dir() {
                return Err(HandlerError::permanent(format!(
                    "there is no folder {} for `{}` to run in\n  next: make it, or correct `folder` in the graph file",
                    folder.display(),
                    self.program
                )));
            }
            command.current_dir(folder);
        }
        command.args(&self.args);
        Ok((command, redactor))
    }

    async fn talk(
        &self,
        command: &mut Process,
        input: &str,
        stop: &CancellationToken,
        heard: &mut Heard<'_>,
    ) -> Result<ExitStatus, HandlerError> {
        let (ended, late) = {
            let hear = |stream, line: &str| heard.hear(stream, line);
            let mut running = std::pin::pin!(process::talk(command, input.as_bytes(), stop, hear));
            let late = sleep(self.timeout.unwrap_or(Duration::MAX));
            tokio::select! {
                ended = &mut running => (ended, false),
                () = late, if self.timeout.is_some() => {
                    stop.cancel();
                    (running.await, true)
                }
            }
        };
        if heard.lines > MOST_LINES {
            let more = heard.lines - MOST_LINES;
            let line = format!("{more} more lines are not in the log");
            heard.ctx.log(LogLevel::Warn, line);
        }
        let program = &self.program;
        match ended.map_err(|error| self.not_started(&error))? {
            Ended::Exited(_) | Ended::Cancelled if heard.too_long => {
                Err(HandlerError::permanent(format!(
                    "`{program}` wrote more than the {} bytes that `max_output` allows",
                    self.max_output
                )))
            }
            Ended::Exited(_) | Ended::Cancelled if late => Err(HandlerError::timed_out(format!(
                "`{program}` had no result within {:?}, the `timeout` of its parameters",
                self.timeout.unwrap_or_default()
            ))),
            Ended::Exited(status) => Ok(status),
            Ended::Cancelled => Err(HandlerError::transient(format!("`{program}` was stopped"))),
        }
    }

    fn not_started(&self, error: &io::Error) -> HandlerError {
        let next = match error.kind() {
            io::ErrorKind::NotFound if self.program.contains('/') => {
                "correct the path; a relative one begins in the folder in which relvec was started"
            }
            io::ErrorKind::NotFound => "install it, or give its path as `program`",
            io::ErrorKind::PermissionDenied => "make the file executable for relvec's user",
            _ => "start it by hand to see why",
        };
        HandlerError::permanent(format!(
            "the program `{}` cannot be started: {error}\n  next: {next}",
            self.program
        ))
    }

    fn read(&self, output: &str, redactor: &Redactor) -> Result<Value, HandlerError> {
        let wrong = |what: String| {
            HandlerError::permanent(format!(
                "the output of `{}` {what}\n  next: it has to write one JSON value of kind `{}` and nothing else; what is for people goes to standard error",
                self.program,
                self.exchange.kind()
            ))
        };
        if output.trim().is_empty() {
            return Err(wrong("is empty".to_owned()));
        }
        let value: Value = serde_json::from_str(output).map_err(|error| {
            wrong(format!(
                "is not JSON: line {}, character {}",
                error.line(),
                error.column()
            ))
        })?;
        if redactor.finds(&value) {
            return Err(HandlerError::permanent(format!(
                "the output of `{}` holds the value of a variable that `env` passes on, and outputs are kept with the run\n  next: let it leave that out",
                self.program
            )));
        }
        self.exchange
            .check(&value)
            .map_err(|error| wrong(format!("does not fit the stage's `schema`: {error}")))?;
        Ok(value)
    }

    fn failure(&self, status: ExitStatus, last_lines: &VecDeque<String>) -> HandlerError {
        let mut message = format!("`{}` failed: {}", self.program, process::describe(status));
        for line in last_lines {
            message.push('\n');
            message.push_str(line);
        }
        if status.code() == Some(TEMPORARY) {
            HandlerError::transient(message)
        } else {
            HandlerError::permanent(message)
        }
    }
}

#[cfg(test)]
mod tests;
