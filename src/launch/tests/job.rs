use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{PASSWORD, inline_job, variable};
use crate::error::ErrorKind;
use crate::launch::job::{PreparedJob, prepare, recover, set};
use crate::model::job::secret;

fn refused(job: &Value) -> String {
    let error = prepare(job, variable).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    format!("{error} | {}", error.hints().join(" | "))
}

fn secret_of(job: &PreparedJob, name: &str) -> Option<String> {
    job.secrets
        .get(name)
        .map(|secret| secret.expose_secret().to_owned())
}

#[test]
fn a_password_leaves_the_job() {
    let job = prepare(&inline_job(), variable).unwrap();
    let kept = serde_json::to_string(&job.input).unwrap();
    assert!(!kept.contains(PASSWORD), "{kept}");
    assert!(!job.fingerprint().contains(PASSWORD));
    assert!(!format!("{job:?}").contains(PASSWORD));
    assert!(
        secret_of(&job, secret::SOURCE_URL)
            .unwrap()
            .contains(PASSWORD)
    );
    assert_eq!(job.inline_secrets, [secret::SOURCE_URL]);
    let lost = recover(&job.input, &job.inline_secrets, variable);
    assert!(lost.get(secret::SOURCE_URL).is_none());
}

#[test]
fn references_are_read_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("target");
    std::fs::write(
        &file,
        format!("postgres://writer:{PASSWORD}@db.example/vectors\n"),
    )
    .unwrap();
    let job = json!({"source": {"url_env": "SOURCE"}, "target": {"url_file": file}});
    let job = prepare(&job, variable).unwrap();
    assert!(job.inline_secrets.is_empty());
    assert!(job.input.source.url.is_none());
    let again = recover(&job.input, &job.inline_secrets, variable);
    for name in [secret::SOURCE_URL, secret::TARGET_URL] {
        let first = secret_of(&job, name).unwrap();
        assert!(first.contains(PASSWORD) && !first.ends_with('\n'));
        assert_eq!(again.get(name).unwrap().expose_secret(), first);
    }
}

#[test]
fn a_job_without_references_needs_none() {
    let job = prepare(&json!({"source": {"url": "sqlite:shop.db"}}), variable).unwrap();
    assert!(job.inline_secrets.is_empty());
    assert_eq!(secret_of(&job, secret::TARGET_URL), None);
    let again = recover(&job.input, &job.inline_secrets, variable);
    assert_eq!(
        again.get(secret::SOURCE_URL).unwrap().expose_secret(),
        secret_of(&job, secret::SOURCE_URL).unwrap()
    );
}

#[test]
fn wrong_jobs_are_told_where_and_what_to_do() {
    for (job, expected) in wrong_jobs().into_iter().chain(wrong_references()) {
        let message = refused(&job);
        assert!(message.contains(expected), "{job}: {message}");
        assert!(!message.contains(PASSWORD), "{message}");
    }
}

fn wrong_jobs() -> Vec<(Value, &'static str)> {
    let source = json!({"url": "sqlite:shop.db"});
    vec![
        (json!({}), "source"),
        (json!([]), "the top level"),
        (json!({"source": {}}), "exactly one of"),
        (
            json!({"source": {"url": "sqlite:a", "url_env": "SOURCE"}}),
            "more than one",
        ),
        (
            json!({"sorce": source, "source": source}),
            "did you mean `source`?",
        ),
        (
            json!({"source": source, "target": {"tabel": "x"}}),
            "did you mean `table`?",
        ),
        (
            json!({"source": {"url": "sqlite:a", "sample_rows": 5000}}),
            "source.sample_rows",
        ),
        (
            json!({"source": source, "embedding": {"dimensions": "768"}}),
            "embedding.dimensions",
        ),
        (
            json!({"source": source, "embedding": {"dimensions": 0}}),
            "embedding.dimensions",
        ),
        (
            json!({"source": source, "execution": {"mode": "docker"}}),
            "execution.mode",
        ),
        (
            json!({"source": source, "target": {"table": "x; drop"}}),
            "target.table",
        ),
    ]
}

fn wrong_references() -> Vec<(Value, &'static str)> {
    let source = json!({"url": "sqlite:shop.db"});
    vec![
        (
            json!({"source": {"url_env": "NOT_SET"}}),
            "`NOT_SET`, which is not set",
        ),
        (
            json!({"source": {"url_file": "/nowhere/at/all"}}),
            "/nowhere/at/all",
        ),
        (
            json!({"source": {"url_file": "/"}}),
            "not a small text file",
        ),
        (
            json!({"source": source, "embedding": {"provider": "openai"}}),
            "OPENAI_API_KEY",
        ),
        (
            json!({"source": source, "embedding": {"base_url": "https://u:p@h/v1"}}),
            "user or a password",
        ),
        (
            json!({"source": source, "embedding": {"base_url": "https://h/v1?key=x"}}),
            "where a key could hide",
        ),
        (
            json!({"source": source, "target": {"url": "sqlite:b"}}),
            "PostgreSQL",
        ),
        (
            json!({"source": source, "target": {"url_env": "TARGET", "url_file": "x"}}),
            "at most one",
        ),
        (
            json!({"source": {"url_env": "TARGET"},
                "target": {"url": "postgres://other@DB.example/vectors"}}),
            "the same database",
        ),
    ]
}

#[test]
fn a_value_in_the_wrong_place_is_not_repeated() {
    for job in [
        json!({"source": {"url": [PASSWORD]}}),
        json!({"source": PASSWORD}),
        json!({"source": {"url": format!("postgres://u:{PASSWORD}@h:port/d")}}),
        json!({"source": {"url": format!("postgres://u:{PASSWORD}@h/d?{PASSWORD}=1&sslkey={PASSWORD}")}}),
        json!({"source": {"url": "sqlite:a"}, "embedding": {"provider": PASSWORD}}),
        json!({"source": {"url": "sqlite:a"}, "target": {"table": PASSWORD.repeat(9)}}),
    ] {
        let message = refused(&job);
        let named = message.matches(PASSWORD).count();
        // A parameter's name is said, its value is not.
        assert!(
            named == 0 || (named == 1 && message.contains("param")),
            "{message}"
        );
    }
}

#[test]
fn the_language_model_is_on_where_a_model_and_a_key_are_there() {
    let enabled = |llm: Value| {
        let job = json!({"source": {"url": "sqlite:shop.db"}, "llm": llm});
        prepare(&job, variable).unwrap().input.llm.enabled
    };
    assert_eq!(enabled(json!({})), Some(false));
    assert_eq!(enabled(json!({"model": "m"})), Some(true));
    assert_eq!(
        enabled(json!({"model": "m", "enabled": false})),
        Some(false)
    );
    assert_eq!(
        enabled(json!({"model": "m", "api_key_env": "NOT_SET"})),
        Some(false)
    );
    assert_eq!(enabled(json!({"enabled": true})), Some(true));
}

#[test]
fn keys_go_to_their_own_provider_only() {
    let key = |embedding: Value| {
        let job = json!({"source": {"url": "sqlite:shop.db"}, "embedding": embedding});
        secret_of(&prepare(&job, variable).unwrap(), secret::EMBEDDING_API_KEY)
    };
    assert_eq!(
        key(json!({"provider": "gemini"})).as_deref(),
        Some("google-key")
    );
    assert_eq!(
        key(json!({"provider": "gemini", "base_url": "http://localhost:1"})),
        None
    );
    assert_eq!(key(json!({"provider": "relvec"})), None);
    let model_key = |llm: Value| {
        let job = json!({"source": {"url": "sqlite:shop.db"}, "llm": llm});
        secret_of(&prepare(&job, variable).unwrap(), secret::LLM_API_KEY)
    };
    assert_eq!(
        model_key(json!({"model": "m"})).as_deref(),
        Some("google-key")
    );
    let elsewhere = json!({"model": "m", "base_url": "http://localhost:1"});
    assert_eq!(model_key(elsewhere), None);
    let openai = json!({"model": "m", "provider": "openai"});
    assert_eq!(model_key(openai), None, "Google's key is not for OpenAI");
    // A key that the job names and that is not set is the stage's to tell: it falls back.
    let unset = json!({"enabled": true, "model": "m", "api_key_env": "NOT_SET"});
    assert_eq!(model_key(unset), None);
}

#[test]
fn a_server_of_ones_own_is_asked_without_a_key() {
    let enabled = |llm: Value| {
        let job = json!({"source": {"url": "sqlite:shop.db"}, "llm": llm});
        prepare(&job, variable).unwrap().input.llm.enabled
    };
    let ollama = json!({"provider": "openai", "model": "llama3.1:8b", "base_url": "http://localhost:11434/v1"});
    assert_eq!(enabled(ollama.clone()), Some(true));
    let mut with_key = ollama;
    with_key["api_key_env"] = "NOT_SET".into();
    assert_eq!(enabled(with_key), Some(false));
}

#[test]
fn overrides_reach_any_depth() {
    let mut job = json!({"source": {"url": "sqlite:shop.db"}});
    for assignment in [
        "execution.mode=simulate",
        "source.sample_rows=5",
        "require_review=true",
        "source.include=[\"a\"]",
        "llm.model=x=y",
    ] {
        set(&mut job, assignment).unwrap();
    }
    assert_eq!(
        job,
        json!({"source": {"url": "sqlite:shop.db", "sample_rows": 5, "include": ["a"]},
               "execution": {"mode": "simulate"}, "require_review": true, "llm": {"model": "x=y"}})
    );
    for wrong in ["execution.mode", "=x", "a..b=1", "require_review.x=1"] {
        assert_eq!(
            set(&mut job, wrong).unwrap_err().kind(),
            ErrorKind::Usage,
            "{wrong}"
        );
    }
}

#[test]
fn equal_requests_have_equal_fingerprints() {
    let print = |job: Value| prepare(&job, variable).unwrap().fingerprint();
    let one =
        print(json!({"source": {"url": "sqlite:a", "include": ["x"]}, "require_review": true}));
    let same =
        print(json!({"require_review": true, "source": {"include": ["x"], "url": "sqlite:a"}}));
    let other =
        print(json!({"source": {"url": "sqlite:a", "include": ["y"]}, "require_review": true}));
    assert_eq!(one, same);
    assert_ne!(one, other);
}
