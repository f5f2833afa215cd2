use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

use super::*;
use crate::graph::context::{RunEnvironment, Secrets};
use crate::graph::event::Event;
use crate::graph::handler::FailureKind;
use crate::graph::output::Kind;

fn command(with: &Value) -> Result<Command, ParamError> {
    Command::new(Params::deserialize(with).expect("parameters"))
}

/// Makes a command of a shell script, with more parameters.
fn script(text: &str, more: &Value) -> Command {
    let mut with =
        json!({"program": "sh", "args": ["-c", text], "reads": ["job", "advice?"], "kind": "note"});
    for (key, value) in more.as_object().into_iter().flatten() {
        with[key] = value.clone();
    }
    command(&with).expect("a command")
}

fn context() -> (Context, UnboundedReceiver<Event>) {
    let run = RunEnvironment {
        run_id: Uuid::nil(),
        secrets: Secrets::default(),
        answers: BTreeMap::new(),
        artifacts: PathBuf::from("/runs/x"),
        cache: PathBuf::from("not-used"),
        allowed: crate::allowed::Allowed::everything(),
        cancel: CancellationToken::new(),
    };
    let (events, received) = unbounded_channel();
    let context = Context::new(
        "note".into(),
        2,
        None,
        CancellationToken::new(),
        Arc::new(run),
        Arc::new(Mutex::new(Vec::new())),
        events,
    );
    (context, received)
}

async fn run(command: &Command) -> Result<Value, HandlerError> {
    let mut inputs = Outputs::default();
    inputs.insert(Kind::new("job"), Arc::new(json!({"n": 1})));
    inputs.insert(Kind::new("other"), Arc::new(json!("not read")));
    command.run(&inputs, &context().0).await
}

async fn failed(text: &str, more: &Value) -> (FailureKind, String) {
    let error = run(&script(text, more)).await.expect_err("a failure");
    (error.kind, error.message)
}

#[tokio::test]
async fn the_program_gets_what_it_reads_and_its_output_is_the_stages() {
    let output = run(&script(
        r#"read line; printf '{\n"got": %s}' "$line""#,
        &json!({}),
    ))
    .await
    .expect("an output");
    let got = json!({
        "run_id": Uuid::nil(),
        "stage": "note",
        "inputs": {"job": {"n": 1}},
        "attempt": 2,
        "artifacts": "/runs/x",
    });
    assert_eq!(output, json!({"got": got}));
}

#[tokio::test]
async fn it_sees_only_the_variables_that_are_named() {
    // Cargo sets these for tests, so this process has them.
    let print = r#"env | sed 's/=.*//' | sort | tr '\n' ' ' | sed 's/.*/{"names": "&"}/'"#;
    let more = json!({"env": ["CARGO_PKG_NAME"]});
    let output = run(&script(print, &more)).await.expect("an output");
    let names = output["names"].as_str().expect("names");
    let own: Vec<&str> = names
        .split_whitespace()
        .filter(|name| !matches!(*name, "_" | "PWD" | "SHLVL" | "OLDPWD"))
        .collect();
    assert_eq!(own, ["CARGO_PKG_NAME", "PATH"]);
    let more = json!({"env": ["RELVEC_TEST_NOT_SET"]});
    let (kind, message) = failed("true", &more).await;
    assert_eq!(kind, FailureKind::Permanent);
    assert!(message.contains("RELVEC_TEST_NOT_SET"), "{message}");
}

#[tokio::test]
async fn an_output_that_holds_the_value_of_a_variable_is_refused() {
    let print = r#"printf '{"got": "a %s"}' "$CARGO_PKG_NAME$HOME""#;
    let (kind, message) = failed(print, &json!({"env": ["CARGO_PKG_NAME"]})).await;
    assert_eq!(kind, FailureKind::Permanent);
    assert!(message.contains("`env` passes on"), "{message}");
    assert!(!message.contains("a relvec"), "{message}");
    let output = run(&script(print, &json!({"env": ["HOME"]}))).await;
    assert!(
        output.expect("an output")["got"] != "a ",
        "HOME is no secret"
    );
}

#[tokio::test]
async fn exit_codes_say_whether_another_attempt_could_help() {
    for (text, kind, says) in [
        (
            "echo why >&2; exit 75",
            FailureKind::Transient,
            "exit code 75\nwhy",
        ),
        (
            "echo why >&2; exit 1",
            FailureKind::Permanent,
            "exit code 1\nwhy",
        ),
        ("kill -9 $$", FailureKind::Permanent, "signal 9"),
    ] {
        let (found, message) = failed(text, &json!({})).await;
        assert_eq!(found, kind, "{text}");
        assert!(message.contains(says), "{message}");
    }
}

#[tokio::test]
async fn an_output_that_does_not_fit_is_refused_with_its_place() {
    let schema = json!({"schema": {"properties": {"n": {"type": "integer"}}, "required": ["n"]}});
    for (text, says) in [
        (r#"echo '{"n": "hunter2"}'"#, "/n: "),
        ("echo '{}'", "\"n\" is a required property"),
        ("echo", "is empty"),
        ("echo '{'; echo x", "is not JSON: line 2"),
        ("echo '{} {}'", "is not JSON: line 1"),
    ] {
        let (kind, message) = failed(text, &schema).await;
        assert_eq!(kind, FailureKind::Permanent, "{text}");
        assert!(message.contains(says), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let (_, message) = failed("echo '[]'", &json!({})).await;
    assert!(message.contains("does not fit"), "{message}");
}

#[tokio::test]
async fn output_is_bounded() {
    let more = json!({"max_output": 100});
    for text in ["head -c 200 /dev/zero | tr '\\0' 1", "yes; sleep 600"] {
        let (kind, message) = failed(text, &more).await;
        assert_eq!(kind, FailureKind::Permanent);
        assert!(message.contains("100 bytes"), "{message}");
    }
    let exact = run(&script("echo '{}'", &json!({"max_output": 3}))).await;
    assert_eq!(exact.expect("three bytes"), json!({}));
}

#[tokio::test]
async fn its_own_timeout_ends_it_and_what_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let more = json!({"timeout": "200ms", "folder": folder.path()});
    let (kind, message) = failed("sleep 600 & echo $! > child; wait", &more).await;
    assert_eq!(kind, FailureKind::TimedOut);
    assert!(message.contains("200ms"), "{message}");
    let child = std::fs::read_to_string(folder.path().join("child")).expect("it ran there");
    let stat = format!("/proc/{}/stat", child.trim());
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn cancelling_ends_it() {
    let (ctx, mut events) = context();
    let command = script("echo ready >&2; sleep 600", &json!({}));
    let inputs = Outputs::default();
    let running = command.run(&inputs, &ctx);
    let cancelling = async {
        let event = events.recv().await.expect("the line");
        assert!(matches!(&event, Event::StageLog { line, .. } if line == "ready"));
        ctx.cancellation().cancel();
    };
    let (ended, ()) = tokio::join!(running, cancelling);
    assert!(ended.expect_err("stopped").message.contains("was stopped"));
}

#[tokio::test]
async fn secrets_that_are_passed_on_stay_out_of_log_and_error() {
    let (ctx, mut events) = context();
    let more = json!({"env": ["CARGO_MANIFEST_DIR"]});
    let command = script("echo \"at $CARGO_MANIFEST_DIR.\" >&2; exit 1", &more);
    let error = command.run(&Outputs::default(), &ctx).await;
    let message = error.expect_err("a failure").message;
    assert!(message.ends_with("at ***."), "{message}");
    let event = events.recv().await.expect("the line");
    assert!(matches!(event, Event::StageLog { line, .. } if line == "at ***."));
}

#[tokio::test]
async fn what_cannot_start_says_what_to_do() {
    for (with, says) in [
        (
            json!({"program": "relvec-no-such-program", "kind": "note"}),
            "install it",
        ),
        (
            json!({"program": "./no/such/program", "kind": "note"}),
            "correct the path",
        ),
        (
            json!({"program": "/etc/passwd", "kind": "note"}),
            "executable",
        ),
        (
            json!({"program": "sh", "kind": "note", "folder": "/no/such/folder"}),
            "correct `folder`",
        ),
    ] {
        let command = command(&with).expect("a command");
        let error = run(&command).await.expect_err("it cannot start");
        assert_eq!(error.kind, FailureKind::Permanent);
        assert!(error.message.contains(says), "{}", error.message);
    }
}

#[test]
fn parameters_are_checked_before_anything_runs() {
    for (more, key) in [
        (json!({"program": " "}), "program"),
        (json!({"env": ["A=B"]}), "env"),
        (json!({"timeout": "soon"}), "timeout"),
        (json!({"max_output": 0}), "max_output"),
        (json!({"max_output": 9_000_000}), "max_output"),
        (json!({"args": ["a\u{0}b"]}), "args"),
        (json!({"kind": "No"}), "kind"),
        (json!({"reads": ["a b"]}), "reads"),
        (json!({"schema": {"type": 3}}), "schema"),
    ] {
        let mut with = json!({"program": "sh", "kind": "note"});
        for (key, value) in more.as_object().into_iter().flatten() {
            with[key] = value.clone();
        }
        let error = command(&with).expect_err(key);
        assert_eq!(error.key.as_deref(), Some(key), "{error}");
    }
}
