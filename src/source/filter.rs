//! Conditions of a filter as SQL. A value stands in the statement as a literal of its column's type, which the database compares by the
//! column's own rules; nothing that a value holds can end its literal.

use std::fmt::Write as _;

use crate::model::metadata::{DataType, Dialect};
use crate::model::plan::{Condition, Operator};

/// Gives a condition on a quoted column.
pub(super) fn condition(dialect: Dialect, column: &str, condition: &Condition) -> String {
    let values: Vec<String> = condition
        .values
        .iter()
        .map(|value| literal(dialect, condition.column.data_type, value))
        .collect();
    let op = condition.op.sql();
    match condition.op {
        Operator::IsNull | Operator::IsNotNull => format!("{column} {op}"),
        Operator::In | Operator::NotIn => format!("{column} {op} ({})", values.join(", ")),
        Operator::Like => format!("{column} {op} {} ESCAPE '!'", values.concat()),
        Operator::Eq | Operator::Ne | Operator::Lt | Operator::Le | Operator::Gt | Operator::Ge => {
            format!("{column} {op} {}", values.concat())
        }
    }
}

/// A number as it is, a truth value as the dialect writes it, and everything else as a text that the database reads by the column's type.
fn literal(dialect: Dialect, data_type: DataType, value: &str) -> String {
    match data_type {
        DataType::Integer | DataType::Decimal | DataType::Float if is_number(value) => {
            value.to_owned()
        }
        DataType::Boolean => match (dialect, value == "true") {
            (Dialect::Postgres, true) => "TRUE".to_owned(),
            (Dialect::Postgres, false) => "FALSE".to_owned(),
            (Dialect::Sqlite | Dialect::Mysql, true) => "1".to_owned(),
            (Dialect::Sqlite | Dialect::Mysql, false) => "0".to_owned(),
        },
        DataType::Text
        | DataType::Integer
        | DataType::Decimal
        | DataType::Float
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::Interval
        | DataType::Uuid
        | DataType::Json
        | DataType::Bytes
        | DataType::Enum
        | DataType::Array
        | DataType::Other => text(dialect, value),
    }
}

/// Whether a text is decimal digits with a sign and a fraction, so that it is a number in every dialect and nothing else.
#[must_use]
pub fn is_number(value: &str) -> bool {
    let unsigned = value.strip_prefix('-').unwrap_or(value);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// Whatever a server's settings say of backslashes: PostgreSQL's `E''` has them doubled, MySQL gets the bytes in hexadecimal.
fn text(dialect: Dialect, value: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("'{}'", value.replace('\'', "''")),
        Dialect::Postgres => format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''")),
        Dialect::Mysql if value.is_empty() => "_utf8mb4 ''".to_owned(),
        Dialect::Mysql => value
            .bytes()
            .fold("_utf8mb4 0x".to_owned(), |mut hex, byte| {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::plan::PlanColumn;

    fn sql(dialect: Dialect, data_type: DataType, op: Operator, values: &[&str]) -> String {
        let column = PlanColumn {
            name: "c".to_owned(),
            data_type,
        };
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        condition(dialect, "r.c", &Condition { column, op, values })
    }

    #[test]
    fn values_stay_inside_their_literals() {
        let hostile = "x'; DROP TABLE t; --\\'";
        for (dialect, expected) in [
            (Dialect::Sqlite, "r.c = 'x''; DROP TABLE t; --\\'''"),
            (Dialect::Postgres, "r.c = E'x''; DROP TABLE t; --\\\\'''"),
            (
                Dialect::Mysql,
                "r.c = _utf8mb4 0x78273b2044524f50205441424c4520743b202d2d5c27",
            ),
        ] {
            assert_eq!(
                sql(dialect, DataType::Text, Operator::Eq, &[hostile]),
                expected
            );
        }
        // What is no number is a text, whatever the column.
        assert_eq!(
            sql(
                Dialect::Sqlite,
                DataType::Integer,
                Operator::Lt,
                &["1 OR 1=1"]
            ),
            "r.c < '1 OR 1=1'"
        );
    }

    #[test]
    fn every_operator_has_its_form() {
        let of = |op, values: &[&str]| sql(Dialect::Postgres, DataType::Integer, op, values);
        assert_eq!(of(Operator::Ge, &["-5"]), "r.c >= -5");
        assert_eq!(of(Operator::In, &["1", "2"]), "r.c IN (1, 2)");
        assert_eq!(of(Operator::NotIn, &["1"]), "r.c NOT IN (1)");
        assert_eq!(of(Operator::IsNull, &[]), "r.c IS NULL");
        assert_eq!(
            sql(Dialect::Sqlite, DataType::Text, Operator::Like, &["a%"]),
            "r.c LIKE 'a%' ESCAPE '!'"
        );
        assert_eq!(
            sql(Dialect::Sqlite, DataType::Boolean, Operator::Eq, &["true"]),
            "r.c = 1"
        );
        assert!(is_number("12.50") && !is_number("1e5") && !is_number("") && !is_number("."));
    }
}
