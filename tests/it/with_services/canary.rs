//! A secret of every sort, looked for in everything that a gateway shows and leaves behind over whole runs: one that ends well and
//! one that fails, both within the rules of a gateway with tokens, to databases that are reached by name.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::access::served::token;
use crate::gateway::Gateway;
use crate::mock_api::Mock;
use crate::relvec::{Relvec, postgres, shop_sql};
use crate::services::postgres_url;

/// The secrets, by what they open.
struct Canaries {
    source: String,
    target: String,
    wrong: String,
    embedding: String,
    llm: String,
    token: String,
}

impl Canaries {
    fn all(&self) -> [&str; 6] {
        [
            &self.source,
            &self.target,
            &self.wrong,
            &self.embedding,
            &self.llm,
            &self.token,
        ]
    }

    /// Gives which of them a text has in it: as it is, or as it stands in a URL.
    fn find(&self, text: &str) -> Vec<&str> {
        let decoded = text.replace("%2D", "-").replace("%2d", "-");
        let found = |canary: &&str| text.contains(*canary) || decoded.contains(*canary);
        self.all().into_iter().filter(found).collect()
    }
}

/// Makes a role that owns a database, and gives the database's URL with the role, its password and a host's name.
async fn owned(url: &str, password: &str) -> String {
    let database = url.rsplit_once('/').expect("a database").1.to_owned();
    let role = format!("{database}_owner");
    let sql = format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{password}'; ALTER DATABASE {database} OWNER TO {role};
         CREATE EXTENSION IF NOT EXISTS vector; ALTER SCHEMA public OWNER TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"
    );
    postgres(url, &sql).await;
    let place = url.rsplit_once('@').expect("a place").1;
    let place = place.replace("127.0.0.1", "localhost");
    format!("postgres://{role}:{password}@{place}")
}

/// A language model that refuses, and says back all that it was asked with.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut bytes = vec![0; 65_536];
            let read = stream.read(&mut bytes).unwrap_or(0);
            let body = json!({"error": String::from_utf8_lossy(&bytes[..read])}).to_string();
            let answer = format!(
                "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

/// Reads the arguments of every process again and again, and keeps those with a canary in them.
struct Watch {
    stop: Arc<AtomicBool>,
    found: Arc<Mutex<Vec<String>>>,
    looks: std::thread::JoinHandle<(usize, usize)>,
}

impl Watch {
    fn start(canaries: &Canaries) -> Self {
        let canaries: Vec<String> = canaries.all().map(str::to_owned).into();
        let (stop, found) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (until, seen) = (Arc::clone(&stop), Arc::clone(&found));
        let looks = std::thread::spawn(move || {
            let (mut looks, mut scripts) = (0, 0);
            while !until.load(Ordering::Relaxed) {
                looks += 1;
                for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
                    let Ok(arguments) = std::fs::read(entry.path().join("cmdline")) else {
                        continue;
                    };
                    let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
                    scripts += usize::from(arguments.contains("migrate.py"));
                    if canaries.iter().any(|canary| arguments.contains(canary)) {
                        let seen: &Mutex<Vec<String>> = &seen;
                        seen.lock().expect("what was found").push(arguments);
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            (looks, scripts)
        });
        Self { stop, found, looks }
    }

    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let counts = self.looks.join().expect("the watch");
        let found = self.found.lock().expect("what was found");
        assert!(found.is_empty(), "in arguments of processes: {found:?}");
        counts
    }
}

/// Gives every file below a folder, but not what the Python packages brought.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("venvs") {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// Gives the text of everything that the gateway tells about a run.
async fn told(gateway: &Gateway, run: &str, token: &str) -> Vec<(String, String)> {
    let document: Value = gateway
        .ask(&format!("/jobs/{run}"), Some(token))
        .await
        .json()
        .await
        .expect("JSON");
    let mut paths = vec![
        "/jobs".to_owned(),
        format!("/jobs/{run}"),
        format!("/jobs/{run}/logs"),
        format!("/jobs/{run}/answers"),
        format!("/artifacts/{run}"),
    ];
    if document["finished_at"].is_string() {
        paths.push(format!("/jobs/{run}/events"));
    }
    for stage in document["stages"].as_array().expect("stages") {
        let stage = stage["id"].as_str().expect("an id");
        paths.push(format!("/jobs/{run}/stages/{stage}"));
    }
    for file in document["generated_artifacts"].as_array().expect("files") {
        let name = file["name"].as_str().expect("a name");
        paths.push(format!("/artifacts/{run}/{name}"));
    }
    let mut told = Vec::new();
    for path in paths {
        let answer = gateway.ask(&path, Some(token)).await;
        assert_eq!(answer.status(), 200, "{path}");
        told.push((path, answer.text().await.expect("text")));
    }
    told
}

#[tokio::test]
async fn no_secret_is_in_anything_that_a_gateway_shows_or_leaves_behind() {
    let relvec = Relvec::alone();
    let mut canaries = Canaries {
        source: "canary-source-8f3a1b".to_owned(),
        target: "canary-target-1c77e0".to_owned(),
        wrong: "canary-wrong-55aa31".to_owned(),
        embedding: "canary-embedding-key-22d1".to_owned(),
        llm: "canary-llm-key-90be44".to_owned(),
        token: token(&relvec, "team", "submit,read,answer"),
    };
    let shown = canaries.token.clone();
    // Its id may be shown.
    canaries.token = shown[20..].to_owned();
    let (source, target) = (postgres_url().await, postgres_url().await);
    postgres(&source, &shop_sql()).await;
    let (source, target) = (
        owned(&source, &canaries.source).await,
        owned(&target, &canaries.target).await,
    );
    let (mock, llm) = (Mock::start(), echo());
    let gateway = gateway_with(&relvec, &canaries);
    let watch = Watch::start(&canaries);
    let job = |target: &str| {
        json!({
            "source": {"url": source},
            "target": {"url": target},
            "embedding": {"provider": "openai", "base_url": mock.base_url().replace("127.0.0.1", "localhost"),
                "model": "m", "api_key_env": "CANARY_EMBEDDING"},
            "llm": {"enabled": true, "provider": "openai", "model": "m", "api_key_env": "CANARY_LLM",
                "base_url": format!("http://localhost:{llm}/v1")},
            "execution": {"mode": "process", "runtime": "fastapi"},
        })
    };
    let good = gateway
        .submit_as(Some(&shown), "default", &job(&target))
        .await;
    let ended = gateway.until_ended(&good, Some(&shown)).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert_eq!(ended["validation_report"]["verdict"], "validated");
    assert!(mock.embedded() > 0, "the mock was reached by its name");
    let wrong = target.replace(&canaries.target, &canaries.wrong);
    let bad = gateway
        .submit_as(Some(&shown), "default", &job(&wrong))
        .await;
    let ended = gateway.until_ended(&bad, Some(&shown)).await;
    assert_ne!(ended["status"], "succeeded", "{ended:#}");
    let (looks, scripts) = watch.end();
    assert!(
        looks > 100 && scripts > 0,
        "{looks} looks saw {scripts} scripts"
    );

    let mut read = 0;
    for run in [&good, &bad] {
        for (path, text) in told(&gateway, run, &shown).await {
            assert_eq!(canaries.find(&text), Vec::<&str>::new(), "{path}");
            read += 1;
        }
    }
    assert!(read > 25, "{read} answers were read");
    nothing_is_left(&relvec, &gateway, &canaries);
}

/// Looks into the gateway's log, and into every file of its folder.
fn nothing_is_left(relvec: &Relvec, gateway: &Gateway, canaries: &Canaries) {
    let log = gateway.log();
    assert!(log.len() > 10_000, "the log says little: {log}");
    assert_eq!(canaries.find(&log), Vec::<&str>::new(), "the log");
    let home = relvec.path("home");
    let left = files(&home);
    assert!(
        left.iter().any(|path| path.ends_with("runs.db")),
        "{left:?}"
    );
    assert!(
        left.iter().any(|path| path.ends_with("migrate.py")),
        "{left:?}"
    );
    for path in left {
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
        assert_eq!(
            canaries.find(&text),
            Vec::<&str>::new(),
            "{}",
            path.display()
        );
    }
}

fn gateway_with(relvec: &Relvec, canaries: &Canaries) -> Gateway {
    Gateway::start(
        relvec,
        &[
            ("RELVEC_LOG", "trace"),
            ("RELVEC_RATE", "0"),
            ("RELVEC_ALLOW_HOSTS", "127.0.0.0/8,[::1]"),
            ("RELVEC_ALLOW_VARIABLES", "CANARY_EMBEDDING,CANARY_LLM"),
            ("CANARY_EMBEDDING", &canaries.embedding),
            ("CANARY_LLM", &canaries.llm),
        ],
    )
}
