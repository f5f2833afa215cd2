//! Lines of bounded length out of pieces of output.

/// Puts pieces of output together to lines; the rest of a line that is too long is dropped.
pub(super) struct Lines {
    line: Vec<u8>,
    max: usize,
}

impl Lines {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            line: Vec::new(),
            max,
        }
    }

    /// Adds a piece and gives each line that it completes.
    pub(super) fn push(&mut self, piece: &[u8], mut on_line: impl FnMut(&str)) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end]);
            rest = &rest[end + 1..];
            on_line(&self.take());
        }
        self.keep(rest);
    }

    /// Gives the last line where it has no end.
    pub(super) fn finish(&mut self, on_line: impl FnOnce(&str)) {
        if !self.line.is_empty() {
            on_line(&self.take());
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        let room = self.max.saturating_sub(self.line.len()).min(piece.len());
        self.line.extend_from_slice(&piece[..room]);
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        String::from_utf8_lossy(&line)
            .trim_end_matches('\r')
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines_of_bounded_length() {
        let (mut lines, mut seen) = (Lines::new(6), Vec::new());
        for piece in ["a", "b\r\ncd", "", "\n\nlonger than", " it may be\nend"] {
            lines.push(piece.as_bytes(), |line| seen.push(line.to_owned()));
        }
        lines.finish(|line| seen.push(line.to_owned()));
        lines.finish(|line| seen.push(line.to_owned()));
        assert_eq!(seen, ["ab", "cd", "", "longer", "end"]);
    }
}
