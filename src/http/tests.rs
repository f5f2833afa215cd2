//! The gateway's routes on a socket, with the small handlers of `launch`'s tests.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::access::Door;
use super::gateway::Gateway;
use super::server::Limits;
use super::{openapi, serve_on, server};
use crate::allowed::Allowed;
use crate::launch::tests::{PASSWORD, chain, graph, inline_job, launch, referring_job};

mod answers;
mod files;
mod observed;
mod refused;
mod reload;
mod streams;

/// Far longer than anything here takes: what it bounds is a test that would hang.
const PATIENCE: Duration = Duration::from_secs(30);

struct Served {
    home: TempDir,
    address: SocketAddr,
    client: Client,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

/// A gate that waits for a moment only.
const BRIEF: &str = "
[[edges]]
chain = [\"look\", \"gate_review\"]

[stages.gate_review]
with = { response_timeout = \"2s\", on_timeout = \"approve\" }
";

impl Served {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let graphs = home.path().join("graphs");
        std::fs::create_dir(&graphs).unwrap();
        for (name, stages) in [
            ("look", vec!["look"]),
            ("gated", vec!["look", "gate"]),
            ("endless", vec!["look", "endless"]),
            ("fragile", vec!["look", "fragile"]),
            ("chatty", vec!["look", "chatty"]),
            ("broken", vec!["look", "gat"]),
        ] {
            let graph = chain(name, &stages);
            std::fs::write(graphs.join(format!("{name}.toml")), graph.bytes).unwrap();
        }
        let brief = graph("brief", BRIEF);
        std::fs::write(graphs.join("brief.toml"), brief.bytes).unwrap();
        Self::at(home).await
    }

    async fn at(home: TempDir) -> Self {
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let launch = launch(home.path()).await;
        let (store, access) = (launch.store().clone(), &launch.settings().access);
        let door = Door::open(store, access, Allowed::everything(), address.ip()).await;
        let door = door.unwrap();
        let gateway = Gateway::new(launch);
        gateway.recover().await.unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve_on(listener, gateway, door, stop.clone()));
        let client = crate::service::http::client(PATIENCE, true).unwrap();
        Self {
            home,
            address,
            client,
            stop,
            server,
        }
    }

    async fn restarted(self) -> Self {
        self.stop.cancel();
        drop(self.client);
        tokio::time::timeout(PATIENCE, self.server)
            .await
            .expect("the gateway stops")
            .unwrap();
        Self::at(self.home).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.client
            .post(self.url(path))
            .json(body)
            .send()
            .await
            .unwrap()
    }

    async fn submit(&self, graph: &str, input: &Value) -> Value {
        let answer = self
            .post("/jobs", &json!({"graph": graph, "input": input}))
            .await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        let run: Value = answer.json().await.unwrap();
        assert_eq!(location, format!("/jobs/{}", id(&run)));
        run
    }

    /// Waits until a run has a status, and gives the run.
    async fn until(&self, run_id: &str, status: &str) -> Value {
        let seen = async {
            loop {
                let run: Value = self
                    .get(&format!("/jobs/{run_id}"))
                    .await
                    .json()
                    .await
                    .unwrap();
                if run["status"] == status {
                    return run;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen)
            .await
            .unwrap_or_else(|_| panic!("{run_id} never became {status}"))
    }
}

fn id(run: &Value) -> &str {
    run["run_id"].as_str().unwrap()
}

async fn problem(answer: Response, status: u16) -> Value {
    assert_eq!(answer.status().as_u16(), status, "{}", answer.url());
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["status"], status);
    assert!(!problem["detail"].as_str().unwrap().is_empty());
    assert!(!problem.to_string().contains(PASSWORD), "{problem}");
    problem
}

#[tokio::test]
async fn what_nobody_answers_in_time_is_answered_as_the_gate_says_even_after_a_restart() {
    let served = Served::new().await;
    let run_id = id(&served.submit("brief", &referring_job()).await).to_owned();
    let run = served.until(&run_id, "waiting").await;
    assert_eq!(run["open_questions"][0]["default"], "approve");
    assert!(
        run["open_questions"][0]["expires_at"].is_string(),
        "{run:#}"
    );
    let served = served.restarted().await;
    served.until(&run_id, "succeeded").await;
    let stored = launch(served.home.path()).await;
    let stored = stored.store().load(run_id.parse().unwrap()).await.unwrap();
    assert_eq!(stored.answers["accept"].by, "response_timeout");
    assert_eq!(stored.answers["accept"].choice, "approve");
    // Too late.
    let answer = json!({"question": "accept", "choice": "reject", "by": "ann"});
    problem(
        served
            .post(&format!("/jobs/{run_id}/answers"), &answer)
            .await,
        409,
    )
    .await;
}

#[tokio::test]
async fn a_job_becomes_a_run_with_files_and_events() {
    let served = Served::new().await;
    let run_id = id(&served.submit("look", &inline_job()).await).to_owned();
    let run = served.until(&run_id, "succeeded").await;
    assert_eq!(run["stages"][0]["id"], "look");
    assert_eq!(run["validation_report"]["verdict"], "validated");
    assert!(!run.to_string().contains(PASSWORD));
    let files: Value = served
        .get(&format!("/artifacts/{run_id}"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(files[0]["name"], "note.txt");
    let file = served.get(&format!("/artifacts/{run_id}/note.txt")).await;
    assert_eq!(file.headers()["x-content-type-options"], "nosniff");
    assert_eq!(file.text().await.unwrap(), "a note");
    // The stream ends by itself, because the run is over.
    let events = served
        .get(&format!("/jobs/{run_id}/events"))
        .await
        .text()
        .await
        .unwrap();
    assert!(events.contains("run_started") && events.contains("run_finished"));
    let last = events
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .unwrap();
    let url = served.url(&format!("/jobs/{run_id}/events"));
    let rest = served
        .client
        .get(url)
        .header("Last-Event-ID", last)
        .send()
        .await
        .unwrap();
    assert_eq!(rest.text().await.unwrap(), "");
}

#[tokio::test]
async fn a_submission_can_be_repeated() {
    let served = Served::new().await;
    let submit = |input: Value| {
        let body = json!({"graph": "look", "input": input});
        let request = served
            .client
            .post(served.url("/jobs"))
            .header("Idempotency-Key", "k1");
        async move { request.json(&body).send().await.unwrap() }
    };
    let answers = futures::future::join_all((0..20).map(|_| submit(referring_job()))).await;
    let mut ids = std::collections::BTreeSet::new();
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        ids.insert(id(&answer.json().await.unwrap()).to_owned());
    }
    assert_eq!(ids.len(), 1);
    problem(submit(inline_job()).await, 409).await;
    let page: Value = served.get("/jobs").await.json().await.unwrap();
    assert_eq!(page["runs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_pages() {
    let served = Served::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(
            0,
            id(&served.submit("look", &referring_job()).await).to_owned(),
        );
    }
    let first: Value = served.get("/jobs?limit=2").await.json().await.unwrap();
    let next = first["next"].as_str().unwrap();
    let second: Value = served
        .get(&format!("/jobs?limit=2&cursor={next}"))
        .await
        .json()
        .await
        .unwrap();
    let seen: Vec<&str> = [&first, &second]
        .into_iter()
        .flat_map(|page| page["runs"].as_array().unwrap())
        .map(id)
        .collect();
    assert_eq!(seen, ids);
    assert_eq!(second["next"], Value::Null);
    for wrong in ["limit=0", "limit=1000", "limit=x", "cursor=x", "other=1"] {
        problem(served.get(&format!("/jobs?{wrong}")).await, 400).await;
    }
}

#[tokio::test]
async fn a_waiting_run_is_answered_even_with_its_password_in_memory() {
    let served = Served::new().await;
    let run_id = id(&served.submit("gated", &inline_job()).await).to_owned();
    let run = served.until(&run_id, "waiting").await;
    assert_eq!(run["open_questions"][0]["id"], "accept");
    let answers = format!("/jobs/{run_id}/answers");
    let answer = |choice: &str| json!({"question": "accept", "choice": choice, "by": "ann"});
    problem(served.post(&answers, &answer("perhaps")).await, 422).await;
    let form: Value = served.get(&answers).await.json().await.unwrap();
    let form = jsonschema::validator_for(&form).unwrap();
    assert!(form.is_valid(&answer("approve")) && !form.is_valid(&answer("perhaps")));
    problem(
        served.post(&answers, &json!({"question": "accept"})).await,
        422,
    )
    .await;
    assert_eq!(
        served.post(&answers, &answer("approve")).await.status(),
        StatusCode::OK
    );
    served.until(&run_id, "succeeded").await;
    problem(served.post(&answers, &answer("reject")).await, 409).await;
}

#[tokio::test]
async fn a_run_is_cancelled_while_it_runs_and_while_it_waits() {
    let served = Served::new().await;
    for (graph, status) in [("endless", "running"), ("gated", "waiting")] {
        let run_id = id(&served.submit(graph, &referring_job()).await).to_owned();
        served.until(&run_id, status).await;
        for _ in 0..2 {
            let run = served
                .post(&format!("/jobs/{run_id}/cancel"), &json!({}))
                .await;
            assert_eq!(run.status(), StatusCode::OK);
            assert_eq!(run.json::<Value>().await.unwrap()["status"], "cancelled");
        }
    }
    let done = id(&served.submit("look", &referring_job()).await).to_owned();
    served.until(&done, "succeeded").await;
    problem(
        served
            .post(&format!("/jobs/{done}/cancel"), &json!({}))
            .await,
        409,
    )
    .await;
}

#[tokio::test]
async fn a_restart_goes_on_with_what_it_interrupted() {
    let served = Served::new().await;
    let going = id(&served.submit("endless", &referring_job()).await).to_owned();
    let lost = id(&served.submit("endless", &inline_job()).await).to_owned();
    let waiting = id(&served.submit("gated", &referring_job()).await).to_owned();
    for (run_id, status) in [
        (&going, "running"),
        (&lost, "running"),
        (&waiting, "waiting"),
    ] {
        served.until(run_id, status).await;
    }
    let served = served.restarted().await;
    let run = served.until(&lost, "failed").await;
    assert!(
        run["error"]
            .as_str()
            .unwrap()
            .contains("kept in memory only")
    );
    served.until(&going, "running").await;
    let run = served
        .post(&format!("/jobs/{going}/cancel"), &json!({}))
        .await;
    let run: Value = run.json().await.unwrap();
    assert_eq!(run["stages"][0]["status"], "succeeded");
    assert_eq!(run["stages"][0]["attempts"], 1);
    let answer = json!({"question": "accept", "choice": "approve", "by": "ann"});
    served
        .post(&format!("/jobs/{waiting}/answers"), &answer)
        .await;
    served.until(&waiting, "succeeded").await;
}

#[tokio::test]
async fn runs_go_on_while_many_submit() {
    let served = Served::new().await;
    let job = referring_job();
    let enough = std::cell::Cell::new(false);
    let submitting = futures::future::join_all((0..64).map(|_| async {
        while !enough.get() {
            served.submit("look", &job).await;
        }
    }));
    let watching = async {
        // One that has others before it.
        futures::future::join_all((0..20).map(|_| served.submit("look", &job))).await;
        let run_id = id(&served.submit("look", &job).await).to_owned();
        served.until(&run_id, "succeeded").await;
        enough.set(true);
    };
    tokio::join!(submitting, watching);
}

#[tokio::test]
async fn more_runs_than_fit_wait_in_the_queue() {
    let served = Served::new().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let run_id = id(&served.submit("endless", &referring_job()).await).to_owned();
        served.until(&run_id, "running").await;
        ids.push(run_id);
    }
    let fifth = id(&served.submit("look", &referring_job()).await).to_owned();
    let sixth = id(&served.submit("look", &referring_job()).await).to_owned();
    let run: Value = served
        .get(&format!("/jobs/{fifth}"))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(run["status"], "queued");
    let run = served
        .post(&format!("/jobs/{sixth}/cancel"), &json!({}))
        .await;
    assert_eq!(run.json::<Value>().await.unwrap()["status"], "cancelled");
    served
        .post(&format!("/jobs/{}/cancel", ids[0]), &json!({}))
        .await;
    served.until(&fifth, "succeeded").await;
    served.until(&sixth, "cancelled").await;
}

#[tokio::test]
async fn graphs_are_listed_shown_and_checked() {
    let served = Served::new().await;
    let graphs: Value = served.get("/graphs").await.json().await.unwrap();
    let names: Vec<&str> = graphs
        .as_array()
        .unwrap()
        .iter()
        .map(|graph| graph["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"default") && names.contains(&"look"),
        "{names:?}"
    );
    let text = served.get("/graphs/look").await.text().await.unwrap();
    assert!(text.contains("name = \"look\""));
    problem(served.get("/graphs/..%2flook").await, 404).await;
    let check = async |text: &str| -> Value {
        served
            .post("/graphs/validate", &json!({"text": text}))
            .await
            .json()
            .await
            .unwrap()
    };
    assert_eq!(check(&text).await["valid"], true);
    let wrong = check(&text.replace("look", "lok")).await;
    assert_eq!(wrong["valid"], false);
    assert!(wrong["diagnostics"][0]["line"].is_u64(), "{wrong}");
    let odd = "name = \"odd\"\ninput = \"job\"\nedges = [{ chain = [\"look\"] }]\n[stages.nowhere]\nhandler = \"look\"\n";
    let odd = check(odd).await;
    assert_eq!(odd["valid"], true, "{odd}");
    assert_eq!(odd["diagnostics"][0]["severity"], "warning", "{odd}");
}

#[tokio::test]
async fn every_described_route_is_served() {
    let served = Served::new().await;
    assert_eq!(served.get("/healthz").await.text().await.unwrap(), "ok\n");
    let described: Value = served.get("/openapi.json").await.json().await.unwrap();
    assert_eq!(described, openapi::describe());
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (path, methods) in paths {
        let path = path
            .replace("{run_id}", "x")
            .replace("{name}", "x")
            .replace("{stage}", "x");
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            let answer = served
                .client
                .request(method, served.url(&path))
                .send()
                .await
                .unwrap();
            let status = answer.status();
            let text = answer.text().await.unwrap();
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert!(!text.contains("there is nothing at"), "{path}");
        }
    }
}
