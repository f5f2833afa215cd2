//! Handlers: typed for their authors, erased for the engine.
//!
//! ```text
//! NodeHandler (params, input and output are Rust types)
//!      │ HandlerType::of::<H>()          one line in the table of handlers
//!      ▼
//! HandlerType (name, schemas, reads, writes)
//!      │ build(params as JSON)           Plan::build, no I/O
//!      ▼
//! Arc<dyn ErasedHandler>                 Run calls it with outputs as JSON
//! ```
//!
//! A [`DeclaredHandler`] is the same for what a graph file declares: its parameters say which kinds it reads and writes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::context::Context;
use super::output::{Input, Kind, Output, Outputs, Read};

/// A stage's work, written by its author with Rust types.
pub trait NodeHandler: Sized + Send + Sync + 'static {
    /// Its name in graph files.
    const NAME: &'static str;
    /// One line for `relvec handlers`.
    const SUMMARY: &'static str;
    /// Whether running it twice can be seen from outside relvec.
    const SIDE_EFFECTS: bool = false;
    /// Whether people read what it writes, or its artifacts: a stage of the graph need not.
    const FOR_PEOPLE: bool = false;
    /// Whether it may hold its thread between two awaits: reading a file, waiting for a lock, computing for more than a millisecond.
    /// Then the engine has another thread at hand, so that nothing else waits; that costs some microseconds a poll. `false` is
    /// a promise of the handler's author, and a handler that breaks it makes others wait.
    const MAY_BLOCK: bool = true;
    /// What `with = {…}` holds; unknown keys are refused. `NoParams` where there is nothing to set.
    type Params: DeserializeOwned + JsonSchema;
    /// What it reads.
    type Input: Input;
    /// What it writes.
    type Output: Output;

    /// Checks the parameters and keeps the result. No I/O, no tasks.
    ///
    /// # Errors
    /// A parameter has a value that its type allows and the handler does not.
    fn new(params: Self::Params) -> Result<Self, ParamError>;

    /// Does the work.
    ///
    /// # Errors
    /// Says whether another attempt could help, or that the run has to wait for a person.
    fn run(
        &self,
        input: Self::Input,
        ctx: &Context,
    ) -> impl Future<Output = Result<Self::Output, HandlerError>> + Send;
}

/// The parameters of a handler that has none.
#[derive(Debug, Clone, Default, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// A parameter with a value that its handler refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParamError {
    /// The parameter's key, where one is to blame.
    pub key: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Whether another attempt could help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Another attempt may succeed.
    Transient,
    /// Another attempt would fail the same way.
    Permanent,
    /// What the handler waited for exceeded a limit of its own: the stage counts as timed out.
    TimedOut,
    /// The run has to wait for a person; not a failure.
    Parked,
}

/// Why a handler did not write its output.
#[derive(Debug)]
pub struct HandlerError {
    /// Whether another attempt could help.
    pub kind: FailureKind,
    /// What failed, where, and the next step.
    pub message: String,
    /// What the handler can report although it failed; recorded as the stage's output.
    pub evidence: Option<Value>,
    /// How long what failed asks to wait before another attempt; the longest delay of the stage's retry is the most.
    pub retry_after: Option<Duration>,
}

impl HandlerError {
    /// An error that another attempt may get past.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::of(FailureKind::Transient, message)
    }

    /// An error that another attempt would meet again.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::of(FailureKind::Permanent, message)
    }

    /// An error of something outside that took longer than the handler gives it.
    pub fn timed_out(message: impl Into<String>) -> Self {
        Self::of(FailureKind::TimedOut, message)
    }

    /// Parks the run; `message` says what it waits for.
    pub fn parked(message: impl Into<String>) -> Self {
        Self::of(FailureKind::Parked, message)
    }

    fn of(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            evidence: None,
            retry_after: None,
        }
    }

    /// Keeps what the handler can report although it failed.
    #[must_use]
    pub fn with_evidence<O: Output>(mut self, output: &O) -> Self {
        self.evidence = serde_json::to_value(output).ok();
        self
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HandlerError {}

impl From<crate::error::Error> for HandlerError {
    /// An unreachable service is worth another attempt; everything else is not.
    fn from(error: crate::error::Error) -> Self {
        let mut message = error.to_string();
        for hint in error.hints() {
            message.push_str("\n  next: ");
            message.push_str(hint);
        }
        match error.kind() {
            crate::error::ErrorKind::Unavailable => Self::transient(message),
            _ => Self::permanent(message),
        }
    }
}

/// The future of an erased run.
pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Result<Value, HandlerError>> + Send + 'a>>;

/// What a stage exchanges with others.
#[derive(Debug, Clone)]
pub struct Interface {
    /// The kinds it reads.
    pub reads: Vec<Read>,
    /// The kind it writes.
    pub writes: Kind,
    /// The JSON Schema of what it writes.
    pub schema: OutputSchema,
}

/// The JSON Schema of a kind of output.
#[derive(Debug, Clone)]
pub enum OutputSchema {
    /// Of a Rust type.
    Of(fn() -> Value),
    /// Of a graph file.
    Declared(Arc<Value>),
}

impl OutputSchema {
    /// Gives the schema.
    #[must_use]
    pub fn get(&self) -> Arc<Value> {
        match self {
            Self::Of(schema) => Arc::new(schema()),
            Self::Declared(schema) => Arc::clone(schema),
        }
    }
}

/// A stage's work whose kinds a graph file declares, in its parameters.
pub trait DeclaredHandler: Sized + Send + Sync + 'static {
    /// Its name in graph files.
    const NAME: &'static str;
    /// One line for `relvec handlers`.
    const SUMMARY: &'static str;
    /// Whether running it twice can be seen from outside relvec.
    const SIDE_EFFECTS: bool;
    /// What `with = {…}` holds; unknown keys are refused.
    type Params: DeserializeOwned + JsonSchema;

    /// Checks the parameters and keeps the result. No I/O, no tasks.
    ///
    /// # Errors
    /// A parameter has a value that its type allows and the handler does not.
    fn new(params: Self::Params) -> Result<Self, ParamError>;

    /// Gives what the parameters declare.
    fn interface(&self) -> Interface;

    /// Does the work. The output has to fit the schema that the interface declares.
    ///
    /// # Errors
    /// Says whether another attempt could help, or that the run has to wait for a person.
    fn run(
        &self,
        inputs: &Outputs,
        ctx: &Context,
    ) -> impl Future<Output = Result<Value, HandlerError>> + Send;
}

/// A handler as the engine sees it.
pub trait ErasedHandler: Send + Sync {
    /// Gives what it exchanges with other stages.
    fn interface(&self) -> Interface;

    /// Reads the input from the outputs so far, runs, and gives the output as JSON.
    fn run<'a>(&'a self, outputs: &'a Outputs, ctx: &'a Context) -> HandlerFuture<'a>;
}

/// A [`NodeHandler`] without its types.
struct Typed<H>(H);

impl<H: NodeHandler> ErasedHandler for Typed<H> {
    fn interface(&self) -> Interface {
        interface_of::<H>()
    }

    fn run<'a>(&'a self, outputs: &'a Outputs, ctx: &'a Context) -> HandlerFuture<'a> {
        Box::pin(async move {
            let input = H::Input::read(outputs)
                .map_err(|error| HandlerError::permanent(error.to_string()))?;
            let output = NodeHandler::run(&self.0, input, ctx).await?;
            serde_json::to_value(output).map_err(|error| {
                HandlerError::permanent(format!("the output of `{}` is not JSON: {error}", H::NAME))
            })
        })
    }
}

/// A [`DeclaredHandler`] without its types.
struct Declared<H>(H);

impl<H: DeclaredHandler> ErasedHandler for Declared<H> {
    fn interface(&self) -> Interface {
        self.0.interface()
    }

    fn run<'a>(&'a self, outputs: &'a Outputs, ctx: &'a Context) -> HandlerFuture<'a> {
        Box::pin(self.0.run(outputs, ctx))
    }
}

/// An entry of the table of handlers.
#[derive(Clone, Copy)]
pub struct HandlerType {
    /// Its name in graph files.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Whether running it twice can be seen from outside relvec.
    pub side_effects: bool,
    /// Whether people read what it writes, or its artifacts.
    pub for_people: bool,
    /// Whether it may hold its thread between two awaits.
    pub may_block: bool,
    /// What it exchanges with other stages; `None` where a graph file declares it.
    pub interface: Option<fn() -> Interface>,
    /// The JSON Schema of its parameters.
    pub params_schema: fn() -> Value,
    /// Checks the parameters and makes the handler.
    pub build: fn(Value) -> Result<Arc<dyn ErasedHandler>, ParamError>,
}

impl HandlerType {
    /// Describes a handler to the engine.
    #[must_use]
    pub const fn of<H: NodeHandler>() -> Self {
        Self {
            name: H::NAME,
            summary: H::SUMMARY,
            side_effects: H::SIDE_EFFECTS,
            for_people: H::FOR_PEOPLE,
            may_block: H::MAY_BLOCK,
            interface: Some(interface_of::<H>),
            params_schema: schema_of::<H::Params>,
            build: |params| Ok(Arc::new(Typed(H::new(read_params::<H::Params>(params)?)?))),
        }
    }

    /// Describes a handler whose kinds a graph file declares.
    #[must_use]
    pub const fn declared<H: DeclaredHandler>() -> Self {
        Self {
            name: H::NAME,
            summary: H::SUMMARY,
            side_effects: H::SIDE_EFFECTS,
            for_people: false,
            may_block: true,
            interface: None,
            params_schema: schema_of::<H::Params>,
            build: |params| {
                let handler = H::new(read_params::<H::Params>(params)?)?;
                Ok(Arc::new(Declared(handler)))
            },
        }
    }

    /// Gives the kind that it writes, unless a graph file declares it.
    #[must_use]
    pub fn writes(&self) -> Option<Kind> {
        self.interface.map(|interface| interface().writes)
    }
}

/// A kind that can be there before the first stage.
#[derive(Debug, Clone)]
pub struct InputType {
    /// Its name.
    pub kind: Kind,
    /// Its JSON Schema.
    pub schema: fn() -> Value,
}

impl InputType {
    /// Describes an input to the engine.
    #[must_use]
    pub const fn of<O: Output>() -> Self {
        Self {
            kind: O::KIND,
            schema: schema_of::<O>,
        }
    }
}

/// What graph files can name: handlers, and inputs whose shape is known.
#[derive(Debug, Clone, Copy)]
pub struct Catalog {
    /// The handlers.
    pub handlers: &'static [HandlerType],
    /// The inputs; one that is not here can be named, and conditions can read anything of it.
    pub inputs: &'static [InputType],
}

impl From<&'static [HandlerType]> for Catalog {
    fn from(handlers: &'static [HandlerType]) -> Self {
        let inputs = &[];
        Self { handlers, inputs }
    }
}

impl fmt::Debug for HandlerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerType")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn schema_of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

fn read_params<P: DeserializeOwned>(params: Value) -> Result<P, ParamError> {
    P::deserialize(params).map_err(|error| ParamError {
        key: None,
        message: error.to_string(),
    })
}

fn interface_of<H: NodeHandler>() -> Interface {
    Interface {
        reads: H::Input::reads(),
        writes: H::Output::KIND,
        schema: OutputSchema::Of(schema_of::<H::Output>),
    }
}
