//! The pieces of a statement, in the words of a dialect. Identifiers are quoted, values are bound or, where they are numbers, written
//! out; `docs/decisions/0007` and `0013` tell why pages go by the orders that they go by.

use serde_json::{Map, Value};

use crate::model::metadata::{DataType, Dialect, TableRef};
use crate::model::plan::{
    ColumnPair, Condition, EntityPlan, FieldSource, Operator, ParentJoin, PlanColumn,
};

/// Writes SQL of a dialect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql {
    pub(super) dialect: Dialect,
}

impl Sql {
    /// A quoted name. The drivers of PostgreSQL and MySQL take `%` for the beginning of a value's place, so it is doubled.
    pub(super) fn quoted(self, name: &str) -> String {
        let name = format!("\"{}\"", name.replace('"', "\"\""));
        match self.dialect {
            Dialect::Sqlite => name,
            // The script has MySQL quote identifiers as the others do.
            Dialect::Postgres | Dialect::Mysql => name.replace('%', "%%"),
        }
    }

    /// A table's name.
    pub(super) fn table(self, table: &TableRef) -> String {
        let name = self.quoted(&table.name);
        match &table.schema {
            Some(schema) => format!("{}.{name}", self.quoted(schema)),
            None => name,
        }
    }

    fn column(self, alias: &str, column: &str) -> String {
        format!("{alias}.{}", self.quoted(column))
    }

    /// The place of a value with this name.
    pub(super) fn place(self, name: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => format!(":{name}"),
            Dialect::Postgres | Dialect::Mysql => format!("%({name})s"),
        }
    }

    /// A value as the canonical document has it: rule 1 in [`crate::model::plan`].
    pub(super) fn text(self, alias: &str, column: &str, data_type: DataType) -> String {
        let value = self.column(alias, column);
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => format!("CAST({value} AS TEXT)"),
            Dialect::Mysql => match data_type {
                DataType::Bytes => format!("LOWER(HEX({value}))"),
                // A BIT has no text, and ZEROFILL adds some.
                DataType::Integer | DataType::Boolean => format!("CAST({value} + 0 AS CHAR)"),
                // A FLOAT's own text has six digits.
                DataType::Float => format!("CAST({value} + 0e0 AS CHAR)"),
                DataType::Text
                | DataType::Decimal
                | DataType::Date
                | DataType::Time
                | DataType::Timestamp
                | DataType::Interval
                | DataType::Uuid
                | DataType::Json
                | DataType::Enum
                | DataType::Array
                | DataType::Other => format!("CAST({value} AS CHAR)"),
            },
        }
    }

    /// A value of a field: its text, but a REAL of SQLite as it is, because its versions round the last digits differently.
    pub(super) fn field(self, field: &FieldSource) -> String {
        let text = self.text(&field.alias, &field.column, field.data_type);
        let value = self.column(&field.alias, &field.column);
        match self.dialect {
            Dialect::Sqlite => {
                format!("CASE typeof({value}) WHEN 'real' THEN {value} ELSE {text} END")
            }
            Dialect::Postgres | Dialect::Mysql => text,
        }
    }

    /// The term of a total order: texts by their bytes, everything else by its own order.
    pub(super) fn by_bytes(self, alias: &str, column: &PlanColumn) -> String {
        let name = self.column(alias, &column.name);
        let text = self.text(alias, &column.name, column.data_type);
        match self.dialect {
            Dialect::Sqlite => format!("{name} COLLATE BINARY"),
            Dialect::Postgres if column.data_type == DataType::Text => {
                format!("{text} COLLATE \"C\"")
            }
            Dialect::Mysql if column.data_type == DataType::Text => {
                format!("CAST({text} AS BINARY)")
            }
            Dialect::Postgres | Dialect::Mysql => name,
        }
    }

    /// The order of root rows: that of their key, or that of all their values as bytes where equal rows have to be neighbours.
    pub(super) fn key_order(self, entity: &EntityPlan) -> Vec<String> {
        // A key of MySQL is unique in the order of its own collation.
        let own = entity.key_in_byte_order || self.dialect == Dialect::Mysql;
        let keys = entity.key.iter().map(|column| {
            if own {
                self.column("r", &column.name)
            } else {
                self.by_bytes("r", column)
            }
        });
        keys.chain(self.row_order(entity)).collect()
    }

    /// An order in which equal rows are neighbours, whatever they hold.
    fn row_order(self, entity: &EntityPlan) -> Vec<String> {
        let texts = entity
            .row
            .iter()
            .map(|column| self.text("r", &column.name, column.data_type));
        match self.dialect {
            Dialect::Postgres => texts.map(|text| format!("{text} COLLATE \"C\"")).collect(),
            // MySQL sorts by the first bytes only.
            Dialect::Mysql => texts.map(|text| format!("SHA2({text}, 256)")).collect(),
            // A REAL and a text of the same digits are the same value here; the script has a function that knows it. Bytes get there
            // whatever they are.
            Dialect::Sqlite if entity.row.is_empty() => Vec::new(),
            Dialect::Sqlite => {
                let values = entity.row.iter().zip(texts).map(|(column, text)| {
                    let value = self.column("r", &column.name);
                    format!("CASE typeof({value}) WHEN 'real' THEN {value} ELSE CAST({text} AS BLOB) END")
                });
                let values: Vec<String> = values.collect();
                vec![format!("relvec_row({})", values.join(", "))]
            }
        }
    }

    /// The key of a root row as it is bound again.
    pub(super) fn key_to_bind(self, entity: &EntityPlan) -> Vec<String> {
        let bound = |column: &PlanColumn| {
            let name = self.column("r", &column.name);
            let text = self.text("r", &column.name, column.data_type);
            match self.dialect {
                // Bound without a type, a text gets the column's own and is the same value again.
                Dialect::Postgres => text,
                // A column may hold several types, each with its own place in the order.
                Dialect::Sqlite => name,
                // What is ordered as a number or as bytes would be compared otherwise as a text.
                Dialect::Mysql => match column.data_type {
                    DataType::Integer | DataType::Boolean | DataType::Enum => format!("{name} + 0"),
                    DataType::Bytes => name,
                    DataType::Decimal
                    | DataType::Text
                    | DataType::Float
                    | DataType::Date
                    | DataType::Time
                    | DataType::Timestamp
                    | DataType::Interval
                    | DataType::Uuid
                    | DataType::Json
                    | DataType::Array
                    | DataType::Other => text,
                },
            }
        };
        entity.key.iter().map(bound).collect()
    }

    /// What a page reads of a root row's key: to be bound again, and as texts; once where both are the same. Of a row without a
    /// key, all that tells it apart.
    pub(super) fn key_of_page(self, entity: &EntityPlan) -> Vec<String> {
        let mut values = match self.dialect {
            Dialect::Postgres => Vec::new(),
            Dialect::Sqlite | Dialect::Mysql => self.key_to_bind(entity),
        };
        values.extend(self.key_texts(entity));
        let row = entity.row.iter();
        values.extend(row.map(|column| {
            self.field(&FieldSource {
                alias: "r".to_owned(),
                column: column.name.clone(),
                data_type: column.data_type,
            })
        }));
        values
    }

    fn key_texts(self, entity: &EntityPlan) -> Vec<String> {
        let keys = entity.key.iter();
        keys.map(|column| self.text("r", &column.name, column.data_type))
            .collect()
    }

    /// The number of root rows with NULL in their key.
    pub(super) fn nulls(self, entity: &EntityPlan) -> String {
        let nulls: Vec<String> = entity
            .key
            .iter()
            .map(|column| format!("{} IS NULL", self.column("r", &column.name)))
            .collect();
        if nulls.is_empty() {
            "0".to_owned()
        } else {
            format!("count(CASE WHEN {} THEN 1 END)", nulls.join(" OR "))
        }
    }

    /// The condition that rows stand before or behind a key whose values are bound as `name_0`, `name_1`, …
    pub(super) fn compared(
        self,
        entity: &EntityPlan,
        order: &[String],
        sign: &str,
        name: &str,
    ) -> String {
        if entity.key.is_empty() {
            return String::new();
        }
        let places = entity.key.iter().enumerate().map(|(number, column)| {
            let place = self.place(&format!("{name}_{number}"));
            match self.dialect {
                // A text that is not UTF-8 can only be bound as bytes.
                Dialect::Sqlite => format!("iif({place}_raw, CAST({place} AS TEXT), {place})"),
                // Beside a text a number would be compared as a rounded one.
                Dialect::Mysql if column.data_type == DataType::Decimal => {
                    format!("CAST({place} AS DECIMAL(65, 30))")
                }
                Dialect::Postgres | Dialect::Mysql => place,
            }
        });
        let places: Vec<String> = places.collect();
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => {
                format!("({}) {sign} ({})", order.join(", "), places.join(", "))
            }
            // Written out, because MySQL uses no index for a comparison of rows.
            Dialect::Mysql => written_out(order, sign, &places),
        }
    }

    /// What root rows have to be like, and the values to bind.
    pub(super) fn filter(self, entity: &EntityPlan) -> (Map<String, Value>, String) {
        let mut bound = Map::new();
        let terms: Vec<String> = entity
            .filter
            .iter()
            .map(|condition| self.condition(condition, &mut bound))
            .collect();
        (bound, terms.join(" AND "))
    }

    fn condition(self, condition: &Condition, bound: &mut Map<String, Value>) -> String {
        let column = self.column("r", &condition.column.name);
        let sign = condition.op.sql();
        let values: Vec<String> = condition
            .values
            .iter()
            .map(|value| self.comparable(condition.column.data_type, value, bound))
            .collect();
        match condition.op {
            Operator::IsNull | Operator::IsNotNull => format!("{column} {sign}"),
            Operator::In | Operator::NotIn => format!("{column} {sign} ({})", values.join(", ")),
            Operator::Like => format!("{column} {sign} {} ESCAPE '!'", values.concat()),
            Operator::Eq
            | Operator::Ne
            | Operator::Lt
            | Operator::Le
            | Operator::Gt
            | Operator::Ge => {
                format!("{column} {sign} {}", values.concat())
            }
        }
    }

    /// A filter's value. PostgreSQL gives a bound text the column's type; the others compare by what a value is, so numbers are
    /// written out.
    fn comparable(
        self,
        data_type: DataType,
        value: &str,
        bound: &mut Map<String, Value>,
    ) -> String {
        let number = matches!(
            data_type,
            DataType::Integer | DataType::Decimal | DataType::Float
        );
        match self.dialect {
            Dialect::Sqlite | Dialect::Mysql if number && is_decimal(value) => value.to_owned(),
            Dialect::Sqlite | Dialect::Mysql if data_type == DataType::Boolean => {
                u8::from(value == "true").to_string()
            }
            Dialect::Sqlite | Dialect::Postgres | Dialect::Mysql => {
                let name = format!("filter_{}", bound.len());
                let place = self.place(&name);
                bound.insert(name, value.into());
                place
            }
        }
    }

    /// The N:1 joins, each on a unique key.
    pub(super) fn joined(self, parents: &[ParentJoin]) -> String {
        let join = |parent: &ParentJoin| {
            format!(
                " LEFT JOIN {} AS {} ON {}",
                self.table(&parent.table),
                parent.alias,
                self.equal(&parent.left, &parent.alias, &parent.on)
            )
        };
        parents.iter().map(join).collect()
    }

    /// Root rows with their child rows.
    pub(super) fn child(self, root: &str, table: &TableRef, on: &[ColumnPair]) -> String {
        format!(
            "{root} JOIN {} AS c ON {}",
            self.table(table),
            self.equal("c", "r", on)
        )
    }

    fn equal(self, left: &str, right: &str, pairs: &[ColumnPair]) -> String {
        let pairs = pairs.iter().map(|pair| {
            format!(
                "{} = {}",
                self.column(left, &pair.from),
                self.column(right, &pair.to)
            )
        });
        pairs.collect::<Vec<_>>().join(" AND ")
    }

    /// The statement of child rows, before and after its WHERE: in the order of the root rows, then in `sequence`.
    pub(super) fn children(
        self,
        entity: &EntityPlan,
        from: &str,
        order: &[String],
        values: &[String],
        sequence: &[String],
    ) -> (String, String) {
        let keys = self.key_texts(entity);
        let (order, sequence) = (order.join(", "), sequence.join(", "));
        match self.dialect {
            Dialect::Postgres => {
                let own = entity
                    .key
                    .iter()
                    .map(|column| self.column("r", &column.name));
                let groups: Vec<String> = own.collect();
                let head = format!(
                    "SELECT {}, CAST(json_agg(json_build_array({}) ORDER BY {sequence}) AS TEXT) FROM {from}",
                    keys.join(", "),
                    values.join(", ")
                );
                let tail = format!(" GROUP BY {} ORDER BY {order}", groups.join(", "));
                (head, tail)
            }
            // Rows and not JSON: MariaDB cuts an aggregate without an error, and MySQL's has no order.
            Dialect::Mysql => {
                let columns = [keys.as_slice(), values].concat().join(", ");
                let tail = format!(" ORDER BY {order}, {sequence}");
                (format!("SELECT {columns} FROM {from}"), tail)
            }
            Dialect::Sqlite => sqlite_children(&keys, from, entity, values, &sequence),
        }
    }
}

/// `json_group_array` takes an order from SQLite 3.44 on only: each child row brings its number instead.
fn sqlite_children(
    keys: &[String],
    from: &str,
    entity: &EntityPlan,
    values: &[String],
    sequence: &str,
) -> (String, String) {
    let sql = Sql {
        dialect: Dialect::Sqlite,
    };
    let named = |prefix: &str, terms: &[String]| -> Vec<String> {
        let terms = terms.iter().enumerate();
        terms
            .map(|(number, term)| format!("{term} AS {prefix}{number}"))
            .collect()
    };
    let listed = |prefix: &str, count: usize, suffix: &str| -> String {
        let all = (0..count).map(|number| format!("{prefix}{number}{suffix}"));
        all.collect::<Vec<_>>().join(", ")
    };
    let own: Vec<String> = sql.key_to_bind(entity);
    let inner = [named("o", &own), named("k", keys), named("v", values)].concat();
    let groups = listed("o", own.len(), " COLLATE BINARY");
    let head = format!(
        "SELECT {}, json_group_array(json_array(n, {})) FROM (SELECT {}, row_number() OVER (ORDER BY {sequence}) AS n FROM {from}",
        listed("k", keys.len(), ""),
        listed("v", values.len(), ""),
        inner.join(", ")
    );
    (head, format!(") GROUP BY {groups} ORDER BY {groups}"))
}

fn written_out(order: &[String], sign: &str, places: &[String]) -> String {
    let (Some((term, terms)), Some((place, places))) = (order.split_first(), places.split_first())
    else {
        return String::new();
    };
    if terms.is_empty() {
        return format!("{term} {sign} {place}");
    }
    let strict = sign.trim_end_matches('=');
    let rest = written_out(terms, sign, places);
    format!(
        "({term} {strict}= {place} AND ({term} {strict} {place} OR ({term} = {place} AND {rest})))"
    )
}

/// Whether a text is a number in every dialect and nothing else.
fn is_decimal(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    digits(whole.strip_prefix('-').unwrap_or(whole)) && digits(fraction)
}
