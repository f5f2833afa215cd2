//! Events as JSON lines, for programs.

use std::io::Write;

use super::Report;
use crate::graph::event::Event;

/// Writes each event as one line of JSON, without stages' outputs.
pub struct JsonLines<W>(W);

impl<W: Write + Send> JsonLines<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write + Send> Report for JsonLines<W> {
    fn event(&mut self, event: &Event) {
        if let Ok(mut line) = serde_json::to_vec(&event.without_output()) {
            line.push(b'\n');
            // A reader that went away must not stop the run.
            let _ = self.0.write_all(&line).and_then(|()| self.0.flush());
        }
    }
}
