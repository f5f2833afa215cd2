//! Small handlers and graphs, for this module's tests and the gateway's.

mod job;
mod retry;
mod run;

use std::path::Path;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Launch;
use super::graphs::{GraphOrigin, GraphSource};
use crate::graph::context::Context;
use crate::graph::event::{LogLevel, Question};
use crate::graph::handler::{HandlerError, HandlerType, NoParams, NodeHandler, ParamError};
use crate::handlers::gate_review::GateReview;
use crate::model::gate::GateDecision;
use crate::model::job::{JobInput, secret};
use crate::model::validation::{ValidationReport, Verdict};
use crate::settings::{LogFormat, RunSettings, Settings};
use crate::store::Store;

/// A job whose password is easy to look for.
pub(crate) const PASSWORD: &str = "hunter2secret";

pub(crate) static HANDLERS: &[HandlerType] = &[
    HandlerType::of::<Look>(),
    HandlerType::of::<Gate>(),
    HandlerType::of::<Endless>(),
    HandlerType::of::<Fragile>(),
    HandlerType::of::<Chatty>(),
    HandlerType::of::<GateReview>(),
];

/// Says `validated`, or what its parameter says, if the job's secret reached it.
struct Look(Verdict);

#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct LookParams {
    #[serde(default)]
    mismatched: bool,
}

impl NodeHandler for Look {
    const NAME: &'static str = "look";
    const SUMMARY: &'static str = "looks";
    type Params = LookParams;
    type Input = JobInput;
    type Output = ValidationReport;

    fn new(params: LookParams) -> Result<Self, ParamError> {
        Ok(Self(if params.mismatched {
            Verdict::Mismatched
        } else {
            Verdict::Validated
        }))
    }

    async fn run(&self, _: JobInput, ctx: &Context) -> Result<ValidationReport, HandlerError> {
        let url = ctx
            .secret(secret::SOURCE_URL)
            .ok_or_else(|| HandlerError::permanent("no source"))?;
        let whole = url.expose_secret().contains(PASSWORD);
        ctx.log(LogLevel::Info, format!("the password is there: {whole}"));
        ctx.progress(1, Some(1), "tables");
        ctx.write_artifact("note.txt", b"a note")?;
        let report = ValidationReport {
            verdict: self.0,
            reason: "looked".to_owned(),
            loss_percentage: None,
            source_read_at: None,
            checks: Vec::new(),
            entities: Vec::new(),
            vectors: None,
        };
        match self.0 {
            Verdict::Mismatched => {
                Err(HandlerError::permanent("they differ").with_evidence(&report))
            }
            Verdict::Validated | Verdict::Unverified => Ok(report),
        }
    }
}

/// Parks the run until `accept` is answered.
struct Gate;

impl NodeHandler for Gate {
    const NAME: &'static str = "gate";
    const SUMMARY: &'static str = "waits";
    type Params = NoParams;
    type Input = Option<ValidationReport>;
    type Output = GateDecision;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        _: Option<ValidationReport>,
        ctx: &Context,
    ) -> Result<GateDecision, HandlerError> {
        ctx.ask(Question {
            id: "accept".to_owned(),
            stage: String::new(),
            text: "accept it?".to_owned(),
            choices: vec!["approve".to_owned(), "reject".to_owned()],
            default: None,
            expires_at: None,
            blocking: true,
        });
        match ctx.answer("accept") {
            None => Err(HandlerError::parked("a person's decision")),
            Some(answer) if answer.choice == "approve" => Ok(GateDecision {
                approved: true,
                by: answer.by.clone(),
                at: answer.at.clone(),
            }),
            Some(answer) => Err(HandlerError::permanent(format!(
                "rejected by {}",
                answer.by
            ))),
        }
    }
}

/// Needs the source's URL, and runs until it is told to stop.
struct Endless;

impl NodeHandler for Endless {
    const NAME: &'static str = "endless";
    const SUMMARY: &'static str = "never ends";
    type Params = NoParams;
    type Input = Option<ValidationReport>;
    type Output = GateDecision;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        _: Option<ValidationReport>,
        ctx: &Context,
    ) -> Result<GateDecision, HandlerError> {
        ctx.need_secret(secret::SOURCE_URL)?;
        ctx.cancellation().cancelled().await;
        Err(HandlerError::permanent("stopped"))
    }
}

/// Writes many lines, with a breath now and then.
struct Chatty;

impl NodeHandler for Chatty {
    const NAME: &'static str = "chatty";
    const SUMMARY: &'static str = "writes lines";
    type Params = NoParams;
    type Input = Option<ValidationReport>;
    type Output = GateDecision;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        _: Option<ValidationReport>,
        ctx: &Context,
    ) -> Result<GateDecision, HandlerError> {
        for number in 0..600 {
            ctx.log(LogLevel::Info, format!("line {number}"));
            if number % 20 == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        Ok(GateDecision {
            approved: true,
            by: "nobody".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
        })
    }
}

/// Fails until somebody mends it: [`mend`] puts a file into the folder that outlives runs.
struct Fragile;

const MENDED: &str = "mended";

pub(crate) fn mend(launch: &Launch) {
    let cache = launch.settings().cache();
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::write(cache.join(MENDED), "").unwrap();
}

impl NodeHandler for Fragile {
    const NAME: &'static str = "fragile";
    const SUMMARY: &'static str = "fails until it is mended";
    type Params = NoParams;
    type Input = Option<ValidationReport>;
    type Output = GateDecision;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        _: Option<ValidationReport>,
        ctx: &Context,
    ) -> Result<GateDecision, HandlerError> {
        ctx.write_artifact("fragile.txt", b"a try")?;
        if !ctx.cache().join(MENDED).exists() {
            return Err(HandlerError::permanent("it is broken"));
        }
        Ok(GateDecision {
            approved: true,
            by: "nobody".to_owned(),
            at: "2026-01-01T00:00:00Z".to_owned(),
        })
    }
}

/// The environment of the tests' jobs.
pub(crate) fn variable(name: &str) -> Option<String> {
    match name {
        "SOURCE" => Some(format!("postgres://reader:{PASSWORD}@db.example:5432/shop")),
        "TARGET" => Some(format!(
            "postgres://writer:{PASSWORD}@db.example:5432/vectors"
        )),
        "GOOGLE_API_KEY" => Some("google-key".to_owned()),
        _ => None,
    }
}

pub(crate) fn settings(home: &Path) -> Settings {
    Settings {
        home: home.join("home"),
        graphs: home.join("graphs"),
        python: "python3".to_owned(),
        log: "off".to_owned(),
        store: None,
        runs: RunSettings::default(),
        log_format: LogFormat::Text,
        otlp_endpoint: None,
        access: crate::settings::AccessSettings::default(),
    }
}

pub(crate) async fn launch(home: &Path) -> Launch {
    let settings = settings(home);
    let store = Store::open(&settings.store()).await.unwrap();
    Launch::new(settings, store, HANDLERS.into(), variable)
}

/// A chain of stages, each named like its handler.
pub(crate) fn chain(name: &str, stages: &[&str]) -> GraphSource {
    let stages = stages
        .iter()
        .map(|stage| format!("\"{stage}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let edges = if stages.contains(',') {
        format!("[[edges]]\nchain = [{stages}]\n")
    } else {
        format!("[stages.{}]\n", stages.trim_matches('"'))
    };
    graph(name, &edges)
}

pub(crate) fn graph(name: &str, rest: &str) -> GraphSource {
    GraphSource {
        name: name.to_owned(),
        path: format!("{name}.toml"),
        bytes: format!("name = \"{name}\"\ninput = \"job\"\n{rest}").into_bytes(),
        origin: GraphOrigin::File,
    }
}

/// A job with its password in the URL.
pub(crate) fn inline_job() -> Value {
    json!({"source": {"url": format!("postgres://reader:{PASSWORD}@db.example/shop")}})
}

/// A job whose secrets can be had again.
pub(crate) fn referring_job() -> Value {
    json!({"source": {"url_env": "SOURCE"}})
}
