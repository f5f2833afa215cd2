mod general;
mod keyless;
mod overrides;

use super::*;
use crate::model::metadata::TableRef;
use crate::model::plan::Section;
use crate::source::sqlite::tests::database;

const SHOP: &str = "
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, phone TEXT, password_hash TEXT, city TEXT);
CREATE TABLE products(id INTEGER PRIMARY KEY, sku TEXT UNIQUE NOT NULL, name TEXT NOT NULL, description TEXT, category TEXT, price NUMERIC);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers(id), status TEXT,
  ordered_at TIMESTAMP, order_notes TEXT, total DECIMAL(10,2));
CREATE TABLE order_lines(order_id INTEGER NOT NULL REFERENCES orders(id), line_no INTEGER NOT NULL,
  product_id INTEGER NOT NULL REFERENCES products(id), quantity INTEGER, unit_price DECIMAL, PRIMARY KEY(order_id, line_no));
CREATE TABLE reviews(id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES products(id),
  customer_id INTEGER REFERENCES customers(id), rating INTEGER, title TEXT, body TEXT);
CREATE TABLE support_tickets(id INTEGER PRIMARY KEY, customer_id INTEGER, subject TEXT, body TEXT, status TEXT);
CREATE TABLE log(message TEXT, at TEXT);
CREATE TABLE countries(code TEXT PRIMARY KEY NOT NULL, name TEXT);
CREATE TABLE warehouses(id INTEGER PRIMARY KEY, country_code TEXT REFERENCES countries(code), area INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO customers SELECT i, 'Ada Stone ' || char(64 + i), 'u' || i || '@example.org', '+49 30 55512' || (100 + i),
  '$2b$12$abcdefghijklmnopqrstuv' || i, 'Berlin' FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO products SELECT i, 'SKU-' || i, 'Blue enamel mug ' || i,
  'A mug of enamelled steel that keeps its colour in the dishwasher, number ' || i || '.', 'Kitchen', i * 1.5 FROM n;
INSERT INTO orders SELECT id, id, 'shipped', '2024-01-01 10:00:00',
  'Please leave the parcel with the neighbour at door ' || id || '.', 9.5 FROM customers;
INSERT INTO order_lines SELECT id, 1, id, 2, 1.5 FROM orders;
INSERT INTO reviews SELECT id, id, id, 1 + id % 5, 'Great for camping ' || id,
  'The handle came off after ' || id || ' weeks of normal use in our kitchen.' FROM products;
INSERT INTO support_tickets SELECT id, 41 - id, 'Where is order ' || id || '?',
  'I have waited for my order for ' || id || ' days and nobody answers the telephone.', 'open' FROM orders;
INSERT INTO log SELECT 'A line that a program wrote about order ' || id || ' today.', '2024' FROM orders;
INSERT INTO countries VALUES('DE', 'Germany'), ('FR', 'France');
INSERT INTO warehouses VALUES(1, 'DE', 5), (2, 'FR', 6);";

async fn context(script: &'static str, sample_rows: u32) -> SchemaContext {
    let (_folder, url) = database(script).await;
    let (_, context) = crate::source::inspect(&url, &[], &[], sample_rows)
        .await
        .expect("inspects");
    context
}

fn job() -> JobInput {
    serde_json::from_str(r#"{"source": {"url": "sqlite:shop.db"}}"#).expect("a job")
}

fn entity<'a>(plan: &'a MigrationPlan, name: &str) -> &'a EntityPlan {
    let found = plan.entities.iter().find(|entity| entity.name == name);
    found.unwrap_or_else(|| panic!("no entity {name}"))
}

fn shape(entity: &EntityPlan) -> Vec<String> {
    let sections = entity.sections.iter();
    sections
        .map(|section| match section {
            Section::Field { label, source, .. } => {
                format!("{label}: {}.{}", source.alias, source.column)
            }
            Section::Children { label, columns, .. } => {
                let columns: Vec<String> = columns
                    .iter()
                    .map(|column| format!("{}.{}", column.alias, column.column))
                    .collect();
                format!("{label}: [{}]", columns.join(", "))
            }
        })
        .collect()
}

fn metadata(entity: &EntityPlan) -> Vec<&str> {
    entity
        .metadata
        .iter()
        .map(|field| field.name.as_str())
        .collect()
}

#[tokio::test]
async fn the_shop_gets_the_plan_that_an_engineer_would_draw() {
    let analysis = analyze(&job(), &context(SHOP, 200).await).expect("a plan");
    let plan = &analysis.plan;
    let names: Vec<&str> = plan
        .entities
        .iter()
        .map(|entity| entity.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["log", "orders", "products", "reviews", "support_tickets"]
    );
    assert_eq!(
        shape(entity(plan, "orders")),
        [
            "Customer: p1.name",
            "Order notes: r.order_notes",
            "Order lines: [p2.name]"
        ]
    );
    assert_eq!(
        metadata(entity(plan, "orders")),
        ["customer_id", "status", "ordered_at", "total"]
    );
    assert_eq!(
        shape(entity(plan, "products")),
        [
            "Name: r.name",
            "Category: r.category",
            "Description: r.description"
        ]
    );
    assert_eq!(
        metadata(entity(plan, "products")),
        ["sku", "category", "price"]
    );
    assert_eq!(
        shape(entity(plan, "reviews")),
        [
            "Title: r.title",
            "Customer: p1.name",
            "Product: p2.name",
            "Body: r.body"
        ]
    );
    assert!(metadata(entity(plan, "reviews")).contains(&"rating"));
    assert_eq!(
        shape(entity(plan, "support_tickets")),
        ["Subject: r.subject", "Customer: p1.name", "Body: r.body"]
    );
    let out: Vec<&str> = plan
        .left_out
        .iter()
        .map(|left| left.table.name.as_str())
        .collect();
    assert_eq!(out, ["countries", "customers", "order_lines", "warehouses"]);
    assert!(plan.left_out.iter().all(|left| !left.reason.is_empty()));
    assert_eq!(plan.estimate.documents, 200);
    assert!(plan.estimate.tokens > 160 && plan.estimate.requests >= 1);
}

#[tokio::test]
async fn secrets_and_contact_data_are_nowhere_in_the_plan() {
    let analysis = analyze(&job(), &context(SHOP, 200).await).expect("a plan");
    for entity in &analysis.plan.entities {
        let text = serde_json::to_string(entity).expect("JSON");
        for column in ["email", "phone", "password_hash"] {
            assert!(
                !text.contains(&format!("\"{column}\"")),
                "{}: {column}",
                entity.name
            );
        }
    }
    let ranked = analysis
        .plan
        .ranking
        .iter()
        .find(|column| column.column == "password_hash");
    assert!(ranked.is_some_and(|column| !column.chosen && column.score < 0.01));
}

#[tokio::test]
async fn doubts_are_asked_and_do_not_block() {
    let analysis = analyze(&job(), &context(SHOP, 200).await).expect("a plan");
    let ids: Vec<&str> = analysis
        .questions
        .iter()
        .map(|question| question.id.as_str())
        .collect();
    assert_eq!(ids, ["no_key:log", "join:support_tickets.customer_id"]);
    for question in &analysis.questions {
        assert!(!question.blocking);
        assert!(
            question
                .default
                .as_ref()
                .is_some_and(|d| question.choices.contains(d))
        );
    }
}

#[tokio::test]
async fn without_samples_names_decide() {
    let analysis = analyze(&job(), &context(SHOP, 0).await).expect("a plan");
    let orders = entity(&analysis.plan, "orders");
    assert!(shape(orders).contains(&"Order notes: r.order_notes".to_owned()));
}

#[tokio::test]
async fn the_same_schema_gives_the_same_plan() {
    let context = context(SHOP, 50).await;
    let plan = |context| serde_json::to_string(&analyze(&job(), context).expect("a plan").plan);
    assert_eq!(plan(&context).expect("JSON"), plan(&context).expect("JSON"));
}

#[tokio::test]
async fn no_tables_and_no_text_are_errors_with_a_next_step() {
    let empty = SchemaContext {
        dialect: crate::model::metadata::Dialect::Sqlite,
        database: "empty.db".to_owned(),
        tables: Vec::new(),
        joins: Vec::new(),
        junctions: Vec::new(),
    };
    let numbers = context(
        "CREATE TABLE n(id INTEGER PRIMARY KEY, v REAL); INSERT INTO n(v) VALUES(1), (2);",
        10,
    )
    .await;
    for (context, words) in [(empty, "has no tables"), (numbers, "text worth searching")] {
        let error = analyze(&job(), &context).expect_err("no plan");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.hints().is_empty());
    }
}

#[tokio::test]
async fn comments_belong_to_what_is_commented_on() {
    let context = context(
        "CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, email TEXT);
         CREATE TABLE posts(id INTEGER PRIMARY KEY, user_id INT REFERENCES users(id), body TEXT);
         CREATE TABLE comments(id INTEGER PRIMARY KEY, post_id INT REFERENCES posts(id), user_id INT REFERENCES users(id), body TEXT);
         CREATE TABLE tags(id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE post_tags(post_id INT REFERENCES posts(id), tag_id INT REFERENCES tags(id), PRIMARY KEY(post_id, tag_id));
         INSERT INTO users VALUES(1, 'Ada', 'a@example.org'), (2, 'Bo', 'b@example.org');
         INSERT INTO posts VALUES(1, 1, 'A long post about the garden in the spring rain.');
         INSERT INTO comments VALUES(1, 1, 2, 'I liked reading this very much, thank you for it.');
         INSERT INTO tags VALUES(1, 'Garden life'), (2, 'Spring rain');
         INSERT INTO post_tags VALUES(1, 1), (1, 2);",
        50,
    )
    .await;
    let plan = analyze(&job(), &context).expect("a plan").plan;
    assert_eq!(plan.entities.len(), 1);
    assert_eq!(
        shape(&plan.entities[0]),
        [
            "User: p1.name",
            "Body: r.body",
            "Comments: [c.body]",
            "Post tags: [p2.name]"
        ]
    );
    let tags = TableRef {
        schema: None,
        name: "tags".to_owned(),
    };
    assert!(plan.left_out.iter().any(|left| left.table == tags));
}

#[tokio::test]
async fn a_table_with_rows_that_no_document_holds_is_named() {
    let analysis = analyze(&job(), &context(SHOP, 200).await).expect("a plan");
    let named = |table: &str| {
        analysis
            .notes
            .iter()
            .any(|note| note.starts_with(&format!("`{table}` is left out: ")))
    };
    assert!(named("customers"), "{:?}", analysis.notes);
    // Its rows are in the documents of orders.
    assert!(!named("order_lines"), "{:?}", analysis.notes);
}
