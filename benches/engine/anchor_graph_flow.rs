//! graph-flow: one task after the other, awaited in place; what runs side by side is children of one task, spawned.
//!
//! A fan and the layers of dense are such tasks with children. The default graph has its conditions, as closures.

use std::sync::Arc;

use async_trait::async_trait;
use graph_flow::fanout::FanOutTask;
use graph_flow::graph::ExecutionStatus;
use graph_flow::{Context, Graph, GraphBuilder, NextAction, Session, Task, TaskResult};

use crate::shapes::{Form, Shape};

struct Noop {
    id: String,
    next: NextAction,
}

#[async_trait]
impl Task for Noop {
    fn id(&self) -> &str {
        &self.id
    }

    async fn run(&self, _: Context) -> graph_flow::Result<TaskResult> {
        Ok(TaskResult::new(None, self.next.clone()))
    }
}

/// A graph with the session of one run.
pub struct Ready {
    graph: Arc<Graph>,
    session: Session,
}

/// Builds a shape; the graph serves all runs.
pub fn graph(shape: &Shape) -> Arc<Graph> {
    let graph = match shape.form {
        Form::Default => default(shape),
        Form::Fan => {
            let (last, rest) = shape.ids.split_last().expect("a fan has stages");
            sequence(&[&rest[..1], &rest[1..], std::slice::from_ref(last)])
        }
        Form::Layers { width } => sequence(&shape.ids.chunks(width).collect::<Vec<_>>()),
    };
    Arc::new(graph.build().expect("a graph"))
}

/// Begins a run.
pub fn prepare(graph: &Arc<Graph>) -> Ready {
    let start = graph.start_task_id().expect("a first task");
    Ready {
        session: Session::new_from_task("bench".to_owned(), start),
        graph: Arc::clone(graph),
    }
}

/// Runs a graph to its end.
pub async fn execute(mut ready: Ready) {
    let result = ready.graph.execute_session(&mut ready.session).await;
    let status = result.expect("the tasks succeed").status;
    assert!(matches!(status, ExecutionStatus::Completed), "{status:?}");
}

fn noop(id: &str, next: NextAction) -> Arc<dyn Task> {
    let id = id.to_owned();
    Arc::new(Noop { id, next })
}

fn next(is_last: bool) -> NextAction {
    if is_last {
        NextAction::End
    } else {
        NextAction::ContinueAndExecute
    }
}

/// One task a layer; a layer of several stages is a task with children.
fn sequence(layers: &[&[String]]) -> GraphBuilder {
    let mut graph = GraphBuilder::new("bench");
    let mut before: Option<String> = None;
    for (number, layer) in layers.iter().enumerate() {
        let next = next(number + 1 == layers.len());
        let task: Arc<dyn Task> = match layer {
            [id] => noop(id, next),
            ids => {
                let children = ids.iter().map(|id| noop(id, NextAction::End));
                FanOutTask::new(format!("layer{number}"), children.collect()).with_next_action(next)
            }
        };
        let id = task.id().to_owned();
        graph = graph.add_task(task);
        if let Some(before) = before {
            graph = graph.add_edge(before, id.as_str());
        }
        before = Some(id);
    }
    graph
}

fn default(shape: &Shape) -> GraphBuilder {
    let mut graph = GraphBuilder::new("bench");
    for id in &shape.ids {
        // What is validated ends there: that is the condition of the last edge.
        let is_last = id == "run_validation" || id == "gate_review";
        graph = graph.add_task(noop(id, next(is_last)));
    }
    let is_set = |key: &'static str| move |context: &Context| context.get(key).unwrap_or(false);
    graph
        .add_edge("collect_metadata", "normalize_schema")
        .add_edge("normalize_schema", "analyzer")
        .add_conditional_edge("analyzer", is_set("llm"), "llm_advisor", "code_generator")
        .add_edge("llm_advisor", "code_generator")
        .add_edge("code_generator", "infra_generator")
        .add_edge("infra_generator", "executor")
        .add_conditional_edge(
            "executor",
            is_set("review"),
            "gate_review",
            "run_validation",
        )
}
