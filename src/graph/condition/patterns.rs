//! Compiles conditions that differ only in the stages that they name once: a large graph has few patterns and many conditions.
//!
//! A pattern is the expression without the ids behind `stages.`; ids are told apart by their order, so that what is sorted stays
//! sorted. Where it is not plain that an id is nothing but a name, there is no pattern, and the expression is compiled by itself.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use foldhash::HashMap;

use super::{Condition, ConditionError, MAX_BYTES, Path};
use crate::graph::references::STAGES;
use crate::graph::shortcut::Shortcut;

/// Words that CEL keeps for itself: behind a dot they are an error or not, which is the parser's to say.
const RESERVED: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// The patterns of a graph's conditions.
#[derive(Debug, Default)]
pub(in crate::graph) struct Patterns(HashMap<String, Pattern>);

impl Patterns {
    /// Compiles an expression, as [`Condition::compile`] does.
    pub(in crate::graph) fn compile(
        &mut self,
        expression: &str,
    ) -> Result<Condition, ConditionError> {
        let Some(sites) = Sites::of(expression) else {
            return Condition::compile(expression);
        };
        let key = sites.key(expression);
        if let Some(pattern) = self.0.get(&key) {
            return Ok(pattern.apply(expression, &sites));
        }
        let mut condition = Condition::compile(expression)?;
        if let Some(pattern) = Pattern::of(self.0.len(), &condition, &sites) {
            condition.pattern = Some(pattern.number);
            self.0.insert(key, pattern);
        }
        Ok(condition)
    }
}

/// What conditions have in common that name different stages.
#[derive(Debug)]
struct Pattern {
    number: usize,
    /// The places of the ids in the expression that was compiled.
    places: Vec<Range<usize>>,
    /// Its paths, each with the rank of the stage that it names.
    paths: Vec<(Path, Option<usize>)>,
    dotted: bool,
    shortcut: Option<Arc<Shortcut>>,
}

impl Pattern {
    fn of(number: usize, condition: &Condition, sites: &Sites<'_>) -> Option<Self> {
        let with_rank = |path: &Path| {
            let rank = match path.segments.as_slice() {
                [variable, id, ..] if variable == STAGES => {
                    Some(sites.ids.binary_search(&id.as_str()).ok()?)
                }
                _ => None,
            };
            Some((path.clone(), rank))
        };
        Some(Self {
            number,
            places: sites.found.iter().map(|(place, _)| place.clone()).collect(),
            paths: condition
                .paths
                .iter()
                .map(with_rank)
                .collect::<Option<_>>()?,
            dotted: condition.dotted,
            shortcut: condition.shortcut.clone(),
        })
    }

    /// Gives the condition that an expression of this pattern is.
    fn apply(&self, expression: &str, sites: &Sites<'_>) -> Condition {
        let paths = self.paths.iter().map(|(path, rank)| {
            let mut segments = path.segments.clone();
            if let Some(rank) = *rank {
                sites.ids[rank].clone_into(&mut segments[1]);
            }
            let span = self.moved(path.span.start, sites)..self.moved(path.span.end, sites);
            Path { segments, span }
        });
        Condition {
            expression: expression.into(),
            root: OnceLock::new(),
            paths: paths.collect(),
            dotted: self.dotted,
            names: OnceLock::new(),
            shortcut: self.shortcut.clone(),
            pattern: Some(self.number),
        }
    }

    /// Moves a place of the expression that was compiled: the ids before it may be longer or shorter.
    fn moved(&self, at: usize, sites: &Sites<'_>) -> usize {
        let before = self.places.iter().zip(&sites.found);
        let last = before.take_while(|(old, _)| old.end <= at).last();
        last.map_or(at, |(old, (new, _))| new.end + (at - old.end))
    }
}

/// Where an expression names stages.
struct Sites<'e> {
    /// The place of each id, and its rank among `ids`.
    found: Vec<(Range<usize>, usize)>,
    /// The ids, sorted, each once.
    ids: Vec<&'e str>,
}

impl<'e> Sites<'e> {
    /// Finds the ids; `None` where something stands there that could be read in two ways.
    fn of(expression: &'e str) -> Option<Self> {
        if expression.len() > MAX_BYTES {
            return None;
        }
        let mut reader = Reader {
            bytes: expression.as_bytes(),
            at: 0,
            found: Vec::new(),
        };
        reader.read()?;
        let id = |place: &Range<usize>| &expression[place.clone()];
        let mut ids: Vec<&str> = reader.found.iter().map(id).collect();
        ids.sort_unstable();
        ids.dedup();
        let ranked = reader.found.into_iter().map(|place| {
            let rank = ids.binary_search(&id(&place)).ok()?;
            (!RESERVED.contains(&id(&place))).then_some((place, rank))
        });
        Some(Self {
            found: ranked.collect::<Option<_>>()?,
            ids,
        })
    }

    /// Gives the expression with ranks in the places of ids.
    fn key(&self, expression: &str) -> String {
        let mut key = String::with_capacity(expression.len());
        let mut from = 0;
        for (place, rank) in &self.found {
            key.push_str(&expression[from..place.start]);
            key.push('\0');
            key.extend(char::from_u32(u32::try_from(*rank).unwrap_or_default()));
            from = place.end;
        }
        key.push_str(&expression[from..]);
        key
    }
}

/// Reads the words of an expression, as far as it takes to find the ids.
struct Reader<'e> {
    bytes: &'e [u8],
    at: usize,
    found: Vec<Range<usize>>,
}

impl Reader<'_> {
    fn read(&mut self) -> Option<()> {
        let mut after_dot = false;
        while let Some(byte) = self.next() {
            let start = self.at;
            match byte {
                // A field is no variable, whatever its name.
                b'.' => self.at += 1,
                b'\'' | b'"' => {
                    self.text()?;
                }
                _ if is_word(byte) => {
                    let is_stages = self.word()? == STAGES.as_bytes();
                    if is_stages && !after_dot {
                        self.stage()?;
                    }
                }
                // Escapes, comments, names of types, optional fields, names in quotes; and what stands for an id in a key.
                b'\\' | b'{' | b'`' | b'\0' => return None,
                b'/' if self.bytes.get(start + 1) == Some(&b'/') => return None,
                b'?' if after_dot => return None,
                _ => self.at += 1,
            }
            after_dot = byte == b'.';
        }
        Some(())
    }

    /// Goes to the next byte that is no blank.
    fn next(&mut self) -> Option<u8> {
        let rest = &self.bytes[self.at..];
        let blanks = rest
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace() || **byte == b'\x0B');
        self.at += blanks.count();
        self.bytes.get(self.at).copied()
    }

    /// Reads a name or a number, which is no prefix of a text: `r'…'`.
    fn word(&mut self) -> Option<&[u8]> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take_while(|byte| is_word(**byte)).count();
        self.at += length;
        (!matches!(rest.get(length), Some(b'\'' | b'"'))).then(|| &rest[..length])
    }

    /// Reads a text on one line without escapes; gives the place of what is between the quotes.
    fn text(&mut self) -> Option<Range<usize>> {
        let quote = self.bytes[self.at];
        let start = self.at + 1;
        let length = self.bytes[start..].iter().position(|byte| *byte == quote)?;
        let inner = &self.bytes[start..start + length];
        let end = start + length;
        self.at = end + 1;
        let is_plain = !inner
            .iter()
            .any(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\0'));
        // Three quotes begin another sort of text.
        (is_plain && self.bytes.get(self.at) != Some(&quote)).then_some(start..end)
    }

    /// Reads the id behind `stages`.
    fn stage(&mut self) -> Option<()> {
        let joint = self.next()?;
        self.at += 1;
        let first = self.next()?;
        let place = match joint {
            b'.' if first.is_ascii_alphabetic() || first == b'_' => {
                let start = self.at;
                let length = self.word()?.len();
                start..start + length
            }
            b'[' if matches!(first, b'\'' | b'"') => {
                let place = self.text()?;
                let is_id = |byte: &u8| is_word(*byte) || *byte == b'-';
                (!place.is_empty() && self.bytes[place.clone()].iter().all(is_id))
                    .then_some(place)?
            }
            _ => return None,
        };
        self.found.push(place);
        // What is called is no stage.
        (self.next() != Some(b'(')).then_some(())
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Compiles after a condition on other stages; gives whether its pattern was known.
    fn compare(before: &str, expression: &str) -> bool {
        let mut patterns = Patterns::default();
        let first = patterns.compile(before).ok().and_then(|it| it.pattern);
        let by_pattern = patterns.compile(expression);
        let by_itself = Condition::compile(expression);
        match (&by_pattern, &by_itself) {
            (Ok(one), Ok(other)) => {
                assert_eq!(one.paths, other.paths, "{expression} after {before}");
                assert_eq!(one.root(), other.root(), "{expression} after {before}");
                assert_eq!(one.dotted, other.dotted, "{expression} after {before}");
                let (a, b) = (&one.shortcut, &other.shortcut);
                assert_eq!(
                    format!("{a:?}"),
                    format!("{b:?}"),
                    "{expression} after {before}"
                );
            }
            (Err(one), Err(other)) => assert_eq!(one, other, "{expression} after {before}"),
            (one, other) => panic!("{expression} after {before}: {one:?} and {other:?}"),
        }
        first.is_some() && by_pattern.is_ok_and(|it| it.pattern == first)
    }

    #[test]
    fn conditions_on_other_stages_are_of_one_pattern() {
        for (before, expression) in [
            (
                "stages.a.status == 'failed'",
                "stages.long_name.status == 'failed'",
            ),
            (
                "stages['a'].output.x > 3 && job.n",
                "stages['b-c'].output.x > 3 && job.n",
            ),
            (
                "stages.a.output.l.all(q, q.b) || stages . b . status == \"x\"",
                "stages.bb.output.l.all(q, q.b) || stages . c . status == \"x\"",
            ),
            (
                "stages.a.x || stages.b.x || stages.a.y",
                "stages.c.x || stages.d.x || stages.c.y",
            ),
            ("job.n > 3", "job.n > 3"),
            ("job.stages.x && stages.a.x", "job.stages.x && stages.b.x"),
        ] {
            assert!(compare(before, expression), "{expression} after {before}");
        }
    }

    #[test]
    fn what_is_not_the_same_is_not_of_one_pattern() {
        for (before, expression) in [
            ("stages.a.x || stages.b.x", "stages.b.x || stages.a.x"),
            ("stages.a.x || stages.b.x", "stages.a.x || stages.a.x"),
            ("stages.a.x", "stages.in.x"),
            ("stages.a.x == stages.b", "stages.a.x == stages.if"),
            ("stages.size.x", "stages.size(x)"),
            ("stages.a.x", "stages['a'].x"),
            ("job.stages.a", "job.stages.b"),
            (
                "[1].exists(stages, stages.a)",
                "[1].exists(stages, stages.b)",
            ),
            (
                "stages.a.x == '''stages.a'''",
                "stages.b.x == '''stages.b'''",
            ),
            ("'stages.a' == stages.a.x", "'stages.b' == stages.a.x"),
            ("stages.a.x == r'\\'", "stages.b.x == r'\\'"),
            ("(stages).a.x", "(stages).b.x"),
            ("stages[job.a].x", "stages[job.b].x"),
            ("stages.a.T{x: 1} == 1", "stages.b.T{x: 1} == 1"),
            ("true // stages.a", "true // stages.b"),
        ] {
            assert!(!compare(before, expression), "{expression} after {before}");
        }
    }

    fn parts() -> impl Strategy<Value = Vec<&'static str>> {
        let part = prop::sample::select(vec![
            "stages",
            ".",
            " ",
            "stages.",
            "ID",
            "JD",
            "stages.ID.status",
            "stages.JD.output.x",
            "stages['ID']",
            "stages[\"JD\"]",
            "==",
            "'",
            "\"",
            "\\",
            "'a'",
            "true",
            "&&",
            "||",
            "!",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ":",
            "?",
            ",",
            "//",
            "\n",
            "r",
            "`",
            "job.a",
            "job",
            ".all(q, q.ID)",
            ".exists(stages, stages.ID)",
            "has(stages.ID.output)",
            "1",
            "in",
            "size(",
            "-",
            "''",
            "é",
            "'é'",
        ]);
        prop::collection::vec(part, 1..9)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the pattern is that was known before, it changes nothing.
        #[test]
        fn a_pattern_changes_nothing(
            parts in parts(),
            ids in prop::sample::select(vec![("a", "b"), ("b", "a"), ("a", "a"), ("status", "x1"), ("in", "true"), ("a-b", "z")]),
            others in prop::sample::select(vec![("c", "d"), ("d", "c"), ("long", "longer"), ("e", "e"), ("in", "null"), ("x-", "y")]),
        ) {
            let text = parts.concat();
            let named = |(one, other)| text.replace("ID", one).replace("JD", other);
            compare(&named(ids), &named(others));
        }
    }
}
