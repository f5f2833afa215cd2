//! The gateway as a process: a job over HTTP from submission to artifacts, and a kill in the middle.

use serde_json::json;

use crate::gateway::Gateway;
use crate::relvec::{Relvec, shop_sql, sqlite};
use crate::services::postgres_url;

/// Starts a gateway whose jobs can name their target.
fn start(relvec: &Relvec, target: &str) -> Gateway {
    Gateway::start_in(relvec, "gateway", &[("SHOP_TARGET", target)])
}

#[tokio::test]
async fn a_job_over_http_ends_validated_although_the_gateway_is_killed() {
    let relvec = Relvec::new();
    let target = postgres_url().await;
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let job = json!({
        "source": {"url": source},
        "target": {"url_env": "SHOP_TARGET"},
        "execution": {"runtime": "script"},
    });

    let gateway = start(&relvec, &target);
    let (status, accepted) = gateway.submit("default", &job, Some("once")).await;
    assert_eq!(status, 202, "{accepted:#}");
    let run = accepted["run_id"].as_str().expect("a run").to_owned();
    gateway
        .until(&run, |run| {
            run["stages"].as_array().is_some_and(|stages| {
                stages
                    .iter()
                    .any(|stage| stage["id"] == "executor" && stage["status"] == "running")
            })
        })
        .await;
    drop(gateway);

    let gateway = start(&relvec, &target);
    let ended = gateway
        .until(&run, |run| {
            run["status"] != "queued" && run["status"] != "running"
        })
        .await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(ended["validation_report"]["verdict"], "validated");
    assert_eq!(
        ended["stages"][0]["attempts"], 1,
        "what was recorded did not run again"
    );

    let (_, again) = gateway.submit("default", &job, Some("once")).await;
    assert_eq!(again["run_id"], *run, "the same key is the same run");
    let mut other = job.clone();
    other["require_review"] = json!(true);
    assert_eq!(gateway.submit("default", &other, Some("once")).await.0, 409);

    assert_eq!(gateway.get("/jobs").await["runs"][0]["run_id"], *run);
    assert_eq!(gateway.get("/graphs").await[0]["name"], "default");
    let files = gateway.get(&format!("/artifacts/{run}")).await;
    let names: Vec<&str> = files
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|file| file["name"].as_str())
        .collect();
    assert!(names.contains(&"migrate.py"), "{names:?}");
    let script = format!("{}/artifacts/{run}/migrate.py", gateway.address);
    let script = gateway.client.get(script).send().await.expect("an answer");
    assert_eq!(script.status(), 200);
    assert!(
        script
            .text()
            .await
            .expect("text")
            .starts_with("# -*- coding: utf-8 -*-")
    );
}

/// Texts of the source's rows. None of them is to be seen outside the run store.
const PRIVATE: [&str; 3] = ["Zanthorpe", "quillish gabardine", "zanthorpe@example.org"];

#[tokio::test]
async fn no_row_of_the_source_is_in_an_answer() {
    let relvec = Relvec::new();
    let rows: Vec<String> = (1..=30)
        .map(|id| {
            format!("INSERT INTO notes VALUES ({id}, '{0}', 'The {1} number {id} was returned by {0}, who asks for another one.', '{2}');",
                PRIVATE[0], PRIVATE[1], PRIVATE[2])
        })
        .collect();
    let script = format!(
        "CREATE TABLE notes(id INTEGER PRIMARY KEY, who TEXT, body TEXT, mail TEXT); {}",
        rows.concat()
    );
    let source = sqlite(&relvec.path("notes.db"), &script).await;
    let gateway = start(&relvec, "postgres://nobody@127.0.0.1:1/none");
    let job = json!({"source": {"url": source, "sample_rows": 30}});
    let (status, accepted) = gateway.submit("plan-only", &job, Some("private")).await;
    assert_eq!(status, 202, "{accepted:#}");
    let run = accepted["run_id"].as_str().expect("a run").to_owned();
    let ended = gateway
        .until(&run, |run| run["finished_at"].is_string())
        .await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let mut paths = vec![
        "/jobs".to_owned(),
        format!("/jobs/{run}"),
        format!("/jobs/{run}/events"),
        format!("/jobs/{run}/logs"),
        format!("/artifacts/{run}"),
    ];
    for stage in ended["stages"].as_array().expect("stages") {
        paths.push(format!(
            "/jobs/{run}/stages/{}",
            stage["id"].as_str().expect("an id")
        ));
    }
    let files = gateway.get(&format!("/artifacts/{run}")).await;
    for file in files.as_array().expect("files") {
        paths.push(format!(
            "/artifacts/{run}/{}",
            file["name"].as_str().expect("a name")
        ));
    }
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let asked = gateway.client.get(format!("{}{path}", gateway.address));
        let answer = asked.send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.expect("text");
        for private in PRIVATE {
            assert!(!text.contains(private), "{path} has `{private}`: {text}");
        }
    }
    let store = walk(&relvec.path("gateway"));
    let kept = store.iter().any(|bytes| {
        let private = PRIVATE[1].as_bytes();
        bytes.windows(private.len()).any(|part| part == private)
    });
    assert!(kept, "the sample was taken, and is in the run store");
}

/// Gives the contents of every file below a folder.
fn walk(folder: &std::path::Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .flat_map(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path)
            } else {
                vec![std::fs::read(&path).unwrap_or_default()]
            }
        })
        .collect()
}
