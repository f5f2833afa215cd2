//! The keys that a column can refer to, found by the words of a column's name and by values.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};

use super::naming::{ColumnName, People, Pointer, is_prefix, shared_prefixes, table_readings};
use super::values::{AllValues, Values};
use crate::handlers::normalize_schema::names::{abbreviates, bases, folded, words};
use crate::model::metadata::{ColumnMetadata, DataType, TableMetadata};

/// A compound is looked up by this many letters at its end.
const END_LETTERS: usize = 5;

/// A word of more tables than this says little about which one is meant.
const COMMON: usize = 64;

/// The names of all tables and columns, read once.
pub(super) struct Names {
    columns: Vec<Vec<ColumnName>>,
    readings: Vec<Vec<Vec<String>>>,
    people: Vec<Option<People>>,
    prefixes: Vec<String>,
}

impl Names {
    pub(super) fn new(tables: &[TableMetadata]) -> Self {
        let prefixes = shared_prefixes(tables.iter().map(|table| table.table.name.as_str()));
        let readings = tables
            .iter()
            .map(|table| table_readings(&table.table.name, &prefixes));
        let columns = tables.iter().map(|table| {
            let columns = table.columns.iter();
            columns
                .map(|column| ColumnName::new(&column.name))
                .collect()
        });
        let readings: Vec<Vec<Vec<String>>> = readings.collect();
        let columns: Vec<Vec<ColumnName>> = columns.collect();
        let people = readings
            .iter()
            .zip(&columns)
            .map(|(readings, columns)| People::of(readings, columns));
        Self {
            people: people.collect(),
            readings,
            columns,
            prefixes,
        }
    }

    pub(super) fn column(&self, table: usize, column: usize) -> &ColumnName {
        &self.columns[table][column]
    }

    pub(super) fn readings(&self, table: usize) -> &[Vec<String>] {
        &self.readings[table]
    }

    /// What people a table holds, if it does.
    pub(super) fn people(&self, table: usize) -> Option<People> {
        self.people[table]
    }

    /// Whether tables begin with this word wherever they come from.
    pub(super) fn is_prefix(&self, word: &str) -> bool {
        is_prefix(word, &self.prefixes)
    }
}

/// A key of one column.
pub(super) struct Target<'a> {
    /// The place of its table.
    pub(super) at: usize,
    pub(super) table: &'a TableMetadata,
    /// The place of the key's column.
    pub(super) column: usize,
    pub(super) key: &'a ColumnMetadata,
    pub(super) name: &'a ColumnName,
    pub(super) readings: &'a [Vec<String>],
}

/// Every key of one column, by what it can be found by.
pub(super) struct Targets<'a> {
    all: Vec<Target<'a>>,
    by_table: HashMap<usize, Vec<usize>>,
    by_word: HashMap<String, Vec<usize>>,
    by_end: HashMap<String, Vec<usize>>,
    by_letter: HashMap<char, Vec<usize>>,
    by_initials: HashMap<String, Vec<usize>>,
    /// By all words of the table, the last one as any word that it may be the plural of.
    by_reading: HashMap<Vec<String>, Vec<usize>>,
    /// What tables are called, the last word as any word that it may be the plural of.
    called: BTreeSet<Vec<String>>,
    by_value: OnceCell<HashMap<String, Vec<usize>>>,
}

impl<'a> Targets<'a> {
    pub(super) fn new(tables: &'a [TableMetadata], names: &'a Names) -> Self {
        let mut targets = Self {
            all: Vec::new(),
            by_table: HashMap::new(),
            by_word: HashMap::new(),
            by_end: HashMap::new(),
            by_letter: HashMap::new(),
            by_initials: HashMap::new(),
            by_reading: HashMap::new(),
            called: BTreeSet::new(),
            by_value: OnceCell::new(),
        };
        for (at, table) in tables.iter().enumerate() {
            for reading in names.readings(at) {
                targets.called.extend(forms(reading));
            }
            if table.kind.is_view() {
                continue;
            }
            let keys = std::iter::once(&table.primary_key).chain(&table.unique_keys);
            for key in keys {
                let [key] = key.as_slice() else { continue };
                let column = table.columns.iter().position(|column| column.name == *key);
                if let Some(column) = column {
                    targets.add(Target {
                        at,
                        table,
                        column,
                        key: &table.columns[column],
                        name: names.column(at, column),
                        readings: names.readings(at),
                    });
                }
            }
        }
        targets
    }

    fn add(&mut self, target: Target<'a>) {
        let index = self.all.len();
        let known = self.by_table.entry(target.at).or_default();
        if known
            .iter()
            .any(|&other| self.all[other].column == target.column)
        {
            return;
        }
        known.push(index);
        for reading in target.readings {
            for word in reading.iter().flat_map(|word| bases(word)) {
                let end: String = end_of(&word);
                self.by_end.entry(end).or_default().push(index);
                self.by_word.entry(word).or_default().push(index);
            }
            let letters: BTreeSet<char> = reading
                .iter()
                .filter_map(|word| word.chars().next())
                .collect();
            for letter in letters {
                self.by_letter.entry(letter).or_default().push(index);
            }
            for form in forms(reading) {
                self.by_reading.entry(form).or_default().push(index);
            }
            let initials = reading.iter().filter_map(|word| word.chars().next());
            self.by_initials
                .entry(initials.collect())
                .or_default()
                .push(index);
        }
        if !target.name.is_generic() {
            for word in &target.name.words {
                self.by_word.entry(word.clone()).or_default().push(index);
            }
        }
        self.all.push(target);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Target<'a>> {
        self.all.iter()
    }

    /// The keys of a table.
    pub(super) fn keys_of(&self, table: usize) -> impl Iterator<Item = &Target<'a>> {
        let keys = self.by_table.get(&table).into_iter().flatten();
        keys.map(|&index| &self.all[index])
    }

    /// The keys that a name may mean, and how: those with a word of it; abbreviations only where there are none.
    pub(super) fn possible(
        &self,
        name: &ColumnName,
        own: &[Vec<String>],
    ) -> Vec<(&Target<'a>, Pointer)> {
        let words: BTreeSet<&String> = name.words.iter().chain(&name.stem).collect();
        let mut lists: Vec<&Vec<usize>> = Vec::new();
        for word in words {
            for base in bases(word) {
                lists.extend(self.by_word.get(&base));
                if name.is_key && base.len() >= END_LETTERS {
                    lists.extend(self.by_end.get(&end_of(&base)));
                }
            }
        }
        let found = self.telling(&lists, name);
        let pointed = |found: BTreeSet<usize>| -> Vec<(&Target<'a>, Pointer)> {
            let targets = found.into_iter().map(|index| &self.all[index]);
            targets
                .filter_map(|target| {
                    let pointer = name.points_to(own, target.readings, target.name)?;
                    Some((target, pointer))
                })
                .collect()
        };
        let named = pointed(found);
        if named.is_empty() && name.is_key {
            return pointed(self.abbreviated(name));
        }
        named
    }

    /// The keys of the lists. In a schema whose tables share a word, only those that other words name too, if there are any: else
    /// every such column would meet every table.
    fn telling(&self, lists: &[&Vec<usize>], name: &ColumnName) -> BTreeSet<usize> {
        let all = |common: bool| {
            let lists = lists.iter().filter(|list| common || list.len() <= COMMON);
            lists.flat_map(|list| list.iter().copied()).collect()
        };
        if lists.iter().all(|list| list.len() <= COMMON) {
            return all(true);
        }
        let mut found: BTreeSet<usize> = all(false);
        for words in [&name.words, &name.stem] {
            for from in 0..words.len() {
                for to in from + 1..=words.len() {
                    let forms = forms(&words[from..to]).into_iter();
                    let named = forms.filter_map(|form| self.by_reading.get(&form));
                    found.extend(named.flatten());
                }
            }
        }
        if found.is_empty() { all(true) } else { found }
    }

    fn abbreviated(&self, name: &ColumnName) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for word in &name.stem {
            found.extend(self.by_initials.get(word).into_iter().flatten());
            let letter = word.chars().next();
            let same_letter = letter.and_then(|letter| self.by_letter.get(&letter));
            found.extend(same_letter.into_iter().flatten().filter(|&&index| {
                let mut words = self.all[index].readings.iter().flatten();
                words.any(|other| abbreviates(word, other) || abbreviates(other, word))
            }));
        }
        found
    }

    /// Whether a value is the name of a table: `Ticket`, `tickets`, `App\Models\Ticket`.
    pub(super) fn is_table(&self, value: &str) -> bool {
        let words: Vec<String> = words(value).iter().map(|word| folded(word)).collect();
        (0..words.len()).any(|from| self.is_table_words(&words[from..]))
    }

    /// Whether these words are the name of a table.
    pub(super) fn is_table_words(&self, words: &[String]) -> bool {
        forms(words).iter().any(|form| self.called.contains(form))
    }

    /// The keys that hold one of these values or more.
    pub(super) fn holding(&self, all: &AllValues<'a>, values: &Values) -> Vec<&Target<'a>> {
        let index = self.by_value.get_or_init(|| {
            let mut index: HashMap<String, Vec<usize>> = HashMap::new();
            for (place, target) in self.all.iter().enumerate() {
                if matches!(target.key.data_type, DataType::Text | DataType::Uuid) {
                    for value in &all.of(target.at, target.column).distinct {
                        index.entry(value.clone()).or_default().push(place);
                    }
                }
            }
            index
        });
        let found: BTreeSet<usize> = values
            .distinct
            .iter()
            .filter_map(|value| index.get(value))
            .flatten()
            .copied()
            .collect();
        found.into_iter().map(|place| &self.all[place]).collect()
    }
}

/// The words with the last one as everything that it may be the plural of.
fn forms(words: &[String]) -> Vec<Vec<String>> {
    let Some((last, rest)) = words.split_last() else {
        return Vec::new();
    };
    let of = |base: String| [rest, &[base]].concat();
    bases(last).into_iter().map(of).collect()
}

fn end_of(word: &str) -> String {
    let count = word.chars().count();
    word.chars()
        .skip(count.saturating_sub(END_LETTERS))
        .collect()
}
