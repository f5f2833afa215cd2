//! What surrounds a request: ids, figures, problems of every kind, and lists with their links.

use axum::middleware::from_fn_with_state;
use axum::routing::get;

use super::*;
use crate::http::observe;

#[tokio::test]
async fn every_answer_has_the_requests_id_and_a_problem_says_it() {
    let served = Served::new().await;
    let given = served
        .client
        .get(served.url("/jobs/x"))
        .header("X-Request-Id", "mine-1");
    let given = given.send().await.unwrap();
    assert_eq!(given.headers()["x-request-id"], "mine-1");
    assert_eq!(problem(given, 404).await["request_id"], "mine-1");
    let new = served.get("/nowhere").await;
    let id = new.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(problem(new, 404).await["request_id"], id);
    let refused = served
        .client
        .get(served.url("/jobs"))
        .header("Host", "relvec.example");
    let refused = refused.send().await.unwrap();
    assert!(refused.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn a_route_that_panics_answers_with_a_problem() {
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::new(launch(home.path()).await);
    let panics = || async {
        assert!(std::env::args().count() == 0, "of all things");
    };
    let routes = axum::Router::new()
        .route("/panics", get(panics))
        .layer(from_fn_with_state(gateway.clone(), observe::observe));
    let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(server::run(
        listener,
        routes,
        server::Limits::of(8),
        stop.clone(),
    ));
    let client = crate::service::http::client(PATIENCE, true).unwrap();
    for _ in 0..2 {
        let url = format!("http://{address}/panics");
        let answer = client.get(url).send().await.unwrap();
        let told = problem(answer, 500).await;
        assert!(!told.to_string().contains("of all things"), "{told}");
        assert!(told["request_id"].is_string());
    }
    let text = gateway.desk().metrics().text(&[], 0).unwrap();
    assert!(
        text.contains("route=\"/panics\",status=\"500\"} 2"),
        "{text}"
    );
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn figures_show_runs_stages_and_requests() {
    let served = Served::new().await;
    let done = id(&served.submit("look", &referring_job()).await).to_owned();
    served.until(&done, "succeeded").await;
    let going = id(&served.submit("endless", &referring_job()).await).to_owned();
    served.until(&going, "running").await;
    let figures = served.get("/metrics").await;
    let kind = figures.headers()["content-type"].to_str().unwrap();
    assert!(kind.starts_with("text/plain"), "{kind}");
    let figures = figures.text().await.unwrap();
    for line in [
        "relvec_runs{graph=\"endless\",status=\"running\"} 1",
        "relvec_runs_ended_total{graph=\"look\",status=\"succeeded\"} 1",
        "relvec_stage_seconds_count{graph=\"look\",stage=\"look\",status=\"succeeded\"} 1",
        "relvec_http_requests_total{method=\"POST\",route=\"/jobs\",status=\"202\"} 2",
        "relvec_queue_length 0",
    ] {
        assert!(
            figures.lines().any(|found| found == line),
            "{line}\n{figures}"
        );
    }
    // Ids are in no label: figures do not grow with runs.
    assert!(!figures.contains(&done), "{figures}");
}

#[tokio::test]
async fn lists_are_filtered_and_linked() {
    let served = Served::new().await;
    let mut ids = Vec::new();
    for graph in ["look", "gated", "look", "gated", "look"] {
        let run_id = id(&served.submit(graph, &referring_job()).await).to_owned();
        let status = if graph == "look" {
            "succeeded"
        } else {
            "waiting"
        };
        served.until(&run_id, status).await;
        ids.push(run_id);
    }
    let list = async |query: &str| {
        let answer = served.get(&format!("/jobs?{query}")).await;
        let link = answer
            .headers()
            .get("link")
            .map(|link| link.to_str().unwrap().to_owned());
        let page: Value = answer.json().await.unwrap();
        let runs = page["runs"].as_array().unwrap().iter();
        (runs.map(|run| id(run).to_owned()).collect::<Vec<_>>(), link)
    };
    let picked = |picked: &[usize]| {
        picked
            .iter()
            .map(|number| ids[*number].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(list("graph=gated").await.0, picked(&[3, 1]));
    assert_eq!(list("status=succeeded").await.0, picked(&[4, 2, 0]));
    assert_eq!(list("status=waiting&graph=look").await.0, picked(&[]));
    assert_eq!(list(&format!("after={}", ids[2])).await.0, picked(&[4, 3]));
    let (first, link) = list("limit=2&graph=look").await;
    assert_eq!(first, picked(&[4, 2]));
    let link = link.unwrap();
    let next = link
        .strip_prefix("</jobs?")
        .and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
    assert_eq!(list(next.unwrap()).await, (picked(&[0]), None));
    for wrong in ["status=done", "after=x", "graph=a&graph=b"] {
        problem(served.get(&format!("/jobs?{wrong}")).await, 400).await;
    }
    problem(served.get("/jobs/%ff").await, 400).await;
}

#[tokio::test]
async fn a_key_is_the_same_quoted_or_bare() {
    let served = Served::new().await;
    let body = json!({"graph": "look", "input": referring_job()});
    let submit = async |key: &str| {
        let request = served.client.post(served.url("/jobs")).json(&body);
        request.header("Idempotency-Key", key).send().await.unwrap()
    };
    let first: Value = submit("\"k 1\"").await.json().await.unwrap();
    let again: Value = submit("\"k 1\"").await.json().await.unwrap();
    assert_eq!(id(&first), id(&again));
    let bare: Value = submit("k1").await.json().await.unwrap();
    let quoted: Value = submit("\"k1\"").await.json().await.unwrap();
    assert_eq!(id(&bare), id(&quoted));
    assert_ne!(id(&bare), id(&first));
    for wrong in ["\"k1", "k 1", "\"\"", "\"k1\" x"] {
        problem(submit(wrong).await, 400).await;
    }
}
