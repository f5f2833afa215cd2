use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;

use super::{PASSWORD, chain, graph, inline_job, launch, referring_job, variable};
use crate::error::ErrorKind;
use crate::graph::event::{Event, Reason, RunStatus, StageStatus};
use crate::launch::shelf::ReadyGraph;
use crate::launch::{Control, Launch, Request, prepare};
use crate::model::run::RunDocument;
use crate::report::Report;
use crate::store::{LOCAL, Origin};

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Event>>>);

impl Report for Seen {
    fn event(&mut self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

async fn started(launch: &Launch, stages: &[&str], job: &Value) -> RunDocument {
    let job = prepare(job, variable).unwrap();
    let graph = chain("small", stages);
    launch
        .start(&graph, job, &Control::default(), &mut [])
        .await
        .unwrap()
}

fn statuses(document: &RunDocument) -> Vec<(&str, StageStatus)> {
    document
        .stages
        .iter()
        .map(|stage| (stage.id.as_str(), stage.status))
        .collect()
}

fn secrets_are_nowhere(home: &TempDir) {
    for entry in std::fs::read_dir(home.path().join("home")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(PASSWORD), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_run_goes_from_job_to_document() {
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    let seen = Seen::default();
    let job = prepare(&inline_job(), variable).unwrap();
    let document = launch
        .start(
            &chain("small", &["look"]),
            job,
            &Control::default(),
            &mut [Box::new(seen.clone())],
        )
        .await
        .unwrap();
    assert_eq!(document.status, RunStatus::Succeeded, "{document:?}");
    assert_eq!(document.exit_code(), 0);
    assert_eq!(statuses(&document), [("look", StageStatus::Succeeded)]);
    assert_eq!(document.stages[0].reason, Some(Reason::Ran));
    assert_eq!(document.generated_artifacts[0].name, "note.txt");
    assert_eq!(
        document.validation_report.as_ref().unwrap().reason,
        "looked"
    );
    assert!(document.finished_at.is_some());
    let events = seen.0.lock().unwrap().clone();
    assert!(matches!(events.first(), Some(Event::RunStarted { .. })));
    assert!(matches!(events.last(), Some(Event::RunFinished { .. })));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::StageLog { line, .. } if line.ends_with("true")))
    );
    let stored = launch
        .store()
        .events(document.run_id, 0, 1000)
        .await
        .unwrap();
    assert_eq!(stored.len(), events.len());
    assert!(
        stored
            .iter()
            .all(|event| !event.event.contains("\"verdict\""))
    );
    secrets_are_nowhere(&home);
}

#[tokio::test]
async fn a_mismatch_has_its_own_exit_code() {
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    let job = prepare(&inline_job(), variable).unwrap();
    let graph = graph("small", "[stages.look]\nwith = { mismatched = true }\n");
    let document = launch
        .start(&graph, job, &Control::default(), &mut [])
        .await
        .unwrap();
    assert_eq!(document.status, RunStatus::Failed);
    assert_eq!(document.exit_code(), 4);
    assert!(document.error.unwrap().contains("they differ"));
}

#[tokio::test]
async fn a_waiting_run_goes_on_after_its_answer() {
    let home = tempfile::tempdir().unwrap();
    let first = launch(home.path()).await;
    let parked = started(&first, &["look", "gate"], &referring_job()).await;
    assert_eq!(parked.status, RunStatus::Waiting);
    assert_eq!(parked.exit_code(), 3);
    assert_eq!(parked.open_questions[0].id, "accept");
    let run_id = parked.run_id;
    drop(first);

    let later = launch(home.path()).await;
    let store = later.store();
    let before = later
        .resume(run_id, &Control::default(), &mut [])
        .await
        .unwrap_err();
    assert_eq!(before.kind(), ErrorKind::Waiting);
    for (question, choice, kind) in [
        ("other", "approve", ErrorKind::NotFound),
        ("accept", "perhaps", ErrorKind::Invalid),
    ] {
        let error = store
            .answer(run_id, question, choice, "ann")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    assert!(
        store
            .answer(run_id, "accept", "approve", "ann")
            .await
            .unwrap()
    );
    assert!(
        !store
            .answer(run_id, "accept", "approve", "ann")
            .await
            .unwrap()
    );
    let other = store
        .answer(run_id, "accept", "reject", "bob")
        .await
        .unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);

    let document = later
        .resume(run_id, &Control::default(), &mut [])
        .await
        .unwrap();
    assert_eq!(document.status, RunStatus::Succeeded, "{document:?}");
    assert!(document.open_questions.is_empty());
    let looks = later.store().events(run_id, 0, 1000).await.unwrap();
    let looks = looks
        .iter()
        .filter(|event| event.event.contains("stage_started") && event.event.contains("\"look\""))
        .count();
    assert_eq!(looks, 1, "a recorded stage is not run again");
    assert_eq!(document.stages[0].reason, Some(Reason::Ran));
}

#[tokio::test]
async fn a_rejection_fails_the_run() {
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    let run_id = started(&launch, &["look", "gate"], &referring_job())
        .await
        .run_id;
    launch
        .store()
        .answer(run_id, "accept", "reject", "ann")
        .await
        .unwrap();
    let document = launch
        .resume(run_id, &Control::default(), &mut [])
        .await
        .unwrap();
    assert_eq!(document.exit_code(), 1);
    assert!(document.error.unwrap().contains("rejected by ann"));
    let late = launch
        .store()
        .answer(run_id, "accept", "approve", "bob")
        .await
        .unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_password_that_is_gone_fails_the_stage_that_needs_it_and_no_other() {
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    for (stages, status) in [
        (&["look", "gate"][..], RunStatus::Succeeded),
        (&["look", "gate", "endless"], RunStatus::Failed),
    ] {
        let run_id = started(&launch, stages, &inline_job()).await.run_id;
        launch
            .store()
            .answer(run_id, "accept", "approve", "ann")
            .await
            .unwrap();
        let document = launch
            .resume(run_id, &Control::default(), &mut [])
            .await
            .unwrap();
        assert_eq!(document.status, status, "{document:?}");
        if status == RunStatus::Failed {
            let error = document.error.unwrap();
            assert!(error.contains("kept in memory only"), "{error}");
            assert!(error.contains("source.url_env"), "{error}");
        }
    }
}

/// Cancels or interrupts a run once its second stage runs.
struct Stop(Control, fn(&Control));

impl Report for Stop {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::StageStarted { stage, .. } if &**stage == "endless") {
            self.1(&self.0);
        }
    }
}

async fn stopped(launch: &Launch, stop: fn(&Control)) -> RunDocument {
    let job = prepare(&referring_job(), variable).unwrap();
    let control = Control::default();
    let mut reports: [Box<dyn Report>; 1] = [Box::new(Stop(control.clone(), stop))];
    launch
        .start(
            &chain("small", &["look", "endless"]),
            job,
            &control,
            &mut reports,
        )
        .await
        .unwrap()
}

#[tokio::test]
async fn a_cancelled_run_is_over() {
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    let document = stopped(&launch, Control::cancel).await;
    assert_eq!(document.status, RunStatus::Cancelled, "{document:?}");
    let again = launch
        .resume(document.run_id, &Control::default(), &mut [])
        .await
        .unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_interrupted_run_is_queued_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    let document = stopped(&launch, Control::interrupt).await;
    assert_eq!(document.status, RunStatus::Queued, "{document:?}");
    let control = Control::default();
    let mut reports: [Box<dyn Report>; 1] = [Box::new(Stop(control.clone(), Control::cancel))];
    let document = launch
        .resume(document.run_id, &control, &mut reports)
        .await
        .unwrap();
    assert_eq!(
        statuses(&document),
        [
            ("look", StageStatus::Succeeded),
            ("endless", StageStatus::Cancelled)
        ]
    );
    assert_eq!(document.stages[0].attempts, 1);
}

#[tokio::test]
async fn two_owners_of_a_run_are_one_too_many() {
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    let job = prepare(&referring_job(), variable).unwrap();
    let graph = ReadyGraph::new(chain("small", &["look"]), &launch).unwrap();
    let request = Request {
        graph: &graph,
        job,
        tenant: LOCAL,
        origin: Origin::Command,
        idempotency_key: None,
    };
    let accepted = launch.accept(request).await.unwrap();
    let folder = launch.settings().artifacts(accepted.run_id);
    std::fs::create_dir_all(&folder).unwrap();
    let held = std::fs::File::create(folder.join(".run.lock")).unwrap();
    held.lock().unwrap();
    let error = launch
        .resume(accepted.run_id, &Control::default(), &mut [])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    drop(held);
    let document = launch
        .resume(accepted.run_id, &Control::default(), &mut [])
        .await
        .unwrap();
    assert_eq!(document.status, RunStatus::Succeeded);
}

#[tokio::test]
async fn a_graph_with_defects_makes_no_run() {
    let home = tempfile::tempdir().unwrap();
    let launch = launch(home.path()).await;
    let job = prepare(&referring_job(), variable).unwrap();
    let graph = chain("small", &["look", "gat"]);
    let error = launch
        .start(&graph, job, &Control::default(), &mut [])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        launch
            .store()
            .list(None, 10, None)
            .await
            .unwrap()
            .is_empty()
    );
}
