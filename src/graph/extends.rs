//! `extends = "…"`: a graph is what another says, but for the difference that it means.
//!
//! Tables of stages override the base's key by key, `with` by parameter and `retry` by field; edges, where there are any, replace
//! the base's. A stage that gets another handler keeps none of the old one's parameters. Tests of the base are its own.

use toml::Spanned;

use super::diagnostic::Diagnostics;
use super::file::{Bases, GraphFile, Policy, StageEntry, With, read, text_of};

/// Bases that a graph may have, one behind the other.
const MOST: usize = 8;

/// Reads the files that a graph extends, and lays it over them.
///
/// # Errors
/// A base is missing or cannot be read, or a file extends itself in the end.
pub(super) fn apply(mut file: GraphFile, bases: Bases<'_>) -> Result<GraphFile, Diagnostics> {
    let mut paths = vec![file.path.clone()];
    let mut next = file.extends.clone();
    while let Some(name) = next.take() {
        let from = paths[paths.len() - 1].clone();
        let Some((path, bytes)) = bases(name.get_ref(), &from) else {
            file.problems.error(
                "extends-missing",
                name.span(),
                format!("there is no graph `{}` to extend", name.get_ref()),
                Some(
                    "it is looked for beside this file, in the folder of graphs, and among the shipped ones"
                        .to_owned(),
                ),
            );
            return Err(file.problems);
        };
        if paths.contains(&path) || paths.len() > MOST {
            report_loop(&mut file.problems, &name, &paths, path);
            return Err(file.problems);
        }
        let text = text_of(&path, &bytes)?;
        let start = file.problems.extend(&path, &text);
        let base = read(&path, &text, start, file.problems.clone())?;
        next.clone_from(&base.extends);
        file = over(file, base);
        paths.push(path);
    }
    Ok(file)
}

fn report_loop(problems: &mut Diagnostics, name: &Spanned<String>, paths: &[String], path: String) {
    let (message, help) = if paths.contains(&path) {
        let mut way = paths.to_vec();
        way.push(path);
        (
            format!("this extends itself: {}", way.join(" -> ")),
            "leave out one of the `extends`",
        )
    } else {
        (
            format!("a graph extends {MOST} others at most"),
            "`relvec graph NAME --format toml` prints one as a whole",
        )
    };
    problems.error("extends-loop", name.span(), message, Some(help.to_owned()));
}

/// Lays a graph over its base. The base was read last: its list of problems holds those of both.
fn over(file: GraphFile, base: GraphFile) -> GraphFile {
    let mut stages = base.stages;
    for stage in file.stages {
        match stages
            .iter_mut()
            .find(|of_base| of_base.id.get_ref() == stage.id.get_ref())
        {
            Some(of_base) => stage_over(stage, of_base),
            None => stages.push(stage),
        }
    }
    GraphFile {
        path: file.path,
        text: file.text,
        extends: file.extends,
        name: file.name,
        description: file.description.or(base.description),
        input: file.input.or(base.input),
        concurrency: file.concurrency.or(base.concurrency),
        deadline: file.deadline.or(base.deadline),
        defaults: policy_over(&file.defaults, &base.defaults),
        edges: file.edges.or(base.edges),
        stages,
        tests: file.tests,
        has_gaps: file.has_gaps || base.has_gaps,
        problems: base.problems,
    }
}

fn stage_over(stage: StageEntry, base: &mut StageEntry) {
    let named = |stage: &StageEntry| {
        let handler = stage.handler.as_ref().unwrap_or(&stage.id);
        handler.get_ref().clone()
    };
    let other_handler = stage.handler.is_some() && named(&stage) != named(base);
    let base_with = base.with.take().filter(|_| !other_handler);
    *base = StageEntry {
        id: stage.id,
        handler: stage.handler.or(base.handler.take()),
        when: stage.when.or(base.when.take()),
        disabled: stage.disabled.or(base.disabled.take()),
        on_error: stage.on_error.or(base.on_error.take()),
        policy: policy_over(&stage.policy, &base.policy),
        with: match (stage.with, base_with) {
            (Some(with), Some(base)) => Some(with_over(with, base)),
            (with, base) => with.or(base),
        },
    };
}

fn with_over(with: With, mut base: With) -> With {
    for key in with.values.keys() {
        let pointer = super::walk::pointer_to("", key);
        let below = format!("{pointer}/");
        base.places
            .retain(|place, _| *place != pointer && !place.starts_with(&below));
    }
    base.places.extend(with.places);
    base.values.extend(with.values);
    base.span = with.span;
    base
}

fn policy_over(policy: &Policy, base: &Policy) -> Policy {
    Policy {
        timeout: policy.timeout.or(base.timeout),
        attempts: policy.attempts.clone().or_else(|| base.attempts.clone()),
        base: policy.base.or(base.base),
        max: policy.max.or(base.max),
        on: policy.on.or(base.on),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::flat::to_toml;
    use crate::graph::plan::Plan;
    use crate::graph::testing::HANDLERS;

    const BASE: &str = "name = \"base\"\n[stages.a]\nhandler = \"step\"\nwith = { value = 3 }\n";

    fn load(text: &str, bases: &[(&str, &str)]) -> Result<GraphFile, Diagnostics> {
        GraphFile::load("over.toml", text.as_bytes(), &|name, _| {
            let (name, text) = bases.iter().find(|(base, _)| *base == name)?;
            Some((format!("{name}.toml"), text.as_bytes().to_vec()))
        })
    }

    #[test]
    fn a_stage_with_another_handler_keeps_no_parameters() {
        let over = "name = \"over\"\nextends = \"base\"\n[stages.a]\nhandler = \"effect\"\n";
        let file = load(over, &[("base", BASE)]).expect("a graph");
        assert_eq!(
            to_toml(&file),
            "name = \"over\"\n\n[stages.a]\nhandler = \"effect\"\n"
        );
        // Said again, the same handler is no other.
        let over = over.replace("effect", "step");
        let file = load(&over, &[("base", BASE)]).expect("a graph");
        assert!(to_toml(&file).contains("with = { value = 3 }"));
    }

    #[test]
    fn a_table_that_no_edge_names_is_told_only_where_the_file_has_one() {
        let over = "name = \"over\"\nextends = \"base\"\nedges = [{ chain = [\"b\", \"c\"] }]\n\
                    [stages.b]\nhandler = \"step\"\n[stages.c]\nhandler = \"step\"\n";
        let warned = |text: &str| {
            let file = load(text, &[("base", BASE)]).expect("a graph");
            let plan = Plan::build(&file, HANDLERS).expect("a plan");
            let warnings = plan.warnings().list();
            let left_out = warnings.iter().filter(|w| w.code == "stage-not-in-graph");
            left_out.map(|w| w.line).collect::<Vec<_>>()
        };
        assert_eq!(warned(over), [0_usize; 0]);
        assert_eq!(
            warned(&format!("{over}[stages.a]\ntimeout = \"1s\"\n")),
            [8]
        );
    }

    #[test]
    fn a_missing_base_and_a_loop_are_told() {
        let over = "name = \"over\"\nextends = \"base\"\n";
        let found = load(over, &[]).expect_err("no base");
        assert_eq!(found.list()[0].code, "extends-missing");
        let to_itself = "name = \"base\"\nextends = \"over\"\n";
        let found = load(over, &[("base", to_itself), ("over", over)]).expect_err("a loop");
        let found = found.list()[0];
        assert_eq!(
            (found.code, found.message.as_str(), found.file.as_str()),
            (
                "extends-loop",
                "this extends itself: over.toml -> base.toml -> over.toml",
                "base.toml"
            )
        );
    }

    #[test]
    fn a_mistake_in_a_base_points_into_the_base() {
        let base = BASE.replace("value", "valeu");
        let over = "name = \"over\"\nextends = \"base\"\nedgse = []\n[stages.b]\nhandler = \"step\"\nwhen = 'nothing.there'\n";
        let file = load(over, &[("base", &base)]).expect("a graph");
        let found = Plan::build(&file, HANDLERS).expect_err("three mistakes");
        let places: Vec<_> = found
            .list()
            .iter()
            .map(|found| (found.file.as_str(), found.line, found.code))
            .collect();
        assert_eq!(
            places,
            [
                ("over.toml", 3, "unknown-key"),
                ("over.toml", 6, "unknown-variable"),
                ("base.toml", 4, "unknown-parameter")
            ]
        );
        let drawn = found.render(false);
        assert!(drawn.contains("base.toml:4:"), "{drawn}");
    }
}
