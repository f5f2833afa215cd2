//! The outside world: a small trait and its real implementation each.
//!
//! 1. [`process`]: child processes in groups of their own; [`redact`] keeps secrets out of what they say.
//!    [`exchange`]: the JSON that a graph file's own programs and web services read and write.
//! 2. [`lock`]: one process at a time.
//! 3. [`python`]: virtual environments.
//!    [`docker`]: images and containers.
//! 4. [`embedded`]: the target that relvec starts itself.
//! 5. [`hashed`]: relvec's own embeddings; [`endpoint`]: their server as a child process; [`embedding`]: an API of others.
//! 6. [`http`]: the one HTTP client; [`sse`]: streams of events that it receives; [`llm`]: a language model.
//! 7. [`target`]: what a target holds; [`search`]: what is near to a query in it.

pub mod process;
pub mod redact;
pub mod exchange;
pub mod lock;
pub mod python;
pub mod docker;
pub mod embedded;
pub mod hashed;
pub mod endpoint;
pub mod embedding;
pub mod http;
pub mod sse;
pub mod llm;
pub mod target;
pub mod search;
