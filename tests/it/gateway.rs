//! Gateways as processes of the built binary, and requests to them as a client sends them, or as bytes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use relvec::service::http;
use reqwest::{Method, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::relvec::Relvec;

/// Far longer than anything here takes: what it bounds is a test that would hang.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A gateway on a port of its own; it is killed with the test.
pub struct Gateway {
    pub process: Child,
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    pub client: reqwest::Client,
    log: Arc<Mutex<String>>,
}

impl Gateway {
    /// Starts a gateway over the store of a relvec, and waits until it says where it listens.
    pub fn start(relvec: &Relvec, environment: &[(&str, &str)]) -> Self {
        Self::start_at(relvec, "127.0.0.1:0", environment)
    }

    /// Starts a gateway that listens on an address.
    pub fn start_at(relvec: &Relvec, listen: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = relvec.command(&["serve", "--listen", listen]);
        Self::of(command.envs(environment.iter().copied()))
    }

    /// Starts a gateway with a data folder of that name.
    pub fn start_in(relvec: &Relvec, home: &str, environment: &[(&str, &str)]) -> Self {
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
        let log = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("no address: {:?}", log.lock()));
            let line = line.expect("a line");
            keep(&log, &line);
            let mut words = line.split_whitespace();
            if let Some(address) = words.find(|word| word.starts_with("http://"))
                && line.contains("listens on")
            {
                break address
                    .trim_end_matches(';')
                    .replace("0.0.0.0", "127.0.0.1");
            }
        };
        // What it logs is read, so that it never waits for a reader; a test that fails shows it.
        let rest = Arc::clone(&log);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| {
                println!("{line}");
                keep(&rest, &line);
            });
        });
        let client = http::client(PATIENCE, true).expect("a client");
        Self {
            process,
            address,
            client,
            log,
        }
    }

    /// Gives `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        self.address.trim_start_matches("http://")
    }

    /// Gives what it wrote to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
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

    /// Gives a request of a path, with a token or without.
    pub fn request(
        &self,
        method: &Method,
        path: &str,
        token: Option<&str>,
    ) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.address);
        let request = self.client.request(method.clone(), url);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Asks for a path as whoever has a token, or as nobody.
    pub async fn ask(&self, path: &str, token: Option<&str>) -> Response {
        let request = self.request(&Method::GET, path, token);
        request.send().await.expect("an answer")
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Response {
        let request = self.request(&Method::POST, path, token).json(body);
        request.send().await.expect("an answer")
    }

    /// Submits a job and gives its run's id.
    pub async fn submit_as(&self, token: Option<&str>, graph: &str, input: &Value) -> String {
        let job = json!({"graph": graph, "input": input});
        let answer = self.post("/jobs", token, &job).await;
        let status = answer.status();
        let run: Value = answer.json().await.expect("JSON");
        assert_eq!(status, 202, "{run:#}");
        run["run_id"].as_str().expect("an id").to_owned()
    }

    /// Asks for a run until it is not at work any more.
    pub async fn until_ended(&self, run: &str, token: Option<&str>) -> Value {
        let deadline = Instant::now() + PATIENCE * 3;
        loop {
            let answer = self.ask(&format!("/jobs/{run}"), token).await;
            let document: Value = answer.json().await.expect("JSON");
            if !matches!(document["status"].as_str(), Some("queued" | "running")) {
                return document;
            }
            assert!(Instant::now() < deadline, "still {document:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends bytes and gives all that comes back until the other side closes, or for as long as it says nothing.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.host()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // A server that refuses early need not read all of it.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(read) => answer.extend_from_slice(&chunk[..read]),
            }
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a request as bytes with `Connection: close`, and gives its status; 0 where the connection ends without an answer.
    pub fn raw_status(&self, head: &str, body: &str) -> u16 {
        let request = format!(
            "{head}\r\nHost: {}\r\nConnection: close\r\n\r\n{body}",
            self.host()
        );
        status_of(&self.raw(request.as_bytes()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn keep(log: &Mutex<String>, line: &str) {
    let mut log = log.lock().expect("the log");
    log.push_str(line);
    log.push('\n');
}

/// Gives the status of an answer; 0 where there is none.
pub fn status_of(answer: &str) -> u16 {
    let code = answer.split_whitespace().nth(1);
    code.and_then(|code| code.parse().ok()).unwrap_or(0)
}
