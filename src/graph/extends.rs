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
        id: base.id.clone(),
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
        attempts: policy.attempts.or(base.attempts),
        base: policy.base.or(base.base),
        max: policy.max.or(base.max),
        on: policy.on.or(base.on),
    }
}
