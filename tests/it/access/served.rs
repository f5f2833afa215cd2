//! A gateway of the built binary, and requests to it as bytes or as a client sends them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use relvec::service::http;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::relvec::Relvec;

/// Far longer than anything here takes: what it bounds is a test that would hang.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway on a port of its own; ends with the test.
pub struct Gateway {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
    client: reqwest::Client,
    log: Arc<Mutex<String>>,
}

impl Gateway {
    /// Starts a gateway and waits until it says where it listens.
    pub fn start(relvec: &Relvec, environment: &[(&str, &str)]) -> Self {
        Self::start_at(relvec, "127.0.0.1:0", environment)
    }

    /// Starts a gateway that listens on an address.
    pub fn start_at(relvec: &Relvec, listen: &str, environment: &[(&str, &str)]) -> Self {
        let mut process = relvec
            .command(&["serve", "--listen", listen])
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("relvec starts");
        let mut stderr = BufReader::new(process.stderr.take().expect("its standard error"));
        let log = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let mut line = String::new();
            let read = stderr.read_line(&mut line).expect("a line");
            assert_ne!(read, 0, "it ended: {}", log.lock().expect("the log"));
            log.lock().expect("the log").push_str(&line);
            let mut words = line.split_whitespace();
            if let Some(address) = words.find_map(|word| word.strip_prefix("http://"))
                && line.contains("listens on")
            {
                break address
                    .trim_end_matches(';')
                    .replace("0.0.0.0", "127.0.0.1");
            }
        };
        let rest = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = rest.lock().expect("the log");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let client = http::client(PATIENCE, true).expect("a client");
        Self {
            process,
            address,
            client,
            log,
        }
    }

    /// Gives what it wrote to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Gives the process's id.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Gives a request of a path, with a token or without.
    pub fn request(
        &self,
        method: &Method,
        path: &str,
        token: Option<&str>,
    ) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        let request = self.client.request(method.clone(), url);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Response {
        let request = self.request(&Method::GET, path, token);
        request.send().await.expect("an answer")
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Response {
        let request = self.request(&Method::POST, path, token).json(body);
        request.send().await.expect("an answer")
    }

    /// Submits a job and gives its run's id.
    pub async fn submit(&self, token: Option<&str>, graph: &str, input: &Value) -> String {
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
            let answer = self.get(&format!("/jobs/{run}"), token).await;
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
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
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
            self.address
        );
        status_of(&self.raw(request.as_bytes()))
    }
}

/// Gives the status of an answer; 0 where there is none.
pub fn status_of(answer: &str) -> u16 {
    let code = answer.split_whitespace().nth(1);
    code.and_then(|code| code.parse().ok()).unwrap_or(0)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a token with the command line and gives its text.
pub fn token(relvec: &Relvec, tenant: &str, scopes: &str) -> String {
    let made = relvec.call(&["token", "create", "--tenant", tenant, "--scope", scopes]);
    assert_eq!(made.code, 0, "{made:?}");
    let text = made.stdout.trim().to_owned();
    assert!(text.starts_with("relvec_"), "{made:?}");
    text
}

/// Writes the graph `waiting`, which waits for a person and does nothing else.
pub fn waiting_graph(relvec: &Relvec) {
    let folder = relvec.path("graphs");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = "name = \"waiting\"\ninput = \"job\"\n[stages.gate_review]\n";
    std::fs::write(folder.join("waiting.toml"), text).expect("a graph");
}

/// A job that fails at once, because its source is not there.
pub fn failing(relvec: &Relvec) -> Value {
    let missing = relvec.path("missing.db");
    json!({"source": {"url": format!("sqlite:{}", missing.display())},
           "target": {"url": "postgres://nobody@127.0.0.1:9/nothing"}})
}

/// Gives a problem after its status and its form are checked.
pub async fn problem(answer: Response, status: u16) -> Value {
    let url = answer.url().clone();
    assert_eq!(answer.status().as_u16(), status, "{url}");
    assert_eq!(
        answer.headers()["content-type"],
        "application/problem+json",
        "{url}"
    );
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["status"], status, "{url}");
    problem
}
