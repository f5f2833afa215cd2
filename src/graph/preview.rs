//! What a run would do with an input, as far as that is certain before it starts.
//!
//! A condition is evaluated now where the input, and the statuses that stages will have for certain, are enough for its result.
//! Everything else is decided at run time, except what follows whatever it gives: an edge from a stage that is certain to run, to
//! one that it always leads to.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::condition::{Decision, Found, follow};
use super::event::{DisabledBy, StageStatus};
use super::outcome::{Outcome, Outcomes};
use super::plan::{Edge, Guard, Plan, Reference};

/// What will become of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Forecast {
    /// It runs, unless the run fails before.
    Runs,
    /// Its own condition is false.
    Skipped,
    /// No edge leads to it.
    NotTaken,
    /// It depends on what other stages do.
    DecidedAtRunTime,
}

/// A stage with what will become of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// The stage.
    pub stage: String,
    /// What will become of it.
    pub forecast: Forecast,
    /// Why, in one line.
    pub reason: String,
    /// The input's values that decided it, by path.
    pub values: BTreeMap<String, Value>,
}

/// Whether an edge will be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
    Maybe,
}

/// Says for each stage, upstream first, what a run with this input would do.
#[must_use]
pub fn preview(plan: &Plan, input: &Value) -> Vec<Preview> {
    let mut taken = vec![Taken::Maybe; plan.edges().len()];
    let mut previews: Vec<Preview> = Vec::with_capacity(plan.stages().len());
    for place in 0..plan.stages().len() {
        let known = Known::new(plan, &previews, input);
        let preview = stage(plan, place, &taken, &known);
        let forecast = preview.forecast;
        previews.push(preview);
        let known = Known::new(plan, &previews, input);
        edges(plan, place, forecast, &mut taken, &known);
    }
    previews
}

fn stage(plan: &Plan, place: usize, taken: &[Taken], known: &Known<'_>) -> Preview {
    let stage = &plan.stages()[place];
    let id = |edge: &Edge| &plan.stages()[edge.from].id;
    let told = |forecast, reason: String, values| Preview {
        stage: stage.id.to_string(),
        forecast,
        reason,
        values,
    };
    let none = BTreeMap::new();
    let ins = || {
        stage
            .ins
            .iter()
            .map(|&edge| (&plan.edges()[edge], taken[edge]))
    };
    if !stage.ins.is_empty() && ins().all(|(_, taken)| taken == Taken::No) {
        let from: Vec<_> = ins().map(|(edge, _)| format!("`{}`", id(edge))).collect();
        let reason = format!("no edge leads here: not from {}", from.join(", "));
        return told(Forecast::NotTaken, reason, none);
    }
    let own = stage.when.as_ref().map(|when| (when, known.now(when)));
    let certain = stage.ins.is_empty() || ins().any(|(_, taken)| taken == Taken::Yes);
    if !certain {
        let open: Vec<_> = ins()
            .filter(|(_, taken)| *taken == Taken::Maybe)
            .map(|(edge, _)| leads(plan, edge))
            .collect();
        let reason = format!("it depends on {}", open.join("; and on "));
        return told(Forecast::DecidedAtRunTime, reason, none);
    }
    if let Some(by) = stage.disabled {
        return told(Forecast::Skipped, left_out(by).to_owned(), none);
    }
    match own {
        None if stage.ins.is_empty() => {
            told(Forecast::Runs, "nothing comes before it".to_owned(), none)
        }
        None => {
            let taken = ins().find(|(_, taken)| *taken == Taken::Yes);
            let from = taken.map_or_else(String::new, |(edge, _)| leads(plan, edge));
            told(Forecast::Runs, format!("after {from}"), none)
        }
        Some((when, Now::Known(decision))) => {
            let expression = when.condition.expression();
            let (forecast, gives) = if decision.holds {
                (Forecast::Runs, "true")
            } else {
                (Forecast::Skipped, "false")
            };
            told(
                forecast,
                format!("`{expression}` is {gives}"),
                decision.values,
            )
        }
        Some((when, Now::AtRunTime)) => {
            let reason = format!("it depends on `{}`", when.condition.expression());
            told(Forecast::DecidedAtRunTime, reason, none)
        }
        Some((_, Now::Fails(error))) => told(Forecast::DecidedAtRunTime, error, none),
    }
}

/// Names what an edge leaves, and what decides it.
fn leads(plan: &Plan, edge: &Edge) -> String {
    let from = &plan.stages()[edge.from].id;
    match &edge.when {
        Some(when) => format!("`{from}`, when {}", when.condition.expression()),
        None if edge.otherwise => format!("`{from}`, else"),
        None => format!("`{from}`"),
    }
}

const fn left_out(by: DisabledBy) -> &'static str {
    match by {
        DisabledBy::Graph => "the graph has it disabled",
        DisabledBy::Job => "the job leaves it out",
        DisabledBy::Retry => "the retry leaves it out",
    }
}

fn edges(plan: &Plan, place: usize, forecast: Forecast, taken: &mut [Taken], known: &Known<'_>) {
    let outcomes = match forecast {
        Forecast::Skipped => Outcomes::SUCCEEDED,
        Forecast::Runs | Forecast::DecidedAtRunTime | Forecast::NotTaken => {
            plan.possible_outcomes(place)
        }
    };
    let mut siblings = Taken::No;
    for &number in &plan.stages()[place].outs {
        let edge = &plan.edges()[number];
        let by_outcome = match forecast {
            Forecast::NotTaken => Taken::No,
            _ if outcomes.and(edge.on).is_empty() => Taken::No,
            Forecast::Runs | Forecast::Skipped if outcomes.within(edge.on) => Taken::Yes,
            Forecast::Runs | Forecast::Skipped | Forecast::DecidedAtRunTime => Taken::Maybe,
        };
        let by_condition = match &edge.when {
            _ if edge.moot => Taken::Yes,
            None if edge.otherwise => match siblings {
                Taken::Yes => Taken::No,
                Taken::No => Taken::Yes,
                Taken::Maybe => Taken::Maybe,
            },
            None => Taken::Yes,
            Some(guard) => match known.now(guard) {
                Now::Known(Decision { holds: true, .. }) => Taken::Yes,
                Now::Known(Decision { holds: false, .. }) => Taken::No,
                Now::AtRunTime | Now::Fails(_) => Taken::Maybe,
            },
        };
        taken[number] = match (by_outcome, by_condition) {
            (Taken::No, _) | (_, Taken::No) => Taken::No,
            (Taken::Yes, Taken::Yes) => Taken::Yes,
            (Taken::Yes | Taken::Maybe, Taken::Yes | Taken::Maybe) => Taken::Maybe,
        };
        siblings = match (siblings, taken[number]) {
            (Taken::Yes, _) | (_, Taken::Yes) => Taken::Yes,
            (Taken::No, Taken::No) => Taken::No,
            (Taken::No | Taken::Maybe, Taken::No | Taken::Maybe) => Taken::Maybe,
        };
    }
}

/// What a condition gives before the run.
enum Now {
    Known(Decision),
    AtRunTime,
    Fails(String),
}

/// What is known before the run: the input, and what will become of stages.
struct Known<'a> {
    plan: &'a Plan,
    stages: &'a [Preview],
    input: &'a Value,
}

impl<'a> Known<'a> {
    const fn new(plan: &'a Plan, stages: &'a [Preview], input: &'a Value) -> Self {
        Self {
            plan,
            stages,
            input,
        }
    }

    /// Gives the status that a stage will have for certain, as long as the run does not fail.
    fn status(&self, stage: usize) -> Option<StageStatus> {
        match self.stages.get(stage)?.forecast {
            Forecast::Skipped => Some(StageStatus::Skipped),
            Forecast::NotTaken => Some(StageStatus::NotTaken),
            Forecast::Runs => {
                let can_fail = self.plan.possible_outcomes(stage) != Outcomes::SUCCEEDED
                    || self.plan.stages()[stage].skips_errors;
                (!can_fail).then_some(StageStatus::Succeeded)
            }
            Forecast::DecidedAtRunTime => None,
        }
    }

    fn is_known(&self, reference: Reference) -> bool {
        match reference {
            Reference::Input => true,
            Reference::Status(stage) => self.status(stage).is_some(),
            Reference::Output(_) | Reference::Kind(_) | Reference::OpenQuestions => false,
        }
    }

    /// Evaluates a condition with what is known. `true || x` is true whatever `x` is, so that a result holds although something
    /// in it is not known; but `has(x)` would take for absent what is not known.
    fn now(&self, guard: &Guard) -> Now {
        let expression = guard.condition.expression();
        let all = guard
            .references
            .iter()
            .all(|&reference| self.is_known(reference));
        if !all && expression.contains("has") {
            return Now::AtRunTime;
        }
        let nothing = || Found {
            depth: 0,
            value: Cow::Owned(Value::Null),
        };
        let lookup = |index: usize, path: &[String]| match guard.references.get(index) {
            Some(Reference::Input) => follow(self.input, path, 1),
            Some(&Reference::Status(stage)) => {
                self.status(stage).map_or_else(nothing, |status| Found {
                    depth: path.len(),
                    value: Cow::Owned(Value::from(status.name())),
                })
            }
            Some(Reference::Output(_) | Reference::Kind(_) | Reference::OpenQuestions) | None => {
                nothing()
            }
        };
        match guard.condition.evaluate(lookup) {
            Ok(mut decision) => {
                let paths = guard.condition.paths().iter().zip(&guard.references);
                for (path, &reference) in paths {
                    if !self.is_known(reference) {
                        decision.values.remove(&path.text());
                    }
                }
                Now::Known(decision)
            }
            Err(error) if all => Now::Fails(format!("the run would fail here: {error}")),
            Err(_) => Now::AtRunTime,
        }
    }
}

/// Says whether a status that a run came to agrees with what was told before it.
#[must_use]
pub fn agrees(forecast: Forecast, status: StageStatus) -> bool {
    match forecast {
        Forecast::DecidedAtRunTime => true,
        Forecast::Skipped => status == StageStatus::Skipped,
        Forecast::NotTaken => status == StageStatus::NotTaken,
        // With `on_error = "skip"` a stage that ran can end as skipped.
        Forecast::Runs => status == StageStatus::Waiting || Outcome::of(status).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::run::Run;
    use crate::graph::testing::{finish, input, plan};
    use serde_json::json;

    const TEXT: &str = r#"
name = "previewed"
input = "job"
edges = [
    { chain = ["a", "b", "c"] },
    { from = "c", to = "d", when = "stages.c.output.value > 0" },
    { from = "c", to = "e", else = true },
    { from = "b", to = "f", when = "job.extra" },
    { chain = ["f", "g"] },
    { from = "a", to = "h", on = ["failed"] },
]
[stages.a]
handler = "step"
[stages.b]
handler = "step"
when = "job.optional"
[stages.c]
handler = "step"
with = { value = 1 }
[stages.d]
handler = "step"
[stages.e]
handler = "step"
[stages.f]
handler = "step"
[stages.g]
handler = "step"
[stages.h]
handler = "step"
"#;

    #[tokio::test]
    async fn a_run_agrees_with_its_preview() {
        let plan = plan(TEXT);
        for optional in [true, false] {
            for extra in [true, false] {
                let job = json!({"optional": optional, "extra": extra});
                let told = preview(&plan, &job);
                let ran = finish(Run::start(plan.clone(), input(job))).await;
                for told in &told {
                    let status = ran.status(&told.stage);
                    assert!(agrees(told.forecast, status), "{told:?} became {status:?}");
                }
            }
        }
    }

    #[test]
    fn conditions_on_the_input_are_decided_and_others_are_not() {
        let told = preview(&plan(TEXT), &json!({"optional": false, "extra": false}));
        let forecasts: Vec<_> = told
            .iter()
            .map(|told| (told.stage.as_str(), told.forecast))
            .collect();
        // `a` may fail, and an edge takes its failure: then nothing else is certain.
        assert_eq!(
            forecasts,
            [
                ("a", Forecast::Runs),
                ("b", Forecast::DecidedAtRunTime),
                ("c", Forecast::DecidedAtRunTime),
                ("d", Forecast::DecidedAtRunTime),
                ("e", Forecast::DecidedAtRunTime),
                ("f", Forecast::NotTaken),
                ("g", Forecast::NotTaken),
                ("h", Forecast::DecidedAtRunTime),
            ]
        );
        let without_failure =
            TEXT.replace("    { from = \"a\", to = \"h\", on = [\"failed\"] },\n", "");
        let told = preview(
            &plan(&without_failure),
            &json!({"optional": false, "extra": true}),
        );
        let b = told.iter().find(|told| told.stage == "b").expect("b");
        assert_eq!(
            (b.forecast, b.reason.as_str()),
            (Forecast::Skipped, "`job.optional` is false")
        );
        assert_eq!(
            b.values,
            BTreeMap::from([("job.optional".to_owned(), json!(false))])
        );
    }
}
