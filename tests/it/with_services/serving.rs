//! Gateways as processes, and graphs of small programs that tell what became of them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use relvec::service::http;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::relvec::Relvec;

/// Far longer than anything here takes: what it bounds is a test that would hang.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A gateway on a port of its own; it is killed with the test.
pub struct Gateway {
    pub process: Child,
    pub address: String,
    pub client: reqwest::Client,
}

impl Gateway {
    /// Starts a gateway with a data folder of that name, and waits until it says where it listens.
    pub fn start(relvec: &Relvec, home: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Self::command(relvec, home);
        Self::of(command.envs(environment.iter().copied()))
    }

    /// Prepares a gateway.
    pub fn command(relvec: &Relvec, home: &str) -> Command {
        let mut command = relvec.command(&["serve", "--listen", "127.0.0.1:0"]);
        command
            .env("RELVEC_HOME", relvec.path(home))
            .env("RELVEC_GRAPHS", relvec.path("graphs"));
        command
    }

    /// Starts a gateway that is prepared.
    pub fn of(command: &mut Command) -> Self {
        let mut process = command
            .stderr(Stdio::piped())
            .spawn()
            .expect("relvec starts");
        let stderr = process.stderr.take().expect("its standard error");
        let mut lines = BufReader::new(stderr).lines();
        let mut said = Vec::new();
        let address = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("no address: {said:?}"));
            let line = line.expect("a line");
            let address = line
                .split_whitespace()
                .find(|word| word.starts_with("http://"));
            if let Some(address) = address {
                break address.trim_end_matches(';').to_owned();
            }
            said.push(line);
        };
        // What it logs is read, so that it never waits for a reader; a test that fails shows it.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| println!("{line}"));
        });
        let client = http::client(Duration::from_secs(30), true).expect("a client");
        Self {
            process,
            address,
            client,
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("it is there");
    }

    /// Waits until it has ended; gives its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("a process") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the gateway does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.address)).send();
        answer.await.expect("an answer").json().await.expect("JSON")
    }

    /// Submits a job of a graph, with a key if there is one; gives the status and the answer.
    pub async fn submit(&self, graph: &str, input: &Value, key: Option<&str>) -> (u16, Value) {
        let mut request = self.client.post(format!("{}/jobs", self.address));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let request = request.json(&json!({"graph": graph, "input": input}));
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// Submits a job that is accepted; gives its run.
    pub async fn accepted(&self, graph: &str, input: &Value) -> String {
        let (status, run) = self.submit(graph, input, None).await;
        assert_eq!(status, 202, "{run:#}");
        run["run_id"].as_str().expect("a run").to_owned()
    }

    /// Asks for a run until it satisfies a condition.
    pub async fn until(&self, run: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let document = self.get(&format!("/jobs/{run}")).await;
            if condition(&document) {
                return document;
            }
            assert!(Instant::now() < deadline, "still {document:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a run is over; gives it.
    pub async fn over(&self, run: &str) -> Value {
        self.until(run, |run| run["finished_at"].is_string()).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A job that names no secret and no database that is there.
pub fn job() -> Value {
    json!({"source": {"url": "sqlite:not-there.db"}})
}

/// A graph with one program, which tells of its begin and its end in a file and waits in between until it may go on.
pub struct Slow {
    told: PathBuf,
    go: PathBuf,
}

impl Slow {
    /// Writes the graph `slow`. `first` is what the program does first.
    pub fn new(relvec: &Relvec, first: &str) -> Self {
        let slow = Self {
            told: relvec.path("told"),
            go: relvec.path("go"),
        };
        std::fs::write(&slow.told, "").expect("a file");
        let program = format!(
            "{first} cat > /dev/null; echo begun $$ >> {told}; while [ ! -e {go} ]; do sleep 0.05; done; echo ended $$ >> {told}; echo '{{}}'",
            told = slow.told.display(),
            go = slow.go.display(),
        );
        graph(relvec, "slow", &program);
        slow
    }

    /// Lets every one of them go on.
    pub fn go(&self) {
        std::fs::write(&self.go, "").expect("a file");
    }

    /// Gives the process ids that were told with a word.
    pub fn told(&self, word: &str) -> Vec<u32> {
        let told = std::fs::read_to_string(&self.told).expect("a file");
        told.lines()
            .filter_map(|line| line.strip_prefix(word)?.trim().parse().ok())
            .collect()
    }

    /// Waits until so many have begun; gives their process ids.
    pub async fn begun(&self, count: usize) -> Vec<u32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let begun = self.told("begun");
            if begun.len() >= count {
                return begun;
            }
            assert!(Instant::now() < deadline, "{count} never began: {begun:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Writes a graph with one stage, a shell's program that has to print JSON.
pub fn graph(relvec: &Relvec, name: &str, program: &str) {
    let folder = relvec.path("graphs");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = format!(
        "name = \"{name}\"\ninput = \"job\"\n[stages.work]\nhandler = \"command\"\n\
         with = {{ program = \"sh\", args = [\"-c\", {}], kind = \"worked\", env = [] }}\n",
        json!(program)
    );
    std::fs::write(folder.join(format!("{name}.toml")), text).expect("a graph file");
}

/// Says whether a process is there, zombies aside.
pub fn is_there(process: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    stat.is_ok_and(|stat| {
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        !state.is_none_or(|state| state.starts_with('Z'))
    })
}

/// Waits until a process is gone.
pub async fn gone(process: u32) {
    let deadline = Instant::now() + PATIENCE;
    while is_there(process) {
        assert!(
            Instant::now() < deadline,
            "process {process} is still there"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
