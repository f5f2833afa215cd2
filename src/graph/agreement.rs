//! What `preview` tells before a run, held against what the run does, on random graphs.

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::event::StageStatus;
use super::file::GraphFile;
use super::plan::{Plan, Selection};
use super::preview::{Forecast, Preview, agrees, preview};
use super::run::Run;
use super::testing::{HANDLERS, Ran, finish, input};

/// A stage of a random graph: its own condition, whether it is disabled or skips its errors, and whether it fails.
#[derive(Debug, Clone)]
struct DrawnStage {
    when: u8,
    disabled: bool,
    skips_errors: bool,
    fails: bool,
}

/// An edge of a random graph: its ends, what it is taken on, and its condition.
#[derive(Debug, Clone)]
struct DrawnEdge {
    from: usize,
    to: usize,
    on: u8,
    when: u8,
}

#[derive(Debug, Clone)]
struct Drawn {
    stages: Vec<DrawnStage>,
    edges: Vec<DrawnEdge>,
    skip: Option<usize>,
    job: [bool; 2],
}

impl Drawn {
    /// Writes the graph. With `only_input`, conditions read the input alone and no failure is handled.
    fn text(&self, only_input: bool) -> String {
        let mut text = String::from("name = \"drawn\"\ninput = \"job\"\nedges = [\n");
        let count = self.stages.len();
        let mut pairs = std::collections::BTreeSet::new();
        let mut has_else = std::collections::BTreeSet::new();
        for edge in &self.edges {
            let (from, to) = (
                edge.from.min(edge.to) % count,
                edge.from.max(edge.to) % count,
            );
            if from >= to || !pairs.insert((from, to)) {
                continue;
            }
            let _ = write!(text, "  {{ from = \"s{from}\", to = \"s{to}\"");
            let handles = !only_input && !self.stages[from].skips_errors;
            match edge.on {
                0 if handles => text.push_str(", on = [\"failed\"]"),
                1 if handles => text.push_str(", on = [\"succeeded\", \"failed\"]"),
                _ => {}
            }
            match edge.when {
                0 => text.push_str(", when = \"job.a\""),
                1 => text.push_str(", when = \"!job.b\""),
                2 => text.push_str(", when = \"job.a && job.b\""),
                3 if !only_input => {
                    let status = if edge.on == 0 && handles {
                        "failed"
                    } else {
                        "succeeded"
                    };
                    let _ = write!(text, ", when = \"stages.s{from}.status == '{status}'\"");
                }
                4 if has_else.insert(from) => text.push_str(", else = true"),
                _ => {}
            }
            text.push_str(" },\n");
        }
        text.push_str("]\n");
        for (number, stage) in self.stages.iter().enumerate() {
            let _ = writeln!(text, "[stages.s{number}]\nhandler = \"step\"");
            match stage.when {
                0 => text.push_str("when = \"job.a\"\n"),
                1 => text.push_str("when = \"job.b || !job.a\"\n"),
                _ => {}
            }
            if stage.disabled {
                text.push_str("disabled = true\n");
            }
            if stage.skips_errors && !only_input {
                text.push_str("on_error = \"skip\"\n");
            }
            if stage.fails && !only_input {
                text.push_str("with = { does = \"fail\" }\n");
            }
        }
        text
    }

    /// Plans the graph, tells what will be, and runs it.
    fn told_and_ran(&self, only_input: bool) -> (Vec<Preview>, Ran) {
        let text = self.text(only_input);
        let file = GraphFile::parse("drawn.toml", text.as_bytes()).expect("TOML");
        // A table that no edge names is no stage.
        let skip = self
            .skip
            .map(|stage| format!("s{}", stage % self.stages.len()));
        let selection = Selection {
            skip: skip
                .filter(|id| text.contains(&format!("\"{id}\"")))
                .into_iter()
                .collect(),
            only: Vec::new(),
        };
        let plan = Arc::new(Plan::select(&file, HANDLERS, &selection).expect("a plan"));
        let job = json!({"a": self.job[0], "b": self.job[1]});
        let told = preview(&plan, &job);
        (told, run(plan, job))
    }
}

fn run(plan: Arc<Plan>, job: Value) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(finish(Run::start(plan, input(job))))
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let stage = (0..6_u8, 0..3_u8, 0..4_u8, 0..4_u8).prop_map(|(when, disabled, skips, fails)| {
        DrawnStage {
            when,
            disabled: disabled == 0,
            skips_errors: skips == 0,
            fails: fails == 0,
        }
    });
    let edge = (0..7_usize, 0..7_usize, 0..5_u8, 0..8_u8)
        .prop_map(|(from, to, on, when)| DrawnEdge { from, to, on, when });
    let stages = prop::collection::vec(stage, 2..7);
    let edges = prop::collection::vec(edge, 1..12);
    let skip = prop::option::weighted(0.2, 0..7_usize);
    (stages, edges, skip, any::<[bool; 2]>()).prop_map(|(stages, edges, skip, job)| Drawn {
        stages,
        edges,
        skip,
        job,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_does_what_its_preview_told(drawn in drawn()) {
        let (told, ran) = drawn.told_and_ran(false);
        for told in &told {
            let status = ran.status(&told.stage);
            // Where the run failed, it ended what had not begun.
            if status != StageStatus::Cancelled {
                prop_assert!(
                    agrees(told.forecast, status),
                    "{told:?} became {status:?}\n{}\n{}",
                    drawn.text(false),
                    ran.summary()
                );
            }
        }
    }

    #[test]
    fn what_only_the_input_decides_is_all_told(drawn in drawn()) {
        let (told, ran) = drawn.told_and_ran(true);
        for told in &told {
            let status = ran.status(&told.stage);
            prop_assert_ne!(
                told.forecast,
                Forecast::DecidedAtRunTime,
                "{:?} became {:?}\n{}",
                told,
                status,
                drawn.text(true)
            );
            prop_assert!(agrees(told.forecast, status), "{told:?} became {status:?}");
        }
    }
}
