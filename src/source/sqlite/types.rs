//! Types: `SQLite` keeps any words as a type, and a column may have none at all.

use serde_json::Value;

use crate::model::metadata::{DataType, TableMetadata};

/// A column without a declared type, as a view's often is, has the type of its values.
pub(super) fn retype(table: &mut TableMetadata) {
    for (index, column) in table.columns.iter_mut().enumerate() {
        if !column.declared_type.is_empty() {
            continue;
        }
        let mut values = table
            .sample_rows
            .iter()
            .filter_map(|row| row.get(index))
            .filter(|value| !value.is_null())
            .peekable();
        if values.peek().is_none() {
            continue;
        }
        let values: Vec<&Value> = values.collect();
        if values.iter().all(|value| value.is_string()) {
            column.data_type = DataType::Text;
        } else if values.iter().all(|value| value.is_i64()) {
            column.data_type = DataType::Integer;
        } else if values.iter().all(|value| value.is_number()) {
            column.data_type = DataType::Float;
        }
    }
}

/// Reads a declared type: common names first, then the affinity rules of <https://www.sqlite.org/datatype3.html>.
pub(super) fn data_type(declared: &str) -> DataType {
    let upper = declared.to_ascii_uppercase();
    let word = upper.split(['(', ' ']).next().unwrap_or_default();
    match word {
        "" => DataType::Other,
        "DATE" => DataType::Date,
        "TIME" => DataType::Time,
        "DATETIME" | "TIMESTAMP" | "TIMESTAMPTZ" => DataType::Timestamp,
        "BOOL" | "BOOLEAN" => DataType::Boolean,
        "DECIMAL" | "NUMERIC" | "MONEY" | "NUMBER" => DataType::Decimal,
        "JSON" | "JSONB" => DataType::Json,
        "UUID" | "GUID" => DataType::Uuid,
        _ if upper.contains("INT") => DataType::Integer,
        _ if ["CHAR", "CLOB", "TEXT", "STRING"]
            .iter()
            .any(|name| upper.contains(name)) =>
        {
            DataType::Text
        }
        _ if upper.contains("BLOB") || upper.contains("BINARY") => DataType::Bytes,
        _ if ["REAL", "FLOA", "DOUB"]
            .iter()
            .any(|name| upper.contains(name)) =>
        {
            DataType::Float
        }
        _ => DataType::Other,
    }
}
