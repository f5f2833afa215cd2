//! Reads a catalogue once, as `benches/catalogue/run` measures it: no sample, no table opened, and the time and the most memory as JSON.

use std::time::Instant;

use relvec::source::{self, Counts, Selection};
use secrecy::SecretString;
use serde_json::json;

#[tokio::main]
async fn main() {
    // Cargo adds `--bench`, which is for harnesses.
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let Some(url) = arguments.next() else {
        eprintln!("usage: catalogue URL, or benches/catalogue/run for all of it");
        return;
    };
    let selection = Selection {
        counts: Counts::Statistics,
        ..Selection::default()
    };
    let before = Instant::now();
    let driver = source::open(&SecretString::from(url)).expect("the URL is valid");
    let collected = driver
        .collect(&selection)
        .await
        .expect("the catalogue can be read");
    let seconds = before.elapsed().as_secs_f64();
    let tables = &collected.metadata.tables;
    let columns: usize = tables.iter().map(|table| table.columns.len()).sum();
    let indexes: usize = tables.iter().map(|table| table.indexes.len()).sum();
    let keys: usize = tables.iter().map(|table| table.foreign_keys.len()).sum();
    let figures = json!({
        "seconds": seconds, "tables": tables.len(), "columns": columns, "indexes": indexes, "foreign_keys": keys,
        "queries": collected.catalogue_queries, "peak_mib": peak_mib(),
    });
    println!("{figures}");
}

/// Gives the most memory that this process has had, in MiB.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
