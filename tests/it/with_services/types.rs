//! `docs/types.md` row by row (`\0` in a text stands for U+0000): each declared type and value is put into a table, and what arrives is what the page says.

use futures::TryStreamExt;
use relvec::model::metadata::{DataType, TableMetadata};
use relvec::model::plan::EntityPlan;
use relvec::source::{self, Selection, SourceDocument};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection};

use crate::services::{MysqlVersion, mariadb_url, postgres_source_url, postgres_version};

/// A row of a table of the page.
struct Case {
    declared: String,
    value: String,
    data_type: String,
    text: Option<String>,
    json: String,
}

/// Reads the table under a heading: cells are code in backquotes, `NULL` without them is no value.
fn cases(heading: &str) -> Vec<Case> {
    let page = std::fs::read_to_string("docs/types.md").expect("the page");
    let from = page.find(&format!("# {heading}\n")).expect("the heading");
    let section = &page[from..];
    let section = &section[..section.find("\n#").unwrap_or(section.len())];
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cases: Vec<Case> = rows
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            assert_eq!(cells.len(), 6, "{line}");
            let code = |cell: &str| {
                let code = cell
                    .strip_prefix('`')
                    .and_then(|cell| cell.strip_suffix('`'));
                code.map(str::to_owned)
            };
            let needed =
                |cell: &str| code(cell).unwrap_or_else(|| panic!("{line}: {cell} is no code"));
            Case {
                declared: needed(cells[0]),
                value: needed(cells[1]),
                data_type: cells[2].to_owned(),
                text: code(cells[3]).map(|text| text.replace("\\0", "\0")),
                json: code(cells[4]).unwrap_or_else(|| "null".to_owned()),
            }
        })
        .collect();
    cases
}

/// Types of MariaDB alone, and the version from which on it has them.
const OF_MARIADB: [(&str, [u32; 2]); 3] =
    [("inet6", [10, 5]), ("uuid", [10, 7]), ("inet4", [10, 10])];

/// Reads what a server makes of a value: MariaDB, or MySQL where it differs. Gives the types apart that it does not have.
fn mysql_cases(version: &MysqlVersion) -> (Vec<Case>, Vec<&'static str>) {
    let mut cases = cases("MySQL and MariaDB");
    let absent = OF_MARIADB
        .iter()
        .filter(|(_, from)| !version.is_mariadb_from(from));
    let absent: Vec<&str> = absent.map(|(name, _)| *name).collect();
    cases.retain(|case| !absent.contains(&&*case.declared));
    if version.is_mysql {
        for other in self::cases("MySQL, where it differs") {
            let place = cases
                .iter()
                .position(|case| (&case.declared, &case.value) == (&other.declared, &other.value));
            cases[place.expect("a row above")] = other;
        }
    }
    (cases, absent)
}

fn schema_name(data_type: DataType) -> String {
    let name = serde_json::to_value(data_type).expect("a name");
    name.as_str().expect("a text").to_owned()
}

/// The metadata rule of migrate.py, as `tests/fixtures/canonical.json` has it.
fn as_json(data_type: &str, text: Option<&str>) -> String {
    let Some(text) = text else {
        return "null".to_owned();
    };
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits(whole) && digits(fraction) && (whole == "0" || !whole.starts_with('0'));
    let negative_zero =
        text.starts_with('-') && !unsigned.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    match data_type {
        "integer" | "decimal" if number && !negative_zero => text.to_owned(),
        "boolean" if matches!(text, "true" | "false") => text.to_owned(),
        _ => Value::from(text).to_string(),
    }
}

/// The plan of a table with a column a case, each kept beside the vector.
fn plan(table: &TableMetadata) -> EntityPlan {
    let kept: Vec<Value> = table
        .columns
        .iter()
        .filter(|column| column.name != "id")
        .map(|column| {
            json!({"name": column.name, "source": {"alias": "r", "column": column.name, "data_type": column.data_type}})
        })
        .collect();
    serde_json::from_value(json!({
        "name": "t", "root": table.table, "row_count": 1, "reasons": [], "parents": [], "sections": [], "metadata": kept,
        "key": [{"name": "id", "data_type": "integer"}]
    }))
    .expect("a plan")
}

async fn read(url: &str) -> (TableMetadata, SourceDocument) {
    let driver = source::open(&SecretString::from(url.to_owned())).expect("opens");
    let collected = driver
        .collect(&Selection::default())
        .await
        .expect("collects");
    let table = collected
        .metadata
        .tables
        .into_iter()
        .find(|table| table.table.name == "t");
    let table = table.expect("the table");
    let entity = plan(&table);
    let mut snapshot = driver.snapshot().await.expect("a snapshot");
    let mut documents: Vec<_> = snapshot
        .documents(&entity)
        .try_collect()
        .await
        .expect("documents");
    (table, documents.pop().expect("a document"))
}

async fn hold(heading: &str, cases: &[Case], url: &str) {
    assert!(cases.len() >= 25, "{heading}: {}", cases.len());
    let (table, document) = read(url).await;
    let columns: Vec<_> = table
        .columns
        .iter()
        .filter(|column| column.name != "id")
        .collect();
    assert_eq!(columns.len(), cases.len());
    let mut wrong = Vec::new();
    for ((case, column), text) in cases.iter().zip(columns).zip(&document.metadata) {
        let data_type = schema_name(column.data_type);
        let json = as_json(&data_type, text.as_deref());
        if (&data_type, text, &json) != (&case.data_type, &case.text, &case.json) {
            wrong.push(format!(
                "{} {}: {data_type} | {text:?} | {json}",
                case.declared, case.value
            ));
        }
    }
    assert!(wrong.is_empty(), "{heading}:\n{}", wrong.join("\n"));
}

/// Makes the table and its row: a column a case.
fn script(cases: &[Case]) -> String {
    let numbered = || cases.iter().enumerate();
    let columns: Vec<String> = numbered()
        .map(|(n, case)| format!("c{n} {}", case.declared))
        .collect();
    let values: Vec<&str> = cases.iter().map(|case| case.value.as_str()).collect();
    format!(
        "CREATE TABLE t(id int PRIMARY KEY, {}); INSERT INTO t VALUES (1, {});",
        columns.join(", "),
        values.join(", ")
    )
}

#[tokio::test]
async fn what_postgres_holds_arrives_as_the_page_says() {
    let url = postgres_source_url().await;
    let mut connection = PgConnection::connect(&url).await.expect("connects");
    let mut cases = cases("PostgreSQL");
    if postgres_version(&url).await < 140_000 {
        let before = cases.len();
        cases.retain(|case| (&*case.declared, &*case.value) != ("numeric", "'-Infinity'"));
        assert_eq!(cases.len(), before - 1);
        let made = sqlx::raw_sql("SELECT '-Infinity'::numeric").execute(&mut connection);
        made.await.expect_err("the server has no such number");
    }
    let script = format!(
        "CREATE TYPE mood AS ENUM ('low', 'high up'); CREATE DOMAIN cents AS numeric(10, 2); CREATE TYPE pair AS (a int, b text);
         SET timezone = 'UTC'; {}",
        script(&cases)
    );
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .expect("a table");
    // Whatever the database is set to, relvec's sessions have their own settings.
    sqlx::raw_sql(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = ''SQL, DMY''', current_database());
         EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database());
         EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database());
         EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -3', current_database()); END $$",
    )
    .execute(&mut connection)
    .await
    .expect("other settings");
    hold("PostgreSQL", &cases, &url).await;
}

#[tokio::test]
async fn what_mariadb_holds_arrives_as_the_page_says() {
    let url = mariadb_url().await;
    let mut connection = MySqlConnection::connect(&url).await.expect("connects");
    let (cases, absent) = mysql_cases(&MysqlVersion::of(&url).await);
    for name in absent {
        let sql = format!("CREATE TABLE absent(c {name})");
        let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection);
        made.await.expect_err("the server has no such type");
    }
    let script = format!(
        "SET SESSION sql_mode = '', time_zone = '+02:00'; {}",
        script(&cases)
    );
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .expect("a table");
    hold("MySQL and MariaDB", &cases, &url).await;
}

#[tokio::test]
async fn what_sqlite_holds_arrives_as_the_page_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("types.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .expect("a file");
    let cases = cases("SQLite");
    let script = script(&cases);
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .expect("a table");
    hold("SQLite", &cases, &format!("sqlite:{}", path.display())).await;
}

/// 10 MiB of text in one value.
#[tokio::test]
async fn a_text_of_ten_mebibytes_arrives_whole() {
    let big = 10 * 1024 * 1024;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("big.db");
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let mut sqlite = SqliteConnection::connect_with(&options)
        .await
        .expect("a file");
    let made = "CREATE TABLE t(id int PRIMARY KEY, c text);";
    let script =
        format!("{made} INSERT INTO t VALUES (1, replace(hex(zeroblob({big} / 2)), '00', 'ab'))");
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut sqlite)
        .await
        .expect("a table");
    let postgres = postgres_source_url().await;
    let mut connection = PgConnection::connect(&postgres).await.expect("connects");
    let script = format!("{made} INSERT INTO t VALUES (1, repeat('ab', {big} / 2))");
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .expect("a table");
    let mariadb = mariadb_url().await;
    let mut connection = MySqlConnection::connect(&mariadb).await.expect("connects");
    let script = format!(
        "CREATE TABLE t(id int PRIMARY KEY, c longtext); INSERT INTO t VALUES (1, repeat('ab', {big} / 2))"
    );
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut connection)
        .await
        .expect("a table");
    for url in [format!("sqlite:{}", path.display()), postgres, mariadb] {
        let (_, document) = read(&url).await;
        let text = document.metadata[0].as_deref().expect("a text");
        assert!(
            text.len() == big && text == "ab".repeat(big / 2),
            "{}",
            text.len()
        );
    }
}
