//! What the jobs of a gateway's callers may reach.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::served::{problem, token};
use crate::gateway::Gateway;
use crate::relvec::{Relvec, shop_sql, sqlite};

/// Submits a job that has to be refused, and gives why.
async fn refused(gateway: &Gateway, token: Option<&str>, input: &Value) -> String {
    let job = json!({"graph": "default", "input": input});
    let answer = gateway.post("/jobs", token, &job).await;
    let shown = format!("{input}");
    assert_eq!(answer.status(), 422, "{shown}");
    problem(answer, 422).await.to_string()
}

const ELSEWHERE: &str = "postgres://u@vectors.example.invalid/v";

#[tokio::test]
async fn hosts_of_somebodys_own_network_are_refused_in_every_spelling_and_role() {
    let relvec = Relvec::alone();
    let made = token(&relvec, "a", "admin");
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    for host in [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "169.254.169.254",
        "0xA9FEA9FE",
        "2852039166",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
        "[::1]",
        "[fe80::1]",
        "0.0.0.0",
        "0",
    ] {
        let of_source = json!({"source": {"url": format!("postgres://u:pw@{host}/d")}, "target": {"url": ELSEWHERE}});
        let of_mysql = json!({"source": {"url": format!("mysql://u:pw@{host}/d")}, "target": {"url": ELSEWHERE}});
        let of_target = json!({"source": {"url": "postgres://u@db.example.invalid/d"},
            "target": {"url": format!("postgres://u:pw@{host}/d")}});
        let of_embedding = json!({"source": {"url": "postgres://u@db.example.invalid/d"}, "target": {"url": ELSEWHERE},
            "embedding": {"provider": "openai", "base_url": format!("http://{host}/v1")}});
        let of_llm = json!({"source": {"url": "postgres://u@db.example.invalid/d"}, "target": {"url": ELSEWHERE},
            "llm": {"provider": "openai", "model": "m", "base_url": format!("http://{host}/v1")}});
        for input in [of_source, of_mysql, of_target, of_embedding, of_llm] {
            if host == "localhost" {
                // A name passes until it is looked up.
                let run = gateway
                    .submit_as(Some(&made), "plan-only", &with_simulate(&input))
                    .await;
                gateway.until_ended(&run, Some(&made)).await;
                continue;
            }
            let why = refused(&gateway, Some(&made), &input).await;
            assert!(why.contains("RELVEC_ALLOW_HOSTS"), "{why}");
        }
    }
}

fn with_simulate(input: &Value) -> Value {
    let mut input = input.clone();
    input["execution"] = json!({"mode": "simulate"});
    input
}

/// A server that counts who connects.
fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("it does not wait");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

#[tokio::test]
async fn a_name_of_a_private_address_is_refused_when_it_is_looked_up_and_nobody_is_connected_to() {
    let relvec = Relvec::alone();
    let made = token(&relvec, "a", "admin");
    let (listener, port) = listener();
    let gateway = Gateway::start(&relvec, &[]);
    for scheme in ["postgres", "mysql"] {
        let input = json!({"source": {"url": format!("{scheme}://u:pw@localhost:{port}/d")}, "target": {"url": ELSEWHERE}});
        let run = gateway.submit_as(Some(&made), "plan-only", &input).await;
        let ended = gateway.until_ended(&run, Some(&made)).await;
        assert_eq!(ended["status"], "failed", "{ended:#}");
        let why = ended["error"].as_str().expect("an error");
        assert!(
            why.contains("localhost") && why.contains("no host that this gateway connects to"),
            "{why}"
        );
    }
    let came = listener.accept();
    assert!(came.is_err(), "somebody connected: {came:?}");
}

#[tokio::test]
async fn an_allowed_network_is_connected_to_at_the_address_that_was_checked() {
    let relvec = Relvec::alone();
    let made = token(&relvec, "a", "admin");
    let (listener, port) = listener();
    let gateway = Gateway::start(&relvec, &[("RELVEC_ALLOW_HOSTS", "source=127.0.0.0/8")]);
    let input = json!({"source": {"url": format!("postgres://u:pw@localhost:{port}/d?connect_timeout=5")},
        "target": {"url": format!("postgres://u@127.0.0.1:{port}/v")}});
    let why = refused(&gateway, Some(&made), &input).await;
    assert!(
        why.contains("target"),
        "the list is for sources only: {why}"
    );
    let input = json!({"source": {"url": format!("postgres://u:pw@localhost:{port}/d?sslmode=verify-full&connect_timeout=5")},
        "target": {"url": format!("postgres://u@localhost:{port}/v")}});
    // Whether a name is in a network is known only when it is looked up.
    let why = refused(&gateway, Some(&made), &input).await;
    assert!(why.contains("target"), "{why}");
    let open = Relvec::alone();
    let gateway = Gateway::start(&open, &[("RELVEC_ALLOW_HOSTS", "127.0.0.0/8")]);
    let run = gateway.submit_as(None, "plan-only", &input).await;
    let came = tokio::task::spawn_blocking(move || {
        let deadline = std::time::Instant::now() + crate::gateway::PATIENCE;
        loop {
            if let Ok((mut stream, _)) = listener.accept() {
                stream.set_nonblocking(false).expect("it waits");
                stream
                    .set_read_timeout(Some(Duration::from_secs(10)))
                    .expect("a timeout");
                let mut first = [0; 8];
                stream.read_exact(&mut first).expect("the first message");
                // "TLS is here", and then only what the client says of whom it looks for.
                stream.write_all(b"S").expect("written");
                let mut hello = vec![0; 4096];
                let read = stream.read(&mut hello).expect("the client's hello");
                hello.truncate(read);
                return (first, hello);
            }
            assert!(std::time::Instant::now() < deadline, "nobody connected");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (first, hello) = came.await.expect("a connection");
    // The request for TLS of PostgreSQL's protocol: 80877103.
    assert_eq!(first, [0, 0, 0, 8, 4, 210, 22, 47]);
    let named = hello.windows(9).any(|part| part == b"localhost");
    assert!(named, "TLS is for the name, not for the address: {hello:?}");
    gateway.until_ended(&run, None).await;
}

#[tokio::test]
async fn connection_urls_have_only_the_parameters_on_the_list() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[]);
    for url in [
        "postgres://u:s3cret@h/d?host=/var/run",
        "postgres://u:s3cret@h/d?hostaddr=169.254.169.254",
        "postgres://u:s3cret@h/d?sslkey=/etc/ssl/private/key.pem",
        "postgres://u:s3cret@h/d?sslrootcert=/etc/passwd",
        "postgres://u:s3cret@h/d?options=-c%20x%3Dy",
        "postgres://u:s3cret@h/d?passfile=/etc/pgpass",
        "postgres://u:s3cret@h/d?service=x",
        "postgres://u:s3cret@%2Fvar%2Frun/d",
        "postgres://u:s3cret@a,b/d",
        "mysql://u:s3cret@h/d?socket=/run/mysqld.sock",
        "mysql://u:s3cret@h/d?ssl-ca=/etc/passwd",
        "sqlite:/tmp/a.db?mode=rwc",
        "sqlite::memory:",
        "oracle://u:s3cret@h/d",
        "",
    ] {
        let why = refused(&gateway, None, &json!({"source": {"url": url}})).await;
        assert!(!why.contains("s3cret"), "{why}");
    }
    for input in [
        json!({"source": {"url": "sqlite:a.db"}, "embedding": {"dimensions": 0}}),
        json!({"source": {"url": "sqlite:a.db"}, "embedding": {"dimensions": 16_001}}),
        json!({"source": {"url": "sqlite:a.db"}, "embedding": {"dimensions": "768"}}),
        json!({"source": {"url": "sqlite:a.db"}, "embedding": {"chunk_tokens": 1_000_000_000}}),
        json!({"source": {"url": "sqlite:a.db", "sample_rows": 1_000_000_000}}),
        json!({"source": {"url": "sqlite:a.db"}, "embedding": {"base_url": "file:///etc/passwd"}}),
        json!({"source": {"url": "sqlite:a.db"}, "embedding": {"base_url": "http://u:s3cret@h/v1"}}),
        json!({"source": {"url": "sqlite:a.db"}, "target": {"table": "a; DROP TABLE b"}}),
        json!({"source": {"url": "sqlite:a.db"}, "execution": {"base_image": "--privileged"}}),
        json!({"source": {"url": "postgres://u:s3cret@h/d"}, "target": {"url": "postgres://v:s3cret@h:5432/d"}}),
    ] {
        let why = refused(&gateway, None, &input).await;
        assert!(!why.contains("s3cret"), "{why}");
    }
}

#[tokio::test]
async fn a_sqlite_source_is_a_regular_file_and_nothing_else() {
    let relvec = Relvec::alone();
    let real = relvec.path("shop.db");
    sqlite(&real, &shop_sql()).await;
    let link = relvec.path("link.db");
    std::os::unix::fs::symlink(&real, &link).expect("a link");
    let pipe = relvec.path("pipe.db");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let gateway = Gateway::start(&relvec, &[]);
    let folder = relvec.path(".");
    for (path, what) in [
        (link.to_str().expect("UTF-8"), "a symbolic link"),
        (pipe.to_str().expect("UTF-8"), "a pipe or a device"),
        (folder.to_str().expect("UTF-8"), "a folder"),
        ("/proc/self/environ", "a view of the kernel"),
        ("/dev/zero", "a pipe or a device"),
        ("/etc/passwd", "not a SQLite database"),
    ] {
        let input = json!({"source": {"url": format!("sqlite:{path}")}});
        let run = gateway.submit_as(None, "plan-only", &input).await;
        let ended = gateway.until_ended(&run, None).await;
        let why = ended["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{path}: {ended:#}"));
        assert!(why.contains(what), "{path}: {why}");
    }
}

#[tokio::test]
async fn with_tokens_files_variables_and_the_embedded_target_are_the_operators_to_offer() {
    let relvec = Relvec::alone();
    let made = token(&relvec, "a", "admin");
    let inside = relvec.path("offered");
    std::fs::create_dir(&inside).expect("a folder");
    let offered = sqlite(&inside.join("shop.db"), &shop_sql()).await;
    let hidden = sqlite(&relvec.path("hidden.db"), &shop_sql()).await;
    std::fs::write(relvec.path("url.txt"), ELSEWHERE).expect("a file");
    let folder = inside.to_str().expect("UTF-8");
    let environment = [
        ("RELVEC_ALLOW_PATHS", folder),
        ("RELVEC_ALLOW_VARIABLES", "OFFERED_TARGET"),
        ("OFFERED_TARGET", ELSEWHERE),
        ("SECRET_OF_THE_GATEWAY", "sk-never-to-be-sent"),
        ("RELVEC_RATE", "0"),
    ];
    let gateway = Gateway::start(&relvec, &environment);
    let url_file = relvec.path("url.txt");
    for (input, setting) in [
        (
            json!({"source": {"url": hidden}, "target": {"url": ELSEWHERE}}),
            "RELVEC_ALLOW_PATHS",
        ),
        (
            json!({"source": {"url": "sqlite:/etc/passwd"}, "target": {"url": ELSEWHERE}}),
            "RELVEC_ALLOW_PATHS",
        ),
        (
            json!({"source": {"url": format!("{offered}/../../hidden.db")}, "target": {"url": ELSEWHERE}}),
            "RELVEC_ALLOW_PATHS",
        ),
        (
            json!({"source": {"url_file": url_file}, "target": {"url": ELSEWHERE}}),
            "RELVEC_ALLOW_PATHS",
        ),
        (
            json!({"source": {"url": offered}, "target": {"url_env": "SECRET_OF_THE_GATEWAY"}}),
            "RELVEC_ALLOW_VARIABLES",
        ),
        (
            json!({"source": {"url": offered}, "target": {"url": ELSEWHERE}, "embedding": {"provider": "openai",
            "base_url": "https://evil.example/v1", "api_key_env": "SECRET_OF_THE_GATEWAY"}}),
            "RELVEC_ALLOW_VARIABLES",
        ),
        (
            json!({"source": {"url": offered}, "target": {"url": ELSEWHERE}, "llm": {"enabled": true, "provider": "openai",
            "model": "m", "base_url": "https://evil.example/v1", "api_key_env": "HOME"}}),
            "RELVEC_ALLOW_VARIABLES",
        ),
        (json!({"source": {"url": offered}}), "RELVEC_ALLOW_HOSTS"),
        (
            json!({"source": {"url": offered}, "target": {"url": ELSEWHERE}, "execution": {"mode": "container",
            "base_image": "evil/image"}}),
            "RELVEC_ALLOW_IMAGES",
        ),
        (
            json!({"source": {"url": offered}, "target": {"url": ELSEWHERE}, "execution": {"mode": "container",
            "network": "host"}}),
            "RELVEC_ALLOW_NETWORKS",
        ),
    ] {
        let why = refused(&gateway, Some(&made), &input).await;
        assert!(why.contains(setting), "{input}: {why}");
        assert!(!why.contains("sk-never-to-be-sent"), "{why}");
    }
    // What is offered is used: the run gets through the source's catalogue.
    let input = json!({"source": {"url": offered}, "target": {"url_env": "OFFERED_TARGET"}});
    let run = gateway.submit_as(Some(&made), "plan-only", &input).await;
    let ended = gateway.until_ended(&run, Some(&made)).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
}

/// Beyond loopback, no script becomes a process of the gateway's machine: neither when a job asks for it, nor by an answer.
#[tokio::test]
async fn beyond_loopback_no_migration_is_a_process() {
    let relvec = Relvec::alone();
    let made = token(&relvec, "a", "admin");
    let inside = relvec.path("offered");
    std::fs::create_dir(&inside).expect("a folder");
    let source = sqlite(&inside.join("shop.db"), &shop_sql()).await;
    let environment = [
        ("RELVEC_ALLOW_PATHS", inside.to_str().expect("UTF-8")),
        ("DOCKER_HOST", "unix:///nowhere/docker.sock"),
    ];
    let gateway = Gateway::start_at(&relvec, "0.0.0.0:0", &environment);
    let token = Some(made.as_str());
    let mut input = json!({"source": {"url": source}, "target": {"url": ELSEWHERE}});
    let why = refused(&gateway, token, &input).await;
    assert!(why.contains("RELVEC_EXECUTION_MODES"), "{why}");
    input["execution"] = json!({"mode": "container"});
    let run = gateway.submit_as(token, "default", &input).await;
    let waiting = gateway.until_ended(&run, token).await;
    assert_eq!(waiting["status"], "waiting", "{waiting:#}");
    let answer = json!({"question": "no_container_daemon", "choice": "process", "by": "mallory"});
    let path = format!("/jobs/{run}/answers");
    let answered = gateway.post(&path, token, &answer).await;
    let why = problem(answered, 422).await.to_string();
    assert!(why.contains("RELVEC_EXECUTION_MODES"), "{why}");
    let answer = json!({"question": "no_container_daemon", "choice": "simulate", "by": "ann"});
    assert_eq!(gateway.post(&path, token, &answer).await.status(), 200);
    let ended = gateway.until_ended(&run, token).await;
    assert_eq!(ended["execution_report"]["mode"], "simulate", "{ended:#}");
    let request = gateway.request(&Method::GET, "/jobs", None);
    problem(request.send().await.expect("an answer"), 401).await;
}
