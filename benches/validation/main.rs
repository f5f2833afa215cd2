//! `benches/validation/run` measures the validator beside a plain read of the same two tables.
//!
//! Each measurement is a process of its own, so that its peak of memory is its own too.

use std::time::Instant;

use clap::{Parser, Subcommand};
use futures::TryStreamExt as _;
use relvec::model::plan::MigrationPlan;
use relvec::reconcile::{self, Vectors};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, ValueRef as _};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The file with the URL of the database that holds both tables
    #[arg(long)]
    url_file: std::path::PathBuf,
    /// Numbers of a vector
    #[arg(long, default_value_t = 384)]
    dimensions: u32,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Reads all columns of both tables once, one after the other
    Read,
    /// Compares them as `run_validation` does
    Validate,
}

#[tokio::main]
async fn main() {
    // Cargo adds `--bench`, which is for harnesses.
    let words = std::env::args().filter(|word| word != "--bench");
    let cli = Cli::parse_from(words);
    let url = std::fs::read_to_string(&cli.url_file).expect("a URL");
    let start = Instant::now();
    let rows = match cli.command {
        Command::Read => read_all(&url).await,
        Command::Validate => validate(url, cli.dimensions).await,
    };
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"rows": rows, "seconds": seconds, "peak_mib": peak_mib()})
    );
}

/// Reads both tables as a program does that only wants their bytes.
async fn read_all(url: &str) -> u64 {
    let mut connection = PgConnection::connect(url).await.expect("the database");
    let mut rows = 0;
    for table in ["notes", "documents"] {
        let sql = AssertSqlSafe(format!("SELECT * FROM {table}"));
        let mut stream = sqlx::query(sql).fetch(&mut connection);
        let mut bytes = 0;
        while let Some(row) = stream.try_next().await.expect("a row") {
            rows += u64::from(table == "notes");
            bytes += size(&row);
        }
        assert!(bytes > 0, "{table} is empty");
    }
    rows
}

fn size(row: &PgRow) -> usize {
    let cells = (0..row.len()).map(|index| row.try_get_raw(index).expect("a cell"));
    cells
        .filter(|cell| !cell.is_null())
        .map(|cell| cell.as_bytes().map_or(0, <[u8]>::len))
        .sum()
}

async fn validate(url: String, dimensions: u32) -> u64 {
    let url = url.into();
    let compared = reconcile::compare(&plan(dimensions), &url, &url, Vectors::default(), &|_| ())
        .await
        .expect("both tables");
    let entity = compared.entities.first().expect("one entity");
    let wrong = [
        entity.missing,
        entity.extra,
        entity.changed,
        entity.bad_vectors,
    ];
    assert_eq!(wrong, [0; 4], "{:?}", entity.differences);
    assert_eq!(entity.source_rows, entity.documents);
    entity.source_rows
}

fn plan(dimensions: u32) -> MigrationPlan {
    let source = |column: &str, data_type: &str| json!({"alias": "r", "column": column, "data_type": data_type});
    let field = |column: &str| json!({"section": "field", "label": column, "score": 1.0, "reasons": [], "source": source(column, "text")});
    let plan: Value = json!({
        "version": 1, "dialect": "postgres", "database": "postgres",
        "target": {"schema": "public", "table": "documents"},
        "embedding": {"provider": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "dimensions": dimensions,
                      "api_key_env": null, "batch_items": 8, "batch_tokens": 1000, "concurrency": 1, "chunk_tokens": 1000},
        "runtime": "script",
        "entities": [{
            "name": "notes", "root": {"schema": "public", "name": "notes"},
            "key": [{"name": "id", "data_type": "integer"}], "row_count": 1, "parents": [],
            "sections": [field("title"), field("body")],
            "metadata": [{"name": "stars", "source": source("stars", "integer")},
                         {"name": "status", "source": source("status", "text")}],
            "reasons": []
        }],
        "left_out": [], "ranking": [],
        "estimate": {"documents": 1, "chunks": 1, "tokens": 1, "requests": 1}
    });
    serde_json::from_value(plan).expect("a plan")
}

/// The most memory that this process had at once.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        / 1024
}
