//! Which stages are certain to have written their output before another starts.
//!
//! Two facts about a stage x are followed: `A(x)`, it was activated (a root, or an in-edge was taken), and `S(x)`, it ran and
//! wrote its output. They hold for what a run comes to as long as it does not fail, and a failed run starts no stage:
//!
//! 1. A root is activated.
//! 2. `A(x)`, and an edge x→y without a condition that every outcome of x takes: `A(y)`. With `S(x)` it is enough that the edge
//!    is taken on success.
//! 3. `A(x)`, and x cannot be skipped and no edge leaves it on failure: `S(x)`, because otherwise the run would have failed.
//! 4. What is known when y starts is what all its in-edges agree on. An edge u→y tells what was known when u started, `A(u)`,
//!    and what follows from its being taken: `S(u)` if it is taken on success only and u cannot be skipped.
//!
//! A join waits for all its in-edges, so every ancestor of a stage has ended when it starts: a fact about an ancestor that holds
//! in the end holds then. Each rule has one premise, so closures distribute over unions, and one pass in each direction does.
//! Facts are bits of the stages asked about, 64 at a time: the cost is linear in stages and edges.

use super::outcome::{Outcome, Outcomes};

/// A graph as far as certainty depends on it. Stages are numbered; `order` is topological.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub order: Vec<usize>,
    pub may_skip: Vec<bool>,
    pub skips_errors: Vec<bool>,
    pub links: Vec<Link>,
    pub ins: Vec<Vec<usize>>,
    pub outs: Vec<Vec<usize>>,
}

/// An edge of a [`Shape`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub from: usize,
    pub to: usize,
    pub on: Outcomes,
    /// Neither `when` nor `else`.
    pub plain: bool,
}

impl Shape {
    /// Gives the outcomes after which a run can go on.
    pub(super) fn possible(&self, stage: usize) -> Outcomes {
        let mut possible = Outcomes::SUCCEEDED;
        if !self.skips_errors[stage] {
            for &link in &self.outs[stage] {
                for failure in [Outcome::Failed, Outcome::TimedOut] {
                    if self.links[link].on.has(failure) {
                        possible = possible.with(failure);
                    }
                }
            }
        }
        possible
    }

    /// Gives for each stage which of the tracked stages (64 at most) are its ancestors, as bits in their order.
    pub(super) fn upstream(&self, tracked: &[usize]) -> Vec<u64> {
        let own = self.own_bits(tracked);
        let mut upstream = vec![0_u64; self.order.len()];
        for &stage in &self.order {
            for &link in &self.ins[stage] {
                let from = self.links[link].from;
                upstream[stage] |= upstream[from] | own[from];
            }
        }
        upstream
    }

    /// Gives for each stage which of the tracked stages (64 at most) activate it where they are skipped: by a way of edges without
    /// a condition.
    pub(super) fn behind_skipped(&self, tracked: &[usize]) -> Vec<u64> {
        let own = self.own_bits(tracked);
        let mut behind = vec![0_u64; self.order.len()];
        for &stage in &self.order {
            for &link in &self.ins[stage] {
                let Link {
                    from, on, plain, ..
                } = self.links[link];
                if plain && on.has(Outcome::Succeeded) {
                    behind[stage] |= behind[from] | own[from];
                }
            }
        }
        behind
    }

    /// Gives for each stage which of the tracked stages (64 at most) are certain to have written before it starts.
    pub(super) fn certain(&self, tracked: &[usize]) -> Vec<u64> {
        let reach = Reach::of(self, &self.own_bits(tracked));
        let roots = (0..self.order.len()).filter(|&stage| self.ins[stage].is_empty());
        let from_roots = roots.fold(0, |bits, root| bits | reach.activated[root]);
        let mut known = vec![0_u64; self.order.len()];
        for &stage in &self.order {
            let mut agreed = if self.ins[stage].is_empty() {
                0
            } else {
                u64::MAX
            };
            for &link in &self.ins[stage] {
                let Link { from, on, .. } = self.links[link];
                agreed &= known[from] | reach.taken(self, from, on);
            }
            known[stage] = agreed | from_roots;
        }
        let upstream = self.upstream(tracked);
        known
            .into_iter()
            .zip(upstream)
            .map(|(known, upstream)| known & upstream)
            .collect()
    }

    fn own_bits(&self, tracked: &[usize]) -> Vec<u64> {
        debug_assert!(tracked.len() <= 64, "one word holds 64 stages");
        let mut own = vec![0_u64; self.order.len()];
        for (bit, &stage) in tracked.iter().enumerate() {
            own[stage] |= 1 << bit;
        }
        own
    }
}

/// What follows from one fact.
struct Reach {
    activated: Vec<u64>,
    succeeded: Vec<u64>,
    possible: Vec<Outcomes>,
}

impl Reach {
    fn of(shape: &Shape, own: &[u64]) -> Self {
        let count = shape.order.len();
        let mut reach = Self {
            activated: vec![0; count],
            succeeded: vec![0; count],
            possible: (0..count).map(|stage| shape.possible(stage)).collect(),
        };
        for &stage in shape.order.iter().rev() {
            reach.succeeded[stage] = own[stage] | reach.targets(shape, stage, Outcomes::SUCCEEDED);
            let mut activated = reach.targets(shape, stage, reach.possible[stage]);
            let must_succeed = reach.possible[stage] == Outcomes::SUCCEEDED;
            if must_succeed && !shape.may_skip[stage] {
                activated |= reach.succeeded[stage];
            }
            reach.activated[stage] = activated;
        }
        reach
    }

    /// What follows where the outcome of a stage is one of a set.
    fn targets(&self, shape: &Shape, stage: usize, outcomes: Outcomes) -> u64 {
        let links = shape.outs[stage].iter().map(|&link| shape.links[link]);
        links
            .filter(|link| link.plain && outcomes.within(link.on))
            .fold(0, |bits, link| bits | self.activated[link.to])
    }

    /// What follows where an edge that leaves a stage on some outcomes is taken.
    fn taken(&self, shape: &Shape, from: usize, on: Outcomes) -> u64 {
        let outcomes = self.possible[from].and(on);
        let mut bits = self.activated[from];
        if outcomes != self.possible[from] {
            bits |= self.targets(shape, from, outcomes);
        }
        if outcomes == Outcomes::SUCCEEDED && !shape.may_skip[from] {
            bits |= self.succeeded[from];
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A stage or an edge of a random graph as proptest draws it.
    type DrawnEdge = (usize, usize, u8, u8);

    const FAILURE: Outcomes = Outcomes::SUCCEEDED
        .with(Outcome::Failed)
        .with(Outcome::TimedOut);

    #[derive(Debug)]
    struct Drawn {
        shape: Shape,
        has_when: Vec<bool>,
        otherwise: Vec<bool>,
    }

    fn build(stages: &[u8], edges: &[DrawnEdge], with_failures: bool, with_else: bool) -> Drawn {
        let count = stages.len();
        let mut drawn = Drawn {
            shape: Shape {
                order: (0..count).collect(),
                may_skip: stages.iter().map(|kind| kind % 4 != 0).collect(),
                skips_errors: stages.iter().map(|kind| kind % 4 >= 2).collect(),
                ins: vec![Vec::new(); count],
                outs: vec![Vec::new(); count],
                links: Vec::new(),
            },
            has_when: stages.iter().map(|kind| kind % 4 % 2 == 1).collect(),
            otherwise: Vec::new(),
        };
        let mut seen = std::collections::BTreeSet::new();
        let mut has_else = std::collections::BTreeSet::new();
        for &(a, b, kind, on) in edges {
            let (from, to) = (a.min(b) % count, a.max(b) % count);
            if from >= to || !seen.insert((from, to)) {
                continue;
            }
            let otherwise = with_else && kind == 2 && has_else.insert(from);
            let on = match on {
                1 if with_failures => FAILURE,
                2 if with_failures => Outcomes::default().with(Outcome::Failed),
                _ => Outcomes::SUCCEEDED,
            };
            // A plan refuses a failure edge that leaves a stage whose failures are skipped.
            let on = if drawn.shape.skips_errors[from] {
                Outcomes::SUCCEEDED
            } else {
                on
            };
            let link = drawn.shape.links.len();
            let plain = kind == 0 || (kind == 2 && !otherwise);
            drawn.shape.links.push(Link {
                from,
                to,
                on,
                plain,
            });
            drawn.otherwise.push(otherwise);
            drawn.shape.outs[from].push(link);
            drawn.shape.ins[to].push(link);
        }
        drawn
    }

    /// Gives one digit of a mixed-radix number, so that counting up goes through all combinations.
    fn digit(rest: &mut u64, radix: u64) -> u64 {
        let digit = *rest % radix;
        *rest /= radix;
        digit
    }

    /// Tries every outcome and every condition, and gives for each pair (x, v) whether v can start without x having written.
    fn counterexamples(drawn: &Drawn) -> Vec<Vec<bool>> {
        let shape = &drawn.shape;
        let count = shape.order.len();
        let mut found = vec![vec![false; count]; count];
        let mut combination = 0_u64;
        loop {
            let mut rest = combination;
            let mut activated = vec![false; count];
            let mut wrote = vec![false; count];
            // A stage is blocked where it or an ancestor failed the run.
            let mut blocked = vec![false; count];
            let mut taken = vec![false; shape.links.len()];
            for v in 0..count {
                activated[v] = shape.ins[v].is_empty() || shape.ins[v].iter().any(|&e| taken[e]);
                blocked[v] = shape.ins[v].iter().any(|&e| blocked[shape.links[e].from]);
                if activated[v] && !blocked[v] {
                    for (x, row) in found.iter_mut().enumerate() {
                        row[v] |= !wrote[x];
                    }
                }
                let skipped = drawn.has_when[v] && digit(&mut rest, 2) == 0;
                let outcome = Outcome::ALL[usize::try_from(digit(&mut rest, 3)).unwrap()];
                let runs = activated[v] && !skipped;
                wrote[v] = runs && outcome == Outcome::Succeeded;
                let outcome = if skipped || shape.skips_errors[v] {
                    Outcome::Succeeded
                } else {
                    outcome
                };
                let mut any = false;
                for &e in &shape.outs[v] {
                    let link = shape.links[e];
                    let holds = link.plain || drawn.otherwise[e] || digit(&mut rest, 2) == 1;
                    taken[e] = activated[v] && link.on.has(outcome) && holds && !drawn.otherwise[e];
                    any |= taken[e];
                }
                for &e in &shape.outs[v] {
                    if drawn.otherwise[e] {
                        taken[e] = activated[v] && shape.links[e].on.has(outcome) && !any;
                    }
                }
                any |= shape.outs[v].iter().any(|&e| taken[e]);
                blocked[v] |= runs && outcome != Outcome::Succeeded && !any;
            }
            if rest > 0 {
                return found;
            }
            combination += 1;
        }
    }

    fn ancestors(shape: &Shape) -> Vec<u64> {
        let all: Vec<usize> = (0..shape.order.len()).collect();
        shape.upstream(&all)
    }

    fn check(drawn: &Drawn, exact: bool) {
        let count = drawn.shape.order.len();
        let all: Vec<usize> = (0..count).collect();
        let certain = drawn.shape.certain(&all);
        let upstream = ancestors(&drawn.shape);
        let possible = counterexamples(drawn);
        for v in 0..count {
            for x in (0..count).filter(|x| upstream[v] >> x & 1 == 1) {
                let said = certain[v] >> x & 1 == 1;
                let counterexample = possible[x][v];
                assert!(
                    !(said && counterexample),
                    "{x} is not certain before {v}: {drawn:?}"
                );
                if exact {
                    assert!(
                        said || counterexample,
                        "{x} is certain before {v}: {drawn:?}"
                    );
                }
            }
        }
    }

    fn drawn_stages() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0..8_u8, 2..6).prop_map(|kinds| {
            // Most stages are plain: otherwise hardly anything is ever certain.
            kinds
                .into_iter()
                .map(|kind| kind.saturating_sub(4))
                .collect()
        })
    }

    fn drawn_edges() -> impl Strategy<Value = Vec<DrawnEdge>> {
        prop::collection::vec((0..5_usize, 0..5_usize, 0..3_u8, 0..3_u8), 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn always_sound(stages in drawn_stages(), edges in drawn_edges()) {
            check(&build(&stages, &edges, true, true), false);
        }

        #[test]
        fn exact_without_else_and_failure_edges(stages in drawn_stages(), edges in drawn_edges()) {
            check(&build(&stages, &edges, false, false), true);
        }
    }

    #[test]
    fn an_unconditional_diamond_is_certain() {
        let edges = [(0, 1, 0, 0), (0, 2, 0, 0), (1, 3, 0, 0), (2, 3, 0, 0)];
        let drawn = build(&[0, 0, 0, 0], &edges, false, false);
        assert_eq!(drawn.shape.certain(&[0, 1, 2])[3], 0b111);
    }

    #[test]
    fn a_conditional_branch_is_not() {
        let edges = [(0, 1, 1, 0), (0, 2, 0, 0), (1, 3, 0, 0), (2, 3, 0, 0)];
        let drawn = build(&[0, 0, 0, 0], &edges, false, false);
        assert_eq!(drawn.shape.certain(&[0, 1, 2])[3], 0b101);
    }

    #[test]
    fn either_branch_makes_what_follows_both_certain() {
        // 0 leads to 1 or 2 on conditions; both lead to 3 and to 4; 5 follows 3 and 4.
        let edges = [
            (0, 1, 1, 0),
            (0, 2, 1, 0),
            (1, 3, 0, 0),
            (2, 3, 0, 0),
            (1, 4, 0, 0),
            (2, 4, 0, 0),
            (3, 5, 0, 0),
            (4, 5, 1, 0),
        ];
        let drawn = build(&[0; 6], &edges, false, false);
        assert_eq!(drawn.shape.certain(&[1, 2, 4])[5], 0b100);
    }
}
