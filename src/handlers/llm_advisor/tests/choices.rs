//! What is sent and offered depends on the job: joins, comments, filters, templates.

use super::*;

#[tokio::test]
async fn an_inferred_join_is_asked_about_and_one_that_was_refused_is_not_offered() {
    let (plan, context) = products_alone().await;
    let offers = offer::offers(&plan, Some(&context), &LlmSpec::default());
    let history = offers[0].parts.iter().find(
        |part| matches!(&part.section, Section::Field { source, .. } if source.column == "history"),
    );
    let parts = [
        choice(&offers[0].parts[0], 0),
        choice(history.expect("it"), 0),
    ];
    let answer = json!({"entities": [{"entity": "products", "parts": parts}]}).to_string();
    let id = "join:products.supplier_id";
    let refused = Answer {
        choice: "drop".to_owned(),
        by: "a test".to_owned(),
        at: "2026-01-01T00:00:00Z".to_owned(),
    };
    for answers in [BTreeMap::new(), BTreeMap::from([(id.to_owned(), refused)])] {
        let asks = answers.is_empty();
        let (_, url) = Mock::start(vec![with_text("openai", &answer)]).await;
        let mut outcome = advise_on(
            (plan.clone(), context.clone()),
            llm("openai", &url),
            Some(KEY),
            answers,
        )
        .await;
        assert_eq!(outcome.advice.origin, AdviceOrigin::Model);
        let mut asked = Vec::new();
        while let Ok(event) = outcome.events.try_recv() {
            if let Event::QuestionAsked { question } = event {
                asked.push(question.id);
            }
        }
        assert_eq!(asked == [id], asks, "{asked:?}");
        assert_eq!(outcome.advice.entities[0].joins.len(), usize::from(asks));
        assert_eq!(outcome.advice.dropped.is_empty(), asks);
    }
}

#[tokio::test]
async fn comments_and_the_wish_are_sent_only_where_the_job_says_so() {
    let empty = r#"{"entities": []}"#;
    for allowed in [false, true] {
        let (mock, url) = Mock::start(vec![with_text("openai", empty)]).await;
        let mut spec = llm("openai", &url);
        spec["allow_comments"] = allowed.into();
        if allowed {
            spec["prompt"] = "find lamps for children".into();
        }
        let outcome = advise(spec, Some(KEY)).await;
        assert_eq!(outcome.advice.origin, AdviceOrigin::Model);
        assert_eq!(outcome.advice.changes, []);
        let sent = mock.seen()[0].body.to_string();
        assert_eq!(sent.contains(COMMENT), allowed);
        assert_eq!(sent.contains(TABLE_COMMENT), allowed);
        assert_eq!(sent.contains("find lamps for children"), allowed);
        assert!(!sent.contains(CANARY));
    }
}

#[tokio::test]
async fn rows_are_filtered_by_declared_values_and_only_where_the_job_has_a_prompt() {
    let (plan, mut context) = shop().await;
    let table = context
        .tables
        .iter_mut()
        .find(|table| table.table.name == "products");
    let column = table
        .expect("products")
        .columns
        .iter_mut()
        .find(|column| column.name == "care");
    let column = column.expect("care");
    column.data_type = DataType::Enum;
    column.labels = ["wipe", "wash", "never"].map(str::to_owned).to_vec();
    let parts: Vec<Value> = offer_of("products")
        .await
        .parts
        .iter()
        .filter(|part| part.kept.is_some())
        .map(|part| choice(part, 0))
        .collect();
    let answer = json!({"entities": [{"entity": "products", "parts": parts, "filters": [
        {"column": "in_stock", "op": "in", "values": ["true"]},
        {"column": "care", "op": "not_in", "values": ["never", "wipe"]},
        {"column": "care", "op": "in", "values": ["wash"]},
        {"column": "care", "op": "in", "values": ["'; DROP TABLE products; --"]},
        {"column": "title", "op": "in", "values": ["true"]},
        {"column": "in_stock", "op": "is_null", "values": []},
    ]}]});
    for prompt in [None, Some("only what can be bought today")] {
        let (mock, url) = Mock::start(vec![with_text("openai", &answer.to_string())]).await;
        let mut spec = llm("openai", &url);
        spec["prompt"] = json!(prompt);
        let given = (plan.clone(), context.clone());
        let outcome = advise_on(given, spec, Some(KEY), BTreeMap::new()).await;
        assert_eq!(outcome.advice.origin, AdviceOrigin::Model);
        let sent = mock.seen()[0].body.to_string();
        assert_eq!(sent.contains("never"), prompt.is_some(), "{sent}");
        if prompt.is_none() {
            assert_eq!(outcome.advice.entities, []);
            assert_eq!(outcome.advice.dropped.len(), 6);
            continue;
        }
        the_filters_tell(&outcome);
    }
}

/// Two filters are taken and four are dropped.
fn the_filters_tell(outcome: &Outcome) {
    assert_eq!(
        outcome.advice.dropped.len(),
        4,
        "{:#?}",
        outcome.advice.dropped
    );
    let [in_stock, care] = outcome.advice.entities[0].filter.as_slice() else {
        panic!("{:?}", outcome.advice.entities)
    };
    assert_eq!(
        (in_stock.op, in_stock.values.as_slice()),
        (Operator::In, ["true".to_owned()].as_slice())
    );
    assert_eq!(
        (care.op, care.values.join(" ")),
        (Operator::NotIn, "wipe never".to_owned())
    );
    let diff = outcome.artifact("llm_plan.diff").expect("a diff");
    assert!(
        diff.ends_with(
            "+only rows with in_stock in (true)\n+only rows with care not in (wipe, never)\n"
        ),
        "{diff}"
    );
    let said: Vec<ChangeKind> = outcome
        .advice
        .changes
        .iter()
        .map(|change| change.change)
        .collect();
    assert_eq!(said, [ChangeKind::Filtered; 2]);
    let mut advised = outcome.plan.clone();
    assert_eq!(
        advice::apply(&mut advised, &outcome.advice.entities),
        Vec::<String>::new()
    );
    let entity = advised
        .entities
        .iter()
        .find(|entity| entity.name == "products")
        .expect("it");
    assert_eq!(entity.filter, outcome.advice.entities[0].filter);
}

#[tokio::test]
async fn what_the_job_says_about_documents_stands() {
    let (plan, context) = shop().await;
    let described = json!({"templates": {"products": [{"column": "title"}], "articles": [{"column": "headline"}]}});
    let (mock, url) = Mock::start(Vec::new()).await;
    let job = json!({"source": {"url": "sqlite:shop.db"}, "llm": llm("openai", &url), "analysis": described});
    let roots = ["products", "articles"];
    let mut only = plan.clone();
    only.entities
        .retain(|entity| roots.contains(&entity.name.as_str()));
    let mut outcome = advise_job((only, context), job, Some(KEY), BTreeMap::new()).await;
    assert!(outcome.fell_back().contains("the job describes them all"));
    assert!(mock.seen().is_empty());
}
