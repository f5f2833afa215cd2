//! dagrs: a task a node, all started at once, ordered by channels. Each node takes what its predecessors send, and sends.
//!
//! The default graph runs all its stages: with a condition, dagrs would need a node more for each and could not join what it left out.

use std::sync::Arc;

use dagrs::{
    Action, CompletionStatus, Content, DefaultNode, EnvVar, Graph, InChannels, Node as _,
    NodeTable, OutChannels, Output,
};

use crate::shapes::Shape;

struct Noop;

#[async_trait::async_trait]
impl Action for Noop {
    async fn run(&self, ins: &mut InChannels, outs: &mut OutChannels, _: Arc<EnvVar>) -> Output {
        ins.map(|content| content.expect("what its predecessor sends"))
            .await;
        outs.broadcast(Content::new(())).await;
        Output::empty()
    }
}

/// Builds a shape; a graph's channels are used up by a run, so each run needs its own.
pub fn prepare(shape: &Shape) -> Graph {
    let mut table = NodeTable::default();
    let mut graph = Graph::new();
    let mut ids = Vec::with_capacity(shape.ids.len());
    for id in &shape.ids {
        let node = DefaultNode::with_action(id.clone(), Noop, &mut table);
        ids.push(node.id());
        graph.add_node(node).expect("a node of its own");
    }
    let mut after = vec![Vec::new(); ids.len()];
    for &(from, to) in &shape.edges {
        after[from].push(ids[to]);
    }
    for (from, after) in after.into_iter().enumerate() {
        if !after.is_empty() {
            graph
                .add_edge(ids[from], after)
                .expect("an edge of its own");
        }
    }
    graph.set_env(EnvVar::new(table));
    graph
}

/// Runs a graph to its end.
pub async fn execute(mut graph: Graph) {
    let report = graph.async_start().await.expect("the graph runs");
    assert!(matches!(report.status, CompletionStatus::Succeeded));
}
