//! Graphs whose files change while the gateway runs, and what a run of one would do.

use super::*;

impl Served {
    fn write_graph(&self, name: &str, text: &str) {
        let path = self.home.path().join("graphs").join(format!("{name}.toml"));
        std::fs::write(path, text).unwrap();
    }

    async fn listed(&self, name: &str) -> Value {
        let graphs: Value = self.get("/graphs").await.json().await.unwrap();
        let graphs = graphs.as_array().unwrap();
        let graph = graphs.iter().find(|graph| graph["name"] == name);
        graph.unwrap_or_else(|| panic!("no {name}")).clone()
    }

    async fn broken(&self, name: &str) -> Option<Value> {
        let ready: Value = self.get("/readyz").await.json().await.unwrap();
        assert_eq!(ready["status"], "ready");
        let broken = ready["broken_graphs"].as_array().unwrap();
        broken.iter().find(|graph| graph["name"] == name).cloned()
    }
}

#[tokio::test]
async fn a_graph_changes_without_a_restart_and_a_mistake_changes_nothing() {
    let served = Served::new().await;
    assert_eq!(served.listed("look").await["defect"], Value::Null);
    assert_eq!(served.broken("look").await, None);
    let longer = chain("look", &["look", "gate"]);
    let text = String::from_utf8(longer.bytes).unwrap();
    served.write_graph("look", &text);
    let run_id = id(&served.submit("look", &referring_job()).await).to_owned();
    served.until(&run_id, "waiting").await;
    served.write_graph("look", &text.replace("gate", "gat"));
    let listed = served.listed("look").await;
    assert_eq!(
        listed["defect"]["diagnostics"][0]["code"], "unknown-stage",
        "{listed}"
    );
    assert!(
        listed["defect"]["summary"]
            .as_str()
            .unwrap()
            .contains("look.toml:")
    );
    assert_eq!(
        served.broken("look").await.unwrap()["keeps_last_good"],
        true
    );
    assert_eq!(served.get("/graphs/look").await.text().await.unwrap(), text);
    let run_id = id(&served.submit("look", &referring_job()).await).to_owned();
    served.until(&run_id, "waiting").await;
    // One that was never sound keeps nobody, and is said to be wrong.
    let never = served.broken("broken").await.unwrap();
    assert_eq!(never["keeps_last_good"], false);
    assert_eq!(served.listed("broken").await["sha256"], Value::Null);
    served.write_graph("look", &text);
    assert_eq!(served.broken("look").await, None);
    std::fs::remove_file(served.home.path().join("graphs/look.toml")).unwrap();
    problem(served.get("/graphs/look").await, 404).await;
    let submission = json!({"graph": "look", "input": referring_job()});
    problem(served.post("/jobs", &submission).await, 404).await;
}

#[tokio::test]
async fn a_plan_says_what_a_run_would_do() {
    let served = Served::new().await;
    let job = json!({"source": {"url_env": "SOURCE"}, "skip": ["gate"]});
    let planned = served.post("/graphs/gated/plan", &job).await;
    assert_eq!(planned.status(), StatusCode::OK);
    let planned: Value = planned.json().await.unwrap();
    assert_eq!(planned[0]["stage"], "look");
    assert_eq!(planned[0]["forecast"], "runs");
    assert_eq!(planned[1]["forecast"], "skipped", "{planned}");
    let plan =
        async |graph: &str, job: &Value| served.post(&format!("/graphs/{graph}/plan"), job).await;
    problem(plan("nope", &job).await, 404).await;
    problem(plan("..%2fgated", &job).await, 404).await;
    let wrong = problem(plan("broken", &job).await, 422).await;
    assert!(wrong["diagnostics"][0]["line"].is_u64(), "{wrong}");
    let no_stage = json!({"source": {"url_env": "SOURCE"}, "skip": ["gat"]});
    problem(plan("gated", &no_stage).await, 422).await;
    problem(plan("gated", &json!({"sorce": 1})).await, 422).await;
    problem(plan("gated", &json!([])).await, 422).await;
    let page: Value = served.get("/jobs").await.json().await.unwrap();
    assert_eq!(page["runs"], json!([]), "nothing ran");
}
