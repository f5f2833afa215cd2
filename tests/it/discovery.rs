//! How much of a realistic database is understood: precision and recall against the truth of the corpora.
//!
//! `cargo test --test it discovery -- --nocapture` prints the tables. The rules of `normalize_schema` and `analyzer` were made with the
//! development half alone; the held-out half was measured when they were finished, and holds them to the same bar.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use relvec::handlers::{analyzer, llm_advisor, normalize_schema};
use relvec::model::job::JobInput;
use relvec::model::metadata::{TableKind, TableRef};
use relvec::model::plan::{EntityPlan, FieldSource, MigrationPlan, ParentJoin, Section};
use relvec::model::schema_context::SchemaContext;
use relvec::source::{self, Selection};
use secrecy::SecretString;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::corpora::schema::{Database, Value};
use crate::corpora::sql::{self, Keys, Sql};
use crate::corpora::truth::{self, Truth};
use crate::corpora::{CORPORA, Corpus, Half};

/// What the precision of inferred joins has to reach.
const INFERRED_PRECISION: f64 = 0.98;
/// What the recall of inferred joins has to reach.
const INFERRED_RECALL: f64 = 0.90;
/// What the F1 of embedding columns has to reach, with foreign keys and without.
const COLUMNS_F1: f64 = 0.95;

/// What was found and what is true, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    hits: u32,
    wrong: u32,
    missed: u32,
}

impl Score {
    /// Compares what was found with the truth; what is in `either` counts for nothing.
    fn of(found: &BTreeSet<String>, wanted: &BTreeSet<String>, either: &BTreeSet<String>) -> Self {
        let count = |set: usize| u32::try_from(set).expect("a small set");
        Self {
            hits: count(found.intersection(wanted).count()),
            wrong: count(
                found
                    .iter()
                    .filter(|one| !wanted.contains(*one) && !either.contains(*one))
                    .count(),
            ),
            missed: count(wanted.difference(found).count()),
        }
    }

    fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.wrong += other.wrong;
        self.missed += other.missed;
    }

    fn precision(self) -> f64 {
        ratio(self.hits, self.wrong)
    }

    fn recall(self) -> f64 {
        ratio(self.hits, self.missed)
    }

    fn f1(self) -> f64 {
        ratio(2 * self.hits, self.wrong + self.missed)
    }
}

fn ratio(good: u32, bad: u32) -> f64 {
    if good + bad == 0 {
        1.0
    } else {
        f64::from(good) / f64::from(good + bad)
    }
}

/// The scores of a corpus, or of several.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    /// Joins of the database with its foreign keys.
    declared: Score,
    /// Joins of the database stripped of them.
    inferred: Score,
    /// Columns in some text, of the database with its foreign keys.
    embedding: Score,
    /// The same of the stripped database.
    embedding_stripped: Score,
    /// Roots of documents, of the database with its foreign keys.
    entities: Score,
    /// The same of the stripped database.
    entities_stripped: Score,
    /// Columns that must not be embedded and are, of either database.
    forbidden: Vec<String>,
    /// Columns that must not be embedded and are offered to a language model, of either database.
    offered: Vec<String>,
    /// What is wrong and what is missed, a line each.
    remarks: Vec<String>,
}

impl Scores {
    fn add(&mut self, other: Self) {
        self.declared.add(other.declared);
        self.inferred.add(other.inferred);
        self.embedding.add(other.embedding);
        self.embedding_stripped.add(other.embedding_stripped);
        self.entities.add(other.entities);
        self.entities_stripped.add(other.entities_stripped);
        self.forbidden.extend(other.forbidden);
        self.offered.extend(other.offered);
    }
}

/// What relvec found in a database.
pub struct Found {
    joins: BTreeSet<String>,
    embedding: BTreeSet<String>,
    metadata: BTreeSet<String>,
    offered: BTreeSet<String>,
    entities: BTreeSet<String>,
}

/// Reads a database as the first three stages do.
pub async fn understand(url: &str) -> Found {
    let job: JobInput =
        serde_json::from_value(serde_json::json!({"source": {"url": url}})).expect("a job");
    let selection = Selection {
        sample_rows: job.source.sample_rows,
        ..Selection::default()
    };
    let driver = source::open(&SecretString::from(url.to_owned())).expect("a driver");
    let collected = driver
        .collect(&selection)
        .await
        .expect("the corpus can be read");
    let (context, _) = normalize_schema::understand(&collected.metadata, driver.as_ref()).await;
    let plan = analyzer::analyze(&job, &context).expect("a plan").plan;
    found(&context, &plan)
}

/// Gives the columns that a language model could bring into a document, whatever it answers.
fn offered(context: &SchemaContext, plan: &MigrationPlan) -> BTreeSet<String> {
    llm_advisor::offered_columns(plan, Some(context))
        .into_iter()
        .map(|(table, column)| format!("{}.{column}", table.name))
        .collect()
}

fn found(context: &SchemaContext, plan: &MigrationPlan) -> Found {
    let views: BTreeSet<&TableRef> = context
        .tables
        .iter()
        .filter(|table| table.kind == TableKind::View)
        .map(|table| &table.table)
        .collect();
    let mut found = Found {
        joins: context
            .joins
            .iter()
            .filter(|join| !views.contains(&join.from) && !views.contains(&join.to))
            .map(|join| {
                truth::join(
                    &join.from.name,
                    &join.from_columns,
                    &join.to.name,
                    &join.to_columns,
                )
            })
            .collect(),
        embedding: BTreeSet::new(),
        metadata: BTreeSet::new(),
        offered: offered(context, plan),
        entities: plan
            .entities
            .iter()
            .map(|entity| entity.root.name.clone())
            .collect(),
    };
    for entity in &plan.entities {
        for section in &entity.sections {
            match section {
                Section::Field { source, .. } => {
                    found.embedding.insert(place(entity, None, source));
                }
                Section::Children {
                    table,
                    parents,
                    columns,
                    ..
                } => {
                    for source in columns {
                        found
                            .embedding
                            .insert(place(entity, Some((table, parents)), source));
                    }
                }
            }
        }
        for field in &entity.metadata {
            found.metadata.insert(place(entity, None, &field.source));
        }
    }
    found
}

/// Gives the `table.column` behind an alias.
fn place(
    entity: &EntityPlan,
    child: Option<(&TableRef, &Vec<ParentJoin>)>,
    source: &FieldSource,
) -> String {
    let parents = child.map_or(&entity.parents, |(_, parents)| parents);
    let table = match (source.alias.as_str(), child) {
        ("r", _) => &entity.root,
        ("c", Some((table, _))) => table,
        (alias, _) => {
            let parent = parents.iter().find(|parent| parent.alias == alias);
            &parent.unwrap_or_else(|| panic!("no alias {alias}")).table
        }
    };
    format!("{}.{}", table.name, source.column)
}

async fn sqlite(
    folder: &std::path::Path,
    corpus: &Corpus,
    database: &Database,
    keys: Keys,
) -> String {
    let path = folder.join(format!("{}_{keys:?}.sqlite", corpus.name));
    let mut connection = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .foreign_keys(false)
        .connect()
        .await
        .expect("a file");
    let script = format!(
        "BEGIN;\n{}COMMIT;",
        sql::script(database, Sql::Sqlite, keys)
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.name));
    let broken: Vec<(String,)> = sqlx::query_as("SELECT \"table\" FROM pragma_foreign_key_check")
        .fetch_all(&mut connection)
        .await
        .expect("the check");
    assert_eq!(broken, [], "{}: rows that refer to nothing", corpus.name);
    connection.close().await.expect("closes");
    format!("sqlite:{}", path.display())
}

/// Compares both variants of a corpus with its truth.
pub fn compare(truth: &Truth, declared: &Found, stripped: &Found) -> Scores {
    let mut scores = Scores {
        declared: Score::of(&declared.joins, &truth.joins, &truth.optional_joins),
        inferred: Score::of(&stripped.joins, &truth.joins, &truth.optional_joins),
        embedding: Score::of(&declared.embedding, &truth.embedding, &truth.optional),
        embedding_stripped: Score::of(&stripped.embedding, &truth.embedding, &truth.optional),
        entities: Score::of(
            &declared.entities,
            &truth.entities,
            &truth.optional_entities,
        ),
        entities_stripped: Score::of(
            &stripped.entities,
            &truth.entities,
            &truth.optional_entities,
        ),
        ..Scores::default()
    };
    for (which, found) in [("with keys", declared), ("stripped", stripped)] {
        for column in truth
            .forbidden
            .iter()
            .filter(|one| found.embedding.contains(*one) || found.metadata.contains(*one))
        {
            scores.forbidden.push(format!("{column} ({which})"));
            scores.remarks.push(format!("{which}: FORBIDDEN {column}"));
        }
        let offered = truth.forbidden.intersection(&found.offered);
        scores
            .offered
            .extend(offered.map(|column| format!("{column} ({which})")));
        for (what, found, wanted, either) in [
            ("join", &found.joins, &truth.joins, &truth.optional_joins),
            (
                "column",
                &found.embedding,
                &truth.embedding,
                &truth.optional,
            ),
            (
                "entity",
                &found.entities,
                &truth.entities,
                &truth.optional_entities,
            ),
        ] {
            let wrong = found
                .difference(wanted)
                .filter(|one| !either.contains(*one));
            scores
                .remarks
                .extend(wrong.map(|one| format!("{which}: wrong {what} {one}")));
            scores.remarks.extend(
                wanted
                    .difference(found)
                    .map(|one| format!("{which}: missed {what} {one}")),
            );
        }
    }
    scores
}

/// Measures the corpora of a half in SQLite.
async fn measure(half: Half) -> Scores {
    let folder = tempfile::tempdir().expect("a folder");
    let mut measured = Vec::new();
    for corpus in CORPORA.iter().filter(|corpus| corpus.half == half) {
        let database = (corpus.build)();
        let declared = sqlite(folder.path(), corpus, &database, Keys::Declared).await;
        let stripped = sqlite(folder.path(), corpus, &database, Keys::Stripped).await;
        measured.push((
            corpus,
            understand(&declared).await,
            understand(&stripped).await,
        ));
    }
    summarize(&format!("{half:?} half, SQLite"), measured)
}

/// Prints what is wrong and the table of scores, and gives the sums: each corpus with what was found with its keys, and without.
pub fn summarize(title: &str, measured: Vec<(&Corpus, Found, Found)>) -> Scores {
    let mut sum = Scores::default();
    let mut lines = vec![heading()];
    for (corpus, declared, stripped) in measured {
        let truth: Truth = toml::from_str(corpus.truth).expect("a truth file");
        let scores = compare(&truth, &declared, &stripped);
        lines.push(line(corpus.name, &scores));
        for remark in &scores.remarks {
            println!("{}: {remark}", corpus.name);
        }
        sum.add(scores);
    }
    lines.push(line("all", &sum));
    println!("\n{title}: precision recall F1\n{}\n", lines.join("\n"));
    sum
}

/// Holds the sums of a half against the bar.
pub fn assert_bar(scores: &Scores) {
    assert_eq!(
        (scores.declared.wrong, scores.declared.missed),
        (0, 0),
        "joins with foreign keys"
    );
    let (precision, recall) = (scores.inferred.precision(), scores.inferred.recall());
    assert!(
        precision >= INFERRED_PRECISION,
        "inferred joins: precision {precision}"
    );
    assert!(recall >= INFERRED_RECALL, "inferred joins: recall {recall}");
    for columns in [scores.embedding, scores.embedding_stripped] {
        assert!(
            columns.f1() >= COLUMNS_F1,
            "embedding columns: F1 {}",
            columns.f1()
        );
    }
    let none = Vec::<String>::new();
    assert_eq!(scores.forbidden, none, "must not be embedded");
    assert_eq!(
        scores.offered, none,
        "must not be offered to a language model"
    );
}

fn heading() -> String {
    let names = [
        "joins declared",
        "joins inferred",
        "columns",
        "columns stripped",
        "entities",
        "entities stripped",
    ];
    let mut text = format!("{:<12}", "");
    for name in names {
        write!(text, "  {name:<16}").expect("a string grows");
    }
    format!("{text}  forbidden")
}

fn line(name: &str, scores: &Scores) -> String {
    let mut text = format!("{name:<12}");
    for score in [
        scores.declared,
        scores.inferred,
        scores.embedding,
        scores.embedding_stripped,
        scores.entities,
        scores.entities_stripped,
    ] {
        write!(
            text,
            "  {:.2} {:.2} {:.2}  ",
            score.precision(),
            score.recall(),
            score.f1()
        )
        .expect("a string grows");
    }
    format!("{text}  {}", scores.forbidden.len())
}

#[tokio::test]
async fn development_half_is_understood() {
    assert_bar(&measure(Half::Development).await);
}

#[tokio::test]
async fn held_out_half_is_understood() {
    assert_bar(&measure(Half::HeldOut).await);
}

/// The truth names only what exists, its joins are those of the foreign keys, and their values are there.
#[test]
fn truth_and_generator_agree() {
    for corpus in CORPORA {
        let database = (corpus.build)();
        let truth: Truth =
            toml::from_str(corpus.truth).unwrap_or_else(|error| panic!("{}: {error}", corpus.name));
        let mut complaints = Vec::new();
        names_exist(&database, &truth, &mut complaints);
        joins_hold(&database, &truth, &mut complaints);
        rows_fit(&database, &mut complaints);
        assert_eq!(complaints, Vec::<String>::new(), "{}", corpus.name);
    }
}

/// Two builds give the same rows, so that figures can be compared from one day to the next.
#[test]
fn corpora_are_the_same_every_time() {
    for corpus in CORPORA {
        let twice = [(); 2].map(|()| sql::script(&(corpus.build)(), Sql::Mysql, Keys::Declared));
        assert!(twice[0] == twice[1], "{}", corpus.name);
    }
}

fn names_exist(database: &Database, truth: &Truth, complaints: &mut Vec<String>) {
    let columns: BTreeSet<String> = database
        .tables
        .iter()
        .flat_map(|table| {
            table
                .columns
                .iter()
                .map(|column| format!("{}.{}", table.name, column.name))
        })
        .collect();
    for column in truth
        .embedding
        .iter()
        .chain(&truth.optional)
        .chain(&truth.forbidden)
    {
        if !columns.contains(column) {
            complaints.push(format!("no column {column}"));
        }
    }
    for table in truth.entities.iter().chain(&truth.optional_entities) {
        if database.find(table).is_none() {
            complaints.push(format!("no table {table}"));
        }
    }
    let lists = [&truth.embedding, &truth.optional, &truth.forbidden];
    for (at, list) in lists.iter().enumerate() {
        for other in &lists[at + 1..] {
            complaints.extend(
                list.intersection(other)
                    .map(|column| format!("{column} is on two lists")),
            );
        }
    }
    if !(8..=24).contains(&database.tables.len()) {
        complaints.push(format!("{} tables", database.tables.len()));
    }
}

fn joins_hold(database: &Database, truth: &Truth, complaints: &mut Vec<String>) {
    let declared: BTreeSet<String> = database
        .tables
        .iter()
        .flat_map(|table| {
            let references = table.references.iter();
            references.map(|key| truth::join(&table.name, &key.columns, &key.to, &key.to_columns))
        })
        .collect();
    complaints.extend(
        truth
            .joins
            .symmetric_difference(&declared)
            .map(|join| format!("not a join of both: {join}")),
    );
    for join in truth.joins.iter().chain(&truth.optional_joins) {
        let (from, to) = join.split_once(" -> ").expect("FROM -> TO");
        let (child, parent) = (project(database, from), project(database, to));
        let (Some(child), Some(parent)) = (child, parent) else {
            complaints.push(format!("no columns for {join}"));
            continue;
        };
        if child.types != parent.types {
            complaints.push(format!("types differ: {join}"));
        }
        if !child.values.is_subset(&parent.values) {
            complaints.push(format!("values without a parent: {join}"));
        }
    }
}

struct Projection {
    types: Vec<crate::corpora::schema::Type>,
    values: BTreeSet<Vec<Value>>,
}

fn project(database: &Database, side: &str) -> Option<Projection> {
    let (table, columns) = truth::side(side);
    let table = database.find(&table)?;
    let positions: Vec<usize> = columns
        .iter()
        .map(|column| table.position(column))
        .collect::<Option<_>>()?;
    let pick = |row: &Vec<Value>| {
        positions
            .iter()
            .map(|at| row[*at].clone())
            .collect::<Vec<_>>()
    };
    let rows = table.rows.iter().map(pick);
    Some(Projection {
        types: positions.iter().map(|at| table.columns[*at].kind).collect(),
        values: rows.filter(|row| !row.contains(&Value::Null)).collect(),
    })
}

/// Keys are unique, and NULL stands only where it may.
fn rows_fit(database: &Database, complaints: &mut Vec<String>) {
    for table in &database.tables {
        for (at, column) in table.columns.iter().enumerate() {
            if !column.nullable && table.rows.iter().any(|row| row[at] == Value::Null) {
                complaints.push(format!("{}.{} has NULL", table.name, column.name));
            }
        }
        for key in std::iter::once(&table.primary_key).chain(&table.unique) {
            let positions: Vec<usize> = key
                .iter()
                .filter_map(|column| table.position(column))
                .collect();
            assert_eq!(
                positions.len(),
                key.len(),
                "{}: columns of a key",
                table.name
            );
            let values: BTreeSet<Vec<&Value>> = table
                .rows
                .iter()
                .filter(|row| positions.iter().all(|at| row[*at] != Value::Null))
                .map(|row| positions.iter().map(|at| &row[*at]).collect())
                .collect();
            let rows = table.rows.iter();
            let whole = rows.filter(|row| positions.iter().all(|at| row[*at] != Value::Null));
            if values.len() != whole.count() {
                complaints.push(format!(
                    "{}: ({}) is not unique",
                    table.name,
                    key.join(", ")
                ));
            }
        }
    }
}
