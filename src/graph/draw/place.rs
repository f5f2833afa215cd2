//! Coordinates for layered boxes, and the way of each link between them.
//!
//! Across, each layer is pulled towards its neighbours' means as far as the order and the gaps allow: a least-squares
//! problem that pooling adjacent violators solves exactly. A link runs straight down through a layer, in its own cell, and curves
//! only between layers, so that it never touches a box.

use super::layers::{Layers, Link, Size, whole};

/// Rounds of pulling; each goes down and up.
const ROUNDS: usize = 10;

/// The room between two boxes of a layer, and beside a link.
const BOX_GAP: f64 = 36.0;
const LINK_GAP: f64 = 18.0;

/// The room between layers, before and after labels, and what is added where links run far across.
const LAYER_GAP: f64 = 40.0;
const LABEL_GAP: f64 = 20.0;
const STEEPNESS: f64 = 0.08;
const MOST_ADDED: f64 = 60.0;

/// The room around the drawing.
const MARGIN: f64 = 20.0;

/// The room between two links at a box.
const PORT_GAP: f64 = 22.0;

/// How far a port moves for a link to be upright.
const NEARLY: f64 = 6.0;

/// A place in the drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
}

/// A stretch of a link straight down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fall {
    pub x: f64,
    pub top: f64,
    pub bottom: f64,
}

/// The way of a link: from its first fall's bottom over the others to the last one's top.
#[derive(Debug, PartialEq)]
pub(super) struct Route {
    /// The stretches, from box to box.
    pub falls: Vec<Fall>,
    /// The middle of the label, if it has one.
    pub label: Option<Point>,
}

/// Where everything stands.
#[derive(Debug)]
pub(super) struct Layout {
    /// The size of the drawing.
    pub size: Size,
    /// The middle of each box.
    pub boxes: Vec<Point>,
    /// The way of each link.
    pub routes: Vec<Route>,
}

/// Places boxes from top to bottom and routes the links between them.
pub(super) fn place(boxes: &[Size], links: &[Link]) -> Layout {
    let layers = Layers::new(boxes, links);
    let mut across = columns(&layers);
    let ports = Ports::new(&layers, &across);
    straighten(&layers, &ports, &mut across);
    let left = (0..across.len())
        .map(|cell| across[cell] - layers.sizes[cell].width / 2.0)
        .fold(f64::INFINITY, f64::min);
    for x in &mut across {
        *x += MARGIN - left;
    }
    let ports = Ports::new(&layers, &across);
    let right = (0..across.len())
        .map(|cell| across[cell] + layers.sizes[cell].width / 2.0)
        .fold(MARGIN, f64::max);
    let rows = rows(&layers, &across);
    let middle = |cell: usize| {
        let (top, height) = rows[layers.layer_of[cell]];
        Point {
            x: across[cell],
            y: top + height / 2.0,
        }
    };
    let bottom = rows.last().map_or(MARGIN, |(top, height)| top + height);
    Layout {
        size: Size {
            width: right + MARGIN,
            height: bottom + MARGIN,
        },
        boxes: (0..boxes.len()).map(middle).collect(),
        routes: routes(&layers, &across, &ports, &rows),
    }
}

/// Gives each cell its place across.
fn columns(layers: &Layers) -> Vec<f64> {
    let mut across = vec![0.0; layers.sizes.len()];
    for layer in &layers.order {
        let mut x = 0.0;
        for (place, &cell) in layer.iter().enumerate() {
            if place > 0 {
                x += gap(layers, layer[place - 1], cell);
            }
            across[cell] = x;
        }
    }
    for round in 0..ROUNDS {
        let both = round + 2 >= ROUNDS;
        for layer in &layers.order {
            pull(layers, layer, true, both, &mut across);
        }
        for layer in layers.order.iter().rev() {
            pull(layers, layer, both, true, &mut across);
        }
    }
    across
}

/// The least room between the middles of two cells that stand side by side.
fn gap(layers: &Layers, left: usize, right: usize) -> f64 {
    let between = if layers.is_box(left) && layers.is_box(right) {
        BOX_GAP
    } else {
        LINK_GAP
    };
    f64::midpoint(layers.sizes[left].width, layers.sizes[right].width) + between
}

/// Pulls a layer towards the cells above, below or both. Long links weigh more, so that they run straight.
fn pull(layers: &Layers, layer: &[usize], up: bool, down: bool, across: &mut [f64]) {
    let mut pools: Vec<Pool> = Vec::new();
    let mut offset = 0.0;
    for (place, &cell) in layer.iter().enumerate() {
        if place > 0 {
            offset += gap(layers, layer[place - 1], cell);
        }
        let (mut weight, mut sum) = (0.0, 0.0);
        let above = layers.above[cell].iter().filter(|_| up);
        for &other in above.chain(layers.below[cell].iter().filter(|_| down)) {
            let pull = match (layers.is_box(cell), layers.is_box(other)) {
                (true, true) => 1.0,
                (false, false) => 8.0,
                (true, false) | (false, true) => 2.0,
            };
            weight += pull;
            sum += pull * across[other];
        }
        if weight == 0.0 {
            weight = 0.01;
            sum = weight * across[cell];
        }
        pools.push(Pool {
            weight,
            sum: sum - weight * offset,
            cells: 1,
        });
        while let [.., left, right] = pools.as_slice() {
            if left.mean() <= right.mean() {
                break;
            }
            let merged = Pool {
                weight: left.weight + right.weight,
                sum: left.sum + right.sum,
                cells: left.cells + right.cells,
            };
            pools.truncate(pools.len() - 2);
            pools.push(merged);
        }
    }
    let mut cells = layer.iter();
    let mut previous: Option<usize> = None;
    let mut offset = 0.0;
    for pool in &pools {
        for &cell in cells.by_ref().take(pool.cells) {
            offset += previous.map_or(0.0, |left| gap(layers, left, cell));
            across[cell] = pool.mean() + offset;
            previous = Some(cell);
        }
    }
}

/// Neighbours that stand as close as they may, as one.
struct Pool {
    weight: f64,
    sum: f64,
    cells: usize,
}

impl Pool {
    fn mean(&self) -> f64 {
        self.sum / self.weight
    }
}

/// Gives each layer its top and its height. Where links run far across, there is more room for them to turn.
fn rows(layers: &Layers, across: &[f64]) -> Vec<(f64, f64)> {
    let mut rows = Vec::new();
    let mut top = MARGIN;
    for (number, layer) in layers.order.iter().enumerate() {
        let heights = layer.iter().map(|&cell| layers.sizes[cell].height);
        let height = heights.fold(0.0, f64::max);
        rows.push((top, height));
        let hops = layer
            .iter()
            .flat_map(|&from| layers.below[from].iter().map(move |&to| (from, to)));
        let furthest = hops
            .map(|(from, to)| (across[from] - across[to]).abs())
            .fold(0.0, f64::max);
        let has_box = |layer: Option<&Vec<usize>>| {
            layer.is_some_and(|layer| layer.iter().any(|&cell| layers.is_box(cell)))
        };
        let least = if has_box(Some(layer)) && has_box(layers.order.get(number + 1)) {
            LAYER_GAP
        } else {
            LABEL_GAP
        };
        top += height + least + (furthest * STEEPNESS).min(MOST_ADDED);
    }
    rows
}

/// Puts the cells of a link below each other where there is room, best of all below or above one of its ports.
fn straighten(layers: &Layers, ports: &Ports, across: &mut [f64]) {
    let mut beside = vec![(None, None); layers.sizes.len()];
    for layer in &layers.order {
        for pair in layer.windows(2) {
            beside[pair[0]].1 = Some(pair[1]);
            beside[pair[1]].0 = Some(pair[0]);
        }
    }
    for (number, chain) in layers.chains.iter().enumerate() {
        let (leaving, entering) = (ports.leaving[number], ports.entering[number]);
        let mut rest = &chain[1..chain.len() - 1];
        while !rest.is_empty() {
            let (mut least, mut most) = (f64::NEG_INFINITY, f64::INFINITY);
            let mut length = 0;
            for &cell in rest {
                let (left, right) = beside[cell];
                let low = left.map_or(least, |it| across[it] + gap(layers, it, cell));
                let high = right.map_or(most, |it| across[it] - gap(layers, cell, it));
                // The sweeps keep every cell between its neighbours, but for what rounding does.
                if length > 0 && low.max(least) > high.min(most) {
                    break;
                }
                (least, most) = (low.max(least), high.min(most).max(low.max(least)));
                length += 1;
            }
            let (run, after) = rest.split_at(length);
            let is_free = |x: &f64| (least..=most).contains(x);
            let mean = run.iter().map(|&cell| across[cell]).sum::<f64>() / whole(length);
            let x = [entering, leaving].into_iter().find(is_free);
            let x = x.unwrap_or(mean.clamp(least, most));
            for &cell in run {
                across[cell] = x;
            }
            rest = after;
        }
    }
}

/// Gives each link its way.
fn routes(layers: &Layers, across: &[f64], ports: &Ports, rows: &[(f64, f64)]) -> Vec<Route> {
    let routes = layers.chains.iter().enumerate().map(|(number, chain)| {
        let mut falls: Vec<Fall> = chain
            .iter()
            .map(|&cell| {
                let (top, height) = rows[layers.layer_of[cell]];
                // A box ends where its own height does, not the layer's.
                let spare = (height - layers.sizes[cell].height) / 2.0;
                let spare = if layers.is_box(cell) { spare } else { 0.0 };
                Fall {
                    x: across[cell],
                    top: top + spare,
                    bottom: top + height - spare,
                }
            })
            .collect();
        let (leaving, entering) = (ports.leaving[number], ports.entering[number]);
        match falls.as_mut_slice() {
            [first, last] => (first.x, last.x) = (leaving, upright(entering, leaving)),
            [first, second, .., before, last] => {
                first.x = upright(leaving, second.x);
                last.x = upright(entering, before.x);
            }
            [first, between, last] => {
                first.x = upright(leaving, between.x);
                last.x = upright(entering, between.x);
            }
            [] | [_] => {}
        }
        let label = layers.labels[number].map(|cell| {
            let (top, height) = rows[layers.layer_of[cell]];
            Point {
                x: across[cell],
                y: top + height / 2.0,
            }
        });
        Route { falls, label }
    });
    routes.collect()
}

/// Moves a port so that a link that is nearly upright is upright.
fn upright(port: f64, other: f64) -> f64 {
    if (port - other).abs() < NEARLY {
        other
    } else {
        port
    }
}

/// Where each link leaves and enters its boxes, across.
struct Ports {
    leaving: Vec<f64>,
    entering: Vec<f64>,
}

impl Ports {
    fn new(layers: &Layers, across: &[f64]) -> Self {
        let last = |chain: &[usize]| (chain[chain.len() - 1], chain[chain.len() - 2]);
        Self {
            leaving: ports(layers, across, |chain| (chain[0], chain[1])),
            entering: ports(layers, across, last),
        }
    }
}

/// Gives each link its place across at one end: side by side, in the order of where the links come from or go to.
fn ports(layers: &Layers, across: &[f64], end: impl Fn(&[usize]) -> (usize, usize)) -> Vec<f64> {
    let mut at_box: Vec<Vec<usize>> = vec![Vec::new(); layers.boxes];
    for (number, chain) in layers.chains.iter().enumerate() {
        at_box[end(chain).0].push(number);
    }
    let mut ports = vec![0.0; layers.chains.len()];
    for (own, numbers) in at_box.iter_mut().enumerate() {
        numbers.sort_by(|&a, &b| {
            let next = |number: usize| across[end(&layers.chains[number]).1];
            next(a).total_cmp(&next(b))
        });
        let spaces = whole(numbers.len().saturating_sub(1)).max(1.0);
        let step = (layers.sizes[own].width * 0.7 / spaces).min(PORT_GAP);
        let mut x = across[own] - step * whole(numbers.len().saturating_sub(1)) / 2.0;
        for &number in numbers.iter() {
            ports[number] = x;
            x += step;
        }
    }
    ports
}
