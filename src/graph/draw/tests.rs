//! Drawings are read back as what they are: nothing is cut, escaped wrongly, or put on top of something else.

use proptest::prelude::*;
use roxmltree::Document;
use serde_json::json;

use super::layers::{Link, Size};
use super::place::place;
use super::*;
use crate::graph::testing::plan;

const TEXT: &str = r#"
name = "drawn"
edges = [
    { from = "a", to = "b", on = ["succeeded", "failed"], when = "stages.a.status == \"failed\"" },
    { from = "a", to = "c", else = true },
    { chain = ["b", "d"] },
]
[stages.a]
handler = "step"
[stages.b]
handler = "step"
[stages.c]
handler = "step"
when = "stages.a.output.value < 3"
[stages.d]
handler = "step"
disabled = true
"#;

fn history() -> History {
    let decided = |to: &str, taken, because| EdgeDecision {
        from: "a".into(),
        to: to.into(),
        taken,
        outcome: StageStatus::Succeeded,
        because,
    };
    let condition = EdgeReason::Condition {
        expression: "stages.a.status == \"failed\"".into(),
        values: BTreeMap::from([("stages.a.status".to_owned(), json!("<succeeded>"))]),
    };
    let sibling = EdgeReason::Else {
        sibling_taken: false,
    };
    let statuses = [
        ("a", StageStatus::Succeeded),
        ("b", StageStatus::NotTaken),
        ("c", StageStatus::TimedOut),
    ];
    History::new(
        statuses.map(|(id, status)| (id.to_owned(), status)).into(),
        vec![decided("b", false, condition), decided("c", true, sibling)],
    )
}

#[test]
fn mermaid_has_conditions_as_labels() {
    assert_eq!(
        mermaid(&plan(TEXT), None),
        r#"flowchart TD
    s0["a"]
    s1["b"]
    s2["c<br/>when stages.a.output.value #60; 3"]
    s3["d<br/>disabled"]
    s0 -->|"on succeeded, failed when stages.a.status == #34;failed#34;"| s1
    s0 -->|"else"| s2
    s1 --> s3
    classDef optional stroke-dasharray: 4 4
    class s2,s3 optional
"#
    );
}

#[test]
fn mermaid_shows_what_happened() {
    let text = mermaid(&plan(TEXT), Some(&history()));
    for line in [
        r#"s0["a<br/><b>succeeded</b>"]"#,
        r#"s3["d<br/>disabled<br/><b>pending</b>"]"#,
        r#"s0 -.->|"on succeeded, failed when stages.a.status == #34;failed#34;"| s1"#,
        r#"s0 ==>|"else"| s2"#,
        "s1 -.-> s3",
        "class s2 timed_out",
        "linkStyle 0,2 opacity:0.4",
    ] {
        assert!(text.lines().any(|it| it.trim() == line), "{line}\n{text}");
    }
}

#[test]
fn dot_quotes_what_it_must() {
    let text = dot(&plan(TEXT), None);
    let edge = r#""a" -> "b" [label="on succeeded, failed when stages.a.status == \"failed\""];"#;
    assert!(text.contains(edge), "{text}");
    assert!(text.contains(r#""b" -> "d";"#), "{text}");
    let text = dot(&plan(TEXT), Some(&history()));
    assert!(
        text.contains(r#""a" [label="a\nsucceeded", color="#),
        "{text}"
    );
    assert!(
        text.contains(r#""a" -> "c" [label="else", penwidth=2];"#),
        "{text}"
    );
    assert!(text.contains(r#""b" -> "d" [style=dashed"#), "{text}");
}

#[test]
fn json_has_the_edges_that_run() {
    let drawn = json(&plan(TEXT), None);
    assert_eq!(drawn["edges"][1]["else"], true);
    assert_eq!(drawn["edges"][0]["on"], json!(["succeeded", "failed"]));
    assert_eq!(drawn["stages"][2]["when"], "stages.a.output.value < 3");
    assert_eq!(drawn["stages"][0].get("status"), None);
    assert_eq!(drawn["edges"][0].get("taken"), None);
    let drawn = json(&plan(TEXT), Some(&history()));
    assert_eq!(drawn["stages"][2]["status"], "timed_out");
    assert_eq!(drawn["stages"][3]["status"], "pending");
    assert_eq!(drawn["edges"][0]["taken"], false);
    assert_eq!(
        drawn["edges"][0]["because"]["values"]["stages.a.status"],
        "<succeeded>"
    );
    assert_eq!(drawn["edges"][2]["taken"], json!(null));
}

/// Gives the groups of a class with the texts in them, the tooltip first.
fn groups(text: &str, class: &str) -> Vec<(String, Vec<String>)> {
    let document = Document::parse(text).expect("XML");
    let has = |node: &roxmltree::Node| {
        let classes = node.attribute("class").unwrap_or_default();
        node.has_tag_name("g") && classes.split(' ').any(|it| it == class)
    };
    let texts = |node: roxmltree::Node| {
        let texts = node.descendants().filter(roxmltree::Node::is_element);
        let texts = texts
            .filter_map(|it| it.text())
            .filter(|text| !text.trim().is_empty());
        let classes = node.attribute("class").unwrap_or_default().to_owned();
        (classes, texts.map(str::to_owned).collect())
    };
    document.descendants().filter(has).map(texts).collect()
}

#[test]
fn svg_has_every_stage_and_every_edge() {
    let text = svg(&plan(TEXT), None);
    let stages = groups(&text, "stage");
    assert_eq!(stages.len(), 4);
    assert_eq!(
        stages[2].1[1..],
        ["c", "step", "when stages.a.output.value < 3"]
    );
    assert_eq!(stages[3].1[1..], ["d", "step", "disabled"]);
    assert_eq!(groups(&text, "optional").len(), 2);
    let edges = groups(&text, "edge");
    // Three ways, and the labels of two of them.
    assert_eq!(edges.len(), 5);
    assert_eq!(edges[2].1, ["b → d"]);
    assert_eq!(
        edges[3].1[1..],
        ["on succeeded, failed", "when stages.a.status == \"failed\""]
    );
}

#[test]
fn svg_shows_what_happened_without_colour_too() {
    let text = svg(&plan(TEXT), Some(&history()));
    let said: Vec<_> = groups(&text, "stage")
        .into_iter()
        .filter_map(|(_, texts)| texts.last().cloned())
        .collect();
    assert_eq!(said, ["succeeded", "not taken", "timed out", "pending"]);
    let untaken = groups(&text, "untaken");
    assert!(
        untaken[0].1[0]
            .ends_with("not taken: a ended as succeeded\nstages.a.status = \"<succeeded>\""),
        "{untaken:?}"
    );
    assert_eq!(groups(&text, "taken").len(), 2);
    assert_eq!(groups(&text, "undecided")[0].1, ["b → d\nnot decided"]);
}

#[test]
fn svg_escapes_and_shortens() {
    let hostile = r"</text><script>alert(1)</script> & ]]> \u0001 \uFFFE 日本語";
    let long = "x".repeat(1_500);
    let text = format!(
        "name = \"drawn\"\ninput = \"job\"\ndescription = \"{hostile}\"\n\
         edges = [{{ from = \"a\", to = \"b\", when = \"job.x == '{hostile}{long}'\" }}]\n\
         [stages.a]\nhandler = \"step\"\n[stages.b]\nhandler = \"step\"\n"
    );
    let drawn = svg(&plan(&text), None);
    let label = groups(&drawn, "edge").pop().expect("a label").1;
    assert!(label[0].contains("</text><script>alert(1)</script> & ]]> \u{FFFD} \u{FFFD} 日本語"));
    // Three lines at most, none of them long, and the last one says that there is more.
    assert_eq!(label.len(), 4, "{label:?}");
    assert!(
        label[1..].iter().all(|line| line.chars().count() <= 38),
        "{label:?}"
    );
    assert!(label[3].ends_with('…'), "{label:?}");
    assert_eq!(drawn.matches("<script").count(), 0);
    assert!(drawn.len() < 12_000, "{}", drawn.len());
}

/// A graph of boxes; links lead from lower to higher numbers, as in a plan.
fn graphs() -> impl Strategy<Value = (Vec<Size>, Vec<Link>)> {
    let size = (40_u16..300, 20_u16..80).prop_map(|(width, height)| Size {
        width: width.into(),
        height: height.into(),
    });
    let label = proptest::option::weighted(0.3, size.clone());
    let boxes = proptest::collection::vec(size, 1..25);
    (
        boxes,
        proptest::collection::vec((0_usize..25, 0_usize..25, label), 0..50),
    )
        .prop_map(|(boxes, ends)| {
            let links = ends.into_iter().filter_map(|(a, b, label)| {
                let (from, to) = (a.min(b), a.max(b));
                (from < to && to < boxes.len()).then_some(Link { from, to, label })
            });
            let links = links.collect();
            (boxes, links)
        })
}

/// The sides of what has a middle and a size: left, right, top, bottom.
fn sides(at: super::place::Point, size: Size) -> [f64; 4] {
    let (x, y) = (size.width / 2.0, size.height / 2.0);
    [at.x - x, at.x + x, at.y - y, at.y + y]
}

fn overlap(a: [f64; 4], b: [f64; 4]) -> bool {
    let less = |a: f64, b: f64| a < b - 0.01;
    less(a[0], b[1]) && less(b[0], a[1]) && less(a[2], b[3]) && less(b[2], a[3])
}

proptest! {
    #[test]
    fn nothing_stands_on_anything_else((boxes, links) in graphs()) {
        let drawn = place(&boxes, &links);
        let mut things: Vec<[f64; 4]> = drawn.boxes.iter().zip(&boxes).map(|(&at, &size)| sides(at, size)).collect();
        for (route, link) in drawn.routes.iter().zip(&links) {
            prop_assert_eq!(route.label.is_some(), link.label.is_some());
            things.extend(route.label.zip(link.label).map(|(at, size)| sides(at, size)));
        }
        for (number, thing) in things.iter().enumerate() {
            prop_assert!(thing[0] >= 0.0 && thing[1] <= drawn.size.width && thing[3] <= drawn.size.height);
            for other in &things[..number] {
                prop_assert!(!overlap(*thing, *other), "{:?} {:?}", thing, other);
            }
        }
        for (route, link) in drawn.routes.iter().zip(&links) {
            // Links go down only, and no stretch between its own boxes touches a box.
            for hop in route.falls.windows(2) {
                prop_assert!(hop[0].bottom < hop[1].top);
            }
            for fall in &route.falls[1..route.falls.len() - 1] {
                for (number, thing) in things[..boxes.len()].iter().enumerate() {
                    let way = [fall.x - 0.1, fall.x + 0.1, fall.top, fall.bottom];
                    prop_assert!(!overlap(*thing, way), "{:?} runs through {}", link, number);
                }
            }
            let ends = [(link.from, route.falls[0].x), (link.to, route.falls[route.falls.len() - 1].x)];
            for (own, x) in ends {
                prop_assert!(things[own][0] < x && x < things[own][1]);
            }
        }
    }

    #[test]
    fn the_same_graph_gives_the_same_drawing((boxes, links) in graphs()) {
        prop_assert_eq!(format!("{:?}", place(&boxes, &links)), format!("{:?}", place(&boxes, &links)));
    }
}

#[test]
fn crossings_that_need_not_be_are_taken_out() {
    let boxes = [Size {
        width: 50.0,
        height: 20.0,
    }; 8];
    // Four pairs, named so that their first order crosses.
    let links = [(0, 7), (1, 6), (2, 5), (3, 4)].map(|(from, to)| Link {
        from,
        to,
        label: None,
    });
    let drawn = place(&boxes, &links);
    for route in &drawn.routes {
        let aside = route.falls[0].x - route.falls[1].x;
        assert!(aside.abs() < 0.01, "{route:?}");
    }
}

#[test]
fn a_thousand_stages_with_long_links_are_not_too_many() {
    let boxes = vec![
        Size {
            width: 100.0,
            height: 40.0
        };
        1_000
    ];
    let links: Vec<Link> = (1..1_000)
        .flat_map(|to| [(to - 1, to), (0, to)])
        .map(|(from, to)| Link {
            from,
            to,
            label: None,
        })
        .collect();
    let drawn = place(&boxes, &links);
    let bends: usize = drawn.routes.iter().map(|route| route.falls.len()).sum();
    assert!(bends < 50_000, "{bends}");
}
