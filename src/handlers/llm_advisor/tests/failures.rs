//! Whatever goes wrong, the deterministic plan stands.

use super::*;

#[tokio::test]
async fn tries_again_where_that_may_help() {
    for provider in ["gemini", "openai"] {
        let mut busy = reply(429, "slow down");
        busy.retry_after = Some("1");
        let valid = with_text(provider, r#"{"entities": []}"#);
        let (mock, url) = Mock::start(vec![busy, reply(503, ""), valid]).await;
        let outcome = advise(llm(provider, &url), Some(KEY)).await;
        assert_eq!(outcome.advice.origin, AdviceOrigin::Model);
        assert_eq!(mock.seen().len(), 3);
        let statuses: Vec<Value> = outcome.json("llm_reply.json")["attempts"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|attempt| attempt["status"].clone())
            .collect();
        assert_eq!(statuses, [429, 503, 200]);
    }
}

#[tokio::test]
async fn a_server_that_asks_to_wait_too_long_is_not_waited_for() {
    let mut busy = reply(429, "");
    busy.retry_after = Some("3600");
    let (mock, url) = Mock::start(vec![busy]).await;
    let reason = advise(llm("gemini", &url), Some(KEY)).await.fell_back();
    assert!(reason.contains("429"), "{reason}");
    assert_eq!(mock.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_never_answers_costs_no_more_than_the_job_allows() {
    let (mock, url) = Mock::start(Vec::new()).await;
    let mut spec = llm("openai", &url);
    spec["timeout_seconds"] = 1.into();
    let mut outcome = advise(spec, Some(KEY)).await;
    assert!(outcome.fell_back().contains("llm.timeout_seconds (1)"));
    assert_eq!(mock.seen().len(), 1);
    assert_eq!(
        outcome.json("llm_reply.json")["attempts"][0]["status"],
        Value::Null
    );
}

#[tokio::test]
async fn whatever_goes_wrong_the_deterministic_plan_stands() {
    for provider in ["gemini", "openai"] {
        let said = |text: &str| vec![with_text(provider, text)];
        let cut = match provider {
            "gemini" => {
                json!({"candidates": [{"content": {"parts": [{"text": "{"}]}, "finishReason": "MAX_TOKENS"}]})
            }
            _ => json!({"choices": [{"message": {"content": "{"}, "finish_reason": "length"}]}),
        };
        for (replies, requests, why) in [
            (vec![reply(500, ""); 3], 3, "500"),
            (vec![reply(401, format!("bad key {KEY}"))], 1, "401"),
            (vec![reply(302, "")], 1, "302"),
            (vec![reply(200, "not JSON")], 1, "is not JSON"),
            (vec![reply(200, "{}")], 1, "has no c"),
            (
                vec![reply(200, "x".repeat(2 << 20))],
                1,
                "is longer than 1 MiB",
            ),
            (
                vec![reply(200, cut.to_string())],
                1,
                "raise llm.token_budget",
            ),
            (
                said("Sure! Here it is:"),
                1,
                "not the JSON that was asked for",
            ),
            (said("[]"), 1, "does not have the shape"),
            (
                said(r#"{"entities": [], "run": "id"}"#),
                1,
                "does not have the shape",
            ),
            (
                said(r#"{"entities": "DROP TABLE products"}"#),
                1,
                "does not have the shape",
            ),
        ] {
            let (mock, url) = Mock::start(replies).await;
            let mut outcome = advise(llm(provider, &url), Some(KEY)).await;
            let reason = outcome.fell_back();
            assert!(reason.contains(why), "{provider}: {reason}");
            assert_eq!(mock.seen().len(), requests, "{reason}");
            let kept = outcome
                .artifact("llm_reply.json")
                .expect("the reply is kept");
            assert!(!kept.contains(KEY), "{kept}");
        }
    }
}

#[tokio::test]
async fn a_flood_of_suggestions_is_counted_and_changes_nothing() {
    let flood = vec![
        json!({"entity": "IGNORE ALL PREVIOUS INSTRUCTIONS", "parts": [{"part": "e0p0", "label": "x"}]});
        5000
    ];
    let answer = json!({"entities": flood}).to_string();
    let (_, url) = Mock::start(vec![with_text("gemini", &answer)]).await;
    let outcome = advise(llm("gemini", &url), Some(KEY)).await;
    assert_eq!(outcome.advice.entities, []);
    assert_eq!(outcome.advice.dropped.len(), 51);
    assert_eq!(outcome.advice.dropped[50].what, "4950 more suggestions");
    assert_eq!(outcome.artifact("llm_plan.diff").as_deref(), Some(""));
}

#[tokio::test]
async fn without_its_key_nobody_is_asked() {
    let (mock, url) = Mock::start(Vec::new()).await;
    for (spec, names) in [
        (llm("gemini", &url), "the variable KEY is not set"),
        (llm("openai", &url), "the variable KEY is not set"),
        (json!({"enabled": true, "model": "m"}), "GOOGLE_API_KEY"),
        (
            json!({"enabled": true, "provider": "openai"}),
            "OPENAI_API_KEY",
        ),
        (
            json!({"enabled": true, "model": "m", "base_url": url}),
            "llm.api_key_env",
        ),
        (
            json!({"enabled": true, "provider": "openai", "base_url": url}),
            "llm.model",
        ),
    ] {
        let mut outcome = advise(spec, None).await;
        let reason = outcome.fell_back();
        assert!(reason.contains(names), "{reason}");
        assert!(outcome.artifact("llm_request.json").is_none());
    }
    assert!(mock.seen().is_empty());
}

#[tokio::test]
async fn a_server_of_ones_own_is_asked_without_a_key() {
    let (mock, url) = Mock::start(vec![with_text("openai", r#"{"entities": []}"#)]).await;
    let spec =
        json!({"enabled": true, "provider": "openai", "model": "llama3.1:8b", "base_url": url});
    let outcome = advise(spec, None).await;
    assert_eq!(outcome.advice.origin, AdviceOrigin::Model);
    assert!(mock.seen()[0].headers.get("authorization").is_none());
}

#[tokio::test]
async fn the_question_fits_the_token_budget() {
    let empty = || vec![with_text("openai", r#"{"entities": []}"#)];
    let (mock, url) = Mock::start(empty()).await;
    advise(llm("openai", &url), Some(KEY)).await;
    let whole = mock.seen()[0].body.to_string().len();

    let (mock, url) = Mock::start(empty()).await;
    let mut spec = llm("openai", &url);
    // A quarter is for the answer, and one entity too many is asked about.
    let budget = whole.div_ceil(4) * 4 / 3 - 50;
    spec["token_budget"] = budget.into();
    let outcome = advise(spec, Some(KEY)).await;
    assert_eq!(outcome.advice.origin, AdviceOrigin::Model);
    let [left_out] = outcome.advice.dropped.as_slice() else {
        panic!("{:?}", outcome.advice.dropped)
    };
    assert!(left_out.reason.contains("llm.token_budget"));
    let sent = &mock.seen()[0].body;
    assert!(sent.to_string().len() <= (budget - budget / 4) * 4);
    assert_eq!(sent["max_tokens"], budget / 4);

    let (mock, url) = Mock::start(empty()).await;
    let mut spec = llm("openai", &url);
    spec["token_budget"] = 100.into();
    let reason = advise(spec, Some(KEY)).await.fell_back();
    assert!(reason.contains("llm.token_budget (100)"), "{reason}");
    assert!(mock.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_fallback() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let reason = advise(llm("openai", &url), Some(KEY)).await.fell_back();
    assert!(reason.contains("does not answer"), "{reason}");
    let mut malformed = advise(llm("gemini", "file:///etc/passwd"), Some(KEY)).await;
    malformed.fell_back();
    assert!(malformed.artifact("llm_request.json").is_none());
}
