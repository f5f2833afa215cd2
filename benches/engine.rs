//! The engine alone: handlers do nothing, events are drawn, conditions and reasons are on. Time is of a whole run.
//!
//! Shapes: a chain of n; a fan (one stage, n after it, one that joins them); dense, 100 layers of 10 with every stage of a layer
//! before every stage of the next; and the shape of `graphs/default.toml`. Planning is measured beside running.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use relvec::graph::context::{Context, RunEnvironment, Secrets};
use relvec::graph::event::RunStatus;
use relvec::graph::handler::{HandlerError, HandlerType, NoParams, NodeHandler, ParamError};
use relvec::graph::output::{Kind, Output};
use relvec::graph::plan::Plan;
use relvec::graph::result::RunInput;
use relvec::graph::run::Run;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Nothing {
    verdict: String,
}

impl Output for Nothing {
    const KIND: Kind = Kind::new("nothing");
}

struct Noop;

impl NodeHandler for Noop {
    const NAME: &'static str = "noop";
    const SUMMARY: &'static str = "does nothing";
    type Params = NoParams;
    type Input = ();
    type Output = Nothing;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(&self, (): (), _: &Context) -> Result<Nothing, HandlerError> {
        Ok(Nothing {
            verdict: "validated".to_owned(),
        })
    }
}

static HANDLERS: &[HandlerType] = &[HandlerType::of::<Noop>()];

/// A graph's text with the number of its stages.
struct Shape {
    name: String,
    stages: usize,
    text: String,
}

impl Shape {
    fn new(name: String, edges: &str, ids: &[String]) -> Self {
        let mut text = format!("name = \"bench\"\ninput = \"job\"\n{edges}\n");
        for id in ids {
            let _ = writeln!(text, "[stages.{id}]\nhandler = \"noop\"");
        }
        let stages = ids.len();
        Self { name, stages, text }
    }
}

fn chain(count: usize) -> Shape {
    let ids: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
    let edges = format!("edges = [{{ chain = [{}] }}]", quoted(&ids));
    Shape::new(format!("chain {count}"), &edges, &ids)
}

fn fan(count: usize) -> Shape {
    let mut ids = vec!["first".to_owned(), "last".to_owned()];
    let mut edges = String::from("edges = [\n");
    for n in 0..count {
        let _ = writeln!(edges, "{{ chain = [\"first\", \"s{n}\", \"last\"] }},");
        ids.push(format!("s{n}"));
    }
    edges.push(']');
    Shape::new(format!("fan {count}"), &edges, &ids)
}

fn dense(layers: usize, width: usize) -> Shape {
    let id = |layer: usize, n: usize| format!("l{layer}x{n}");
    let mut ids = Vec::new();
    let mut edges = String::from("edges = [\n");
    for layer in 0..layers {
        for n in 0..width {
            ids.push(id(layer, n));
            if layer + 1 < layers {
                for to in 0..width {
                    let _ = write!(
                        edges,
                        "{{chain=[\"{}\",\"{}\"]}},",
                        id(layer, n),
                        id(layer + 1, to)
                    );
                }
            }
        }
    }
    edges.push(']');
    Shape::new(format!("dense {layers}x{width}"), &edges, &ids)
}

/// The default graph with every stage a no-op: its edges and conditions are those of the file.
fn default_shape() -> Shape {
    let ids = [
        "collect_metadata",
        "normalize_schema",
        "analyzer",
        "llm_advisor",
        "code_generator",
        "infra_generator",
        "executor",
        "run_validation",
        "gate_review",
    ];
    let mut text = String::from(include_str!("../graphs/default.toml"));
    for id in ids {
        let table = format!("[stages.{id}]");
        text = text.replace(&table, &format!("{table}\nhandler = \"noop\""));
    }
    Shape {
        name: "default 9".to_owned(),
        stages: ids.len(),
        text,
    }
}

fn quoted(ids: &[String]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    quoted.join(", ")
}

fn plan(shape: &Shape) -> Plan {
    match Plan::parse("bench.toml", shape.text.as_bytes(), HANDLERS) {
        Ok(plan) => plan,
        Err(found) => panic!("{}", found.render(false)),
    }
}

fn input() -> RunInput {
    RunInput {
        job: json!({"llm": {"enabled": false}, "require_review": false}),
        environment: RunEnvironment {
            run_id: Uuid::nil(),
            secrets: Secrets::default(),
            answers: BTreeMap::new(),
            artifacts: PathBuf::new(),
            cache: PathBuf::new(),
            cancel: CancellationToken::new(),
        },
        recorded: Vec::new(),
        questions: Vec::new(),
        spent: Duration::ZERO,
    }
}

async fn execute(plan: Arc<Plan>, input: RunInput) {
    let mut run = Run::start(plan, input);
    while let Some(event) = run.next_event().await {
        black_box(&event);
    }
    let result = run.into_result();
    assert_eq!(result.status, RunStatus::Succeeded, "{:?}", result.error);
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
}

fn shapes() -> Vec<Shape> {
    vec![
        chain(10),
        chain(100),
        chain(1000),
        fan(100),
        fan(1000),
        dense(100, 10),
        default_shape(),
    ]
}

fn running(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("run");
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(3));
    group.sample_size(20);
    let runtime = runtime();
    for shape in shapes() {
        let plan = Arc::new(plan(&shape));
        group.throughput(Throughput::Elements(shape.stages as u64));
        group.bench_function(BenchmarkId::from_parameter(&shape.name), |bencher| {
            bencher.iter(|| runtime.block_on(execute(Arc::clone(&plan), input())));
        });
    }
    group.finish();
}

fn planning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(3));
    group.sample_size(20);
    for shape in shapes() {
        group.throughput(Throughput::Elements(shape.stages as u64));
        group.bench_function(BenchmarkId::from_parameter(&shape.name), |bencher| {
            bencher.iter(|| black_box(plan(&shape)));
        });
    }
    group.finish();
}

/// What a chain costs at the least on this machine: a task a stage, spawned and awaited one after the other.
fn floor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor");
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(3));
    group.sample_size(20);
    let runtime = runtime();
    group.throughput(Throughput::Elements(1000));
    group.bench_function("spawned tasks 1000", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                for stage in 0..1000 {
                    let task = tokio::spawn(async move { black_box(stage) });
                    black_box(task.await.expect("a task"));
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, floor, running, planning);
criterion_main!(benches);
