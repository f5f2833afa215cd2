//! What a gateway tells to whom: figures of all tenants, names of graphs, and who decided.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::served::{problem, token, waiting_graph};
use crate::gateway::{Gateway, PATIENCE};
use crate::relvec::Relvec;

#[tokio::test]
async fn figures_of_all_tenants_are_for_who_has_their_scope() {
    let relvec = Relvec::alone();
    let (admin, figures) = (
        token(&relvec, "a", "admin"),
        token(&relvec, "local", "metrics"),
    );
    let both = token(&relvec, "b", "metrics,read");
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    let run = gateway
        .submit_as(Some(&admin), "plan-only", &Gateway::allowed_input())
        .await;
    gateway.until_ended(&run, Some(&admin)).await;
    problem(gateway.ask("/metrics", None).await, 401).await;
    let refused = problem(gateway.ask("/metrics", Some(&admin)).await, 403).await;
    assert!(
        refused["detail"]
            .as_str()
            .expect("text")
            .contains("`metrics`"),
        "{refused}"
    );
    for token in [&figures, &both] {
        let answer = gateway.ask("/metrics", Some(token)).await;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.expect("text");
        assert!(
            text.contains("relvec_runs_ended_total{graph=\"plan-only\""),
            "{text}"
        );
    }
    // It is for nothing else.
    for path in ["/jobs", "/graphs", &format!("/jobs/{run}")] {
        problem(gateway.ask(path, Some(&figures)).await, 403).await;
    }
    assert_eq!(gateway.ask("/jobs", Some(&both)).await.status(), 200);
}

#[tokio::test]
async fn names_of_graphs_are_told_to_who_may_read_them() {
    let relvec = Relvec::alone();
    waiting_graph(&relvec);
    let broken = relvec.path("graphs").join("merger.toml");
    std::fs::write(broken, "name = \"merger\"\n[stages.nothing]\n").expect("a graph");
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    let ready = async |token: Option<&str>| -> Value {
        let answer = gateway.ask("/readyz", token).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    };
    // Without tokens everybody may read everything.
    let told = ready(None).await;
    assert_eq!(told["broken_graphs"][0]["name"], "merger", "{told}");
    let tokens = ["admin", "read", "submit", "metrics"].map(|scope| token(&relvec, "a", scope));
    until_asked_for(&gateway).await;
    for (token, is_told) in [
        (None, false),
        (Some("relvec_0123456789ab_wrong"), false),
        (Some(tokens[0].as_str()), true),
        (Some(tokens[1].as_str()), true),
        (Some(tokens[2].as_str()), false),
        (Some(tokens[3].as_str()), false),
    ] {
        let told = ready(token).await;
        assert_eq!(
            (&told["status"], &told["broken"]),
            (&json!("ready"), &json!(1)),
            "{told}"
        );
        assert_eq!(
            told.to_string().contains("merger"),
            is_told,
            "{token:?}: {told}"
        );
    }
}

/// Waits until a gateway that had no token knows of the first ones.
async fn until_asked_for(gateway: &Gateway) {
    let begun = Instant::now();
    while gateway.ask("/jobs", None).await.status() != 401 {
        assert!(begun.elapsed() < PATIENCE, "no token is asked for");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_command_line_answers_as_its_token() {
    let relvec = Relvec::alone();
    waiting_graph(&relvec);
    let arguments = [
        "token", "create", "--tenant", "a", "--scope", "admin", "--name", "ci",
    ];
    let token = relvec.call(&arguments).stdout.trim().to_owned();
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    let server = format!("http://{}", gateway.host());
    for (by, recorded) in [(&[][..], "ci"), (&["--by", "ann"], "ci, for \"ann\"")] {
        let run = gateway
            .submit_as(Some(&token), "waiting", &Gateway::allowed_input())
            .await;
        gateway.until_ended(&run, Some(&token)).await;
        let arguments = [
            "runs", "--server", &server, "answer", &run, "accept", "reject",
        ];
        let ended = relvec.call_with(&[&arguments, by].concat(), &[("RELVEC_TOKEN", &token)]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(
            ended.stderr.contains(&format!("rejected by {recorded}\n")),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn who_answered_is_the_token_and_not_what_a_caller_writes() {
    let relvec = Relvec::alone();
    waiting_graph(&relvec);
    let create = |more: &[&str]| {
        let arguments = ["token", "create", "--tenant", "a", "--scope", "admin"];
        let made = relvec.call(&[&arguments, more].concat());
        assert_eq!(made.code, 0, "{made:?}");
        made.stdout.trim().to_owned()
    };
    let (named, nameless) = (create(&["--name", "ci"]), create(&[]));
    let id = nameless.split('_').nth(1).expect("an id");
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    for (token, by, recorded) in [
        (&named, json!("the boss"), "ci, for \"the boss\"".to_owned()),
        (&named, json!("ci"), "ci".to_owned()),
        (&named, Value::Null, "ci".to_owned()),
        (
            &named,
            json!("\", for \"x"),
            "ci, for \"\\\", for \\\"x\"".to_owned(),
        ),
        (&nameless, json!("ci"), format!("token {id}, for \"ci\"")),
    ] {
        let run = gateway
            .submit_as(Some(token), "waiting", &Gateway::allowed_input())
            .await;
        gateway.until_ended(&run, Some(token)).await;
        let mut answer = json!({"question": "accept", "choice": "reject"});
        if by != Value::Null {
            answer["by"] = by.clone();
        }
        let answered = gateway
            .post(&format!("/jobs/{run}/answers"), Some(token), &answer)
            .await;
        assert_eq!(answered.status(), 200, "{by}");
        let ended = gateway.until_ended(&run, Some(token)).await;
        let error = format!("stage `gate_review` failed: rejected by {recorded}");
        assert_eq!(ended["error"], error, "{by}");
    }
}
