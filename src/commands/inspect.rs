//! `relvec inspect`: what `collect_metadata` and `normalize_schema` see.

use std::fmt::Write as _;

use secrecy::SecretString;

use super::{print_json, show, word};
use crate::cli::{Format, InspectArgs};
use crate::error::Result;
use crate::model::schema_context::{Cardinality, ColumnProfile, Join, JoinOrigin, SchemaContext};
use crate::source;

/// Reads a database's catalogue and prints its tables, columns and joins. Sample values are never printed.
///
/// # Errors
/// The URL is wrong, the database cannot be read, or a pattern matches no table.
pub async fn inspect(args: &InspectArgs) -> Result<u8> {
    let url = SecretString::from(args.url.as_str());
    let (_, context) =
        source::inspect(&url, &args.include, &args.exclude, args.sample_rows).await?;
    match args.format {
        Format::Human => show(&describe(&context))?,
        Format::Json => print_json(&context)?,
    }
    Ok(0)
}

fn describe(context: &SchemaContext) -> String {
    let mut text = format!(
        "{}: {} tables, {} joins\n",
        context.database,
        context.tables.len(),
        context.joins.len()
    );
    for table in &context.tables {
        let _ = writeln!(text, "\n{} ({} rows)", table.table, table.row_count);
        for column in &table.columns {
            let key = if table.primary_key.contains(&column.name) {
                " key"
            } else {
                ""
            };
            let _ = writeln!(text, "  {}{key}", describe_column(column));
        }
    }
    if !context.joins.is_empty() {
        text.push_str("\njoins\n");
    }
    for join in &context.joins {
        let _ = writeln!(text, "  {}", describe_join(join));
    }
    text
}

fn describe_column(column: &ColumnProfile) -> String {
    format!(
        "{:<28} {:<10} {:<7} null {:>3.0} %, distinct {:>3.0} %, {:.0} characters, language {:.2}",
        column.name,
        word(column.data_type),
        word(column.class),
        column.null_ratio * 100.0,
        column.distinct_ratio * 100.0,
        column.mean_chars,
        column.language_score
    )
}

fn describe_join(join: &Join) -> String {
    let count = match join.cardinality {
        Cardinality::OneToOne => "1:1",
        Cardinality::ManyToOne => "N:1",
    };
    let origin = match &join.origin {
        JoinOrigin::Declared { .. } => "declared".to_owned(),
        JoinOrigin::Forced => "by the job".to_owned(),
        JoinOrigin::Inferred {
            confidence,
            evidence,
        } => format!("inferred, {confidence:.2}: {}", evidence.join("; ")),
    };
    format!(
        "{}({}) {count} {}({})  {origin}",
        join.from,
        join.from_columns.join(", "),
        join.to,
        join.to_columns.join(", ")
    )
}
