//! Where in an expression the names and texts stand that its syntax tree has: the parser gives no places.

use std::ops::Range;

/// The words of an expression with their places.
pub(super) struct Places<'a> {
    expression: &'a str,
    words: Vec<(Word<'a>, Range<usize>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
    Name(&'a str),
    /// What stands between the quotes of a text that is written as it is.
    Text(&'a str),
    Dot,
    Open,
    /// A bracket that does not separate a path's words.
    Bracket,
    Other,
}

impl<'a> Places<'a> {
    pub(super) fn of(expression: &'a str) -> Self {
        let mut words = Vec::new();
        let mut at = 0;
        while let Some(first) = expression[at..].chars().next() {
            let (word, length) = word(&expression[at..], first);
            if let Some(word) = word {
                words.push((word, at..at + length));
            }
            at += length;
        }
        Self { expression, words }
    }

    pub(super) fn whole(&self) -> Range<usize> {
        0..self.expression.len()
    }

    /// Finds a path: from its first name to its last.
    pub(super) fn path(&self, segments: &[&str]) -> Range<usize> {
        match (self.segment(segments, 0), self.last(segments)) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => self.whole(),
        }
    }

    /// Finds the last name of a path.
    pub(super) fn end_of(&self, segments: &[&str]) -> Range<usize> {
        self.last(segments).unwrap_or_else(|| self.whole())
    }

    /// Finds a field of what is no path: `f(x).name`.
    pub(super) fn field(&self, name: &str) -> Range<usize> {
        let found = self
            .words
            .windows(2)
            .find(|pair| matches!(pair[0].0, Word::Dot | Word::Open) && is(pair[1].0, name));
        found.map_or_else(|| self.whole(), |pair| pair[1].1.clone())
    }

    /// Finds a name, whatever stands before it.
    pub(super) fn name(&self, name: &str) -> Range<usize> {
        let found = self
            .words
            .iter()
            .find(|(word, _)| *word == Word::Name(name));
        found.map_or_else(|| self.whole(), |(_, span)| span.clone())
    }

    /// Finds a text, the first or a later time that it stands there.
    pub(super) fn text(&self, text: &str, time: usize) -> Range<usize> {
        let mut found = self
            .words
            .iter()
            .filter(|(word, _)| *word == Word::Text(text));
        found
            .nth(time)
            .map_or_else(|| self.whole(), |(_, span)| span.clone())
    }

    fn last(&self, segments: &[&str]) -> Option<Range<usize>> {
        self.segment(segments, segments.len().checked_sub(1)?)
    }

    /// Finds one name of a path at the path's first place.
    fn segment(&self, segments: &[&str], number: usize) -> Option<Range<usize>> {
        let starts = self.words.iter().enumerate().filter(|(place, (word, _))| {
            let behind_dot = *place > 0 && self.words[place - 1].0 == Word::Dot;
            !behind_dot
                && segments
                    .first()
                    .is_some_and(|first| *word == Word::Name(first))
        });
        let mut found = starts.filter_map(|(place, _)| self.follow(place, segments));
        found.next().map(|spans| spans[number].clone())
    }

    fn follow(&self, place: usize, segments: &[&str]) -> Option<Vec<Range<usize>>> {
        let mut spans = vec![self.words[place].1.clone()];
        let rest = self.words[place + 1..].iter();
        let mut rest = rest.filter(|(word, _)| *word != Word::Bracket);
        for name in &segments[1..] {
            let (joint, _) = rest.next()?;
            let (word, span) = rest.next()?;
            let is_next = match (joint, word) {
                (Word::Dot, Word::Name(found)) | (Word::Open, Word::Text(found)) => found == name,
                _ => false,
            };
            if !is_next {
                return None;
            }
            spans.push(span.clone());
        }
        Some(spans)
    }
}

fn is(word: Word<'_>, name: &str) -> bool {
    matches!(word, Word::Name(found) | Word::Text(found) if found == name)
}

/// Reads the word at the start of a text; gives its length too. Blanks and comments are no words.
fn word(text: &str, first: char) -> (Option<Word<'_>>, usize) {
    match first {
        '\'' | '"' => quoted(text),
        '.' => (Some(Word::Dot), 1),
        '[' => (Some(Word::Open), 1),
        '(' | ')' | ']' => (Some(Word::Bracket), 1),
        '/' if text.starts_with("//") => (None, text.find('\n').unwrap_or(text.len())),
        _ if first.is_whitespace() => (None, first.len_utf8()),
        _ if first.is_alphanumeric() || first == '_' => {
            let inside = |c: char| !(c.is_alphanumeric() || c == '_');
            let length = text.find(inside).unwrap_or(text.len());
            // `1.5` is no path.
            let word = if first.is_ascii_digit() {
                Word::Other
            } else {
                Word::Name(&text[..length])
            };
            (Some(word), length)
        }
        _ => (Some(Word::Other), first.len_utf8()),
    }
}

fn quoted(text: &str) -> (Option<Word<'_>>, usize) {
    let single = &text[..1];
    let quote = if text.starts_with(&single.repeat(3)) {
        &text[..3]
    } else {
        single
    };
    let mut escaped = false;
    let mut at = quote.len();
    while let Some(next) = text[at..].chars().next() {
        if !escaped && text[at..].starts_with(quote) {
            return (Some(Word::Text(&text[quote.len()..at])), at + quote.len());
        }
        escaped = next == '\\' && !escaped;
        at += next.len_utf8();
    }
    (Some(Word::Other), text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(expression: &str, place: impl Fn(&Places<'_>) -> Range<usize>) -> &str {
        &expression[place(&Places::of(expression))]
    }

    #[test]
    fn paths_and_their_ends() {
        let text = "x.job.n > 1.5 && job . n == 'job.n' || stages['b-c'].output.v > (job).big";
        assert_eq!(found(text, |p| p.path(&["job", "n"])), "job . n");
        assert_eq!(found(text, |p| p.end_of(&["job", "n"])), "n");
        assert_eq!(found(text, |p| p.end_of(&["job", "big"])), "big");
        let path = ["stages", "b-c", "output", "v"];
        assert_eq!(found(text, |p| p.path(&path)), "stages['b-c'].output.v");
        assert_eq!(found(text, |p| p.end_of(&path[..2])), "'b-c'");
        assert_eq!(found(text, |p| p.text("job.n", 0)), "'job.n'");
        assert_eq!(found(text, |p| p.name("output")), "output");
        assert_eq!(found(text, |p| p.path(&["none"])), text);
    }

    #[test]
    fn texts_that_hold_quotes_and_comments() {
        let text = r#"'it\'s job.n' == '''a 'b' c''' // job.n
            && job.n == "é""#;
        let span = Places::of(text).path(&["job", "n"]);
        assert_eq!(&text[span.end..], " == \"é\"");
        assert_eq!(found(text, |p| p.text("a 'b' c", 0)), "'''a 'b' c'''");
    }

    #[test]
    fn anything_can_be_read() {
        for text in [
            "",
            "'",
            "'''",
            "\\",
            "'\\",
            "é.\u{1F600}['",
            "//",
            "[['a'",
            "0x.1",
        ] {
            let _ = found(text, |p| p.path(&["a", "b"]));
        }
    }
}
