//! What the gateway refuses: bad requests, names that lead elsewhere, other hosts, slow clients.

use super::*;

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let served = Served::new().await;
    let submit = async |body: &Value| served.post("/jobs", body).await;
    let body = json!({"graph": "look", "input": {"source": {"url": "sqlite:a", "urll": PASSWORD}}});
    let wrong = problem(submit(&body).await, 422).await;
    assert!(
        wrong["hints"].to_string().contains("did you mean"),
        "{wrong}"
    );
    let unknown = json!({"graph": "lok", "input": referring_job()});
    assert!(
        problem(submit(&unknown).await, 404).await["hints"]
            .to_string()
            .contains("`look`")
    );
    for graph in ["../look", "a/b", "", "LOOK", "look.toml", "/etc/passwd"] {
        problem(
            submit(&json!({"graph": graph, "input": referring_job()})).await,
            404,
        )
        .await;
    }
    let broken = problem(
        submit(&json!({"graph": "broken", "input": referring_job()})).await,
        422,
    )
    .await;
    assert!(broken["diagnostics"][0]["line"].is_u64(), "{broken}");
    problem(submit(&json!({"graph": "look"})).await, 422).await;
    problem(
        submit(&json!({"graph": "look", "input": {}, "x": 1})).await,
        422,
    )
    .await;
    let post = |body: Vec<u8>| served.client.post(served.url("/jobs")).body(body);
    problem(post(b"{}".to_vec()).send().await.unwrap(), 415).await;
    let json = |body: Vec<u8>| post(body).header("content-type", "application/json");
    problem(json(b"{".to_vec()).send().await.unwrap(), 400).await;
    problem(json(b"[".repeat(10_000)).send().await.unwrap(), 400).await;
    problem(
        json(b" ".repeat(super::super::body::MOST_BYTES + 1))
            .send()
            .await
            .unwrap(),
        413,
    )
    .await;
    let gzip = json(Vec::new()).header("content-encoding", "gzip");
    problem(gzip.send().await.unwrap(), 415).await;
    problem(served.get("/nowhere").await, 404).await;
    problem(
        served
            .client
            .delete(served.url("/jobs"))
            .send()
            .await
            .unwrap(),
        405,
    )
    .await;
    problem(served.get("/jobs/x").await, 404).await;
    problem(
        served.get(&format!("/jobs/{}", uuid::Uuid::nil())).await,
        404,
    )
    .await;
    let page: Value = served.get("/jobs").await.json().await.unwrap();
    assert!(page["runs"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn no_name_leads_out_of_a_runs_folder() {
    let served = Served::new().await;
    let run_id = id(&served.submit("look", &referring_job()).await).to_owned();
    served.until(&run_id, "succeeded").await;
    for name in [
        "..%2f..%2fruns.db",
        "%2e%2e%2fruns.db",
        "%252e%252e%252fruns.db",
        ".run.lock",
        "%2fetc%2fpasswd",
        "note.txt%00",
        "NOTE.TXT",
    ] {
        problem(
            served.get(&format!("/artifacts/{run_id}/{name}")).await,
            404,
        )
        .await;
    }
    problem(served.get("/artifacts/..%2f../note.txt").await, 404).await;
}

#[tokio::test]
async fn other_hosts_and_origins_are_refused() {
    let served = Served::new().await;
    let with = |name: &'static str, value: &'static str| {
        served
            .client
            .get(served.url("/jobs"))
            .header(name, value)
            .send()
    };
    problem(with("Host", "relvec.example").await.unwrap(), 403).await;
    problem(with("Origin", "http://relvec.example").await.unwrap(), 403).await;
    assert_eq!(
        with("Origin", "http://localhost:3000")
            .await
            .unwrap()
            .status(),
        StatusCode::OK
    );
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    let (store, access) = (launch.store().clone(), &launch.settings().access);
    let public = "0.0.0.0".parse().unwrap();
    let refused = Door::open(store, access, Allowed::everything(), public).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("without access tokens"), "{refused}");
}

#[tokio::test]
async fn slow_headers_end_the_connection() {
    let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let limits = Limits {
        header_time: Duration::from_millis(100),
        connections: 8,
    };
    let routes = axum::Router::new();
    let running = tokio::spawn(server::run(listener, routes, limits, stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: lo")
        .await
        .unwrap();
    let mut rest = Vec::new();
    // The end of the stream or a reset, either way an end.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the server ends the connection");
    stop.cancel();
    running.await.unwrap();
}
