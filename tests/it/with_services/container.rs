//! The default graph with its script in a container of a real daemon.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::docker::{Daemon, Waiting, container_job};
use crate::gateway::Gateway;
use crate::relvec::{Relvec, mariadb, postgres, shop_sql, sqlite, stage};
use crate::services::{mariadb_url, postgres_url};

async fn assert_whole(run: &Value, code: i32, target: &str) {
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(run["validation_report"]["verdict"], "validated");
    assert_eq!(run["execution_report"]["mode"], "container");
    assert_eq!(run["execution_report"]["exit_code"], 0);
    let mut connection = PgConnection::connect(target).await.unwrap();
    let orders: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT source_key) FROM relvec_documents WHERE entity = 'orders'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    // Every seventh order has no note, and one is blank; their other columns are text enough or not: the report has them all.
    let report = &run["validation_report"]["entities"][0];
    assert_eq!(report["entity"], "orders");
    assert_eq!(report["source_rows"], 240);
    assert_eq!(report["documents"], orders);
    assert_eq!(report["missing"], 0);
}

fn log_of(relvec: &Relvec, run: &Value) -> String {
    let logged = relvec.call(&["runs", "logs", run["run_id"].as_str().unwrap()]);
    assert_eq!(logged.code, 0, "{logged:?}");
    logged.stdout
}

#[tokio::test]
async fn postgres_arrives_whole_from_a_container_and_its_image_is_used_again() {
    let (relvec, daemon) = (Relvec::new(), Daemon::shared());
    let (source, target) = (postgres_url().await, postgres_url().await);
    postgres(&source, &shop_sql()).await;
    let job = container_job(&source, &target);
    let (code, run) = relvec.run_with(&job, &daemon.environment());
    assert_whole(&run, code, &target).await;
    assert_eq!(
        daemon.containers_of(run["run_id"].as_str().unwrap()),
        [""; 0]
    );

    let (code, again) = relvec.run_with(&job, &daemon.environment());
    assert_whole(&again, code, &target).await;
    let log = log_of(&relvec, &again);
    assert!(log.contains("is there already"), "{log}");
    assert!(!log.contains("build: "), "{log}");
    for entity in again["execution_report"]["migration"]["entities"]
        .as_array()
        .unwrap()
    {
        assert_eq!(entity["embedded"], 0, "{entity}");
    }
}

#[tokio::test]
async fn sqlite_arrives_whole_from_a_file_that_is_mounted_for_reading() {
    let (relvec, daemon) = (Relvec::new(), Daemon::shared());
    let source = sqlite(&relvec.path("shop 100%.db"), &shop_sql())
        .await
        .replace('%', "%25");
    let target = postgres_url().await;
    let folder = relvec.path("");
    readable(&folder);
    let job = container_job(&source, &target);
    let (code, run) = relvec.run_with(&job, &daemon.environment());
    assert_whole(&run, code, &target).await;
}

/// A temporary folder is its owner's only, and the container's user is another.
fn readable(folder: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Gives this machine's address in the daemon's bridge.
fn bridge_of(daemon: &Daemon) -> String {
    let address = "{{(index .IPAM.Config 0).Gateway}}";
    daemon.say(&["network", "inspect", "bridge", "--format", address])
}

/// Lets a container of the bridge reach a server that listens on this machine's loopback only.
async fn forward(daemon: &Daemon, url: &str) -> tokio::task::JoinHandle<()> {
    let gateway = bridge_of(daemon);
    let port = url
        .rsplit_once(':')
        .unwrap()
        .1
        .split('/')
        .next()
        .unwrap()
        .parse::<u16>()
        .unwrap();
    // Another test may forward the same server: it lets go of the port when it ends.
    let listener = loop {
        match tokio::net::TcpListener::bind((gateway.as_str(), port)).await {
            Ok(listener) => break listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{gateway}:{port}: {error}"),
        }
    };
    tokio::spawn(async move {
        while let Ok((mut inside, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port))
                    .await
                    .unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inside, &mut server).await;
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_arrives_whole_from_a_bridge_where_loopback_has_another_name() {
    let (relvec, daemon) = (Relvec::new(), Daemon::shared());
    let (source, target) = (mariadb_url().await, postgres_url().await);
    mariadb(&source, &shop_sql()).await;
    let (_one, _two) = (
        forward(&daemon, &source).await,
        forward(&daemon, &target).await,
    );
    let mut job = container_job(&source, &target);
    job["execution"]["network"] = json!("bridge");
    let environment = daemon.0.clone();
    let (relvec, code, run) = tokio::task::spawn_blocking(move || {
        let (code, run) = relvec.run_with(&job, &[("DOCKER_HOST", &environment)]);
        (relvec, code, run)
    })
    .await
    .unwrap();
    assert_whole(&run, code, &target).await;
    let log = log_of(&relvec, &run);
    for variable in ["SOURCE_URL", "TARGET_URL"] {
        let line = format!(
            "{variable}: in the network `bridge` the host `127.0.0.1` is `host.docker.internal`"
        );
        assert!(log.contains(&line), "{log}");
    }
    let password = source.split([':', '@']).nth(2).unwrap();
    assert!(!log.contains(password));
}

/// A gateway on whose machine a name stands for an address. Nobody else's `/etc/hosts` has it, the daemon's and its containers' least of all.
fn gateway_with_a_name(relvec: &Relvec, daemon: &Daemon, name: &str, address: &str) -> Gateway {
    let hosts = relvec.path("hosts");
    std::fs::write(&hosts, format!("127.0.0.1 localhost\n{address} {name}\n")).unwrap();
    let prepared = Gateway::command(relvec, "home");
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "sh",
            "-c",
            "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
        ])
        .arg(&hosts)
        .arg(prepared.get_program())
        .args(prepared.get_args())
        .current_dir(relvec.path(""))
        .envs(
            prepared
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("DOCKER_HOST", &daemon.0)
        .env("RELVEC_ALLOW_PATHS", relvec.path(""))
        .env("RELVEC_ALLOW_NETWORKS", "bridge,host")
        .env("RELVEC_ALLOW_HOSTS", format!("target={address}/32"));
    Gateway::of(&mut command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_checked_has_its_address_in_the_container() {
    let (relvec, daemon) = (Relvec::new(), Daemon::shared());
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    readable(&relvec.path(""));
    let target = postgres_url().await;
    let (_bridge, name) = (forward(&daemon, &target).await, "vectors.relvec.test");
    let gateway = gateway_with_a_name(&relvec, &daemon, name, &bridge_of(&daemon));
    let by_name = target.replace("127.0.0.1", name);
    assert_ne!(target, by_name);
    let mut job = container_job(&source, &by_name);
    job["execution"]["network"] = json!("bridge");
    let run = gateway.accepted("default", &job).await;
    let ended = gateway.over(&run).await;
    assert_whole(&ended, 0, &target).await;
    // No other container knows the name.
    let image = daemon.call(&[
        "run",
        "--rm",
        "python:3.11-slim",
        "python3",
        "-c",
        &format!("import socket; socket.getaddrinfo('{name}', 1)"),
    ]);
    let said = String::from_utf8_lossy(&image.stderr).into_owned();
    assert!(said.contains("gaierror"), "{said}");
}

#[tokio::test]
async fn the_embedded_target_is_refused_where_a_container_cannot_reach_it() {
    let (relvec, daemon) = (Relvec::new(), Daemon::shared());
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let mut job = container_job(&source, "embedded");
    job["execution"]["network"] = json!("bridge");
    let (code, run) = relvec.run_with(&job, &daemon.environment());
    assert_eq!(code, 3, "{run:#}");
    let reason = stage(&run, "executor").to_string();
    assert!(
        reason.contains("set `execution.network` to `host`"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_container_is_boxed_in_its_secrets_are_nowhere_and_cancelling_stops_it() {
    let (relvec, daemon) = (Relvec::alone(), Daemon::shared());
    let (source, target) = (postgres_url().await, postgres_url().await);
    postgres(&source, &shop_sql()).await;
    let mut job = container_job(&source, &target);
    job["execution"]["memory_mib"] = json!(300);
    job["execution"]["pids"] = json!(77);
    let mut waiting = Waiting::start(&relvec, &daemon, job, "boxed").await;
    let id = waiting.container.clone();

    let status = daemon.inside(&id, "cat /proc/1/status");
    for line in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Uid:\t65532\t65532",
    ] {
        assert!(status.contains(line), "{line} in {status}");
    }
    for place in ["/app/x", "/x", "/etc/x", "/venv/x"] {
        let said = daemon.inside(&id, &format!("touch {place}"));
        assert!(said.contains("Read-only file system"), "{place}: {said}");
    }
    assert_eq!(
        daemon.inside(&id, "echo works > /tmp/x && cat /tmp/x"),
        "works"
    );
    assert_eq!(
        daemon.inside(&id, "ls /var/run/docker.sock 2>&1 | grep -c 'No such'"),
        "1"
    );
    let limits = daemon.say(&[
        "inspect", &id, "--format", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.HostConfig.Privileged}} {{.HostConfig.SecurityOpt}}",
    ]);
    assert_eq!(limits, "314572800 314572800 77 false [no-new-privileges]");

    assert_secret_nowhere(&daemon, &waiting, source.split([':', '@']).nth(2).unwrap());

    let asked = Instant::now();
    waiting.interrupt();
    let run = waiting.end(&relvec, "boxed");
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(run["status"], "cancelled", "{run:#}");
    assert_eq!(daemon.containers_of(&waiting.run), [""; 0]);
}

/// Looks for a text in everything that the daemon shows and keeps of a container and its image.
fn assert_secret_nowhere(daemon: &Daemon, waiting: &Waiting, secret: &str) {
    let image = daemon.say(&["inspect", &waiting.container, "--format", "{{.Image}}"]);
    for shown in [
        daemon.say(&["inspect", &waiting.container]),
        daemon.say(&["inspect", &image]),
        daemon.say(&["history", "--no-trunc", &image]),
        daemon.inside(&waiting.container, "tr '\\0' '\\n' </proc/1/cmdline"),
        daemon.inside(&waiting.container, "tr '\\0' '\\n' </proc/1/environ"),
    ] {
        assert!(shown.len() > 20, "{shown}");
        assert!(!shown.contains(secret), "the password is shown");
    }
    // The layers' files, as they are: a compressed one would hide what is looked for.
    let saved = tempfile::NamedTempFile::new().unwrap();
    daemon.say(&["save", "--output", saved.path().to_str().unwrap(), &image]);
    let found = |text: &str| {
        let searched = Command::new("grep")
            .args(["--count", "--text", "--fixed-strings", text])
            .arg(saved.path())
            .output()
            .unwrap();
        String::from_utf8_lossy(&searched.stdout).trim() != "0"
    };
    assert!(
        found("sslrootcert"),
        "the script is in it, so it can be searched"
    );
    assert!(!found(secret), "the password is in a layer");
}

#[tokio::test]
async fn no_daemon_is_a_question_and_its_answer_is_obeyed() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let target = postgres_url().await;
    let nowhere = [("DOCKER_HOST", "unix:///nowhere/docker.sock")];
    // A password in the job itself would be gone with the process that asked.
    std::fs::write(relvec.path("target"), &target).unwrap();
    let mut job = container_job(&source, &target);
    job["target"] = json!({"url_file": relvec.path("target")});
    for (answer, code) in [("process", 0), ("simulate", 3)] {
        let (parked, run) = relvec.run_with(&job, &nowhere);
        assert_eq!(parked, 3, "{run:#}");
        assert_eq!(run["status"], "waiting");
        let question = &run["open_questions"][0];
        assert_eq!(question["id"], "no_container_daemon");
        assert_eq!(question["blocking"], true);
        assert_eq!(question["choices"], json!(["process", "simulate", "retry"]));
        let reason = stage(&run, "executor").to_string();
        assert!(reason.contains("unix:///nowhere/docker.sock"), "{reason}");
        let id = run["run_id"].as_str().unwrap();
        let answered = relvec.call_with(
            &[
                "runs",
                "answer",
                id,
                "no_container_daemon",
                answer,
                "--format",
                "json",
            ],
            &nowhere,
        );
        assert_eq!(answered.code, code, "{answered:?}");
        let run: Value = serde_json::from_str(&answered.stdout).unwrap();
        let report = &run["execution_report"];
        assert_eq!(report["mode"], answer, "{run:#}");
        assert_eq!(report["simulated"], answer == "simulate");
    }
}
