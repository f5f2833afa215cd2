//! What the job says, and what it may not say.

use serde_json::{Value, json};

use super::*;

fn with(analysis: &Value) -> JobInput {
    serde_json::from_value(json!({"source": {"url": "sqlite:shop.db"}, "analysis": analysis}))
        .expect("a job")
}

/// The message and the hints of the error that an override gives.
async fn refused(analysis: &Value) -> String {
    let error = analyze(&with(analysis), &context(SHOP, 200).await).expect_err("an error");
    format!("{error} {}", error.hints().join(" "))
}

#[tokio::test]
async fn tables_columns_and_joins_that_are_not_there_are_errors_that_name_what_is_near() {
    for (analysis, message, hint) in [
        (
            json!({"roots": ["costumers"]}),
            "has no table `costumers`",
            "did you mean `customers`?",
        ),
        (
            json!({"exclude_tables": ["ordrs"]}),
            "`ordrs` matches no table",
            "did you mean `orders`?",
        ),
        (
            json!({"include_columns": ["products.skuu"]}),
            "matches no column",
            "did you mean `products.sku`?",
        ),
        (
            json!({"exclude_columns": ["*.nam"]}),
            "`*.nam` matches no column",
            "",
        ),
        (
            json!({"keys": {"log": ["mesage"]}}),
            "no column `mesage`",
            "did you mean `message`?",
        ),
        (
            json!({"drop_joins": [{"from": "orders", "columns": ["customer"]}]}),
            "no join leaves `orders`",
            "there are customer_id",
        ),
        (
            json!({"joins": [{"from": "orders", "columns": ["customer_id"], "to": "customer"}]}),
            "has no table `customer`",
            "did you mean `customers`?",
        ),
    ] {
        let text = refused(&analysis).await;
        assert!(
            text.contains(message) && text.contains(hint),
            "{analysis}: {text}"
        );
    }
}

#[tokio::test]
async fn templates_and_filters_of_what_is_not_there_are_errors_too() {
    for (analysis, message, hint) in [
        (
            json!({"templates": {"orders": [{"column": "order_note"}]}}),
            "`orders` has no column `order_note`",
            "did you mean `order_notes`?",
        ),
        (
            json!({"templates": {"orders": [{"column": "countries.name"}]}}),
            "no join leads to a table `countries`",
            "analysis.joins",
        ),
        (
            json!({"templates": {"orders": [{"column": "order_notes", "columns": ["id"]}]}}),
            "either `column`, or `children`",
            "write",
        ),
        (
            json!({"filters": {"orders": [{"column": "stats", "op": "eq", "value": "x"}]}}),
            "no column `stats`",
            "did you mean `status`?",
        ),
        (
            json!({"filters": {"customers": []}}),
            "`customers` gets no documents of its own",
            "analysis.roots",
        ),
        (
            json!({"templates": {"log": [{"children": "log_lines", "columns": ["text"]}]}}),
            "it has no key",
            "analysis.keys",
        ),
    ] {
        let text = refused(&analysis).await;
        assert!(
            text.contains(message) && text.contains(hint),
            "{analysis}: {text}"
        );
    }
}

#[tokio::test]
async fn a_join_that_would_multiply_rows_is_refused() {
    let text = refused(&json!({"joins": [{"from": "products", "columns": ["id"], "to": "reviews", "to_columns": ["product_id"]}]})).await;
    assert!(
        text.contains("no unique key of `reviews`") && text.contains("turn the join round"),
        "{text}"
    );
    let text =
        refused(&json!({"joins": [{"from": "reviews", "columns": ["body"], "to": "products"}]}))
            .await;
    assert!(text.contains("different types"), "{text}");
    let text = refused(
        &json!({"joins": [{"from": "reviews", "columns": ["product_id", "id"], "to": "products"}]}),
    )
    .await;
    assert!(text.contains("as many columns"), "{text}");
}

#[tokio::test]
async fn no_job_brings_a_secret_into_a_text() {
    for analysis in [
        json!({"include_columns": ["customers.password_hash"]}),
        json!({"templates": {"orders": [{"column": "customers.password_hash"}]}}),
        json!({"roots": ["customers"], "templates": {"customers": [{"column": "password_hash"}]}}),
    ] {
        let text = refused(&analysis).await;
        assert!(text.contains("is never embedded"), "{text}");
    }
    // A pattern takes what it may.
    let analysis = json!({"include_columns": ["customers.*"]});
    let plan = analyze(&with(&analysis), &context(SHOP, 200).await)
        .expect("a plan")
        .plan;
    let text = serde_json::to_string(entity(&plan, "customers")).expect("JSON");
    assert!(
        text.contains("\"city\"") && !text.contains("\"password_hash\""),
        "{text}"
    );
}

#[tokio::test]
async fn values_have_to_fit_their_columns() {
    for (condition, message) in [
        (
            json!({"column": "customer_id", "op": "eq", "value": "1 OR 1=1"}),
            "a whole number",
        ),
        (
            json!({"column": "customer_id", "op": "eq", "value": 1.5}),
            "a whole number",
        ),
        (
            json!({"column": "total", "op": "lt", "value": "1e5"}),
            "decimal digits",
        ),
        (
            json!({"column": "status", "op": "eq", "value": "a\u{0}b"}),
            "a text",
        ),
        (
            json!({"column": "status", "op": "in", "value": "a"}),
            "1 to 1000 `values`",
        ),
        (
            json!({"column": "status", "op": "in"}),
            "1 to 1000 `values`",
        ),
        (
            json!({"column": "status", "op": "is_null", "value": "a"}),
            "no value",
        ),
        (json!({"column": "status", "op": "eq"}), "one `value`"),
        (
            json!({"column": "customer_id", "op": "like", "value": "1%"}),
            "no text",
        ),
    ] {
        let text = refused(&json!({"filters": {"orders": [condition.clone()]}})).await;
        assert!(text.contains(message), "{condition}: {text}");
    }
    let unknown = json!({"source": {"url": "sqlite:a"}, "analysis": {"filters": {"orders": [{"column": "a", "op": "regexp"}]}}});
    assert!(
        serde_json::from_value::<JobInput>(unknown).is_err(),
        "no other operators"
    );
    let raw = json!({"source": {"url": "sqlite:a"}, "analysis": {"filters": {"orders": "1 = 1"}}});
    assert!(serde_json::from_value::<JobInput>(raw).is_err(), "no SQL");
}

#[tokio::test]
async fn the_plan_has_what_the_job_says() {
    let analysis = json!({
        "roots": ["customers", "order_lines"],
        "exclude_tables": ["support_*"],
        "exclude_columns": ["orders.total", "products.category"],
        "keys": {"log": ["message"]},
        "joins": [{"from": "warehouses", "columns": ["area"], "to": "products"}],
        "drop_joins": [{"from": "reviews", "columns": ["customer_id"]}],
        "templates": {"reviews": [
            {"label": "Text", "column": "body"},
            {"column": "products.category"},
        ]},
        "filters": {"orders": [{"column": "status", "op": "ne", "value": "new"}]},
    });
    let plan = analyze(&with(&analysis), &context(SHOP, 200).await)
        .expect("a plan")
        .plan;
    let names: Vec<&str> = plan
        .entities
        .iter()
        .map(|entity| entity.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "customers",
            "log",
            "order_lines",
            "orders",
            "products",
            "reviews"
        ]
    );
    let orders = entity(&plan, "orders");
    assert!(!metadata(orders).contains(&"total"));
    assert!(
        !shape(orders)
            .iter()
            .any(|part| part.starts_with("Order lines")),
        "it is a root of its own"
    );
    assert_eq!(orders.filter.len(), 1);
    assert_eq!(
        shape(entity(&plan, "products")),
        ["Name: r.name", "Description: r.description"]
    );
    let reviews = entity(&plan, "reviews");
    assert_eq!(
        shape(reviews),
        ["Text: r.body", "Product category: p1.category"]
    );
    assert_eq!(reviews.parents.len(), 1);
    assert_eq!(reviews.parents[0].unique_key, ["id"]);
    assert_eq!(entity(&plan, "log").key[0].name, "message");
    let left = plan
        .left_out
        .iter()
        .find(|left| left.table.name == "support_tickets");
    assert!(left.is_some_and(|left| left.reason.contains("analysis.exclude_tables")));
}

#[tokio::test]
async fn every_parent_rests_on_a_unique_key() {
    let plan = analyze(&job(), &context(SHOP, 200).await)
        .expect("a plan")
        .plan;
    let mut parents = 0;
    for entity in &plan.entities {
        let of_children = entity.sections.iter().flat_map(|section| match section {
            Section::Field { .. } => &[],
            Section::Children { parents, .. } => parents.as_slice(),
        });
        for parent in entity.parents.iter().chain(of_children) {
            parents += 1;
            let to: Vec<&String> = parent.on.iter().map(|pair| &pair.to).collect();
            assert!(
                !parent.unique_key.is_empty()
                    && parent.unique_key.iter().all(|column| to.contains(&column))
            );
        }
    }
    assert!(parents >= 5);
}

#[tokio::test]
async fn no_key_can_be_named_where_rows_are_equal_and_names_only_are_a_question_that_blocks() {
    let context_of_log = context(
        "CREATE TABLE notes(body TEXT); CREATE TABLE posts(id INTEGER PRIMARY KEY, body TEXT);
         INSERT INTO notes VALUES('The same words were written down twice on that day.'), ('The same words were written down twice on that day.');
         INSERT INTO posts VALUES(1, 'Only one post was written in all of these long years.');",
        50,
    )
    .await;
    let keys = with(&json!({"keys": {"notes": ["body"]}}));
    let error = analyze(&keys, &context_of_log).expect_err("rows are equal");
    assert!(
        error.to_string().contains("equal in every column"),
        "{error}"
    );

    let names = context(
        "CREATE TABLE towns(id INTEGER PRIMARY KEY, name TEXT, email TEXT); INSERT INTO towns VALUES(1, 'Ulm', 'a@b.cc'), (2, 'Bonn', 'b@b.cc');",
        50,
    )
    .await;
    let question = questions::no_text(&job(), &names)
        .expect("no error")
        .expect("a question");
    assert_eq!(
        (question.choices.as_slice(), question.blocking),
        (&["towns".to_owned()][..], true)
    );
    let mut forced = job();
    questions::force_root(&mut forced, &names, "towns");
    let plan = analyze(&forced, &names).expect("a plan").plan;
    assert_eq!(shape(&plan.entities[0]), ["Name: r.name"]);
    assert!(
        questions::no_text(&forced, &names)
            .expect("no error")
            .is_none()
    );
}

#[tokio::test]
async fn the_estimate_has_cost_and_bytes() {
    let mut job = job();
    job.embedding.price_per_million_tokens = Some(1000.0);
    let shop = context(SHOP, 200).await;
    let estimate = analyze(&job, &shop).expect("a plan").plan.estimate;
    let cost = estimate.cost.expect("a cost");
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let expected = estimate.tokens as f64 / 1000.0;
    assert!((cost - expected).abs() < 0.01, "{cost} {expected}");
    assert!(
        estimate
            .table_bytes
            .is_some_and(|bytes| bytes > estimate.chunks * 384 * 4)
    );
    assert!(
        estimate
            .index_bytes
            .is_some_and(|bytes| bytes > estimate.chunks * 384 * 4)
    );
    job.embedding.model = Some("of-my-own".to_owned());
    let mut analysis = analyze(&job, &shop).expect("a plan");
    assert_eq!(analysis.plan.estimate.index_bytes, None);
    analysis.add_dimension(&Ok(384));
    let found = &analysis.plan.estimate;
    assert_eq!(
        (found.table_bytes, found.index_bytes),
        (estimate.table_bytes, estimate.index_bytes)
    );
}
