//! What was measured, and the tables of it: microseconds a stage, and ratios to ours.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

/// The column of relvec's engine, to which the others are compared.
pub const OURS: &str = "relvec";

/// Microseconds a stage, by table, row and column in the order in which they were first measured.
#[derive(Default)]
pub struct Figures(RefCell<Vec<Table>>);

struct Table {
    name: String,
    columns: Vec<String>,
    rows: Vec<(String, BTreeMap<String, f64>)>,
}

impl Figures {
    /// Keeps a measurement: the median of its samples, each the time of one run.
    pub fn keep(&self, table: &str, row: &str, column: &str, stages: usize, samples: &[Duration]) {
        let mut seconds: Vec<f64> = samples.iter().map(Duration::as_secs_f64).collect();
        seconds.sort_by(f64::total_cmp);
        let Some(median) = seconds.get(seconds.len() / 2) else {
            return;
        };
        let stages = u32::try_from(stages).expect("shapes are not that large");
        let figure = median * 1e6 / f64::from(stages);
        let mut tables = self.0.borrow_mut();
        let table = entry(
            &mut tables,
            |known| known.name == table,
            || Table::new(table),
        );
        let _ = entry(
            &mut table.columns,
            |known| known == column,
            || column.to_owned(),
        );
        let new_row = || (row.to_owned(), BTreeMap::new());
        let row = entry(&mut table.rows, |known| known.0 == row, new_row);
        row.1.insert(column.to_owned(), figure);
    }

    /// Gives the tables for people.
    pub fn text(&self) -> String {
        let tables = self.0.borrow();
        tables.iter().map(Table::text).collect()
    }

    /// Writes the figures for machines to a file of the target folder, and gives its path.
    pub fn write(&self) -> std::io::Result<PathBuf> {
        let tables = self.0.borrow();
        let tables: Map<String, Value> = tables
            .iter()
            .map(|table| {
                let rows = table.rows.iter();
                let rows = rows.map(|(row, figures)| (row.clone(), json!(figures)));
                (table.name.clone(), Value::Object(rows.collect()))
            })
            .collect();
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("engine.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&tables)?)?;
        Ok(path)
    }
}

impl Table {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("\n{}, µs a stage (times ours)\n{:24}", self.name, "");
        for column in &self.columns {
            let _ = write!(text, "{column:>20}");
        }
        for (row, figures) in &self.rows {
            let _ = write!(text, "\n{row:24}");
            let ours = figures.get(OURS);
            for column in &self.columns {
                let cell = match (figures.get(column), ours) {
                    (None, _) => "-".to_owned(),
                    (Some(figure), Some(ours)) if column != OURS => {
                        format!("{figure:.2} ({:.2})", figure / ours)
                    }
                    (Some(figure), _) => format!("{figure:.2}"),
                };
                let _ = write!(text, "{cell:>20}");
            }
        }
        text.push('\n');
        text
    }
}

/// Gives the element that fits; puts a new one at the end where none does.
fn entry<T>(list: &mut Vec<T>, fits: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let place = list.iter().position(fits).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[place]
}
