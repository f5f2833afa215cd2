//! Every stage of the default graph fails in a real run: once, or for good, before its work or after it; and every stage does its work
//! twice. Only the fault is made up: the source, the script in a process, PostgreSQL with pgvector, the run store and `relvec runs`,
//! which goes on with the run, are real.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use relvec::graph::context::Context;
use relvec::graph::handler::{
    Catalog, ErasedHandler, HandlerError, HandlerFuture, HandlerType, Interface, NodeHandler,
    ParamError,
};
use relvec::graph::output::Outputs;
use relvec::handlers;
use relvec::launch::graphs::{GraphSource, at, find};
use relvec::launch::shelf::ReadyGraph;
use relvec::launch::{Control, Launch, Request, prepare};
use relvec::settings::{AccessSettings, LogFormat, RunSettings, Settings};
use relvec::store::{LOCAL, Origin, Store};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::advice::contrary_model;
use crate::mock_api::Mock;
use crate::relvec::{Relvec, STAGES, shop_sql, sqlite, stage};
use crate::services::postgres_url;

/// What a stage does that it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Its first attempt fails, before it did anything or after it did everything.
    Once(Side),
    /// It fails, and says that another attempt would too.
    ForGood(Side),
    /// It does everything twice.
    Twice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Of each run, the stage that is faulty.
static FAULTS: Mutex<BTreeMap<Uuid, (&str, Fault)>> = Mutex::new(BTreeMap::new());

/// A handler with the fault of its run, if that is its stage's.
struct Faulty(Arc<dyn ErasedHandler>);

impl ErasedHandler for Faulty {
    fn interface(&self) -> Interface {
        self.0.interface()
    }

    fn run<'a>(&'a self, outputs: &'a Outputs, ctx: &'a Context) -> HandlerFuture<'a> {
        let faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults.get(&ctx.run_id()).copied();
        let fault = fault.filter(|(stage, _)| *stage == ctx.stage());
        Box::pin(async move {
            let (side, error) = match fault {
                Some((_, Fault::Once(side))) if ctx.attempt() == 1 => {
                    (side, HandlerError::transient(injected(ctx.stage())))
                }
                Some((_, Fault::ForGood(side))) => {
                    (side, HandlerError::permanent(injected(ctx.stage())))
                }
                Some((_, Fault::Twice)) => {
                    // What it says the second time is what counts.
                    let _ = self.0.run(outputs, ctx).await;
                    return self.0.run(outputs, ctx).await;
                }
                Some((_, Fault::Once(_))) | None => return self.0.run(outputs, ctx).await,
            };
            if side == Side::After {
                let _ = self.0.run(outputs, ctx).await;
            }
            Err(error)
        })
    }
}

fn injected(stage: &str) -> String {
    format!("injected into {stage}")
}

const fn faulty<H: NodeHandler>() -> HandlerType {
    let real = HandlerType::of::<H>();
    HandlerType {
        build: build::<H>,
        ..real
    }
}

fn build<H: NodeHandler>(params: Value) -> Result<Arc<dyn ErasedHandler>, ParamError> {
    let real = (HandlerType::of::<H>().build)(params)?;
    Ok(Arc::new(Faulty(real)))
}

static HANDLERS: [HandlerType; 9] = [
    faulty::<handlers::collect_metadata::CollectMetadata>(),
    faulty::<handlers::normalize_schema::NormalizeSchema>(),
    faulty::<handlers::analyzer::Analyzer>(),
    faulty::<handlers::llm_advisor::LlmAdvisor>(),
    faulty::<handlers::code_generator::CodeGenerator>(),
    faulty::<handlers::infra_generator::InfraGenerator>(),
    faulty::<handlers::executor::Executor>(),
    faulty::<handlers::run_validation::RunValidation>(),
    faulty::<handlers::gate_review::GateReview>(),
];

/// One run with a fault, and what there is around it.
struct Case {
    relvec: Relvec,
    stage: &'static str,
    target: String,
    run: Value,
    _embeddings: Mock,
}

impl Case {
    /// Runs the default graph on a shop of its own, with the fault in a stage.
    async fn run(stage: &'static str, fault: Fault) -> Self {
        let relvec = Relvec::new();
        let target = postgres_url().await;
        let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
        let url_file = relvec.path("target.url");
        std::fs::write(&url_file, &target).expect("a file");
        let embeddings = Mock::start();
        let mut job = json!({
            "source": {"url": source},
            "target": {"url_file": url_file},
            "embedding": {"provider": "openai", "base_url": embeddings.base_url(), "model": "mock", "dimensions": crate::mock_api::DIMENSIONS},
            "execution": {"mode": "process", "runtime": "script"},
            "require_review": stage == "gate_review",
        });
        if stage == "llm_advisor" {
            let (url, _) = contrary_model().await;
            job["llm"] = json!({"provider": "openai", "model": "contrary", "base_url": url});
        }
        let launch = launch(&relvec).await;
        let graph = match (stage, fault) {
            ("executor", Fault::Once(_)) => patient(&relvec),
            _ => find("default", launch.settings()),
        };
        let graph = graph.expect("a graph");
        let graph = ReadyGraph::new(graph, &launch).expect("a sound graph");
        let accepted = launch.accept(Request {
            graph: &graph,
            job: prepare(&job, |_| None).expect("a job"),
            tenant: LOCAL,
            origin: Origin::Command,
            idempotency_key: None,
        });
        let accepted = accepted.await.expect("a run");
        FAULTS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(accepted.run_id, (stage, fault));
        let secrets = accepted.secrets.expect("its secrets");
        let control = Control::default();
        let executed = launch.execute(accepted.run_id, secrets, &control, &mut []);
        let run = executed.await.expect("a document");
        Self {
            relvec,
            stage,
            target,
            run: serde_json::to_value(run).expect("JSON"),
            _embeddings: embeddings,
        }
    }

    fn id(&self) -> &str {
        self.run["run_id"].as_str().expect("an id")
    }

    /// Calls `relvec runs` on a run, and takes the document that it prints for the run from now on.
    fn runs(&mut self, verb: &str, rest: &[&str]) -> i32 {
        let arguments = [&["runs", verb, self.id()], rest, &["--format", "json"]].concat();
        let ended = tokio::task::block_in_place(|| self.relvec.call(&arguments));
        self.run = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{}: no document ({error}): {ended:?}", self.stage));
        ended.code
    }

    /// Holds the attempts of every stage against those of a run whose faulty stage made so many.
    fn check_attempts(&self, of_faulty: u64) {
        for id in STAGES {
            let found = stage(&self.run, id);
            let expected = match found["reason"]["code"].as_str() {
                _ if id == self.stage => of_faulty,
                Some("ran" | "error" | "parked") => 1,
                _ => 0,
            };
            assert_eq!(found["attempts"], expected, "{id}: {:#}", self.run);
        }
    }

    /// The stages before the faulty one succeeded, or were not for this job.
    fn check_before(&self) {
        for id in STAGES.iter().take_while(|id| **id != self.stage) {
            let found = stage(&self.run, id);
            let why = &found["reason"]["code"];
            let is_well = found["status"] == "succeeded"
                || (*id == "llm_advisor" && why == "condition_false")
                || (*id == "run_validation" && why == "no_edge_taken");
            assert!(is_well, "{id}: {:#}", self.run);
        }
    }

    /// The run tells of one attempt that failed, that of the faulty stage.
    fn check_retried(&self) {
        let ended = self.relvec.call(&["runs", "events", self.id()]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let events = ended.stdout.lines();
        let events = events.map(|line| serde_json::from_str::<Value>(line).expect("an event"));
        let retried: Vec<Value> = events
            .filter(|event| event["event"] == "stage_retrying")
            .collect();
        assert_eq!(retried.len(), 1, "{ended:?}");
        assert_eq!(retried[0]["stage"], self.stage);
        assert_eq!(retried[0]["error"], injected(self.stage));
    }

    /// A person who is asked accepts; what was not validated on the way is validated then. In the end every document is there, once.
    async fn check_whole(&mut self) {
        if self.run["status"] == "waiting" {
            assert_eq!(stage(&self.run, "gate_review")["status"], "waiting");
            assert_eq!(
                self.runs("answer", &["accept", "approve"]),
                0,
                "{:#}",
                self.run
            );
        }
        assert_eq!(self.run["status"], "succeeded", "{:#}", self.run);
        if self.run["validation_report"].is_null() {
            assert_eq!(self.runs("validate", &[]), 0, "{:#}", self.run);
        }
        let report = &self.run["validation_report"];
        assert_eq!(report["verdict"], "validated", "{:#}", self.run);
        assert_eq!(report["loss_percentage"], 0.0);
        let entities = report["entities"].as_array().expect("entities");
        let rows = |name: &str| -> i64 {
            let rows = entities.iter().filter_map(|entity| entity[name].as_i64());
            rows.sum()
        };
        let mut connection = PgConnection::connect(&self.target).await.expect("a target");
        let (count, distinct): (i64, i64) =
            sqlx::query_as("SELECT count(*), count(DISTINCT id) FROM relvec_documents")
                .fetch_one(&mut connection)
                .await
                .expect("documents");
        assert_eq!(count, distinct);
        assert!(rows("source_rows") > 200, "{report:#}");
        assert!(
            rows("documents") > 0 && count >= rows("documents"),
            "{report:#}"
        );
    }
}

/// relvec as it is, with faulty handlers, on the store that the binary has too.
async fn launch(relvec: &Relvec) -> Launch {
    let settings = Settings {
        home: relvec.home(),
        graphs: PathBuf::from("not-there"),
        python: "python3".to_owned(),
        log: "warn".to_owned(),
        store: None,
        runs: RunSettings::default(),
        log_format: LogFormat::Text,
        otlp_endpoint: None,
        access: AccessSettings::default(),
    };
    let store = Store::open(&settings.store()).await.expect("a store");
    let catalog = Catalog {
        handlers: &HANDLERS,
        ..handlers::CATALOG
    };
    Launch::new(settings, store, catalog, |_| None)
}

/// The default graph, but for what is seen outside the run, which it tries once only: here it may be tried again.
fn patient(relvec: &Relvec) -> relvec::error::Result<GraphSource> {
    let path = relvec.path("patient.toml");
    let text =
        "name = \"patient\"\nextends = \"default\"\n[stages.executor]\nretry = { attempts = 2 }\n";
    std::fs::write(&path, text).expect("a graph");
    at(&path)
}

/// Every stage with a fault that comes before its work; those whose work is seen outside the run also with one after it.
fn each(fault: fn(Side) -> Fault) -> impl Iterator<Item = (&'static str, Fault)> {
    let after = [
        "code_generator",
        "executor",
        "run_validation",
        "gate_review",
    ];
    let before = STAGES.map(|stage| (stage, fault(Side::Before)));
    before
        .into_iter()
        .chain(after.map(|stage| (stage, fault(Side::After))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_fails_once_is_tried_again_and_nothing_is_lost() {
    for (stage, fault) in each(Fault::Once) {
        let mut case = Case::run(stage, fault).await;
        case.check_attempts(2);
        case.check_retried();
        case.check_before();
        case.check_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_fails_for_good_is_blamed_and_a_retry_from_it_finishes_the_run() {
    for (id, fault) in each(Fault::ForGood) {
        let mut case = Case::run(id, fault).await;
        case.check_attempts(1);
        case.check_before();
        let blamed = stage(&case.run, id);
        assert_eq!(blamed["reason"]["class"], "permanent", "{:#}", case.run);
        assert_eq!(blamed["reason"]["error"], injected(id), "{:#}", case.run);
        match id {
            // The plan stands without advice.
            "llm_advisor" => {
                assert_eq!(blamed["status"], "skipped");
                assert_eq!(case.run["status"], "succeeded", "{:#}", case.run);
                assert_eq!(case.run["validation_report"]["verdict"], "validated");
            }
            // A person is asked.
            "executor" => {
                assert_eq!(blamed["status"], "failed");
                assert_eq!(case.run["status"], "waiting", "{:#}", case.run);
                assert_eq!(case.runs("answer", &["accept", "reject"]), 1);
                assert_eq!(stage(&case.run, id)["reason"]["error"], injected(id));
            }
            _ => {
                assert_eq!(blamed["status"], "failed");
                check_ended_by(&case.run, id);
            }
        }
        let failed = case.id().to_owned();
        let code = case.runs("retry", &["--from", id]);
        let expected = if id == "gate_review" { 3 } else { 0 };
        assert_eq!(code, expected, "{:#}", case.run);
        assert_eq!(case.run["retry_of"], failed);
        for before in STAGES.iter().take_while(|before| **before != id) {
            let taken_over = stage(&case.run, before);
            if taken_over["status"] == "succeeded" {
                assert_eq!(
                    taken_over["reason"]["code"], "reused",
                    "{before}: {:#}",
                    case.run
                );
            }
        }
        case.check_whole().await;
    }
}

/// The run failed because of a stage, and says so everywhere.
fn check_ended_by(run: &Value, id: &str) {
    assert_eq!(run["status"], "failed", "{run:#}");
    let error = format!("stage `{id}` failed: {}", injected(id));
    assert_eq!(run["error"], error, "{run:#}");
    for after in STAGES.iter().skip_while(|after| **after != id).skip(1) {
        let left = stage(run, after);
        assert_eq!(left["status"], "cancelled", "{after}: {run:#}");
        assert_eq!(left["reason"]["stage"], id, "{after}: {run:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_that_works_twice_changes_nothing() {
    for id in STAGES {
        let mut case = Case::run(id, Fault::Twice).await;
        case.check_attempts(1);
        case.check_before();
        if id == "executor" {
            let migration = &case.run["execution_report"]["migration"];
            for entity in migration["entities"].as_array().expect("entities") {
                assert_eq!(entity["embedded"], 0, "{entity}");
            }
        }
        case.check_whole().await;
    }
}
