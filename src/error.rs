//! The one error type that crosses module boundaries, and what each kind means to a shell and to an HTTP client.
//!
//! An error is a kind, a message that names the thing and the place, hints that name the next step, and perhaps a source.
//! Errors that only one module knows stay beside that module and are turned into this one at its edge.

use std::error::Error as StdError;
use std::fmt;

/// What sort of thing went wrong; decides the exit code and the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The command line asks for something that does not exist.
    Usage,
    /// A setting, graph file or job file cannot be read at all.
    Configuration,
    /// Something was read, and what it says is wrong.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// What was asked contradicts what is already recorded.
    Conflict,
    /// A service outside relvec did not answer or refused.
    Unavailable,
    /// There is more to do than is taken on: later is another matter.
    Busy,
    /// A disk is full.
    Full,
    /// A run ended without success.
    Failed,
    /// A run waits for a person.
    Waiting,
    /// Source and target were compared and differ.
    Mismatched,
    /// relvec itself is at fault.
    Internal,
}

impl ErrorKind {
    /// Gives the process exit code for this kind.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Invalid
            | Self::NotFound
            | Self::Conflict
            | Self::Unavailable
            | Self::Busy
            | Self::Full
            | Self::Failed
            | Self::Internal => 1,
            Self::Usage => 2,
            Self::Waiting => 3,
            Self::Mismatched => 4,
            Self::Configuration => 78,
        }
    }

    /// Gives the HTTP status code for this kind.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Usage | Self::Configuration => 400,
            Self::NotFound => 404,
            Self::Conflict | Self::Waiting => 409,
            Self::Invalid => 422,
            Self::Failed | Self::Mismatched | Self::Internal => 500,
            Self::Busy => 429,
            Self::Unavailable => 503,
            Self::Full => 507,
        }
    }
}

/// An error with its next steps.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hints: Vec<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything that crosses a module boundary.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error from its kind and a message that names the thing and the place.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            source: None,
        }
    }

    /// Adds a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Keeps the error that caused this one; its text is printed after the message.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Gives the kind.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Gives the next steps, in the order in which they were added.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = self.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
