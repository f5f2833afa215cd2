//! The graphs that are measured: a chain of n; a fan (one stage, n after it, one that joins them); dense, layers of which every
//! stage comes before every stage of the next; and `graphs/default.toml`.

use std::fmt::Write as _;

/// A graph by number, and as a file.
pub struct Shape {
    /// Its name in the tables.
    pub name: String,
    /// Its stages' ids, upstream first.
    pub ids: Vec<String>,
    /// Its edges, as indices of `ids`.
    pub edges: Vec<(usize, usize)>,
    /// What an engine needs to know that cannot follow the edges freely.
    pub form: Form,
    /// The graph file.
    pub text: String,
}

/// How a shape is made, for an engine that runs one stage at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Layers of a width each, every stage of one before every stage of the next; a chain is layers of one stage.
    Layers {
        /// Stages of a layer.
        width: usize,
    },
    /// One stage, all but two after it, and one that joins them.
    Fan,
    /// The default graph, with its conditions.
    Default,
}

impl Shape {
    /// Gives the stages before each stage.
    pub fn before(&self) -> Vec<Vec<usize>> {
        let mut before = vec![Vec::new(); self.ids.len()];
        for &(from, to) in &self.edges {
            before[to].push(from);
        }
        before
    }

    /// Makes a shape of chains. With `tables` each stage has a table that names its handler, as in a file of a team's own;
    /// without, the handler is named as the stage, and 100,000 stages fit into a file.
    fn of(name: &str, ids: Vec<String>, chains: &[Vec<usize>], form: Form, tables: bool) -> Self {
        let mut text = String::from("name = \"bench\"\ninput = \"job\"\nedges = [\n");
        for chain in chains {
            text.push_str("{chain=[");
            for &stage in chain {
                let _ = write!(text, "\"{}\",", ids[stage]);
            }
            text.push_str("]},\n");
        }
        text.push_str("]\n");
        if tables {
            for id in &ids {
                let _ = writeln!(text, "[stages.{id}]\nhandler = \"noop\"");
            }
        }
        let pairs = chains.iter().flat_map(|chain| chain.windows(2));
        Self {
            name: name.to_owned(),
            edges: pairs.map(|pair| (pair[0], pair[1])).collect(),
            ids,
            form,
            text,
        }
    }
}

/// The shapes that every engine runs.
pub fn all() -> Vec<Shape> {
    vec![
        chain(10),
        chain(100),
        chain(1000),
        fan(100),
        fan(1000),
        dense(100),
        default(),
    ]
}

/// Larger and larger ones, for whether cost is linear in stages plus edges.
pub fn growing() -> Vec<Shape> {
    vec![
        chain(1000),
        chain(10_000),
        chain(100_000),
        dense(10),
        dense(100),
        dense(1000),
    ]
}

/// A chain in which every edge has a condition that reads the job and the stage before it.
pub fn guarded(count: usize) -> Shape {
    let Shape { ids, edges, .. } = chain(count);
    let mut text = String::from("name = \"bench\"\ninput = \"job\"\n");
    for &(from, to) in &edges {
        let (from, to) = (&ids[from], &ids[to]);
        let _ = writeln!(
            text,
            "[[edges]]\nfrom = \"{from}\"\nto = \"{to}\"\n\
             when = \"stages.{from}.status == 'succeeded' && !job.require_review\""
        );
    }
    for id in &ids {
        let _ = writeln!(text, "[stages.{id}]\nhandler = \"noop\"");
    }
    Shape {
        name: format!("chain {count}, guarded"),
        ids,
        edges,
        form: Form::Layers { width: 1 },
        text,
    }
}

/// A chain of stages.
pub fn chain(count: usize) -> Shape {
    let chain = (0..count).collect();
    Shape::of(
        &format!("chain {count}"),
        numbered(count),
        &[chain],
        Form::Layers { width: 1 },
        count <= 1000,
    )
}

/// Layers of ten stages, every stage of one before every stage of the next.
fn dense(layers: usize) -> Shape {
    const WIDTH: usize = 10;
    let mut chains = Vec::new();
    // From each stage of the first layer with each stride: together they have every edge once.
    for start in 0..WIDTH {
        for stride in 0..WIDTH {
            let stages = (0..layers).map(|layer| layer * WIDTH + (start + stride * layer) % WIDTH);
            chains.push(stages.collect());
        }
    }
    Shape::of(
        &format!("dense {layers}x{WIDTH}"),
        numbered(layers * WIDTH),
        &chains,
        Form::Layers { width: WIDTH },
        layers <= 100,
    )
}

/// A stage, `count` after it, and one that joins them.
fn fan(count: usize) -> Shape {
    let chains: Vec<_> = (1..=count).map(|n| vec![0, n, count + 1]).collect();
    let (name, ids) = (format!("fan {count}"), numbered(count + 2));
    Shape::of(&name, ids, &chains, Form::Fan, true)
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("s{n}")).collect()
}

/// The default graph with every stage a no-op: its edges and conditions are those of the file.
fn default() -> Shape {
    let ids = [
        "collect_metadata",
        "normalize_schema",
        "analyzer",
        "llm_advisor",
        "code_generator",
        "infra_generator",
        "executor",
        "run_validation",
        "gate_review",
    ];
    let mut edges: Vec<(usize, usize)> = (0..8).map(|stage| (stage, stage + 1)).collect();
    edges.push((6, 8));
    Shape {
        name: "default 9".to_owned(),
        ids: ids.map(str::to_owned).to_vec(),
        edges,
        form: Form::Default,
        text: include_str!("../../graphs/default.toml").to_owned(),
    }
}
