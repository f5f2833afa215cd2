//! The texts that spans point into. A graph that extends another has spans in both files: the texts lie one behind the other.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::shown_path;

/// The text of a graph file, followed by those of the files that it extends.
#[derive(Debug, Clone)]
pub struct Sources {
    text: Arc<str>,
    files: Vec<SourceFile>,
}

/// A file among [`Sources`].
#[derive(Debug, Clone)]
struct SourceFile {
    path: String,
    start: usize,
}

/// Where a span begins and ends. Lines and characters are counted from 1; the end is the first character behind the span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The bytes of that file.
    pub span: Range<usize>,
    /// The line of the start.
    pub line: usize,
    /// The character of the start in its line.
    pub column: usize,
    /// The line of the end.
    pub end_line: usize,
    /// The character of the end in its line.
    pub end_column: usize,
}

/// The lines around a span, and where they stand.
#[derive(Debug)]
pub(super) struct Window<'a> {
    pub text: &'a str,
    pub path: &'a str,
    /// The line of the window's first character.
    pub first_line: usize,
    /// The span inside the window.
    pub span: Range<usize>,
}

impl Sources {
    /// Begins with the file that a person named.
    #[must_use]
    pub fn new(path: &str, text: Arc<str>) -> Self {
        let path = shown_path(path);
        Self {
            text,
            files: vec![SourceFile { path, start: 0 }],
        }
    }

    /// Adds a file that is extended. Gives where its text begins.
    pub(super) fn push(&mut self, path: &str, text: &str) -> usize {
        let start = self.text.len() + 1;
        self.text = format!("{}\n{text}", self.text).into();
        let path = shown_path(path);
        self.files.push(SourceFile { path, start });
        start
    }

    /// Gives all texts, one behind the other.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives the path of the first file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.files[0].path
    }

    /// Gives the paths, the file that a person named first.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// Finds a span's file, lines and characters.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let (file, bytes) = self.file(span.start);
        let text = &self.text[bytes.clone()];
        let span = clamp(
            text,
            span.start.saturating_sub(bytes.start)..span.end.saturating_sub(bytes.start),
        );
        let (line, column) = position(text, span.start);
        let (end_line, end_column) = position(text, span.end);
        Place {
            file: file.path.clone(),
            span,
            line,
            column,
            end_line,
            end_column,
        }
    }

    /// Cuts out the lines that a place touches: who draws them need not read the whole file.
    pub(super) fn window(&self, place: &Place) -> Window<'_> {
        let found = self.files.iter().position(|file| file.path == place.file);
        let (file, bytes) = self.numbered(found.unwrap_or(0));
        let text = &self.text[bytes];
        let window = window(text, &place.span);
        let start = place.span.start - window.start;
        let end = place.span.end.min(window.end) - window.start;
        Window {
            path: &file.path,
            first_line: position(text, window.start).0,
            span: start..end.max(start),
            text: &text[window],
        }
    }

    fn file(&self, at: usize) -> (&SourceFile, Range<usize>) {
        let behind = self.files.partition_point(|file| file.start <= at);
        self.numbered(behind.max(1) - 1)
    }

    fn numbered(&self, number: usize) -> (&SourceFile, Range<usize>) {
        let file = &self.files[number];
        let next = self.files.get(number + 1);
        let end = next.map_or(self.text.len(), |next| next.start - 1);
        (file, file.start..end)
    }
}

fn clamp(text: &str, span: Range<usize>) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// Gives the lines that a span touches, at most a few hundred bytes beyond them.
fn window(text: &str, span: &Range<usize>) -> Range<usize> {
    const AROUND: usize = 400;
    let lowest = clamp(text, span.start.saturating_sub(AROUND)..span.start).start;
    let start = text[lowest..span.start]
        .rfind('\n')
        .map_or(lowest, |newline| lowest + newline + 1);
    let from = span.end.min(span.start + AROUND).max(span.start);
    let highest = clamp(text, start..from + AROUND).end;
    let from = clamp(text, from..from).start;
    let end = text[from..highest]
        .find('\n')
        .map_or(highest, |newline| from + newline);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_belongs_to_its_file() {
        let mut sources = Sources::new("a.toml", "x = 1\n".into());
        let start = sources.push("b.toml", "y = 1\nz = 2\n");
        assert_eq!(&sources.text()[start..=start], "y");
        let first = sources.place(&(0..1));
        assert_eq!((first.file.as_str(), first.line), ("a.toml", 1));
        let second = sources.place(&(start + 6..start + 7));
        assert_eq!((second.file.as_str(), second.line), ("b.toml", 2));
        assert_eq!((second.column, second.end_column), (1, 2));
        let window = sources.window(&second);
        assert_eq!((window.text, window.path), ("z = 2", "b.toml"));
        assert_eq!((window.first_line, window.span), (2, 0..1));
    }
}
