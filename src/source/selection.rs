//! Which tables are read, how much of them, and how long it may take. Patterns have `*`, and each has to match something.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::TableRef;

/// A table with more rows than this is large: its rows are estimated unless [`Counts::Exact`] is asked for.
pub(super) const SMALL: u64 = 100_000;

/// How rows are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Counts {
    /// By the database's statistics alone, so that no table is opened.
    Statistics,
    /// Small tables by counting, large ones by statistics.
    #[default]
    SmallTables,
    /// All by counting, which reads every table whole.
    Exact,
}

/// What one reading of the catalogue may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest statement.
    pub statement: Duration,
    /// Longest statement that reads a view, because nobody needs its rows.
    pub view: Duration,
    /// How much longer than its limit a statement may stay without an answer, before the server counts as silent.
    pub silence: Duration,
    /// Most connections at once, where the database lets several of them see the same instant.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement: Duration::from_mins(2),
            view: Duration::from_secs(15),
            silence: Duration::from_secs(5),
            connections: 4,
        }
    }
}

impl Limits {
    /// A server ends a statement by itself; one that stands still does not, and is given up after this.
    pub(super) fn patience(&self) -> Duration {
        self.statement + self.silence
    }
}

/// Which tables are read, and how much of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Patterns of tables to read; all if empty.
    pub include: Vec<String>,
    /// Patterns of tables to leave out.
    pub exclude: Vec<String>,
    /// Rows a table that are kept as a sample.
    pub sample_rows: u32,
    /// How rows are counted.
    pub counts: Counts,
    /// What the reading may take.
    pub limits: Limits,
}

impl Selection {
    /// Says whether tables have to be opened one by one, for their counts or samples.
    #[must_use]
    pub fn opens_tables(&self) -> bool {
        self.sample_rows > 0 || self.counts != Counts::Statistics
    }

    /// Keeps those of `items` whose tables are selected.
    ///
    /// # Errors
    /// As [`Selection::choose`].
    pub fn retain<T>(&self, items: &mut Vec<T>, table: impl Fn(&T) -> &TableRef) -> Result<()> {
        let tables: Vec<TableRef> = items.iter().map(|item| table(item).clone()).collect();
        let chosen: HashSet<TableRef> = self.choose(&tables)?.into_iter().collect();
        items.retain(|item| chosen.contains(table(item)));
        Ok(())
    }

    /// Gives those of `tables` that are selected, in the same order.
    ///
    /// # Errors
    /// A pattern matches none of the tables, or nothing is left.
    pub fn choose(&self, tables: &[TableRef]) -> Result<Vec<TableRef>> {
        for (list, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            for pattern in patterns {
                if !tables.iter().any(|table| matches_table(pattern, table)) {
                    return Err(no_match(list, pattern, tables));
                }
            }
        }
        let any = |patterns: &[String], table: &TableRef| {
            patterns.iter().any(|pattern| matches_table(pattern, table))
        };
        let chosen: Vec<TableRef> = tables
            .iter()
            .filter(|table| self.include.is_empty() || any(&self.include, table))
            .filter(|table| !any(&self.exclude, table))
            .cloned()
            .collect();
        if chosen.is_empty() && !tables.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "source.include and source.exclude leave none of the {} tables",
                    tables.len()
                ),
            )
            .hint("widen source.include or take a pattern out of source.exclude"));
        }
        Ok(chosen)
    }
}

fn no_match(list: &str, pattern: &str, tables: &[TableRef]) -> Error {
    let error = Error::new(
        ErrorKind::Invalid,
        format!("the pattern `{pattern}` in source.{list} matches no table"),
    );
    let lower = pattern.to_lowercase();
    let nearest = tables
        .iter()
        .flat_map(|table| [table.to_string(), table.name.clone()])
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
    match nearest {
        Some((score, name)) if score > 0.75 => error.hint(format!("did you mean `{name}`?")),
        _ if tables.is_empty() => error.hint("the source has no table that this user can read"),
        _ => {
            let names: Vec<String> = tables.iter().take(10).map(ToString::to_string).collect();
            error.hint(format!("the source has {}", names.join(", ")))
        }
    }
}

/// SQLite's one schema is called `main`, so that `*.audit_*` means the same everywhere.
pub(crate) fn matches_table(pattern: &str, table: &TableRef) -> bool {
    let schema = table.schema.as_deref().unwrap_or("main");
    glob(pattern, &table.name) || glob(pattern, &format!("{schema}.{}", table.name))
}

/// Matches `*` against any run of characters, in time linear in the text for each star.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(schema: Option<&str>, name: &str) -> TableRef {
        TableRef {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        Selection {
            include: include.iter().map(|&text| text.to_owned()).collect(),
            exclude: exclude.iter().map(|&text| text.to_owned()).collect(),
            ..Selection::default()
        }
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "ab", false),
            ("a*a", "a", false),
            ("*.audit_*", "public.audit_log", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn includes_and_excludes() {
        let tables = [
            table(Some("public"), "orders"),
            table(Some("public"), "audit_log"),
            table(Some("sales"), "orders"),
        ];
        let chosen = selection(&["public.*"], &["*.audit_*"])
            .choose(&tables)
            .expect("chosen");
        assert_eq!(chosen, [tables[0].clone()]);
        let chosen = selection(&["orders"], &[]).choose(&tables).expect("chosen");
        assert_eq!(chosen, [tables[0].clone(), tables[2].clone()]);
        let sqlite = [table(None, "audit_x"), table(None, "b")];
        let chosen = selection(&[], &["*.audit_*"])
            .choose(&sqlite)
            .expect("chosen");
        assert_eq!(chosen, [sqlite[1].clone()]);
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_named_with_the_nearest_table() {
        let tables = [table(None, "orders"), table(None, "customers")];
        let error = selection(&["ordrs"], &[])
            .choose(&tables)
            .expect_err("no match");
        assert!(error.to_string().contains("`ordrs` in source.include"));
        assert_eq!(error.hints(), ["did you mean `orders`?"]);
        let error = selection(&[], &["*"])
            .choose(&tables)
            .expect_err("nothing left");
        assert!(error.to_string().contains("leave none"));
    }
}
