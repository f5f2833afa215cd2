use super::*;
use crate::graph::event::{EdgeDecision, EdgeReason};
use crate::launch::tests::HANDLERS;

/// ```text
/// a ─► b ─► c ─► d
/// └───────► e (on failure of `a` only, or beside it)
/// ```
fn plan() -> Plan {
    let text = r#"
name = "small"
edges = [{ chain = ["a", "b", "c", "d"] }, { chain = ["a", "e"] }, { from = "b", to = "d" }]
[stages.a]
handler = "gate"
[stages.b]
handler = "gate"
[stages.c]
handler = "gate"
[stages.d]
handler = "gate"
[stages.e]
handler = "gate"
"#;
    Plan::parse("small.toml", text.as_bytes(), HANDLERS).unwrap()
}

/// Stages with a letter each: `+` succeeded, `!` failed, `h` failed and an edge took it, `x` cancelled, `0` not taken.
fn recorded(stages: &str) -> HashMap<String, RecordedStage> {
    let stages = stages.split_whitespace();
    stages
        .map(|stage| {
            let (id, mark) = stage.split_at(1);
            let status = match mark {
                "+" => StageStatus::Succeeded,
                "!" | "h" => StageStatus::Failed,
                "x" => StageStatus::Cancelled,
                "0" => StageStatus::NotTaken,
                other => panic!("{other}"),
            };
            let taken = EdgeDecision {
                from: id.into(),
                to: "d".into(),
                taken: true,
                outcome: status,
                because: EdgeReason::Unconditional,
            };
            let record = RecordedStage {
                id: id.to_owned(),
                status,
                reason: None,
                attempts: 1,
                seconds: 0.0,
                output: (mark == "+").then(|| serde_json::Value::Null.into()),
                decisions: if mark == "h" { vec![taken] } else { Vec::new() },
                artifacts: Vec::new(),
                reused: false,
            };
            (id.to_owned(), record)
        })
        .collect()
}

fn chosen(before: &str, wanted: &Wanted, forced: &[&str]) -> Result<String> {
    let plan = plan();
    let forced = forced.iter().filter_map(|id| plan.find(id)).collect();
    let choice = choose(&plan, &recorded(before), wanted, &forced, Uuid::nil())?;
    let names = |stages: &BTreeSet<usize>| {
        let mut names: Vec<&str> = stages
            .iter()
            .map(|&s| plan.stages()[s].id.as_ref())
            .collect();
        names.sort_unstable();
        names.concat()
    };
    Ok(format!(
        "{}-{}",
        names(&choice.again),
        names(&choice.left_out)
    ))
}

fn from(stages: &[&str]) -> Wanted {
    Wanted::From(stages.iter().map(ToString::to_string).collect())
}

fn only(stages: &[&str]) -> Wanted {
    Wanted::Only(stages.iter().map(ToString::to_string).collect())
}

#[test]
fn what_runs_again() {
    for (before, wanted, forced, expected) in [
        // What failed and what depends on it; what was cut off beside it as well.
        ("a+ b+ c! dx e+", Wanted::Failed, &[][..], "cd-"),
        ("a+ b! cx dx ex", Wanted::Failed, &[], "bcde-"),
        // A failure that an edge took is still what has to be mended.
        ("a+ b+ ch d+ e+", Wanted::Failed, &[], "cd-"),
        // Nothing began.
        ("", Wanted::Failed, &[], "abcde-"),
        // What cannot be taken over runs, with what depends on it.
        ("a+ b+ c! dx e+", Wanted::Failed, &["b"], "bcd-"),
        ("a+ b+ c+ d+ e+", Wanted::Failed, &["e"], "e-"),
        ("a+ b+ c+ d+ e+", from(&["c"]), &[], "cd-"),
        // A failure before the stage that an edge took stays.
        ("a+ b+ ch d+ e+", from(&["d"]), &[], "d-"),
        // What never ended runs as well.
        ("a+ b+ c+ d! ex", from(&["d"]), &[], "de-"),
        ("a+ b+ c+ d+ e+", only(&["c"]), &[], "c-"),
        ("a+ b+ c! dx ex", only(&["c"]), &[], "c-de"),
        ("a+ b+ c+ d+ e+", only(&["b", "c", "d"]), &[], "bcd-"),
        // `b` leads to `d` without `c`.
        ("a+ b+ c+ d+ e+", only(&["b", "d"]), &[], "bd-"),
        ("a+ b+ c+ d+ e+", only(&["e", "d"]), &[], "de-"),
    ] {
        let found = chosen(before, &wanted, forced).unwrap();
        assert_eq!(found, expected, "{before} {wanted:?} {forced:?}");
    }
}

#[test]
fn what_cannot_run_as_wanted_is_refused_with_the_next_step() {
    for (before, wanted, forced, says, next) in [
        (
            "a+ b+ c+ d+ e+",
            Wanted::Failed,
            &[][..],
            "nothing is left",
            "--from",
        ),
        ("a+ b+ c+ d+ e+", from(&["z"]), &[], "no stage `z`", "a, b"),
        (
            "a+ b! cx dx e+",
            only(&["d"]),
            &[],
            "`d` cannot run alone",
            "--from b",
        ),
        (
            "a+ b+ c+ d+ e+",
            only(&["a", "c"]),
            &[],
            "`a` and `c` cannot run without",
            "--from a",
        ),
        (
            "a+ b+ c+ d+ e+",
            only(&["c"]),
            &["e"],
            "`e` changed",
            "without --only",
        ),
        (
            "a+ b+ c0 d+ e+",
            from(&["c"]),
            &[],
            "no edge led",
            "explain",
        ),
        (
            "a+ b+ c0 d+ e+",
            only(&["c"]),
            &[],
            "no edge led",
            "explain",
        ),
    ] {
        let error = chosen(before, &wanted, forced).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(
            error.hints().iter().any(|hint| hint.contains(next)),
            "{error:?}"
        );
    }
    // What decides about it runs again: it may be reached this time.
    assert_eq!(
        chosen("a+ b+ c0 d+ e+", &from(&["b", "c"]), &[]).unwrap(),
        "bcd-"
    );
}
