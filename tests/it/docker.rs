//! The Docker daemon that `tests/run` starts, seen through Docker's own command line.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::relvec::{Relvec, job};

/// A daemon's address.
#[derive(Debug, Clone)]
pub struct Daemon(pub String);

impl Daemon {
    /// Gives the daemon of `tests/run`. Panics where there is none: no test is skipped.
    pub fn shared() -> Self {
        Self(told("RELVEC_TEST_DOCKER"))
    }

    /// Gives the environment of a relvec that uses this daemon.
    pub fn environment(&self) -> [(&str, &str); 1] {
        [("DOCKER_HOST", &self.0)]
    }

    /// Runs a command of Docker's command line.
    pub fn call(&self, arguments: &[&str]) -> Output {
        Command::new("docker")
            .args(["--host", &self.0])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("docker's command line starts")
    }

    /// Runs a command that has to succeed and gives what it printed.
    pub fn say(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert!(output.status.success(), "docker {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Gives the containers of a run, those that have ended too.
    pub fn containers_of(&self, run: &str) -> Vec<String> {
        let filter = format!("label=relvec.run={run}");
        let names = self.say(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
        names.lines().map(str::to_owned).collect()
    }

    /// Runs a command inside a container and gives what it printed, whether it succeeded or not.
    pub fn inside(&self, container: &str, command: &str) -> String {
        let output = self.call(&["exec", container, "sh", "-c", command]);
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

/// A daemon of a test's own, which the test may stop.
pub struct OwnDaemon {
    folder: PathBuf,
    child: Option<Child>,
    pub daemon: Daemon,
}

impl OwnDaemon {
    /// Starts a daemon with the base image in it.
    pub fn start() -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("d{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        // A socket's path has 107 bytes at most.
        let socket = std::env::temp_dir().join(format!("relvec-{}.sock", std::process::id()));
        let mut own = Self {
            folder,
            child: None,
            daemon: Daemon(format!("unix://{}", socket.display())),
        };
        own.start_again();
        let image = told("RELVEC_TEST_BASE_IMAGE");
        own.daemon.say(&["import", &image, "python:3.11-slim"]);
        own
    }

    /// Starts the daemon with what it had.
    pub fn start_again(&mut self) {
        let name = format!("own{}", std::process::id());
        let log = std::fs::File::create(self.folder.join("log")).expect("a log");
        let path = |name: &str| self.folder.join(name).display().to_string();
        let child = Command::new("dockerd")
            .arg(format!("--data-root={}", path("data")))
            .arg(format!("--exec-root={}", path("exec")))
            .arg(format!("--pidfile={}", path("pid")))
            .arg(format!("--host={}", self.daemon.0))
            .arg(format!("--containerd-namespace={name}"))
            .arg(format!("--containerd-plugins-namespace=plugins.{name}"))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.daemon.call(&["info"]).status.success() {
            let said = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "dockerd does not answer: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the daemon at once, with SIGKILL, or in order, with SIGTERM.
    pub fn stop(&mut self, signal: &str) {
        if let Some(mut child) = self.child.take() {
            let id = child.id().to_string();
            let _ = Command::new("kill").args([signal, &id]).status();
            let _ = child.wait();
            // Killed, it leaves its number behind, which may be another's when it starts again.
            let _ = std::fs::remove_file(self.folder.join("pid"));
            // So does its containerd, which ends with it: a new dockerd would wait for one that is only not buried yet.
            let _ = std::fs::remove_file(self.folder.join("exec/containerd/containerd.pid"));
        }
    }
}

impl Drop for OwnDaemon {
    fn drop(&mut self) {
        if self.child.is_none() && !std::thread::panicking() {
            self.start_again();
        }
        let running = self.daemon.call(&["ps", "--quiet"]);
        for id in String::from_utf8_lossy(&running.stdout).lines() {
            self.daemon.call(&["kill", id]);
        }
        self.stop("-TERM");
        let folder = self.folder.display().to_string();
        // What a killed daemon leaves mounted would keep the folder.
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        let mut mounted: Vec<&str> = places.filter(|place| place.starts_with(&folder)).collect();
        mounted.sort_unstable_by_key(|place| std::cmp::Reverse(place.len()));
        for place in mounted {
            let _ = Command::new("umount").args(["-l", place]).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn told(variable: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "tests are told by tests/run")]
    let value = std::env::var(variable);
    value.unwrap_or_else(|_| panic!("{variable} is not set: start the tests with tests/run"))
}

/// Waits for a condition; panics if that takes a minute.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Gives a job that runs in a container of this machine's network.
pub fn container_job(source: &str, target: &str) -> Value {
    let mut job = job(source, target);
    job["execution"] = json!({
        "mode": "container", "runtime": "script", "network": "host", "build_network": "host",
    });
    job
}

/// A run whose script waits for an embedding API that never answers.
pub struct Waiting {
    pub child: Child,
    pub run: String,
    pub container: String,
    _connection: tokio::net::TcpStream,
    _silent: tokio::net::TcpListener,
}

impl Waiting {
    /// Starts a run and waits until its script has asked the silent API.
    pub async fn start(relvec: &Relvec, daemon: &Daemon, mut job: Value, log: &str) -> Self {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = silent.local_addr().expect("an address");
        job["embedding"] = json!({
            "provider": "openai", "base_url": format!("http://{address}/v1"), "model": "silent", "dimensions": 8,
        });
        let file = relvec.path(&format!("{log}.json"));
        std::fs::write(&file, job.to_string()).expect("a job file");
        let output = relvec.path(log);
        let child = relvec
            .command(&["run", "default", "--format", "json", "--input"])
            .arg(&file)
            .envs(daemon.environment())
            .stdout(std::fs::File::create(&output).expect("a file"))
            .stderr(std::fs::File::create(relvec.path(&format!("{log}.err"))).expect("a file"))
            .spawn()
            .expect("relvec starts");
        let accepted = tokio::time::timeout(Duration::from_mins(3), silent.accept()).await;
        let (connection, _) = accepted
            .unwrap_or_else(|_| {
                let read =
                    |name: &str| std::fs::read_to_string(relvec.path(name)).unwrap_or_default();
                panic!(
                    "the script asks: {}{}",
                    read(log),
                    read(&format!("{log}.err"))
                )
            })
            .expect("a connection");
        let run = relvec.newest_run();
        let container = daemon.containers_of(&run).pop().expect("its container");
        Self {
            child,
            run,
            container,
            _connection: connection,
            _silent: silent,
        }
    }

    /// Waits for the run's end and gives its document.
    pub fn end(&mut self, relvec: &Relvec, log: &str) -> Value {
        self.child.wait().expect("relvec ends");
        let text = std::fs::read_to_string(relvec.path(log)).expect("a run");
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("no run document ({error}): {text}"))
    }

    /// Asks relvec to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status();
        assert!(sent.expect("kill starts").success());
    }
}
