//! SVG: a drawing of relvec's own, with nothing to install. It has no scripts and loads nothing.

use std::fmt::Write as _;

use super::layers::{Link, Size};
use super::place::{Layout, Point, Route, place};
use super::{Fate, History, TOOLTIP_CHARS, condition, explain, fate, is_optional, label, shorten};
use crate::graph::event::StageStatus;
use crate::graph::plan::{Edge, Plan, Stage};

/// Colours for light and dark pages, and the dashes that tell statuses apart without colour.
const STYLE: &str = include_str!("svg.css");

/// The most characters of a line, and lines of a condition; the tooltip has it whole.
const LINE_CHARS: usize = 38;
const LINES: usize = 3;

/// Widths of a character of a fixed-width font, and heights of a line: of a stage's id, and of everything else.
const ID: Size = Size {
    width: 8.0,
    height: 18.0,
};
const SMALL: Size = Size {
    width: 6.7,
    height: 15.0,
};

/// The room inside a stage's box, and the least width of one.
const PADDING: Size = Size {
    width: 14.0,
    height: 11.0,
};
const LEAST_WIDTH: f64 = 96.0;

/// The length of an arrow's head, and half its width.
const HEAD: Size = Size {
    width: 4.5,
    height: 8.0,
};

/// A stage's box with what stands in it.
struct Card<'a> {
    stage: &'a Stage,
    status: Option<StageStatus>,
    lines: Vec<String>,
    size: Size,
}

/// Draws a plan as SVG, from top to bottom: conditions are the edges' labels, and a stage with its own condition is dashed.
///
/// With a run's history each stage says its status, and edges tell by their stroke whether they were taken. Tooltips hold what
/// was shortened, and the values that conditions read.
#[must_use]
pub fn svg(plan: &Plan, history: Option<&History>) -> String {
    let boxes: Vec<Card> = plan
        .stages()
        .iter()
        .map(|stage| Card::new(stage, history))
        .collect();
    let labels: Vec<Vec<String>> = plan
        .edges()
        .iter()
        .map(|edge| label(edge).iter().flat_map(|line| wrap(line)).collect())
        .collect();
    let sizes: Vec<Size> = boxes.iter().map(|drawn| drawn.size).collect();
    let links: Vec<Link> = plan
        .edges()
        .iter()
        .zip(&labels)
        .map(|(edge, lines)| Link {
            from: edge.from,
            to: edge.to,
            label: label_size(lines),
        })
        .collect();
    let layout = place(&sizes, &links);
    let mut text = head(plan, &layout);
    for (edge, route) in plan.edges().iter().zip(&layout.routes) {
        draw_edge(plan, edge, history, route, &mut text);
    }
    for (drawn, at) in boxes.iter().zip(&layout.boxes) {
        draw_box(drawn, *at, &mut text);
    }
    for ((edge, route), lines) in plan.edges().iter().zip(&layout.routes).zip(&labels) {
        if let Some(at) = route.label {
            draw_label(plan, edge, history, at, lines, &mut text);
        }
    }
    text.push_str("</svg>\n");
    text
}

impl<'a> Card<'a> {
    fn new(stage: &'a Stage, history: Option<&History>) -> Self {
        let status = history.map(|history| history.status(stage));
        let mut lines = vec![shorten(&stage.id, LINE_CHARS)];
        if stage.handler.name != stage.id.as_ref() {
            lines.push(shorten(stage.handler.name, LINE_CHARS));
        }
        lines.extend(condition(stage).iter().flat_map(|when| wrap(when)));
        lines.extend(status.map(|status| status.name().replace('_', " ")));
        let small = lines[1..].iter().map(|line| columns(line) * SMALL.width);
        let width = small.fold(columns(&lines[0]) * ID.width, f64::max);
        let height = lines[1..]
            .iter()
            .fold(ID.height, |sum, _| sum + SMALL.height);
        Self {
            stage,
            status,
            size: Size {
                width: (width + 2.0 * PADDING.width).max(LEAST_WIDTH),
                height: height + 2.0 * PADDING.height,
            },
            lines,
        }
    }
}

/// Breaks a condition into lines between its words.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= LINE_CHARS => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    if lines.len() > LINES {
        lines.truncate(LINES);
        lines[LINES - 1].push_str(" …");
    }
    lines.iter().map(|line| shorten(line, LINE_CHARS)).collect()
}

fn label_size(lines: &[String]) -> Option<Size> {
    let widest = lines.iter().map(|line| columns(line)).fold(0.0, f64::max);
    let height = lines.iter().fold(0.0, |sum, _| sum + SMALL.height);
    (!lines.is_empty()).then_some(Size {
        width: widest * SMALL.width + 12.0,
        height: height + 4.0,
    })
}

/// Gives how many columns a text takes in a fixed-width font; most scripts from U+1100 on take two a character.
fn columns(text: &str) -> f64 {
    text.chars()
        .map(|c| {
            if c < '\u{1100}' || c == '…' {
                1.0
            } else {
                2.0
            }
        })
        .sum()
}

fn head(plan: &Plan, layout: &Layout) -> String {
    let (width, height) = (layout.size.width, layout.size.height);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"relvec\" role=\"img\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n<title>{}</title>\n",
        escape(plan.name())
    );
    if let Some(description) = plan.description() {
        let _ = writeln!(text, "<desc>{}</desc>", escape(description));
    }
    let _ = writeln!(text, "<style>\n{STYLE}</style>");
    // Labels cover the ways behind them: they need a ground that is known.
    let _ = writeln!(
        text,
        "<rect class=\"ground\" width=\"{width:.0}\" height=\"{height:.0}\"/>"
    );
    text
}

fn draw_edge(
    plan: &Plan,
    edge: &Edge,
    history: Option<&History>,
    route: &Route,
    text: &mut String,
) {
    let class = class(fate(plan, edge, history));
    let title = escape(&edge_title(plan, edge, history));
    let [first, .., last] = route.falls.as_slice() else {
        return;
    };
    let mut path = format!("M{:.1} {:.1}", first.x, first.bottom);
    let mut at = (first.x, first.bottom);
    for fall in &route.falls[1..] {
        let end = fall.top - if fall == last { HEAD.height } else { 0.0 };
        let _ = if (fall.x - at.0).abs() < 0.5 {
            write!(path, "V{end:.1}")
        } else {
            let middle = f64::midpoint(at.1, end);
            write!(
                path,
                "C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {end:.1}",
                at.0, fall.x, fall.x
            )
        };
        if fall != last && fall.bottom > fall.top {
            let _ = write!(path, "V{:.1}", fall.bottom);
        }
        at = (fall.x, fall.bottom);
    }
    let (x, top) = (last.x, last.top);
    let (left, right, neck) = (x - HEAD.width, x + HEAD.width, top - HEAD.height - 1.0);
    let _ = writeln!(
        text,
        "<g class=\"{class}\"><title>{title}</title><path class=\"way\" d=\"{path}\"/>\
         <path class=\"tip\" d=\"M{left:.1} {neck:.1}H{right:.1}L{x:.1} {top:.1}Z\"/></g>"
    );
}

fn draw_box(drawn: &Card, at: Point, text: &mut String) {
    let (x, y) = (
        at.x - drawn.size.width / 2.0,
        at.y - drawn.size.height / 2.0,
    );
    let status = drawn.status.map_or("", StageStatus::name);
    let optional = if is_optional(drawn.stage) {
        " optional"
    } else {
        ""
    };
    let _ = writeln!(
        text,
        "<g class=\"stage {status}{optional}\"><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"7\"/>",
        escape(&stage_title(drawn)),
        drawn.size.width,
        drawn.size.height
    );
    let mut baseline = y + PADDING.height + ID.height - 5.0;
    for (number, line) in drawn.lines.iter().enumerate() {
        let last = number + 1 == drawn.lines.len();
        let class = match (number, last && drawn.status.is_some()) {
            (0, _) => "id",
            (_, true) => "status",
            (_, false) => "small",
        };
        let line = escape(line);
        let _ = writeln!(
            text,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{baseline:.1}\">{line}</text>",
            at.x
        );
        baseline += SMALL.height;
    }
    text.push_str("</g>\n");
}

fn draw_label(
    plan: &Plan,
    edge: &Edge,
    history: Option<&History>,
    at: Point,
    lines: &[String],
    text: &mut String,
) {
    let Some(size) = label_size(lines) else {
        return;
    };
    let (x, y) = (at.x - size.width / 2.0, at.y - size.height / 2.0);
    let class = class(fate(plan, edge, history));
    let _ = writeln!(
        text,
        "<g class=\"{class}\"><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"4\"/>",
        escape(&edge_title(plan, edge, history)),
        size.width,
        size.height
    );
    let mut baseline = y + SMALL.height - 2.0;
    for line in lines {
        let line = escape(line);
        let _ = writeln!(
            text,
            "<text class=\"small\" x=\"{:.1}\" y=\"{baseline:.1}\">{line}</text>",
            at.x
        );
        baseline += SMALL.height;
    }
    text.push_str("</g>\n");
}

/// Gives an edge's classes.
const fn class(fate: Option<Fate>) -> &'static str {
    match fate {
        None => "edge",
        Some(Fate::Taken) => "edge taken",
        Some(Fate::NotTaken) => "edge untaken",
        Some(Fate::Undecided) => "edge undecided",
    }
}

fn edge_title(plan: &Plan, edge: &Edge, history: Option<&History>) -> String {
    let ends = [edge.from, edge.to].map(|stage| plan.stages()[stage].id.as_ref());
    let mut lines = vec![ends.join(" → ")];
    lines.extend(label(edge));
    if let Some(history) = history {
        let decision = history.decision(plan, edge);
        lines.push(decision.map_or("not decided".to_owned(), explain));
    }
    lines.join("\n")
}

fn stage_title(drawn: &Card) -> String {
    let stage = drawn.stage;
    let reads: Vec<String> = stage
        .inputs
        .iter()
        .map(|input| format!("{}{}", input.kind, if input.required { "" } else { "?" }))
        .collect();
    let mut lines = vec![stage.id.to_string()];
    lines.push(format!("{}: {}", stage.handler.name, stage.handler.summary));
    if !reads.is_empty() {
        lines.push(format!("reads {}", reads.join(", ")));
    }
    lines.push(format!("writes {}", stage.writes));
    lines.extend(condition(stage).map(|when| shorten(&when, TOOLTIP_CHARS)));
    lines.extend(
        drawn
            .status
            .map(|status| format!("status {}", status.name())),
    );
    lines.join("\n")
}

/// Makes a text safe inside XML; a character that XML 1.0 does not have becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            c if c.is_control() => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}
