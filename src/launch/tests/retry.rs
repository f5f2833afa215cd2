use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::{inline_job, launch, mend, referring_job, variable};
use crate::error::{Error, ErrorKind};
use crate::graph::event::{Event, Reason, RunStatus, StageStatus};
use crate::launch::retry::{Refusal, Retried, RetryRequest, Wanted};
use crate::launch::{Control, Launch, graphs, prepare};
use crate::model::run::RunDocument;
use crate::store::{LOCAL, Origin};

const SPINE: &str = "[[edges]]\nchain = [\"look\", \"fragile\", \"last\"]\n[stages.last]\nhandler = \"gate\"\n[stages.fragile]\nretry = { attempts = 1 }\n";

fn write_graph(home: &TempDir, rest: &str) {
    let folder = home.path().join("graphs");
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("name = \"small\"\ninput = \"job\"\n{rest}");
    std::fs::write(folder.join("small.toml"), text).unwrap();
}

/// A launcher whose graph `small` is a file of the folder.
async fn with_graph(rest: &str) -> (TempDir, Launch) {
    let home = tempfile::tempdir().unwrap();
    write_graph(&home, rest);
    let launch = launch(home.path()).await;
    (home, launch)
}

async fn start(launch: &Launch, job: &Value) -> RunDocument {
    let graph = graphs::named("small", launch.settings()).unwrap();
    let job = prepare(job, variable).unwrap();
    launch
        .start(&graph, job, &Control::default(), &mut [])
        .await
        .unwrap()
}

fn request(run_id: Uuid, wanted: Wanted) -> RetryRequest<'static> {
    RetryRequest {
        run_id,
        wanted,
        accept_drift: false,
        tenant: LOCAL,
        origin: Origin::Command,
        idempotency_key: None,
    }
}

async fn execute(launch: &Launch, retried: Retried) -> RunDocument {
    let secrets = retried.accepted.secrets.unwrap();
    launch
        .execute(
            retried.accepted.run_id,
            secrets,
            &Control::default(),
            &mut [],
        )
        .await
        .unwrap()
}

async fn retry(launch: &Launch, run_id: Uuid, wanted: Wanted) -> RunDocument {
    let retried = launch.accept_retry(request(run_id, wanted)).await.unwrap();
    assert_eq!(retried.notes, [""; 0]);
    execute(launch, retried).await
}

async fn refused(launch: &Launch, request: RetryRequest<'_>) -> Error {
    match launch.accept_retry(request).await {
        Err(Refusal::Error(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn from(stages: &[&str]) -> Wanted {
    Wanted::From(stages.iter().map(ToString::to_string).collect())
}

fn only(stages: &[&str]) -> Wanted {
    Wanted::Only(stages.iter().map(ToString::to_string).collect())
}

/// The run's status and those of its stages with the codes of their reasons.
fn summary(run: &RunDocument) -> String {
    let stages: Vec<String> = run
        .stages
        .iter()
        .map(|stage| {
            let code = stage.reason.as_ref().map_or("-", Reason::code);
            format!("{} {} {code}", stage.id, stage.status.name())
        })
        .collect();
    format!("{:?}: {}", run.status, stages.join(", "))
}

/// The stages that began in a run.
async fn started(launch: &Launch, run_id: Uuid) -> Vec<String> {
    let history = launch.store().history(run_id).await.unwrap().into_iter();
    history
        .filter_map(|(_, event)| match event {
            Event::StageStarted { stage, .. } => Some(stage.to_string()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_retry_does_what_is_left_and_takes_over_the_rest() {
    let (_home, launch) = with_graph(SPINE).await;
    let failed = start(&launch, &referring_job()).await;
    assert_eq!(
        summary(&failed),
        "Failed: look succeeded ran, fragile failed error, last cancelled run_ended"
    );
    mend(&launch);
    let run = retry(&launch, failed.run_id, Wanted::Failed).await;
    assert_eq!(
        summary(&run),
        "Waiting: look succeeded reused, fragile succeeded ran, last waiting parked"
    );
    assert_eq!(run.retry_of, Some(failed.run_id));
    assert_eq!(started(&launch, run.run_id).await, ["fragile", "last"]);
    assert_eq!(
        run.stages[0].reason,
        Some(Reason::Reused {
            run_id: failed.run_id
        })
    );
    assert_eq!(run.validation_report, failed.validation_report);
    let names: Vec<&str> = run
        .generated_artifacts
        .iter()
        .map(|file| file.name.as_str())
        .collect();
    assert_eq!(names, ["fragile.txt", "note.txt"]);
    let note = launch.settings().artifacts(run.run_id).join("note.txt");
    assert_eq!(std::fs::read(note).unwrap(), b"a note");
    // What was is not touched.
    assert_eq!(
        launch.store().document(failed.run_id).await.unwrap(),
        failed
    );
    // The new run explains itself without the old one.
    let look = launch.explain(run.run_id, "look").await.unwrap();
    assert_eq!(look.status, StageStatus::Succeeded);
    assert_eq!(json!(look.reason)["run_id"], json!(failed.run_id));
    assert_eq!(look.artifacts[0].name, "note.txt");
    let fragile = launch.explain(run.run_id, "fragile").await.unwrap();
    assert!(fragile.in_edges[0].decision.as_ref().unwrap().taken);
    assert_eq!(fragile.attempts.len(), 1);
}

#[tokio::test]
async fn a_retry_of_a_retry_names_the_run_in_which_a_stage_ran() {
    let (_home, launch) = with_graph(SPINE).await;
    let first = start(&launch, &referring_job()).await;
    let second = retry(&launch, first.run_id, Wanted::Failed).await;
    assert_eq!(second.status, RunStatus::Failed);
    mend(&launch);
    let third = retry(&launch, second.run_id, Wanted::Failed).await;
    assert_eq!(third.retry_of, Some(second.run_id));
    let reused = Reason::Reused {
        run_id: first.run_id,
    };
    assert_eq!(third.stages[0].reason, Some(reused));
}

#[tokio::test]
async fn a_retry_begins_at_a_stage_or_repeats_one_alone() {
    let (_home, launch) = with_graph(SPINE).await;
    let failed = start(&launch, &referring_job()).await;
    mend(&launch);
    let whole = retry(&launch, failed.run_id, from(&["look"])).await;
    assert_eq!(
        started(&launch, whole.run_id).await,
        ["look", "fragile", "last"]
    );
    // `last` never ended, so that there is nothing to take over: it is left out.
    let alone = retry(&launch, failed.run_id, only(&["fragile"])).await;
    assert_eq!(
        summary(&alone),
        "Succeeded: look succeeded reused, fragile succeeded ran, last skipped disabled"
    );
    assert_eq!(json!(alone.stages[2].reason)["by"], "retry");
    assert_eq!(started(&launch, alone.run_id).await, ["fragile"]);
    // What comes behind the stage that is repeated keeps what it had.
    let again = retry(&launch, alone.run_id, only(&["look"])).await;
    assert_eq!(
        summary(&again),
        "Succeeded: look succeeded ran, fragile succeeded reused, last skipped disabled"
    );
    assert_eq!(started(&launch, again.run_id).await, ["look"]);
    let resting = refused(&launch, request(alone.run_id, Wanted::Failed)).await;
    assert_eq!(resting.kind(), ErrorKind::Conflict);
    assert!(resting.hints()[0].contains("--from"), "{resting:?}");
}

#[tokio::test]
async fn a_stage_whose_file_is_not_what_it_was_runs_again() {
    let (_home, launch) = with_graph(SPINE).await;
    let failed = start(&launch, &referring_job()).await;
    mend(&launch);
    let note = launch.settings().artifacts(failed.run_id).join("note.txt");
    for problem in ["was changed", "cannot be read"] {
        if problem == "was changed" {
            std::fs::write(&note, "another note").unwrap();
        } else {
            std::fs::remove_file(&note).unwrap();
        }
        let alone = refused(&launch, request(failed.run_id, only(&["fragile"]))).await;
        assert_eq!(alone.kind(), ErrorKind::Conflict);
        let wanted = request(failed.run_id, Wanted::Failed);
        let retried = launch.accept_retry(wanted).await.unwrap();
        assert!(retried.notes[0].contains(problem), "{:?}", retried.notes);
        let run = execute(&launch, retried).await;
        assert_eq!(
            started(&launch, run.run_id).await,
            ["look", "fragile", "last"]
        );
        let log = launch.store().logs(run.run_id, Some("look"), 0, 10).await;
        let log = log.unwrap();
        assert!(log[0].line.contains(problem), "{log:?}");
        let file = launch.settings().artifacts(run.run_id).join("note.txt");
        assert_eq!(std::fs::read(file).unwrap(), b"a note");
    }
}

#[tokio::test]
async fn a_run_that_is_not_over_is_not_retried_until_it_is_cancelled() {
    let rest = "[[edges]]\nchain = [\"look\", \"gate\", \"fragile\"]\n";
    let (_home, launch) = with_graph(rest).await;
    let waiting = start(&launch, &referring_job()).await;
    assert_eq!(waiting.status, RunStatus::Waiting);
    let error = refused(&launch, request(waiting.run_id, Wanted::Failed)).await;
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("waits for answers"), "{error}");
    launch.cancel(waiting.run_id).await.unwrap();
    launch.cancel(waiting.run_id).await.unwrap();
    let cancelled = launch.store().document(waiting.run_id).await.unwrap();
    assert_eq!(
        summary(&cancelled),
        "Cancelled: look succeeded ran, gate cancelled run_ended, fragile cancelled run_ended"
    );
    let run = retry(&launch, waiting.run_id, Wanted::Failed).await;
    assert_eq!(started(&launch, run.run_id).await, ["gate"]);
    assert_eq!(run.open_questions.len(), 1);
}

#[tokio::test]
async fn an_abandoned_run_can_be_cancelled_and_one_that_is_executed_cannot() {
    let (_home, launch) = with_graph(SPINE).await;
    let failed = start(&launch, &referring_job()).await;
    mend(&launch);
    let retried = launch
        .accept_retry(request(failed.run_id, Wanted::Failed))
        .await
        .unwrap();
    let run_id = retried.accepted.run_id;
    // As a process leaves it that was killed.
    launch.store().claim(run_id).await.unwrap();
    let folder = launch.settings().artifacts(run_id);
    let held = std::fs::File::create(folder.join(".run.lock")).unwrap();
    held.lock().unwrap();
    let error = launch.cancel(run_id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("another process"), "{error}");
    drop(held);
    launch.cancel(run_id).await.unwrap();
    let cancelled = launch.store().document(run_id).await.unwrap();
    assert_eq!(cancelled.status, RunStatus::Cancelled);
    let run = retry(&launch, run_id, Wanted::Failed).await;
    assert_eq!(started(&launch, run.run_id).await, ["fragile", "last"]);
}

#[tokio::test]
async fn answers_to_questions_of_what_is_taken_over_are_kept() {
    let rest = "[[edges]]\nchain = [\"look\", \"gate\", \"fragile\"]\n";
    let (_home, launch) = with_graph(rest).await;
    let waiting = start(&launch, &referring_job()).await;
    let store = launch.store();
    store
        .answer(waiting.run_id, "accept", "approve", "ann")
        .await
        .unwrap();
    let failed = launch
        .resume(waiting.run_id, &Control::default(), &mut [])
        .await
        .unwrap();
    assert_eq!(failed.status, RunStatus::Failed);
    mend(&launch);
    let run = retry(&launch, failed.run_id, Wanted::Failed).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    let stored = store.load(run.run_id).await.unwrap();
    assert_eq!(stored.answers["accept"].by, "ann");
    assert_eq!(stored.questions.len(), 1);
    // A gate that runs again asks again.
    let run = retry(&launch, failed.run_id, from(&["gate"])).await;
    assert_eq!(run.status, RunStatus::Waiting);
    assert_eq!(run.open_questions[0].id, "accept");
}

#[tokio::test]
async fn a_graph_that_means_something_else_is_refused_or_accepted() {
    let (home, launch) = with_graph(SPINE).await;
    let failed = start(&launch, &referring_job()).await;
    mend(&launch);
    // Other words for the same are no drift.
    write_graph(&home, &format!("# the same\n{SPINE}disabled = false\n"));
    let same = retry(&launch, failed.run_id, Wanted::Failed).await;
    assert_eq!(started(&launch, same.run_id).await, ["fragile", "last"]);

    let other = SPINE.replace(
        "[stages.last]",
        "[stages.look]\ntimeout = \"1m\"\n[stages.last]",
    );
    write_graph(&home, &other);
    let refusal = launch
        .accept_retry(request(failed.run_id, Wanted::Failed))
        .await
        .unwrap_err();
    let Refusal::Drift(error, diff) = refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(diff.stages[0].stage, "look");
    let accepted = |wanted| RetryRequest {
        accept_drift: true,
        ..request(failed.run_id, wanted)
    };
    // What changed runs again, although it ended well.
    let retried = launch.accept_retry(accepted(Wanted::Failed)).await.unwrap();
    let run = execute(&launch, retried).await;
    assert_eq!(
        started(&launch, run.run_id).await,
        ["look", "fragile", "last"]
    );
    let text = launch.store().load(run.run_id).await.unwrap().graph_text;
    assert!(text.contains("timeout = \"1m\""), "{text}");
    let alone = refused(&launch, accepted(only(&["fragile"]))).await;
    assert_eq!(alone.kind(), ErrorKind::Conflict);

    // A stage behind what failed: everything before it is taken over.
    write_graph(
        &home,
        &SPINE.replace("handler = \"gate\"", "handler = \"fragile\""),
    );
    let retried = launch.accept_retry(accepted(Wanted::Failed)).await.unwrap();
    let run = execute(&launch, retried).await;
    assert_eq!(
        summary(&run),
        "Succeeded: look succeeded reused, fragile succeeded ran, last succeeded ran"
    );

    write_graph(&home, "[stages.gate]\nhandler = \"gat\"\n");
    let error = refused(&launch, accepted(Wanted::Failed)).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);

    std::fs::remove_file(home.path().join("graphs/small.toml")).unwrap();
    let retried = launch
        .accept_retry(request(failed.run_id, Wanted::Failed))
        .await
        .unwrap();
    assert!(
        retried.notes[0].contains("not there any more"),
        "{:?}",
        retried.notes
    );
    let run = execute(&launch, retried).await;
    assert_eq!(started(&launch, run.run_id).await, ["fragile", "last"]);
}

#[tokio::test]
async fn an_edge_that_changed_is_decided_again_with_its_else() {
    let edges = |condition: &str| {
        format!(
            "edges = [{{ from = \"look\", to = \"fragile\", when = \"{condition}\" }}, {{ from = \"look\", to = \"last\", else = true }}]\n\
             [stages.last]\nhandler = \"gate\"\n[stages.fragile]\nretry = {{ attempts = 1 }}\n"
        )
    };
    let (home, launch) = with_graph(&edges("!job.require_review")).await;
    let failed = start(&launch, &referring_job()).await;
    assert_eq!(failed.status, RunStatus::Failed);
    write_graph(&home, &edges("job.require_review"));
    let retried = launch
        .accept_retry(RetryRequest {
            accept_drift: true,
            ..request(failed.run_id, Wanted::Failed)
        })
        .await
        .unwrap();
    let run = execute(&launch, retried).await;
    assert_eq!(
        summary(&run),
        "Waiting: look succeeded reused, fragile not_taken no_edge_taken, last waiting parked"
    );
    // No edge led to it: repeating it would pass it by again.
    launch.cancel(run.run_id).await.unwrap();
    for wanted in [from(&["fragile"]), only(&["fragile"])] {
        let error = refused(&launch, request(run.run_id, wanted)).await;
        assert!(error.to_string().contains("no edge led to"), "{error}");
    }
}

#[tokio::test]
async fn a_graph_that_was_given_by_its_path_is_looked_up_there() {
    let (home, launch) = with_graph(SPINE).await;
    let path = home.path().join("mine.toml");
    let text = format!("name = \"mine\"\ninput = \"job\"\n{SPINE}");
    std::fs::write(&path, &text).unwrap();
    let graph = graphs::find(path.to_str().unwrap(), launch.settings()).unwrap();
    let job = prepare(&referring_job(), variable).unwrap();
    let failed = launch
        .start(&graph, job, &Control::default(), &mut [])
        .await
        .unwrap();
    let stored = launch.store().load(failed.run_id).await.unwrap();
    assert_eq!(stored.graph_path.as_deref(), path.to_str());
    std::fs::write(&path, text.replace("attempts = 1", "attempts = 2")).unwrap();
    let drift = launch
        .accept_retry(request(failed.run_id, Wanted::Failed))
        .await;
    assert!(matches!(drift, Err(Refusal::Drift(..))), "{drift:?}");
}

#[tokio::test]
async fn a_key_names_one_retry() {
    let (_home, launch) = with_graph(SPINE).await;
    let failed = start(&launch, &referring_job()).await;
    let keyed = |wanted| RetryRequest {
        idempotency_key: Some("k"),
        ..request(failed.run_id, wanted)
    };
    let first = launch.accept_retry(keyed(Wanted::Failed)).await.unwrap();
    let again = launch.accept_retry(keyed(Wanted::Failed)).await.unwrap();
    assert_eq!(again.accepted.run_id, first.accepted.run_id);
    assert!(again.accepted.secrets.is_none());
    let other = refused(&launch, keyed(from(&["look"]))).await;
    assert_eq!(other.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_password_that_is_gone_is_missed_only_where_it_is_needed() {
    let (_home, launch) = with_graph(SPINE).await;
    let failed = start(&launch, &inline_job()).await;
    mend(&launch);
    let run = retry(&launch, failed.run_id, Wanted::Failed).await;
    assert_eq!(run.stages[1].status, StageStatus::Succeeded);
    let run = retry(&launch, failed.run_id, from(&["look"])).await;
    assert_eq!(run.stages[0].status, StageStatus::Failed);
}

/// The deadline has what earlier executions took less, and not what people took, and no clock that somebody sets has a say.
#[tokio::test]
async fn the_deadline_of_a_run_counts_all_its_executions() {
    for (worked, clock, status) in [
        (50.0, "0 seconds", RunStatus::Succeeded),
        (70.0, "0 seconds", RunStatus::Failed),
        (50.0, "-1 days", RunStatus::Succeeded),
        (70.0, "+1 days", RunStatus::Failed),
    ] {
        let rest = "deadline = \"1m\"\n[[edges]]\nchain = [\"look\", \"gate\"]\n";
        let (_home, launch) = with_graph(rest).await;
        let run_id = start(&launch, &referring_job()).await.run_id;
        let spent = launch.store().load(run_id).await.unwrap().spent;
        assert!(!spent.is_zero() && spent < std::time::Duration::from_secs(30));
        let mut options = sqlx::sqlite::SqliteConnectOptions::new();
        options = options.filename(launch.settings().home.join("runs.db"));
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query("UPDATE runs SET worked = worked + ?")
            .bind(worked)
            .execute(&pool)
            .await
            .unwrap();
        sqlx::query("UPDATE events SET at = strftime('%Y-%m-%dT%H:%M:%fZ', at, ?)")
            .bind(clock)
            .execute(&pool)
            .await
            .unwrap();
        let store = launch.store();
        store
            .answer(run_id, "accept", "approve", "ann")
            .await
            .unwrap();
        let run = launch
            .resume(run_id, &Control::default(), &mut [])
            .await
            .unwrap();
        assert_eq!(run.status, status, "{worked} {clock}: {:?}", run.error);
    }
}
