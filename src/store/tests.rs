use serde_json::json;

use super::*;
use crate::graph::event::{Artifact, Event, Question, Reason, StageStatus};
use crate::graph::output::Kind;

async fn store(folder: &Path) -> Store {
    Store::open(&folder.join("runs.db")).await.unwrap()
}

fn new_run<'a>(id: Uuid, key: Option<&'a str>, fingerprint: &'a str) -> NewRun<'a> {
    NewRun {
        id,
        origin: Origin::Gateway,
        graph: "small",
        graph_text: "name = \"small\"",
        graph_path: None,
        job: &Value::Null,
        inline_secrets: &[],
        fingerprint,
        idempotency_key: key,
        adopted: None,
    }
}

async fn begun(store: &Store) -> Uuid {
    let id = Uuid::now_v7();
    assert_eq!(
        store.create(&new_run(id, None, "f")).await.unwrap(),
        Created::New
    );
    store.claim(id).await.unwrap();
    let started = Event::RunStarted {
        run_id: id,
        graph: "small".to_owned(),
        stages: vec!["a".into(), "b".into()],
    };
    store.record(id, &[started]).await.unwrap();
    id
}

fn finished(stage: &str, status: StageStatus, reason: Reason) -> Event {
    Event::StageFinished {
        stage: stage.into(),
        status,
        reason,
        attempts: 1,
        seconds: 0.5,
        kind: Some(Kind::new("raw_metadata")),
        output: Some(std::sync::Arc::new(json!({"rows": ["a row of the user"]}))),
    }
}

fn ended(status: RunStatus) -> Event {
    Event::RunFinished {
        status,
        error: None,
        seconds: 1.0,
    }
}

#[tokio::test]
async fn outputs_are_kept_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let id = begun(&store).await;
    store
        .record(id, &[finished("a", StageStatus::Succeeded, Reason::Ran)])
        .await
        .unwrap();
    let stored = store.load(id).await.unwrap();
    assert_eq!(
        stored.stages[0].output,
        Some(json!({"rows": ["a row of the user"]}))
    );
    let shown = serde_json::to_string(&store.document(id).await.unwrap()).unwrap();
    assert!(!shown.contains("a row"), "{shown}");
    for event in store.events(id, 0, 100).await.unwrap() {
        assert!(!event.event.contains("a row"), "{}", event.event);
    }
}

#[tokio::test]
async fn the_end_of_a_run_is_the_last_word() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    for status in [
        RunStatus::Succeeded,
        RunStatus::Failed,
        RunStatus::Cancelled,
    ] {
        let id = begun(&store).await;
        store.record(id, &[ended(status)]).await.unwrap();
        let before = store.document(id).await.unwrap();
        store
            .record(
                id,
                &[
                    finished("a", StageStatus::Failed, Reason::Ran),
                    ended(RunStatus::Failed),
                ],
            )
            .await
            .unwrap();
        store.fail(id, "late").await.unwrap();
        store.requeue(id).await.unwrap();
        assert_eq!(
            store.claim(id).await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        assert_eq!(store.document(id).await.unwrap(), before);
        let forced = sqlx::query("UPDATE runs SET status = 'running' WHERE id = ?")
            .bind(id.to_string())
            .execute(&store.pool)
            .await;
        assert!(forced.unwrap_err().to_string().contains("the run is over"));
    }
}

#[tokio::test]
async fn a_batch_is_recorded_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let id = begun(&store).await;
    let before = store.events(id, 0, 100).await.unwrap().len();
    let size = Artifact {
        name: "x".to_owned(),
        bytes: u64::MAX,
        sha256: String::new(),
    };
    let unwritable = Event::ArtifactWritten {
        stage: "a".into(),
        artifact: size,
    };
    let batch = [
        finished("a", StageStatus::Succeeded, Reason::Ran),
        unwritable,
    ];
    store.record(id, &batch).await.unwrap_err();
    assert_eq!(store.events(id, 0, 100).await.unwrap().len(), before);
    assert_eq!(
        store.document(id).await.unwrap().stages[0].status,
        StageStatus::Pending
    );
}

#[tokio::test]
async fn a_second_execution_keeps_what_the_first_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path()).await;
    let id = begun(&first).await;
    let question = Question {
        id: "q".to_owned(),
        stage: "b".to_owned(),
        text: "?".to_owned(),
        choices: vec!["yes".to_owned()],
        default: None,
        expires_at: None,
        blocking: true,
    };
    let parked = Reason::Parked {
        message: "?".to_owned(),
    };
    first
        .record(
            id,
            &[
                finished("a", StageStatus::Succeeded, Reason::Ran),
                Event::QuestionAsked {
                    question: question.clone(),
                },
                finished("b", StageStatus::Waiting, parked),
                Event::RunFinished {
                    status: RunStatus::Waiting,
                    error: Some("b waits".to_owned()),
                    seconds: 1.0,
                },
            ],
        )
        .await
        .unwrap();
    drop(first);

    let second = store(folder.path()).await;
    assert!(second.answer(id, "q", "yes", "ann").await.unwrap());
    let queued = second.document(id).await.unwrap();
    assert_eq!((queued.status, queued.error), (RunStatus::Queued, None));
    assert_eq!(second.unfinished(Origin::Gateway).await.unwrap(), [id]);
    assert!(second.unfinished(Origin::Command).await.unwrap().is_empty());
    second.claim(id).await.unwrap();
    let started = Event::RunStarted {
        run_id: id,
        graph: "small".to_owned(),
        stages: vec!["a".into(), "b".into()],
    };
    second
        .record(
            id,
            &[
                started,
                finished("a", StageStatus::Succeeded, Reason::Recorded),
            ],
        )
        .await
        .unwrap();
    let run = second.load(id).await.unwrap();
    assert_eq!(run.stages[0].document.reason, Some(Reason::Ran));
    assert_eq!(run.stages[1].document.status, StageStatus::Pending);
    assert_eq!(run.answers["q"].by, "ann");
    assert_eq!(run.questions, [question]);
}

#[tokio::test]
async fn a_key_names_one_request() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let [first, second] = [Uuid::now_v7(), Uuid::now_v7()];
    assert_eq!(
        store.create(&new_run(first, Some("k"), "f")).await.unwrap(),
        Created::New
    );
    assert_eq!(
        store
            .create(&new_run(second, Some("k"), "f"))
            .await
            .unwrap(),
        Created::Before(first)
    );
    let other = store
        .create(&new_run(second, Some("k"), "g"))
        .await
        .unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);
    assert_eq!(
        store
            .create(&new_run(second, Some("l"), "f"))
            .await
            .unwrap(),
        Created::New
    );
    assert_eq!(
        store.status(Uuid::nil()).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_newer_store_and_another_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let newer = store(folder.path()).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .execute(&newer.pool)
    .await
    .unwrap();
    let error = Store::open(&folder.path().join("runs.db"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("newer relvec"), "{error}");
    let other = folder.path().join("other.db");
    std::fs::write(
        &other,
        "not a database, but long enough to have a header ".repeat(40),
    )
    .unwrap();
    let error = Store::open(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn what_is_committed_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let pragma = async |name: &'static str| -> String {
        let (value,): (String,) = sqlx::query_as(name).fetch_one(&store.pool).await.unwrap();
        value
    };
    assert_eq!(
        pragma("SELECT journal_mode FROM pragma_journal_mode").await,
        "wal"
    );
    assert_eq!(
        pragma("SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous").await,
        "2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_start_together_share_a_new_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let opening = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { Store::open(&path).await })
    });
    for opened in futures::future::join_all(opening).await {
        opened.unwrap().unwrap();
    }
}
