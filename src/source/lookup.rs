//! Whether the values of referring columns are there in the table referred to: asked of the database, where samples only tell so much.

use std::time::{Duration, Instant};

use super::Limits;
use super::documents::{quoted, table_sql};
use crate::model::metadata::Dialect;
use crate::model::schema_context::Join;

/// Rows of the referring table that are looked at, from its beginning: enough to tell, and soon read in a large one.
const ROWS: u32 = 20_000;
/// Longest statement, and longest time for all of them: what was not asked by then stays as it was guessed.
const STATEMENT: Duration = Duration::from_secs(10);
const TOGETHER: Duration = Duration::from_mins(1);

/// What was found when the values of a join were looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// Distinct values, without NULL.
    pub values: u64,
    /// Those of them that the other side does not have.
    pub missing: u64,
}

/// Counts down the time for all statements.
pub(super) struct Budget(Instant);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.elapsed() > TOGETHER
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        statement: STATEMENT,
        ..Limits::default()
    }
}

/// Gives the statement whose one cell is `values missing`. The keys are unique, so that the join multiplies nothing.
pub(super) fn statement(dialect: Dialect, join: &Join) -> String {
    let name = |name: &String| quoted(dialect, name);
    let columns = join.from_columns.iter().enumerate();
    let chosen: Vec<String> = columns
        .map(|(index, column)| format!("f.{} AS v{index}", name(column)))
        .collect();
    let filled: Vec<String> = join
        .from_columns
        .iter()
        .map(|column| format!("f.{} IS NOT NULL", name(column)))
        .collect();
    let equal: Vec<String> = join
        .to_columns
        .iter()
        .enumerate()
        .map(|(index, column)| format!("t.{} = d.v{index}", name(column)))
        .collect();
    let key = name(&join.to_columns[0]);
    let (values, missing) = ("count(*)", format!("count(*) - count(t.{key})"));
    let cell = match dialect {
        Dialect::Sqlite | Dialect::Postgres => {
            format!("CAST({values} AS TEXT) || ' ' || CAST({missing} AS TEXT)")
        }
        Dialect::Mysql => format!("CONCAT({values}, ' ', {missing})"),
    };
    format!(
        "SELECT {cell} FROM (SELECT DISTINCT s.* FROM (SELECT {} FROM {} AS f WHERE {} LIMIT {ROWS}) AS s) AS d \
         LEFT JOIN {} AS t ON {}",
        chosen.join(", "),
        table_sql(dialect, &join.from),
        filled.join(" AND "),
        table_sql(dialect, &join.to),
        equal.join(" AND ")
    )
}

/// Reads the cell of [`statement`].
pub(super) fn read(cell: &str) -> Option<Lookup> {
    let (values, missing) = cell.split_once(' ')?;
    Some(Lookup {
        values: values.parse().ok()?,
        missing: missing.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::metadata::TableRef;
    use crate::model::schema_context::{Cardinality, JoinOrigin};

    #[test]
    fn names_stay_inside_their_quotes() {
        let table = |name: &str| TableRef {
            schema: None,
            name: name.to_owned(),
        };
        let join = Join {
            from: table("a\"b"),
            from_columns: vec!["c".to_owned()],
            to: table("d"),
            to_columns: vec!["e".to_owned()],
            origin: JoinOrigin::Forced,
            cardinality: Cardinality::ManyToOne,
        };
        let sql = statement(Dialect::Sqlite, &join);
        assert!(
            sql.contains("FROM \"a\"\"b\" AS f WHERE f.\"c\" IS NOT NULL"),
            "{sql}"
        );
        assert!(
            sql.ends_with("LEFT JOIN \"d\" AS t ON t.\"e\" = d.v0"),
            "{sql}"
        );
        assert_eq!(
            read("12 3"),
            Some(Lookup {
                values: 12,
                missing: 3
            })
        );
    }
}
