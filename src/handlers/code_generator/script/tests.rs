use serde_json::{Value, json};

use super::*;

/// A plan with every sort of statement, and names that are hard to quote.
fn plan(dialect: Dialect) -> MigrationPlan {
    let table = |name: &str| json!({"schema": null, "name": name});
    let field = |alias: &str, column: &str, data_type: &str| json!({"alias": alias, "column": column, "data_type": data_type});
    let section = |label: &str, source: Value| json!({"section": "field", "label": label, "source": source, "score": 0.5, "reasons": []});
    let joins = |left: &str| {
        json!([{
            "alias": "p1", "left": left, "table": table("people"), "on": [{"from": "person", "to": "id"}], "unique_key": ["id"]
        }])
    };
    let keyed = json!({
        "name": "orders", "root": table("or'ders\"; --"), "key": [{"name": "id", "data_type": "text"}],
        "row_count": 5, "parents": joins("r"),
        "sections": [
            section("note", field("r", "100% {note}", "text")),
            {
                "section": "children", "label": "lines", "table": table("lines"),
                "on": [{"from": "order_id", "to": "id"}], "parents": [], "columns": [field("c", "text", "text")],
                "order_by": [{"name": "code", "data_type": "text"}], "reasons": []
            },
            section("person", field("p1", "name", "text"))
        ],
        "metadata": [{"name": "it's", "source": field("r", "total", "decimal")}], "reasons": []
    });
    let filtered = json!({
        "name": "places", "root": table("places"),
        "key": [{"name": "land", "data_type": "text"}, {"name": "number", "data_type": "decimal"}],
        "key_in_byte_order": true, "row_count": 1, "parents": [],
        "filter": [
            {"column": {"name": "land", "data_type": "text"}, "op": "in", "values": ["at", "x' OR '1' = '1"]},
            {"column": {"name": "number", "data_type": "decimal"}, "op": "ge", "values": ["1.5"]},
            {"column": {"name": "open", "data_type": "boolean"}, "op": "eq", "values": ["true"]},
            {"column": {"name": "name", "data_type": "text"}, "op": "is_not_null", "values": []}
        ],
        "sections": [section("name", field("r", "name", "text"))], "metadata": [], "reasons": []
    });
    let keyless = json!({
        "name": "notes", "root": table("notes"), "key": [],
        "row": [{"name": "day", "data_type": "date"}, {"name": "text", "data_type": "text"}],
        "row_count": 1, "parents": [], "sections": [section("text", field("r", "text", "text"))],
        "metadata": [{"name": "day", "source": field("r", "day", "date")}], "reasons": []
    });
    serde_json::from_value(json!({
        "version": 1, "dialect": dialect, "database": "shop",
        "target": {"schema": "public", "table": "relvec_documents"},
        "embedding": {
            "provider": "relvec", "base_url": "http://127.0.0.1:9/v1", "model": "m", "dimensions": null,
            "api_key_env": null, "batch_items": 3, "batch_tokens": 10, "concurrency": 1, "chunk_tokens": 4
        },
        "runtime": "script", "entities": [keyed, filtered, keyless], "left_out": [], "ranking": [],
        "estimate": {"documents": 1, "chunks": 1, "tokens": 1, "requests": 1}
    }))
    .expect("the plan has its type's shape")
}

/// The plans in `tests/fixtures` are those that the tests of the script run with.
#[test]
fn the_plans_of_the_scripts_tests_are_those_that_are_made() {
    for (name, dialect) in [
        ("sqlite", Dialect::Sqlite),
        ("postgres", Dialect::Postgres),
        ("mysql", Dialect::Mysql),
    ] {
        let path = format!(
            "{}/tests/fixtures/script_{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let plan = plan(dialect);
        let made = serde_json::to_string_pretty(&ScriptPlan::of(&plan)).expect("it is JSON") + "\n";
        if crate::settings::variable("UPDATE_EXPECTED").is_some() {
            std::fs::write(&path, &made).expect("the fixture is written");
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            there, made,
            "UPDATE_EXPECTED=1 cargo test script writes {path}"
        );
    }
}

#[test]
fn a_filter_binds_texts_and_writes_numbers_out() {
    let filter = |dialect| {
        let plan = plan(dialect);
        let made = json!(ScriptPlan::of(&plan));
        let entity = &made["entities"][1];
        (
            entity["conditions"]["filter"].clone(),
            entity["bound"].clone(),
        )
    };
    let (sqlite, bound) = filter(Dialect::Sqlite);
    assert_eq!(
        sqlite,
        "r.\"land\" IN (:filter_0, :filter_1) AND r.\"number\" >= 1.5 AND r.\"open\" = 1 AND r.\"name\" IS NOT NULL"
    );
    assert_eq!(bound["filter_1"], "x' OR '1' = '1");
    let (postgres, bound) = filter(Dialect::Postgres);
    assert_eq!(
        postgres,
        "r.\"land\" IN (%(filter_0)s, %(filter_1)s) AND r.\"number\" >= %(filter_2)s AND r.\"open\" = %(filter_3)s AND r.\"name\" IS NOT NULL"
    );
    assert_eq!(bound["filter_3"], "true");
}

#[test]
fn a_page_of_mysql_goes_by_the_keys_own_order_column_by_column() {
    let plan = plan(Dialect::Mysql);
    let made = json!(ScriptPlan::of(&plan));
    assert_eq!(
        made["entities"][1]["conditions"]["after"],
        "(r.\"land\" >= %(after_0)s AND (r.\"land\" > %(after_0)s OR (r.\"land\" = %(after_0)s AND \
         r.\"number\" > CAST(%(after_1)s AS DECIMAL(65, 30)))))"
    );
    assert_eq!(
        made["entities"][0]["page"]["tail"],
        " ORDER BY r.\"id\" LIMIT %(page)s"
    );
}
