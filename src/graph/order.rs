//! Cycles with their path, and the one topological order that a graph has.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// Gives the order in which stages come: upstream first, and where that leaves a choice the lower number first.
///
/// # Errors
/// The cycles, each as the stages along it, beginning with the lowest.
pub(super) fn topological(
    count: usize,
    edges: impl Iterator<Item = (usize, usize)> + Clone,
) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut waits = vec![0_usize; count];
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (from, to) in edges.clone() {
        waits[to] += 1;
        next[from].push(to);
    }
    let mut ready: BinaryHeap<_> = (0..count)
        .filter(|&stage| waits[stage] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse(stage)) = ready.pop() {
        order.push(stage);
        for &to in &next[stage] {
            waits[to] -= 1;
            if waits[to] == 0 {
                ready.push(Reverse(to));
            }
        }
    }
    if order.len() == count {
        return Ok(order);
    }
    Err(cycles(count, edges, &next))
}

fn cycles(
    count: usize,
    edges: impl Iterator<Item = (usize, usize)>,
    next: &[Vec<usize>],
) -> Vec<Vec<usize>> {
    let mut graph: DiGraph<(), ()> = DiGraph::with_capacity(count, 0);
    for _ in 0..count {
        graph.add_node(());
    }
    for (from, to) in edges {
        graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
    }
    let mut component = vec![0_usize; count];
    let mut knots = Vec::new();
    for (number, members) in kosaraju_scc(&graph).into_iter().enumerate() {
        for member in &members {
            component[member.index()] = number;
        }
        if members.len() > 1 {
            knots.extend(members.iter().map(|member| member.index()).min());
        }
    }
    knots.sort_unstable();
    knots
        .into_iter()
        .map(|start| shortest_cycle(start, next, &component))
        .collect()
}

/// Gives the shortest way from a stage of a knot back to itself.
fn shortest_cycle(start: usize, next: &[Vec<usize>], component: &[usize]) -> Vec<usize> {
    let mut came_from = vec![usize::MAX; next.len()];
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(stage) = queue.pop_front() {
        for &to in &next[stage] {
            if to == start {
                let mut path = vec![stage];
                while path[path.len() - 1] != start {
                    path.push(came_from[path[path.len() - 1]]);
                }
                path.reverse();
                return path;
            }
            if component[to] == component[start] && came_from[to] == usize::MAX {
                came_from[to] = stage;
                queue.push_back(to);
            }
        }
    }
    vec![start]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_number() {
        let edges = [(3, 1), (0, 2)];
        assert_eq!(topological(4, edges.into_iter()), Ok(vec![0, 2, 3, 1]));
    }

    #[test]
    fn each_cycle_is_told_once_with_its_path() {
        let edges = [(0, 1), (1, 2), (2, 0), (2, 3), (4, 5), (5, 4)];
        assert_eq!(
            topological(6, edges.into_iter()),
            Err(vec![vec![0, 1, 2], vec![4, 5]])
        );
    }

    #[test]
    fn a_long_chain_does_not_recurse() {
        let edges = (0..100_000).map(|stage| (stage, (stage + 1) % 100_000));
        assert_eq!(topological(100_000, edges).unwrap_err()[0].len(), 100_000);
    }
}
