//! `cargo bench --bench engine`: the engine alone. Handlers do nothing, events are drawn, conditions and reasons are on.
//!
//! Beside ours run the engines written in Rust, in the same process on the same runtimes: one thread, and two workers. Time is of
//! a whole run; what a run needs before it (a plan, a wired graph) is made outside it. Arguments are criterion's, so
//! `cargo bench --bench engine -- 'chain 1000'` measures less. The tables at the end are of what was measured.

mod anchor_dagrs;
mod anchor_dagx;
mod anchor_graph_flow;
mod figures;
mod ours;
mod shapes;

use std::cell::RefCell;
use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use tokio::runtime::{Builder, Runtime, RuntimeFlavor};
use tokio::task::block_in_place;

use figures::{Figures, OURS};
use ours::Planner;
use shapes::Shape;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let figures = Figures::default();
    let one = Builder::new_current_thread().enable_time().build();
    let two = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build();
    let runtimes = [
        ("one thread", one.expect("a runtime")),
        ("two workers", two.expect("a runtime")),
    ];
    for (name, runtime) in &runtimes {
        engines(&mut criterion, &figures, name, runtime);
    }
    growth(&mut criterion, &figures, &runtimes[0].1);
    planning(&mut criterion, &figures);
    criterion.final_summary();
    println!("{}", figures.text());
    let path = figures.write().expect("the target folder can be written");
    println!("figures: {}", path.display());
}

/// Every shape on every engine.
fn engines(criterion: &mut Criterion, figures: &Figures, table: &str, runtime: &Runtime) {
    let mut bench = Bench::new(criterion, figures, table, runtime);
    for shape in shapes::all() {
        let plan = Arc::new(Planner::new(&shape).plan());
        let prepare = || (Arc::clone(&plan), ours::input());
        bench.run(&shape, OURS, prepare, |(plan, input)| {
            ours::execute(plan, input)
        });
        guarded(&mut bench, &shape);
        bench.run(
            &shape,
            "dagx",
            || anchor_dagx::prepare(&shape),
            anchor_dagx::execute,
        );
        bench.run(
            &shape,
            "dagrs",
            || anchor_dagrs::prepare(&shape),
            anchor_dagrs::execute,
        );
        let graph = anchor_graph_flow::graph(&shape);
        let prepare = || anchor_graph_flow::prepare(&graph);
        bench.run(&shape, "graph-flow", prepare, anchor_graph_flow::execute);
    }
    floor(&mut bench);
    let shape = shapes::guarded(1000);
    let plan = Arc::new(Planner::new(&shape).plan());
    let prepare = || (Arc::clone(&plan), ours::input());
    bench.run(&shape, OURS, prepare, |(plan, input)| {
        ours::execute(plan, input)
    });
}

/// The same with handlers that may block: where there are several workers, the thread of each is given up to it.
fn guarded(bench: &mut Bench, shape: &Shape) {
    if bench.runtime.handle().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return;
    }
    let plan = Arc::new(Planner::new(shape).guarded().plan());
    let prepare = || (Arc::clone(&plan), ours::input());
    bench.run(shape, "relvec, may block", prepare, |(plan, input)| {
        ours::execute(plan, input)
    });
}

/// What a chain costs at the least on this machine: a task a stage, spawned and awaited one after the other. And what it costs to
/// let other threads go on with what the task's thread leaves, as relvec's engine does for handlers that may block.
fn floor(bench: &mut Bench) {
    let spawn = |()| async {
        for stage in 0..1000 {
            let task = tokio::spawn(async move { black_box(stage) });
            black_box(task.await.expect("a task"));
        }
    };
    bench.run(&shapes::chain(1000), "bare tasks", || (), spawn);
    if bench.runtime.handle().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return;
    }
    let in_place = |()| async {
        for stage in 0..1000 {
            let task = tokio::spawn(async move { block_in_place(|| black_box(stage)) });
            black_box(task.await.expect("a task"));
        }
    };
    bench.run(&shapes::chain(1000), "bare, in place", || (), in_place);
}

/// Whether a stage costs the same however many there are.
fn growth(criterion: &mut Criterion, figures: &Figures, runtime: &Runtime) {
    let mut bench = Bench::new(criterion, figures, "growth", runtime);
    for shape in shapes::growing() {
        let planner = Planner::new(&shape);
        let plan = Arc::new(planner.plan());
        let prepare = || (Arc::clone(&plan), ours::input());
        bench.run(&shape, OURS, prepare, |(plan, input)| {
            ours::execute(plan, input)
        });
        bench.run(
            &shape,
            "planning",
            || (),
            |()| {
                drop(black_box(planner.plan()));
                ready(())
            },
        );
    }
}

/// From the text of a file to a plan.
fn planning(criterion: &mut Criterion, figures: &Figures) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let mut bench = Bench::new(criterion, figures, "planning", &runtime);
    for shape in shapes::all() {
        let planner = Planner::new(&shape);
        bench.run(
            &shape,
            "planning",
            || (),
            |()| {
                drop(black_box(planner.plan()));
                ready(())
            },
        );
    }
}

/// A table that is being measured.
struct Bench<'a> {
    group: BenchmarkGroup<'a, WallTime>,
    figures: &'a Figures,
    table: &'a str,
    runtime: &'a Runtime,
}

impl<'a> Bench<'a> {
    fn new(
        criterion: &'a mut Criterion,
        figures: &'a Figures,
        table: &'a str,
        runtime: &'a Runtime,
    ) -> Self {
        let mut group = criterion.benchmark_group(table);
        group.warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_secs(1));
        group.sample_size(20);
        Self {
            group,
            figures,
            table,
            runtime,
        }
    }

    /// Measures one engine on one shape: `prepare` is outside of the time, `execute` inside, as a task of the runtime.
    fn run<R, F: Future<Output = ()> + Send + 'static>(
        &mut self,
        shape: &Shape,
        engine: &str,
        prepare: impl Fn() -> R,
        execute: impl Fn(R) -> F,
    ) {
        let samples = RefCell::new(Vec::new());
        let once = || {
            let ready = prepare();
            let start = Instant::now();
            let run = self.runtime.spawn(execute(ready));
            self.runtime.block_on(run).expect("the run does not panic");
            start.elapsed()
        };
        self.group
            .bench_function(format!("{} {engine}", shape.name), |bencher| {
                bencher.iter_custom(|count| {
                    let times = (0..count).map(|_| once());
                    let times: Vec<Duration> = times.collect();
                    samples.borrow_mut().extend_from_slice(&times);
                    times.iter().sum()
                });
            });
        let (stages, samples) = (shape.ids.len(), samples.borrow());
        self.figures
            .keep(self.table, &shape.name, engine, stages, &samples);
    }
}
