//! dagx: tasks with compile-time wiring, layer by layer; a layer of one task is not spawned.
//!
//! A task has 8 inputs at the most: dense layers have 8 of their 10 edges a stage, and a fan ends without the stage that joins it
//! (the run itself waits). It has no conditions, so the default graph runs all its stages.

#![expect(
    clippy::used_underscore_binding,
    clippy::many_single_char_names,
    clippy::unused_async,
    reason = "a task is an async function with an input a parameter, whether it needs them or not"
)]

use dagx::{DagRunner, Task, TaskHandle, task};

use crate::shapes::{Form, Shape};

/// What a task gives; the macro wants a type by name.
type Nothing = ();

struct Root;

#[task]
impl Root {
    async fn run() -> Nothing {}
}

struct AfterOne;

#[task]
impl AfterOne {
    async fn run(_a: &Nothing) -> Nothing {}
}

struct AfterTwo;

#[task]
impl AfterTwo {
    async fn run(_a: &Nothing, _b: &Nothing) -> Nothing {}
}

struct AfterEight;

#[task]
impl AfterEight {
    #[expect(clippy::too_many_arguments, reason = "dagx counts inputs this way")]
    async fn run(
        _a: &Nothing,
        _b: &Nothing,
        _c: &Nothing,
        _d: &Nothing,
        _e: &Nothing,
        _f: &Nothing,
        _g: &Nothing,
        _h: &Nothing,
    ) -> Nothing {
    }
}

/// Wires a shape; a graph runs once, so each run needs its own.
pub fn prepare(shape: &Shape) -> DagRunner {
    let graph = DagRunner::new();
    let mut handles: Vec<TaskHandle<Nothing>> = Vec::with_capacity(shape.ids.len());
    for before in shape.before() {
        let before: Vec<_> = before.iter().map(|&stage| handles[stage]).collect();
        let handle = match before.as_slice() {
            [] => graph.add_task(Root).into(),
            [a] => graph.add_task(AfterOne).depends_on(a),
            [a, b] => graph.add_task(AfterTwo).depends_on((a, b)),
            _ if shape.form == Form::Fan => continue,
            [a, b, c, d, e, f, g, h, ..] => {
                let task = graph.add_task(AfterEight);
                task.depends_on((a, b, c, d, e, f, g, h))
            }
            [..] => panic!("no task has {} inputs", before.len()),
        };
        handles.push(handle);
    }
    graph
}

/// Runs a graph to its end.
pub async fn execute(graph: DagRunner) {
    let ended = graph.run(|task| {
        tokio::spawn(task);
    });
    ended.await.expect("the tasks succeed");
}
