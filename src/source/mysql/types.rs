//! Types, labels and defaults as `information_schema.COLUMNS` writes them.

use crate::model::metadata::DataType;

/// Reads `DATA_TYPE`, and `COLUMN_TYPE` where the width means something.
pub(super) fn data_type(kind: &str, declared: &str) -> DataType {
    match kind {
        "tinyint" if declared.starts_with("tinyint(1)") => DataType::Boolean,
        "bit" if declared == "bit(1)" => DataType::Boolean,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "bit" | "year" => {
            DataType::Integer
        }
        "decimal" | "numeric" => DataType::Decimal,
        "float" | "double" | "real" => DataType::Float,
        "date" => DataType::Date,
        "time" => DataType::Time,
        "datetime" | "timestamp" => DataType::Timestamp,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => DataType::Text,
        "enum" => DataType::Enum,
        "set" => DataType::Array,
        "json" => DataType::Json,
        "uuid" => DataType::Uuid,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector"
        | "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => DataType::Bytes,
        _ => DataType::Other,
    }
}

/// Reads the labels of an ENUM or SET: `enum('a','b''c','d\\e')`.
pub(super) fn labels(kind: &str, declared: &str) -> Vec<String> {
    let list = match kind {
        "enum" | "set" => declared.get(kind.len()..).unwrap_or_default(),
        _ => return Vec::new(),
    };
    let mut labels = Vec::new();
    let mut label: Option<String> = None;
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match (&mut label, character) {
            (None, '\'') => label = Some(String::new()),
            (None, _) => {}
            (Some(text), '\'') if characters.peek() == Some(&'\'') => {
                characters.next();
                text.push('\'');
            }
            (Some(_), '\'') => labels.extend(label.take()),
            (Some(text), '\\') => text.push(match characters.next() {
                Some('0') => '\0',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            }),
            (Some(text), other) => text.push(other),
        }
    }
    labels
}

/// Gives a default as an expression. `MySQL` writes a literal without quotes, `MariaDB` writes NULL where there is none.
pub(super) fn default_value(
    value: Option<String>,
    is_mariadb: bool,
    extra: &str,
) -> Option<String> {
    let value = value?;
    if is_mariadb {
        return (value != "NULL").then_some(value);
    }
    if extra.contains("DEFAULT_GENERATED") {
        return Some(value);
    }
    Some(format!("'{}'", value.replace('\'', "''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_with_their_quotes_and_backslashes() {
        assert_eq!(
            labels("enum", r"enum('a','b''c','d\\e','f,g','h\ni','')"),
            ["a", "b'c", "d\\e", "f,g", "h\ni", ""]
        );
        assert_eq!(labels("set", "set('x','y')"), ["x", "y"]);
        assert!(labels("int", "int(11)").is_empty());
    }

    #[test]
    fn a_default_is_an_expression_from_either_server() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(default_value(some("it's"), false, ""), some("'it''s'"));
        assert_eq!(
            default_value(some("now()"), false, "DEFAULT_GENERATED"),
            some("now()")
        );
        assert_eq!(default_value(some("'it''s'"), true, ""), some("'it''s'"));
        assert_eq!(default_value(some("NULL"), true, ""), None);
        assert_eq!(default_value(None, true, ""), None);
    }

    #[test]
    fn types_of_a_meaning_width() {
        assert_eq!(data_type("tinyint", "tinyint(1)"), DataType::Boolean);
        assert_eq!(data_type("tinyint", "tinyint(4)"), DataType::Integer);
        assert_eq!(data_type("bit", "bit(8)"), DataType::Integer);
        assert_eq!(data_type("inet6", "inet6"), DataType::Other);
        assert_eq!(data_type("point", "point"), DataType::Bytes);
    }
}
