//! What a team adds without Rust, by the built binary: programs and web services as stages, and tests in graph files.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::relvec::{Relvec, stage};

/// A graph of two programs: the second one runs where the first one counted enough.
const COMMANDS: &str = r#"
name = "count"
input = "job"
[[edges]]
from = "count"
to = "tell"
when = "stages.count.output.words > 2"
[stages.count]
handler = "command"
[stages.count.with]
program = "sh"
args = ["-c", "tee -a seen >&2; echo '{\"words\": 3}'"]
reads = ["job"]
kind = "counted"
schema = { properties = { words = { type = "integer" } }, required = ["words"] }
[stages.tell]
handler = "command"
with = { program = "sh", args = ["-c", "cat >> seen; echo '{}'"], reads = ["counted"], kind = "told" }
"#;

fn job() -> Value {
    json!({"source": {"url": "postgres://reader:c4n4ry@127.0.0.1:9/shop"}})
}

fn graph_file(relvec: &Relvec, name: &str, text: &str) -> String {
    let path = relvec.path(&format!("{name}.toml"));
    std::fs::write(&path, text).expect("a graph file");
    path.to_str().expect("a path in UTF-8").to_owned()
}

#[test]
fn programs_exchange_what_they_declare_and_see_no_secret() {
    let relvec = Relvec::new();
    let graph = graph_file(&relvec, "count", COMMANDS);
    let (code, run) = relvec.run_graph(&graph, &job(), &[]);
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(stage(&run, "tell")["status"], "succeeded");
    let seen = std::fs::read_to_string(relvec.path("seen")).expect("both ran here");
    let seen: Vec<Value> = seen
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(seen[0]["stage"], "count");
    assert_eq!(seen[0]["run_id"], run["run_id"]);
    assert!(seen[0]["inputs"]["job"]["source"].is_object(), "{seen:?}");
    assert_eq!(seen[1]["inputs"], json!({"counted": {"words": 3}}));
    assert!(!format!("{seen:?}").contains("c4n4ry"), "{seen:?}");
    let id = run["run_id"].as_str().expect("an id");
    let events = relvec.call(&["runs", "events", id]).stdout;
    assert!(events.contains("stage_log"), "standard error is in the log");
    assert!(!events.contains("c4n4ry"), "{events}");
}

#[test]
fn an_output_that_does_not_fit_fails_the_stage_with_its_place() {
    let relvec = Relvec::new();
    let text = COMMANDS.replace("\\\"words\\\": 3", "\\\"words\\\": \\\"c4n4ry\\\"");
    assert_ne!(text, COMMANDS);
    let graph = graph_file(&relvec, "count", &text);
    let (code, run) = relvec.run_graph(&graph, &job(), &[]);
    assert_eq!(code, 1, "{run:#}");
    let error = stage(&run, "count")["reason"]["error"].to_string();
    assert!(error.contains("/words"), "{error}");
    assert!(!run.to_string().contains("c4n4ry"), "{run:#}");
}

#[test]
fn nothing_of_a_graph_runs_where_it_is_only_checked() {
    let relvec = Relvec::new();
    let graph = graph_file(&relvec, "count", COMMANDS);
    let input = relvec.path("job.json");
    std::fs::write(&input, job().to_string()).expect("a job file");
    let input = input.to_str().expect("a path in UTF-8");
    for arguments in [
        vec!["validate", &graph],
        vec!["test", &graph],
        vec!["graph", &graph],
        vec!["plan", &graph, "--input", input],
    ] {
        let ended = relvec.call(&arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:?}");
    }
    assert!(!relvec.path("seen").exists());
}

/// Answers one request and gives it.
pub fn answer_one(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a request");
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while !is_whole(&request) {
            let read = connection.read(&mut piece).expect("its bytes");
            assert_ne!(read, 0, "it ended early");
            request.extend_from_slice(&piece[..read]);
        }
        connection.write_all(answer.as_bytes()).expect("an answer");
        String::from_utf8(request).expect("UTF-8")
    });
    (format!("http://{address}/hook/c4n4ry"), serving)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        value.trim().parse::<usize>().ok().filter(|_| is_length)
    });
    body.len() >= length.expect("a length")
}

#[test]
fn a_web_service_is_told_once_and_its_answer_is_an_output() {
    let relvec = Relvec::new();
    let text = r#"
name = "tell"
input = "job"
[[edges]]
from = "tell"
to = "after"
when = "stages.tell.output.body.id == 7"
[stages.tell]
handler = "http"
with = { url_env = "HOOK", kind = "told", headers_env = { authorization = "HOOK_KEY" }, schema = { properties = { id = { type = "integer" } } } }
[stages.after]
handler = "command"
with = { program = "echo", args = ["{}"], kind = "done" }
"#;
    let graph = graph_file(&relvec, "tell", text);
    let (url, serving) = answer_one(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\nconnection: close\r\n\r\n{\"id\":7}",
    );
    let environment = [("HOOK", url.as_str()), ("HOOK_KEY", "Bearer c4n4ry-key")];
    let (code, run) = relvec.run_graph(&graph, &job(), &environment);
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(stage(&run, "after")["status"], "succeeded");
    let request = serving.join().expect("a request");
    assert!(request.starts_with("POST /hook/c4n4ry "), "{request}");
    assert!(request.contains("Bearer c4n4ry-key"), "{request}");
    let key = format!("{}/tell", run["run_id"].as_str().expect("an id"));
    assert!(request.contains(&key), "{request}");
    let id = run["run_id"].as_str().expect("an id");
    let events = relvec.call(&["runs", "events", id]).stdout;
    assert!(!format!("{run}{events}").contains("c4n4ry"), "{events}");
}

const TESTED: &str = r#"
[[tests]]
name = "many words are told"
stages.count.output = { words = 3 }
expect.stages = { tell = "succeeded" }
"#;
const OTHER: &str = r#"
[[tests]]
name = "few are not"
stages.count.output = { words = 1 }
expect.stages = { tell = "not_taken" }
"#;

#[test]
fn the_exit_code_says_what_the_tests_gave() {
    let relvec = Relvec::new();
    let file = |name: &str, tests: &str| graph_file(&relvec, name, &format!("{COMMANDS}{tests}"));
    let good = file("good", &format!("{TESTED}{OTHER}"));
    let half = file("half", TESTED);
    let wrong = file("wrong", &TESTED.replace("\"succeeded\"", "\"not_taken\""));
    let broken = file("broken", &TESTED.replace("words = 3", "wrods = 3"));
    let none = graph_file(&relvec, "none", "name = [");
    for (arguments, code, says) in [
        (
            vec!["test", &good, "--min-coverage", "100"],
            0,
            "coverage 100 %: 2 of 2",
        ),
        (
            vec!["test", &half],
            0,
            "no test leaves count -> tell untaken by its condition",
        ),
        (
            vec!["test", &half, &good, "--min-coverage", "90"],
            1,
            "failed: the coverage has to be 90 % at least",
        ),
        (
            vec!["test", &wrong],
            1,
            "  failed many words are told\n         stage tell: expected not_taken, came succeeded\n           count -> tell is taken: `stages.count.output.words > 2` is true: stages.count.output.words = 3\n",
        ),
        (
            vec!["test", &broken, &good],
            1,
            "help: did you mean `words`?",
        ),
        (vec!["validate", &broken], 1, "error[impossible-value]"),
        (vec!["test", &good, &none, &wrong], 78, "this is not TOML"),
        (vec!["test", "./not/there.toml", &good], 78, "coverage"),
        (vec!["test"], 2, ""),
        (vec!["test", &good, "--min-coverage", "101"], 2, ""),
    ] {
        let ended = relvec.call(&arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert!(
            ended.stdout.contains(says),
            "{arguments:?}: {}",
            ended.stdout
        );
    }
}

#[test]
fn the_results_are_there_as_json() {
    let relvec = Relvec::new();
    let text = format!("{COMMANDS}{TESTED}").replace("words = 3", "words = 2");
    let graph = graph_file(&relvec, "count", &text);
    let ended = relvec.call(&["test", &graph, "--format", "json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let files: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let [file] = files.as_array().expect("a list").as_slice() else {
        panic!("{files:#}");
    };
    assert_eq!(file["passed"], false);
    let mismatch = &file["tests"][0]["mismatches"][0];
    assert_eq!(mismatch["what"], "stage tell");
    let edge = &mismatch["why"]["edges"][0];
    assert_eq!(
        edge["because"]["values"],
        json!({"stages.count.output.words": 2})
    );
    assert_eq!(file["coverage"]["total"], 2);
    assert_eq!(
        file["coverage"]["gaps"],
        json!([{"gap": "never_taken", "from": "count", "to": "tell"}])
    );
}
