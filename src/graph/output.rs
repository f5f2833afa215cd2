//! What stages exchange: typed at the handler, JSON in between.
//!
//! A handler's output has a [`Kind`], its name in conditions and in `schemas/`. A handler's input is a type built from
//! outputs: `()`, `A`, `Option<A>` or a tuple of these; the type says which kinds are required and which may be absent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name of a sort of output.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// Names a kind that the program knows.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// Names a kind that a graph file declares.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// Gives the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A type that a stage writes.
pub trait Output: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Its name in conditions and in `schemas/`.
    const KIND: Kind;
}

/// One kind that an input reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The kind that is read.
    pub kind: Kind,
    /// Whether the stage cannot run without it.
    pub required: bool,
}

/// The outputs that a stage can read, by kind; shared, never copied, between stages.
#[derive(Debug, Clone, Default)]
pub struct Outputs(BTreeMap<Kind, Arc<Value>>);

impl Outputs {
    /// Adds or replaces the output of a kind.
    pub fn insert(&mut self, kind: Kind, value: Arc<Value>) {
        self.0.insert(kind, value);
    }

    /// Gives the output of a kind, if a stage wrote one.
    #[must_use]
    pub fn get(&self, kind: &Kind) -> Option<&Arc<Value>> {
        self.0.get(kind)
    }
}

/// Why an input could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A required kind was not written; `Plan::build` refuses graphs in which this can happen.
    #[error("the input `{0}` is missing")]
    Missing(Kind),
    /// An output does not have the shape of its type, for instance one loaded from an older store.
    #[error("the input `{kind}` does not have the expected shape: {source}")]
    Shape {
        /// The kind that was read.
        kind: Kind,
        /// Where its shape differs.
        source: serde_json::Error,
    },
}

/// A type that a stage reads.
pub trait Input: Sized + Send + 'static {
    /// Gives the kinds it is made of.
    fn reads() -> Vec<Read>;

    /// Puts the input together.
    ///
    /// # Errors
    /// A required kind is absent, or an output does not have its type's shape.
    fn read(outputs: &Outputs) -> Result<Self, InputError>;
}

impl Input for () {
    fn reads() -> Vec<Read> {
        Vec::new()
    }

    fn read(_: &Outputs) -> Result<Self, InputError> {
        Ok(())
    }
}

impl<A: Output> Input for A {
    fn reads() -> Vec<Read> {
        vec![Read {
            kind: A::KIND,
            required: true,
        }]
    }

    fn read(outputs: &Outputs) -> Result<Self, InputError> {
        let value = outputs.get(&A::KIND).ok_or(InputError::Missing(A::KIND))?;
        A::deserialize(value.as_ref()).map_err(|source| InputError::Shape {
            kind: A::KIND,
            source,
        })
    }
}

impl<A: Output> Input for Option<A> {
    fn reads() -> Vec<Read> {
        vec![Read {
            kind: A::KIND,
            required: false,
        }]
    }

    fn read(outputs: &Outputs) -> Result<Self, InputError> {
        outputs.get(&A::KIND).map(|_| A::read(outputs)).transpose()
    }
}

macro_rules! input_of_tuple {
    ($($part:ident),+) => {
        impl<$($part: Input),+> Input for ($($part,)+) {
            fn reads() -> Vec<Read> {
                [$($part::reads()),+].concat()
            }

            fn read(outputs: &Outputs) -> Result<Self, InputError> {
                Ok(($($part::read(outputs)?,)+))
            }
        }
    };
}

input_of_tuple!(A, B);
input_of_tuple!(A, B, C);
input_of_tuple!(A, B, C, D);
input_of_tuple!(A, B, C, D, E);
input_of_tuple!(A, B, C, D, E, F);
