//! A database without a dialect: tables, columns, keys, views and rows.
//!
//! A table is written as lines. `NAME TYPE [pk] [unique] [null] [noindex] [-> TABLE.COLUMN]` is a column, NOT NULL unless it says
//! `null`; `primary key (…)`, `unique (…)`, `index (…)` and `foreign key (…) -> TABLE (…)` are keys of several columns.

use super::generate::Maker;

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// 32 bits.
    Int,
    /// 64 bits.
    BigInt,
    /// Characters, at most so many.
    Varchar(u32),
    /// Characters, exactly so many.
    Char(u32),
    /// Characters without a limit.
    Text,
    /// Digits in all, and after the point.
    Decimal(u32, u32),
    /// Floating point.
    Double,
    /// True or false.
    Bool,
    /// A day.
    Date,
    /// A day and a time.
    Timestamp,
    /// A JSON document.
    Json,
    /// A UUID.
    Uuid,
    /// Bytes.
    Blob,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// NULL.
    Null,
    /// A whole number.
    Int(i64),
    /// A number with a fraction, as it is written.
    Number(String),
    /// True or false.
    Bool(bool),
    /// Text, dates, JSON, UUIDs.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Makes a row of values of different types.
macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$($crate::corpora::schema::Value::from($value)),*] };
}

/// Makes the rows of a small table.
macro_rules! rows {
    ($([$($value:expr),* $(,)?]),* $(,)?) => {
        vec![$($crate::corpora::schema::row![$($value),*]),*]
    };
}

pub(crate) use {row, rows};

/// A column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Type,
    /// Whether it accepts NULL.
    pub nullable: bool,
}

/// A foreign key.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The columns that refer.
    pub columns: Vec<String>,
    /// The table referred to.
    pub to: String,
    /// Its columns.
    pub to_columns: Vec<String>,
}

/// A table with its rows.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its primary key.
    pub primary_key: Vec<String>,
    /// Its other unique keys.
    pub unique: Vec<Vec<String>>,
    /// Its plain indexes; a column that refers has one unless it says `noindex`.
    pub indexes: Vec<Vec<String>>,
    /// Its foreign keys.
    pub references: Vec<Reference>,
    /// A value a column.
    pub rows: Vec<Vec<Value>>,
}

/// A query under a name.
#[derive(Debug, Clone)]
pub struct View {
    /// Its name.
    pub name: String,
    /// A query that every dialect understands once its identifiers in double quotes are quoted its own way.
    pub query: String,
}

/// A database.
pub struct Database {
    /// Its tables in the order in which they were filled.
    pub tables: Vec<Table>,
    /// Its views.
    pub views: Vec<View>,
    /// What makes values.
    pub maker: Maker,
}

impl Database {
    /// Starts an empty database; `seed` fixes the rows, `grammar` the words.
    pub fn new(seed: u64, grammar: &[&str]) -> Self {
        Self {
            tables: Vec::new(),
            views: Vec::new(),
            maker: Maker::new(seed, grammar),
        }
    }

    /// Adds a table and makes `count` rows; the closure is given the row's number from 1.
    pub fn table(
        &mut self,
        name: &str,
        columns: &str,
        count: i64,
        mut make: impl FnMut(&mut Maker, i64) -> Vec<Value>,
    ) {
        let rows = (1..=count)
            .map(|number| make(&mut self.maker, number))
            .collect();
        self.rows(name, columns, rows);
    }

    /// Adds a table with these rows.
    pub fn rows(&mut self, name: &str, columns: &str, rows: Vec<Vec<Value>>) {
        let mut table = read(name, columns);
        for row in &rows {
            assert_eq!(row.len(), table.columns.len(), "{name}: values of a row");
        }
        table.rows = rows;
        for (at, column) in table.columns.iter().enumerate() {
            let values = table.rows.iter().map(|row| row[at].clone()).collect();
            self.maker
                .remember(&format!("{name}.{}", column.name), values);
        }
        self.tables.push(table);
    }

    /// Adds a view.
    pub fn view(&mut self, name: &str, query: &str) {
        self.views.push(View {
            name: name.to_owned(),
            query: query.to_owned(),
        });
    }

    /// Gives a table by name.
    pub fn find(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl Table {
    /// Gives a column's position.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|found| found.name == column)
    }
}

fn read(name: &str, lines: &str) -> Table {
    let mut table = Table {
        name: name.to_owned(),
        ..Table::default()
    };
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("primary key ") {
            table.primary_key = list(rest);
        } else if let Some(rest) = line.strip_prefix("unique ") {
            table.unique.push(list(rest));
        } else if let Some(rest) = line.strip_prefix("index ") {
            table.indexes.push(list(rest));
        } else if let Some(rest) = line.strip_prefix("foreign key ") {
            let (columns, target) = rest
                .split_once(" -> ")
                .expect("foreign key (…) -> TABLE (…)");
            let (to, to_columns) = target.split_once(' ').expect("TABLE (…)");
            table.indexes.push(list(columns));
            table.references.push(Reference {
                columns: list(columns),
                to: to.to_owned(),
                to_columns: list(to_columns),
            });
        } else {
            read_column(&mut table, line);
        }
    }
    table
}

fn read_column(table: &mut Table, line: &str) {
    let mut words = line.split_whitespace();
    let name = words.next().expect("a name").to_owned();
    let kind = read_type(words.next().expect("a type"));
    let (mut nullable, mut index, mut reference) = (false, true, None);
    while let Some(word) = words.next() {
        match word {
            "pk" => table.primary_key.push(name.clone()),
            "unique" => table.unique.push(vec![name.clone()]),
            "null" => nullable = true,
            "noindex" => index = false,
            "->" => reference = words.next(),
            other => panic!("{}: `{other}` in `{line}`", table.name),
        }
    }
    if let Some(target) = reference {
        let (to, to_column) = target.split_once('.').expect("TABLE.COLUMN");
        let unique =
            table.primary_key.first() == Some(&name) || table.unique.contains(&vec![name.clone()]);
        if index && !unique {
            table.indexes.push(vec![name.clone()]);
        }
        table.references.push(Reference {
            columns: vec![name.clone()],
            to: to.to_owned(),
            to_columns: vec![to_column.to_owned()],
        });
    }
    table.columns.push(Column {
        name,
        kind,
        nullable,
    });
}

fn list(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches('(').trim_end_matches(')');
    inner
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect()
}

fn read_type(text: &str) -> Type {
    let (name, sizes) = text.split_once('(').unwrap_or((text, ""));
    let sizes: Vec<u32> = sizes
        .trim_end_matches(')')
        .split(',')
        .filter_map(|size| size.parse().ok())
        .collect();
    match name {
        "int" => Type::Int,
        "bigint" => Type::BigInt,
        "varchar" => Type::Varchar(sizes[0]),
        "char" => Type::Char(sizes[0]),
        "text" => Type::Text,
        "decimal" => Type::Decimal(sizes[0], sizes[1]),
        "double" => Type::Double,
        "bool" => Type::Bool,
        "date" => Type::Date,
        "timestamp" => Type::Timestamp,
        "json" => Type::Json,
        "uuid" => Type::Uuid,
        "blob" => Type::Blob,
        other => panic!("no type `{other}`"),
    }
}
