use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;
use crate::graph::event::{Artifact, Event, Question, Reason, StageStatus};
use crate::graph::output::Kind;

async fn open(path: &Path) -> Result<Store> {
    Store::open(&StorePlace::File(path.to_owned())).await
}

pub(super) async fn store(folder: &Path) -> Store {
    open(&folder.join("runs.db")).await.unwrap()
}

/// A connection behind the store's back.
async fn raw(folder: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.join("runs.db"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

pub(super) fn new_run<'a>(id: Uuid, key: Option<&'a str>, fingerprint: &'a str) -> NewRun<'a> {
    NewRun {
        id,
        created_at: "2026-01-31T12:00:00.000Z",
        tenant: LOCAL,
        origin: Origin::Gateway,
        graph: "small",
        graph_text: "name = \"small\"",
        graph_path: None,
        job: "null",
        inline_secrets: &[],
        held: false,
        fingerprint,
        idempotency_key: key,
        adopted: None,
    }
}

async fn record(store: &Store, claim: Claim, events: &[Event]) -> Result<()> {
    store.record(claim, events.to_vec(), Vec::new(), None).await
}

async fn begun(store: &Store) -> Claim {
    let id = Uuid::now_v7();
    assert_eq!(
        store.create(&new_run(id, None, "f")).await.unwrap(),
        Created::New
    );
    let claim = store.claim(id).await.unwrap();
    record(store, claim, &[started(id)]).await.unwrap();
    claim
}

fn started(run_id: Uuid) -> Event {
    Event::RunStarted {
        run_id,
        graph: "small".to_owned(),
        stages: vec!["a".into(), "b".into()],
    }
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
    let claim = begun(&store).await;
    let id = claim.run_id;
    let ran = finished("a", StageStatus::Succeeded, Reason::Ran);
    record(&store, claim, &[ran]).await.unwrap();
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
    let mut raw = raw(folder.path()).await;
    for status in [
        RunStatus::Succeeded,
        RunStatus::Failed,
        RunStatus::Cancelled,
    ] {
        let claim = begun(&store).await;
        let id = claim.run_id;
        record(&store, claim, &[ended(status)]).await.unwrap();
        let before = store.document(id).await.unwrap();
        let events = store.events(id, 0, 100).await.unwrap().len();
        let late = [
            finished("a", StageStatus::Failed, Reason::Ran),
            ended(RunStatus::Failed),
        ];
        let error = record(&store, claim, &late).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        store.fail(claim, "late").await.unwrap_err();
        store.requeue(claim).await.unwrap();
        assert_eq!(
            store.claim(id).await.unwrap_err().kind(),
            ErrorKind::Conflict
        );
        assert_eq!(store.extend(claim).await.unwrap(), Held::Lost);
        assert_eq!(store.document(id).await.unwrap(), before);
        assert_eq!(store.events(id, 0, 100).await.unwrap().len(), events);
        let forced = sqlx::query("UPDATE runs SET status = 'running' WHERE id = ?")
            .bind(id.to_string())
            .execute(&mut raw)
            .await;
        assert!(forced.unwrap_err().to_string().contains("the run is over"));
    }
}

#[tokio::test]
async fn what_an_earlier_execution_records_hits_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let first = begun(&store).await;
    let id = first.run_id;
    let second = store.claim(id).await.unwrap();
    assert_eq!(second.epoch, first.epoch + 1);
    let before = store.document(id).await.unwrap();
    let late = finished("a", StageStatus::Succeeded, Reason::Ran);
    let error = record(&store, first, &[late]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    store.fail(first, "late").await.unwrap_err();
    store.requeue(first).await.unwrap();
    assert_eq!(store.extend(first).await.unwrap(), Held::Lost);
    assert_eq!(store.document(id).await.unwrap(), before);
    // The one that has the run now gets on.
    assert_eq!(store.extend(second).await.unwrap(), Held::Yes);
    let ran = finished("a", StageStatus::Succeeded, Reason::Ran);
    record(&store, second, &[ran, ended(RunStatus::Succeeded)])
        .await
        .unwrap();
    assert_eq!(store.status(id).await.unwrap(), RunStatus::Succeeded);
}

#[tokio::test]
async fn a_batch_is_recorded_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let claim = begun(&store).await;
    let id = claim.run_id;
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
    let ran = finished("a", StageStatus::Succeeded, Reason::Ran);
    record(&store, claim, &[ran.clone(), unwritable])
        .await
        .unwrap_err();
    assert_eq!(store.events(id, 0, 100).await.unwrap().len(), before);
    assert_eq!(
        store.document(id).await.unwrap().stages[0].status,
        StageStatus::Pending
    );
    // What comes later has no gap in its numbers.
    record(&store, claim, &[ran]).await.unwrap();
    let events = store.events(id, 0, 100).await.unwrap();
    let numbers: Vec<i64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn a_second_execution_keeps_what_the_first_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path()).await;
    let claim = begun(&first).await;
    let id = claim.run_id;
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
    let asked = Event::QuestionAsked {
        question: question.clone(),
    };
    let waits = Event::RunFinished {
        status: RunStatus::Waiting,
        error: Some("b waits".to_owned()),
        seconds: 1.0,
    };
    let events = vec![
        finished("a", StageStatus::Succeeded, Reason::Ran),
        asked,
        finished("b", StageStatus::Waiting, parked),
        waits,
    ];
    first
        .record(claim, events, Vec::new(), Some(1.5))
        .await
        .unwrap();
    drop(first);

    let second = store(folder.path()).await;
    assert!(second.answer(id, "q", "yes", "ann").await.unwrap());
    let queued = second.document(id).await.unwrap();
    assert_eq!((queued.status, queued.error), (RunStatus::Queued, None));
    let candidates = second.candidates(Among::Queued, &[], 10).await.unwrap();
    assert_eq!(candidates, [(id, "small".to_owned())]);
    let full = ["small".to_owned()];
    let candidates = second.candidates(Among::Queued, &full, 10).await.unwrap();
    assert!(candidates.is_empty());
    let claim = second.claim(id).await.unwrap();
    let recorded = finished("a", StageStatus::Succeeded, Reason::Recorded);
    record(&second, claim, &[started(id), recorded])
        .await
        .unwrap();
    let run = second.load(id).await.unwrap();
    assert_eq!(run.stages[0].document.reason, Some(Reason::Ran));
    assert_eq!(run.stages[1].document.status, StageStatus::Pending);
    assert_eq!(run.answers["q"].by, "ann");
    assert_eq!(run.questions, [question]);
    assert_eq!(run.spent, std::time::Duration::from_millis(1500));
}

#[tokio::test]
async fn a_key_names_one_request_of_a_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let ids: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    let create = |id: usize, tenant: &'static str, key: &'static str, fingerprint: &'static str| {
        let run = NewRun {
            tenant,
            ..new_run(ids[id], Some(key), fingerprint)
        };
        let store = store.clone();
        async move { store.create(&run).await }
    };
    assert_eq!(create(0, "a", "k", "f").await.unwrap(), Created::New);
    assert_eq!(
        create(1, "a", "k", "f").await.unwrap(),
        Created::Before(ids[0])
    );
    let other = create(1, "a", "k", "g").await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);
    assert_eq!(create(2, "a", "l", "f").await.unwrap(), Created::New);
    assert_eq!(create(3, "b", "k", "g").await.unwrap(), Created::New);
    store.run_of("a", ids[0]).await.unwrap();
    for (tenant, id) in [("b", ids[0]), ("a", ids[3]), ("a", Uuid::nil())] {
        let error = store.run_of(tenant, id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let listed = |runs: Vec<crate::model::run::RunSummary>| -> Vec<Uuid> {
        runs.into_iter().map(|run| run.run_id).collect()
    };
    let of_a = store.list(Some("a"), 10, None).await.unwrap();
    assert_eq!(listed(of_a), [ids[2], ids[0]]);
    let all = store.list(None, 10, Some(ids[3])).await.unwrap();
    assert_eq!(listed(all), [ids[2], ids[0]]);
}

#[tokio::test]
async fn a_newer_store_and_another_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(store(folder.path()).await);
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', TRUE, x'00', 0)",
    )
    .execute(&mut raw(folder.path()).await)
    .await
    .unwrap();
    let error = open(&folder.path().join("runs.db")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("newer relvec"), "{error}");
    let other = folder.path().join("other.db");
    std::fs::write(
        &other,
        "not a database, but long enough to have a header ".repeat(40),
    )
    .unwrap();
    let error = open(&other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn a_flipped_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let whole = store(folder.path()).await;
    for _ in 0..50 {
        begun(&whole).await;
    }
    whole.check().await.unwrap();
    // All of it into the file itself.
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut raw(folder.path()).await)
        .await
        .unwrap();
    let Backend::Sqlite { readers, .. } = &whole.backend else {
        panic!("it is a file");
    };
    readers.close().await;
    drop(whole);
    let (root,): (i64,) =
        sqlx::query_as("SELECT rootpage FROM sqlite_schema WHERE name = 'runs_by_status'")
            .fetch_one(&mut raw(folder.path()).await)
            .await
            .unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // How many cells a page of the index has, which its header says in bytes 3 and 4.
    let at = usize::try_from(root - 1).unwrap() * 4096 + 4;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let damaged = open(&path).await.unwrap();
    let error = damaged.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn what_is_committed_is_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let pragmas = store.write("look", |c| {
        Box::pin(async move {
            let mut values = Vec::new();
            for pragma in [
                "SELECT journal_mode FROM pragma_journal_mode",
                "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous",
                "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys",
            ] {
                let value: Option<(String,)> = query(pragma).optional(c).await?;
                values.extend(value.map(|(value,)| value));
            }
            Ok(values)
        })
    });
    assert_eq!(pragmas.await.unwrap(), ["wal", "2", "1"]);
}

#[tokio::test]
async fn work_that_is_refused_leaves_the_others_of_its_transaction_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let works = (0..40).map(|number| {
        store.write("add a run", move |c| {
            Box::pin(async move {
                let id = Uuid::now_v7();
                let insert = "INSERT INTO removed (run_id, removed_at) VALUES ($1, $2)";
                query(insert).bind(id).bind(1_i64).execute(c).await?;
                match number % 4 {
                    // Refused by a rule of the table, by what it reads, or by a value.
                    0 => drop(query(insert).bind(id).bind(1_i64).execute(c).await?),
                    1 => return Err(damaged("a number that was not expected").into()),
                    2 => {
                        let text: Option<(i64,)> = query("SELECT 'text'").optional(c).await?;
                        assert!(text.is_none(), "it is no number");
                    }
                    _ => {}
                }
                Ok(id.to_string())
            })
        })
    });
    let done = futures::future::join_all(works).await;
    let mut kept: Vec<String> = done.into_iter().filter_map(Result::ok).collect();
    assert_eq!(kept.len(), 10);
    kept.sort();
    let asked = query("SELECT run_id FROM removed ORDER BY run_id");
    let there: Vec<(String,)> = store.all("look", asked).await.unwrap();
    let there: Vec<String> = there.into_iter().map(|(id,)| id).collect();
    assert_eq!(there, kept);
}

#[tokio::test]
async fn kinds_are_the_tags_of_the_events() {
    let id = Uuid::now_v7();
    let events = [
        started(id),
        finished("a", StageStatus::Succeeded, Reason::Ran),
        ended(RunStatus::Succeeded),
        Event::StageLog {
            stage: "a".into(),
            level: crate::graph::event::LogLevel::Info,
            line: "x".to_owned(),
        },
        Event::StageProgress {
            stage: "a".into(),
            progress: crate::graph::event::Progress {
                done: 1,
                total: None,
                unit: "rows".to_owned(),
            },
        },
        Event::EdgeDecided {
            decision: crate::graph::event::EdgeDecision {
                from: "a".into(),
                to: "b".into(),
                taken: true,
                outcome: StageStatus::Succeeded,
                because: crate::graph::event::EdgeReason::Unconditional,
            },
        },
    ];
    for event in events {
        let tag = serde_json::to_value(&event).unwrap()["event"].clone();
        assert_eq!(tag, record::kind_and_stage(&event).0);
    }
}

#[tokio::test]
async fn what_is_kept_no_longer_goes_and_nothing_else() {
    use crate::settings::{Keep, Kept};
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let mut over = Vec::new();
    for _ in 0..5 {
        let claim = begun(&store).await;
        let log = Event::StageLog {
            stage: "a".into(),
            level: crate::graph::event::LogLevel::Info,
            line: "x".to_owned(),
        };
        record(&store, claim, &[log, ended(RunStatus::Succeeded)])
            .await
            .unwrap();
        over.push(claim.run_id);
    }
    let open = begun(&store).await.run_id;
    assert_eq!(store.prune(&Keep::default()).await.unwrap(), 0);
    let two = Kept {
        runs: Some(2),
        age: None,
    };
    let keep = Keep {
        events: two,
        artifacts: two,
        ..Keep::default()
    };
    assert_eq!(store.prune(&keep).await.unwrap(), 6);
    assert_eq!(store.prune(&keep).await.unwrap(), 0, "once is enough");
    for (number, id) in over.iter().enumerate() {
        let lines = store.logs(*id, None, 0, 10).await.unwrap();
        assert_eq!(lines.len(), usize::from(number >= 3));
        assert_eq!(store.history(*id).await.unwrap().len(), 2);
    }
    assert_eq!(store.removed().await.unwrap(), over[..3]);
    sqlx::query("UPDATE runs SET finished_at = '2000-01-01T00:00:00Z' WHERE id = ?")
        .bind(over[4].to_string())
        .execute(&mut raw(folder.path()).await)
        .await
        .unwrap();
    let of_a_day = Kept {
        runs: None,
        age: Some(std::time::Duration::from_hours(24)),
    };
    let nothing = Kept {
        runs: Some(0),
        age: None,
    };
    for (kept, gone) in [(of_a_day, 1), (nothing, 4)] {
        let keep = Keep {
            runs: kept,
            ..Keep::default()
        };
        assert_eq!(store.prune(&keep).await.unwrap(), gone);
    }
    let left = store.list(None, 10, None).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].run_id, open);
    store.forget_removed().await.unwrap();
    assert!(store.removed().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_start_together_share_a_new_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let opening = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { open(&path).await })
    });
    for opened in futures::future::join_all(opening).await {
        opened.unwrap().unwrap();
    }
}

/// A store of the version before owners comes along with all that it holds.
#[tokio::test]
async fn a_store_of_before_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("runs.db"))
        .create_if_missing(true)
        .foreign_keys(false);
    let mut old = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::migrate!("src/store/migrations/sqlite")
        .run_to(2, &mut old)
        .await
        .unwrap();
    let id = Uuid::now_v7();
    let log = json!({"event": "stage_log", "stage": "a", "level": "info", "line": "x"});
    let question = json!({"id": "q", "stage": "a", "text": "?", "choices": ["yes", "no"], "default": "yes",
                          "expires_at": "2026-01-01T00:00:00Z", "blocking": true});
    let rows = format!(
        "INSERT INTO runs (id, origin, graph, graph_text, graph_sha256, job, inline_secrets, status, created_at, fingerprint,
                           idempotency_key)
         VALUES ('{id}', 'gateway', 'small', 'name = \"small\"', '', 'null', '[]', 'waiting', '2026-01-01T00:00:00Z', 'f', 'k');
         INSERT INTO stages (run_id, id, position, status) VALUES ('{id}', 'a', 0, 'waiting');
         INSERT INTO events (run_id, seq, at, event) VALUES ('{id}', 1, '2026-01-01T00:00:00Z', '{log}');
         INSERT INTO questions (run_id, id, position, question) VALUES ('{id}', 'q', 0, '{question}');"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows))
        .execute(&mut old)
        .await
        .unwrap();
    old.close().await.unwrap();

    let store = store(folder.path()).await;
    store.run_of(LOCAL, id).await.unwrap();
    let document = store.document(id).await.unwrap();
    assert_eq!(document.stages[0].id, "a");
    assert_eq!(document.open_questions[0].id, "q");
    let lines = store.logs(id, Some("a"), 0, 10).await.unwrap();
    assert_eq!(lines[0].line, "x");
    let overdue = store.overdue(Origin::Gateway).await.unwrap();
    assert_eq!(overdue, [(id, "q".to_owned(), "yes".to_owned())]);
    let before = store.before(LOCAL, Some("k"), "f").await.unwrap();
    assert_eq!(before, Some(id));
    let late = store.answer(id, "q", "no", "ann").await.unwrap_err();
    assert!(late.to_string().contains("is over"), "{late}");
    assert!(store.answer(id, "q", "yes", "ann").await.unwrap());
    let claim = store.claim(id).await.unwrap();
    record(&store, claim, &[started(id)]).await.unwrap();
    let events = store.events(id, 0, 10).await.unwrap();
    assert_eq!(events.last().unwrap().seq, 2, "numbers go on");
}
