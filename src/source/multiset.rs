//! Documents of rows without a key, by the rules of [`crate::model::plan`]: equal rows are numbered.
//!
//! The source cannot sort by the row hash, and the target comes in its order. So documents are put into a table of a temporary
//! SQLite database, which sorts on the disk: memory does not grow with the rows, and no order of the source can mix equal rows up.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor as _, Row as _};

use super::canonical::row_hash;
use super::documents::{RawRow, SourceDocument, document};
use crate::error::{Error, ErrorKind, Result};
use crate::model::plan::{EntityPlan, Section};

/// Rows of one insertion.
const BATCH: usize = 64;
/// Documents that are read back at once.
const PAGE: i64 = 64;

/// Both numbers are texts in the order of their bytes, as keys are.
const SORT: &str = "
    CREATE TEMP TABLE sorted AS
    SELECT row, CAST(occurrence AS TEXT) AS occurrence, content, metadata
    FROM (SELECT row, row_number() OVER (PARTITION BY row) AS occurrence, content, metadata FROM documents)
    ORDER BY row, CAST(occurrence AS TEXT);
    DROP TABLE documents";

/// Makes the documents of rows that come in any order, sorted by row hash and occurrence.
pub(super) fn documents<'a>(
    entity: &'a EntityPlan,
    rows: BoxStream<'a, Result<RawRow>>,
) -> BoxStream<'a, Result<SourceDocument>> {
    stream::once(fill(entity, rows))
        .map_ok(move |sorted| {
            stream::try_unfold((sorted, 0), move |(mut sorted, last)| async move {
                let page = page(entity, &mut sorted, last).await?;
                let read = i64::try_from(page.len()).unwrap_or(PAGE);
                let documents = stream::iter(page.into_iter().map(Ok));
                Ok((read > 0).then_some((documents, (sorted, last + read))))
            })
            .try_flatten()
        })
        .try_flatten()
        .boxed()
}

/// Puts the documents of all rows into a temporary table, sorted.
async fn fill(
    entity: &EntityPlan,
    mut rows: BoxStream<'_, Result<RawRow>>,
) -> Result<SqliteConnection> {
    let is_field = |section: &Section| match section {
        Section::Field { .. } => true,
        Section::Children { .. } => false,
    };
    if entity.row.is_empty() || !entity.sections.iter().all(is_field) {
        let message = format!(
            "the plan of `{}` has no key, and not what rows without one need",
            entity.root
        );
        return Err(Error::new(ErrorKind::Invalid, message)
            .hint("run the analysis again: an entity without a key has `row` and no child rows"));
    }
    let failed = |error| unsorted(entity, error);
    // Temporary tables are files without a name, which are gone with the connection, however it ends.
    let options = SqliteConnectOptions::new().disable_statement_logging();
    let mut sorted = options.connect().await.map_err(failed)?;
    sorted
        .execute(
            "PRAGMA temp_store = FILE;
             CREATE TEMP TABLE documents (row TEXT, content TEXT, metadata TEXT); BEGIN",
        )
        .await
        .map_err(failed)?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(row) = rows.try_next().await? {
        batch.push(hashed(entity, row));
        if batch.len() == BATCH {
            insert(&mut sorted, std::mem::take(&mut batch))
                .await
                .map_err(failed)?;
        }
    }
    insert(&mut sorted, batch).await.map_err(failed)?;
    sorted.execute(SORT).await.map_err(failed)?;
    Ok(sorted)
}

/// A row's document, with the row hash as its key.
fn hashed(entity: &EntityPlan, row: RawRow) -> SourceDocument {
    let mut cells = row.into_iter().skip(1);
    let row: RawRow = cells.by_ref().take(entity.row.len()).collect();
    document(entity, vec![row_hash(&row)], cells)
}

async fn insert(
    sorted: &mut SqliteConnection,
    batch: Vec<SourceDocument>,
) -> Result<(), sqlx::Error> {
    if batch.is_empty() {
        return Ok(());
    }
    let places = vec!["(?, ?, ?)"; batch.len()].join(", ");
    let sql = AssertSqlSafe(format!("INSERT INTO documents VALUES {places}"));
    let mut query = sqlx::query(sql);
    for document in batch {
        let metadata = sqlx::types::Json(document.metadata);
        query = query
            .bind(document.key.concat())
            .bind(document.content)
            .bind(metadata);
    }
    query.execute(sorted).await.map(drop)
}

async fn page(
    entity: &EntityPlan,
    sorted: &mut SqliteConnection,
    last: i64,
) -> Result<Vec<SourceDocument>> {
    let rows = sqlx::query(
        "SELECT row, occurrence, content, metadata FROM sorted WHERE rowid > ? ORDER BY rowid LIMIT ?",
    )
    .bind(last)
    .bind(PAGE)
    .fetch_all(sorted)
    .await;
    let documents = rows.and_then(|rows| rows.iter().map(read).collect());
    documents.map_err(|error| unsorted(entity, error))
}

fn read(row: &SqliteRow) -> Result<SourceDocument, sqlx::Error> {
    let metadata: sqlx::types::Json<Vec<Option<String>>> = row.try_get(3)?;
    Ok(SourceDocument {
        key: vec![row.try_get(0)?, row.try_get(1)?],
        content: row.try_get(2)?,
        metadata: metadata.0,
    })
}

fn unsorted(entity: &EntityPlan, error: sqlx::Error) -> Error {
    let message = format!(
        "the rows of `{}` cannot be sorted in the folder of temporary files",
        entity.root
    );
    Error::new(ErrorKind::Unavailable, message)
        .hint("make room there, or name another folder in TMPDIR")
        .because(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::open;
    use crate::source::sqlite::tests::database;

    fn plan(columns: &[&str]) -> EntityPlan {
        let row: Vec<_> = columns
            .iter()
            .map(|name| json!({"name": name, "data_type": "text"}))
            .collect();
        serde_json::from_value(json!({
            "name": "t", "root": {"schema": null, "name": "t"}, "key": [], "row": row, "row_count": 1,
            "parents": [], "reasons": [],
            "sections": [{"section": "field", "label": "A", "score": 1.0, "reasons": [],
                          "source": {"alias": "r", "column": "a", "data_type": "text"}}],
            "metadata": [{"name": "b", "source": {"alias": "r", "column": "b", "data_type": "text"}}]
        }))
        .expect("a plan")
    }

    async fn documents_of(script: &'static str, columns: &[&str]) -> Result<Vec<SourceDocument>> {
        let (_folder, url) = database(script).await;
        let driver = open(&url).expect("opens");
        let mut snapshot = driver.snapshot().await.expect("a snapshot");
        let entity = plan(columns);
        snapshot.documents(&entity).try_collect().await
    }

    /// The number of documents of each row, by the row's values.
    fn counted(documents: &[SourceDocument], row: &[&[u8]]) -> usize {
        let row: RawRow = row.iter().map(|value| Some(value.to_vec())).collect();
        let hash = row_hash(&row);
        let equal = documents.iter().filter(|document| document.key[0] == hash);
        let mut numbers: Vec<usize> = equal
            .map(|document| document.key[1].parse().expect("a number"))
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
        numbers.len()
    }

    #[tokio::test]
    async fn equal_rows_are_numbered_in_whatever_order_they_come() {
        let documents = documents_of(
            "CREATE TABLE t(a, b);
             INSERT INTO t VALUES ('x', 1), ('y', 1), ('x', 1), ('x', '1'), ('x', 2), ('x', NULL), ('x', NULL), (NULL, 'x'),
               (0.1 + 0.2, 'r'), (0.3, 'r'), (0.1 + 0.2, 'r'), ('0.30000000000000004', 'r'), ('x ', 1);",
            &["a", "b"],
        )
        .await
        .expect("documents");
        assert_eq!(documents.len(), 13);
        assert!(documents.is_sorted_by(|a, b| a.key < b.key));
        let text =
            |document: &SourceDocument| (document.content.clone(), document.metadata[0].clone());
        assert_eq!(counted(&documents, &[b"x", b"1"]), 3);
        assert_eq!(counted(&documents, &[b"x", b"2"]), 1);
        assert_eq!(counted(&documents, &[b"x ", b"1"]), 1);
        // A REAL and a text of the same digits are equal, numbers that SQLite writes with the same digits are not.
        assert_eq!(counted(&documents, &[b"0.30000000000000004", b"r"]), 3);
        assert_eq!(counted(&documents, &[b"0.3", b"r"]), 1);
        let nulls: Vec<_> = documents
            .iter()
            .filter(|d| d.metadata[0].is_none())
            .collect();
        assert_eq!(nulls.len(), 2);
        assert_eq!(text(nulls[0]), ("A: x".to_owned(), None));
        assert_ne!(nulls[0].key, nulls[1].key);
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_told_apart() {
        let documents = documents_of(
            "CREATE TABLE t(a, b);
             INSERT INTO t VALUES (CAST(x'61ff' AS TEXT), 'k'), (CAST(x'61fe' AS TEXT), 'k'), (CAST(x'61ff' AS TEXT), 'k'),
               ('n' || char(0) || 'm', 'k');",
            &["a", "b"],
        )
        .await
        .expect("documents");
        assert_eq!(documents.len(), 4);
        assert_eq!(counted(&documents, &[b"a\xff", b"k"]), 2);
        assert_eq!(counted(&documents, &[b"a\xfe", b"k"]), 1);
        assert_eq!(counted(&documents, &[b"n\0m", b"k"]), 1);
        let with_nul = documents.iter().find(|d| d.content.contains('m'));
        assert_eq!(with_nul.map(|d| d.content.as_str()), Some("A: n\0m"));
    }

    #[tokio::test]
    async fn more_rows_than_a_page_holds_all_arrive() {
        let documents = documents_of(
            "CREATE TABLE t(a, b);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO t SELECT 'row ' || (i % 7), 1 FROM n;",
            &["a", "b"],
        )
        .await
        .expect("documents");
        assert_eq!(documents.len(), 1000);
        assert_eq!(counted(&documents, &[b"row 3", b"1"]), 143);
        assert!(documents.is_sorted_by(|a, b| a.key < b.key));
        let none = documents_of("CREATE TABLE t(a, b);", &["a", "b"]).await;
        assert!(none.expect("no document").is_empty());
    }

    #[tokio::test]
    async fn a_plan_without_key_and_row_is_refused() {
        let error = documents_of("CREATE TABLE t(a, b);", &[]).await;
        assert!(
            error
                .expect_err("refused")
                .to_string()
                .contains("has no key")
        );
    }
}
