//! The table of handlers. A new handler is its file and two lines here.

use crate::graph::handler::HandlerType;

/// Every handler, in the order of the default graph.
pub static HANDLERS: &[HandlerType] = &[];
