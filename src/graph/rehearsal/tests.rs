use super::*;
use crate::graph::testing::{HANDLERS, finish, input};

const GRAPH: &str = r#"
name = "g"
input = "job"
[[edges]]
from = "a"
to = "b"
when = "stages.a.output.value > 2"
[[edges]]
from = "a"
to = "c"
else = true
[[edges]]
from = "b"
to = "d"
on = ["succeeded", "failed"]
[[edges]]
from = "c"
to = "d"
[stages.a]
handler = "step"
[stages.b]
handler = "step"
[stages.c]
handler = "step"
when = "job.yes"
[stages.d]
handler = "step"
on_error = "skip"
"#;

fn file(tests: &str) -> GraphFile {
    let text = format!("{GRAPH}\n{tests}");
    match GraphFile::parse("g.toml", text.as_bytes()) {
        Ok(file) => file,
        Err(found) => panic!("{}", found.render(false)),
    }
}

async fn rehearsed(tests: &str) -> Rehearsal {
    match rehearse(&file(tests), HANDLERS).await {
        Ok(rehearsal) => rehearsal,
        Err(found) => panic!("{}", found.render(false)),
    }
}

/// Gives the mismatches of the only test, as `what: expected, came`.
async fn mismatches(test: &str) -> Vec<String> {
    let rehearsal = rehearsed(&format!("[[tests]]\nname = \"t\"\n{test}")).await;
    let found = rehearsal.tests[0].mismatches.iter();
    found
        .map(|found| format!("{}: {}, {}", found.what, found.expected, found.came))
        .collect()
}

fn defects(test: &str) -> Vec<(&'static str, String)> {
    let graph = format!("{GRAPH}\n[[tests]]\n{test}");
    let found = match GraphFile::parse("g.toml", graph.as_bytes()) {
        Ok(file) => Plan::build(&file, HANDLERS).expect_err("defects"),
        Err(found) => found,
    };
    let list = found.list().into_iter();
    list.map(|found| {
        let blamed = graph[found.span.clone()].lines().next().unwrap_or_default();
        (found.code, blamed.to_owned())
    })
    .collect()
}

#[tokio::test]
async fn what_goes_as_expected_passes() {
    let test = r#"
input = { yes = true }
expect.status = "succeeded"
expect.stages = { c = "not_taken", d = "skipped" }
expect.taken = ["a -> b", "b->d"]
expect.not_taken = ["a -> c"]
stages.a.output = { value = 3 }
stages.b.outcome = "failed"
stages.d.outcome = "timed_out"
"#;
    assert_eq!(mismatches(test).await, [""; 0]);
}

#[tokio::test]
async fn what_does_not_is_told_with_what_came_instead() {
    let test = r#"
input = { yes = false }
expect.status = "failed"
expect.stages = { c = "succeeded" }
expect.taken = ["a -> b"]
expect.not_taken = ["c -> d"]
stages.a.output = { value = 1 }
"#;
    let rehearsal = rehearsed(&format!("[[tests]]\nname = \"t\"\n{test}")).await;
    let found = json!(rehearsal.tests[0].mismatches);
    let told = |place: usize| {
        let of = |key: &str| found[place][key].as_str().unwrap_or_default().to_owned();
        (of("what"), of("expected"), of("came"))
    };
    let owned = |what: &str, expected: &str, came: &str| {
        (what.to_owned(), expected.to_owned(), came.to_owned())
    };
    assert_eq!(told(0), owned("the run", "failed", "succeeded"));
    assert_eq!(told(1), owned("stage c", "succeeded", "skipped"));
    assert_eq!(
        found[1]["why"]["stage"]["values"],
        json!({"job.yes": false})
    );
    assert_eq!(told(2), owned("edge a -> b", "taken", "not taken"));
    let because = &found[2]["why"]["edges"][0]["because"];
    assert_eq!(because["values"], json!({"stages.a.output.value": 1}));
    assert_eq!(told(3), owned("edge c -> d", "not taken", "taken"));
    // What follows `a` otherwise says what was taken in its place.
    let test =
        "stages.a.output = { value = 3 }\nexpect.stages = { b = \"failed\", c = \"succeeded\" }";
    let rehearsal = rehearsed(&format!("[[tests]]\nname = \"t\"\n{test}")).await;
    let why: Vec<Vec<String>> = rehearsal.tests[0]
        .mismatches
        .iter()
        .map(|found| match &found.why {
            Some(Why::Edges(edges)) => edges
                .iter()
                .map(|it| format!("{} {}", it.to, it.taken))
                .collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(why, [vec!["b true"], vec!["c false", "b true"]]);
    assert_eq!(found.as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn a_condition_that_reads_what_the_test_does_not_say_is_told() {
    let rehearsal = rehearsed("[[tests]]\nname = \"t\"\nexpect.status = \"succeeded\"").await;
    let [found] = rehearsal.tests[0].mismatches.as_slice() else {
        panic!("{rehearsal:?}");
    };
    let Some(Why::Error(error)) = &found.why else {
        panic!("{found:?}");
    };
    assert!(error.contains("the edge from `a` to `b`"), "{error}");
}

#[tokio::test]
async fn a_test_leaves_out_what_a_job_can_leave_out() {
    let test = r#"
input = { yes = true }
skip = ["d"]
stages.a.output = { value = 1 }
expect.stages = { c = "succeeded", d = "skipped" }
"#;
    assert_eq!(mismatches(test).await, [""; 0]);
    // The condition behind `a` reads its output: without `a` there is no plan.
    let test = "skip = [\"a\"]\nexpect.status = \"succeeded\"";
    assert_eq!(
        mismatches(test).await,
        ["the plan: sound without what the test leaves out, refused"]
    );
}

#[tokio::test]
async fn waiting_and_questions_are_mocked_too() {
    let graph = r#"
name = "g"
[[edges]]
from = "a"
to = "b"
when = "open_questions.exists(q, q.blocking)"
[stages.a]
handler = "step"
[stages.b]
handler = "step"
[[tests]]
name = "asked"
stages.a.asks = [{ id = "which", blocking = true }]
stages.b.outcome = "waiting"
expect = { status = "waiting", stages = { b = "waiting" } }
[[tests]]
name = "asked and open"
stages.a.asks = [{ id = "which" }]
expect.not_taken = ["a -> b"]
"#;
    let file = GraphFile::parse("g.toml", graph.as_bytes()).expect("TOML");
    let rehearsal = rehearse(&file, HANDLERS).await.expect("no defects");
    for test in &rehearsal.tests {
        assert!(test.mismatches.is_empty(), "{test:?}");
    }
    assert_eq!(rehearsal.coverage.gaps, []);
}

#[tokio::test]
async fn coverage_counts_edges_both_ways_and_outcomes_that_the_graph_distinguishes() {
    let none = rehearsed("").await.coverage;
    let told: Vec<String> = none.gaps.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "no test takes a -> b",
            "no test leaves a -> b untaken by its condition",
            "no test takes a -> c",
            "no test leaves a -> c untaken by its condition",
            "no test takes b -> d",
            "no test takes c -> d",
            "in no test b succeeds",
            "in no test b fails",
            "in no test c succeeds",
            "in no test c is skipped by its `when`",
            "in no test d succeeds",
            "in no test d fails and is skipped by its `on_error`",
        ]
    );
    assert_eq!((none.total, none.covered), (12, 0));
    let some = r#"
[[tests]]
name = "b"
stages.a.output = { value = 3 }
expect.status = "succeeded"
[[tests]]
name = "b fails"
stages.a.output = { value = 3 }
stages.b.outcome = "failed"
stages.d.outcome = "failed"
expect.status = "succeeded"
[[tests]]
name = "c"
input = { yes = true }
stages.a.output = { value = 1 }
expect.status = "succeeded"
"#;
    let most = rehearsed(some).await.coverage;
    assert_eq!((most.total, most.covered), (12, 11));
    assert!((most.percent - 91.6).abs() < 1e-9, "{}", most.percent);
    assert_eq!(
        most.gaps,
        [Gap::Outcome {
            stage: "c".to_owned(),
            outcome: Distinction::Skipped
        }]
    );
    let last = "[[tests]]\nname = \"no c\"\ninput = { yes = false }\nstages.a.output = { value = 1 }\nexpect.status = \"succeeded\"\n";
    let all = rehearsed(&format!("{some}{last}")).await.coverage;
    assert_eq!((all.total, all.covered), (12, 12));
    assert!((all.percent - 100.0).abs() < 1e-9);
}

/// There is one engine: the same outcomes decide the same edges, whoever brings them about.
#[tokio::test(start_paused = true)]
async fn a_mocked_run_takes_the_edges_that_a_real_one_takes() {
    for (a, b, mocked) in [
        ("{ value = 3 }", "{}", ""),
        ("{ value = 1 }", "{}", ""),
        (
            "{ value = 3 }",
            "{ does = \"fail\" }",
            "stages.b.outcome = \"failed\"",
        ),
    ] {
        let real = GRAPH
            .replace("[stages.a]\n", &format!("[stages.a]\nwith = {a}\n"))
            .replace("[stages.b]\n", &format!("[stages.b]\nwith = {b}\n"));
        let job = json!({"yes": true});
        let plan = Plan::parse("g.toml", real.as_bytes(), HANDLERS).expect("a plan");
        let real = finish(Run::start(Arc::new(plan), input(job))).await;
        let test = format!(
            "[[tests]]\nname = \"t\"\ninput = {{ yes = true }}\nstages.a.output = {a}\n{mocked}\nexpect.status = \"succeeded\""
        );
        let file = file(&test);
        let plan = plan_of(&file.tests[0], &file, HANDLERS.into()).expect("a plan");
        let mocked = run(plan, &file.tests[0]).await;
        assert_eq!(decisions(&mocked.events), decisions(&real.events));
    }
}

fn decisions(events: &[Event]) -> Vec<EdgeDecision> {
    let decisions = events.iter().filter_map(|event| match event {
        Event::EdgeDecided { decision } => Some(decision.clone()),
        _ => None,
    });
    decisions.collect()
}

#[test]
fn defects_of_tests_are_told_with_their_place() {
    for (rest, code, blamed) in [
        ("stages.e = {}", "unknown-stage", "e"),
        ("skip = [\"e\"]", "unknown-stage", "\"e\""),
        ("expect.stages.e = \"failed\"", "unknown-stage", "e"),
        (
            "expect.stages.a = \"fialed\"",
            "unknown-value",
            "\"fialed\"",
        ),
        ("expect.taken = [\"a -> d\"]", "unknown-edge", "\"a -> d\""),
        ("expect.taken = [\"a -> e\"]", "unknown-stage", "\"a -> e\""),
        ("expect.taken = [\"a\"]", "not-an-edge", "\"a\""),
        ("stages.a.output.valeu = 3", "impossible-value", "valeu"),
        ("stages.a.output.value = \"x\"", "impossible-value", "\"x\""),
        (
            "stages.a.outcome = \"skipped\"",
            "unknown-value",
            "\"skipped\"",
        ),
        (
            "stages.a.asks = [{ blocking = true }]",
            "missing-key",
            "{ blocking = true }",
        ),
        ("stages.a.asks = [{ id = 3 }]", "wrong-type", "3"),
        ("stages.a = 1", "wrong-type", "1"),
        ("expects = 1", "unknown-key", "expects"),
        ("stages.a.outputs = {}", "unknown-key", "outputs"),
        (
            "[[tests]]\nname = \"t\"\nexpect.status = \"succeeded\"",
            "duplicate-test",
            "\"t\"",
        ),
    ] {
        let test = format!("name = \"t\"\nexpect.status = \"succeeded\"\n{rest}");
        assert_eq!(defects(&test), [(code, blamed.to_owned())], "{rest}");
    }
}

#[test]
fn a_test_has_a_name_and_can_fail() {
    for (test, code, blamed) in [
        ("expect.status = \"failed\"", "missing-key", "[[tests]]"),
        ("name = \"t\"", "test-expects-nothing", "[[tests]]"),
        (
            "name = \"t\"\nexpect = {}",
            "test-expects-nothing",
            "[[tests]]",
        ),
        (
            "name = \"t\"\nexpect.status = \"cancelled\"",
            "unknown-value",
            "\"cancelled\"",
        ),
    ] {
        assert_eq!(defects(test), [(code, blamed.to_owned())], "{test}");
    }
}

#[test]
fn tests_belong_to_their_own_file() {
    let base = "name = \"base\"\n[stages.step]\n[[tests]]\nname = \"of the base\"\nexpect.status = \"succeeded\"\n";
    let text = "name = \"over\"\nextends = \"base\"\n";
    let file = GraphFile::load("over.toml", text.as_bytes(), &|_, _| {
        Some(("base.toml".to_owned(), base.as_bytes().to_vec()))
    });
    assert!(file.expect("a graph").tests.is_empty());
}
