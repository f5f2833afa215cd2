//! Boxes and links in layers from top to bottom (Sugiyama, Tagawa and Toda, 1981): which layer, and in which order.
//!
//! 1. A box stands below every box with a link to it (longest path), and no higher than it must.
//! 2. A link that passes a layer gets a cell of its own there, so that no box stands in its way; so does a label.
//! 3. Sweeps down and up put each cell near the mean of its neighbours; the order with the fewest crossings is kept.
//!
//! Everything is counted in whole numbers or compared with `total_cmp`: the same graph gives the same drawing.

/// How often the layers are put in order.
const SWEEPS: usize = 12;

/// The most cells of links. Beyond it, the longest links run straight, behind the boxes.
const BENDS: usize = 40_000;

/// A width and a height, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Size {
    pub width: f64,
    pub height: f64,
}

/// A link from a box to a later one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    /// The box it leaves.
    pub from: usize,
    /// The box it enters: a higher number than `from`.
    pub to: usize,
    /// The size of its label, if it has one.
    pub label: Option<Size>,
}

/// What stands in a layer: the boxes first, by their numbers, then the cells of links.
#[derive(Debug)]
pub(super) struct Layers {
    /// The size of each cell; a link without a label takes no room of its own.
    pub sizes: Vec<Size>,
    /// The layer of each cell.
    pub layer_of: Vec<usize>,
    /// The cells of each layer, from left to right.
    pub order: Vec<Vec<usize>>,
    /// For each link, the cells from box to box.
    pub chains: Vec<Vec<usize>>,
    /// For each link, the cell of its label.
    pub labels: Vec<Option<usize>>,
    /// How many cells are boxes.
    pub boxes: usize,
    /// For each cell, those of the layer above that it hangs on.
    pub above: Vec<Vec<usize>>,
    /// For each cell, those of the layer below that hang on it.
    pub below: Vec<Vec<usize>>,
}

impl Layers {
    /// Puts boxes and links into layers, and each layer into an order with few crossings.
    pub fn new(boxes: &[Size], links: &[Link]) -> Self {
        let level = levels(boxes.len(), links);
        let mut labelled = vec![false; level.iter().max().map_or(0, |highest| highest + 1)];
        for link in links {
            labelled[level[link.from]] |= link.label.is_some();
        }
        // A level with labels below it takes two layers.
        let mut layer = 0;
        let first_layer: Vec<usize> = labelled
            .iter()
            .map(|&labels| {
                let first = layer;
                layer += 1 + usize::from(labels);
                first
            })
            .collect();
        let mut layers = Self {
            sizes: boxes.to_vec(),
            layer_of: level.iter().map(|&level| first_layer[level]).collect(),
            order: vec![Vec::new(); layer],
            chains: vec![Vec::new(); links.len()],
            labels: vec![None; links.len()],
            boxes: boxes.len(),
            above: vec![Vec::new(); boxes.len()],
            below: vec![Vec::new(); boxes.len()],
        };
        layers.chain(links);
        layers.fill();
        layers.untangle();
        layers
    }

    /// Says whether a cell is a box, and not a part of a link.
    pub const fn is_box(&self, cell: usize) -> bool {
        cell < self.boxes
    }

    /// Gives each link its cells, the shortest links first.
    fn chain(&mut self, links: &[Link]) {
        let span = |link: &Link| self.layer_of[link.to] - self.layer_of[link.from];
        let mut order: Vec<usize> = (0..links.len()).collect();
        order.sort_by_key(|&number| span(&links[number]));
        for number in order {
            let link = links[number];
            let (first, last) = (self.layer_of[link.from], self.layer_of[link.to]);
            let mut chain = vec![link.from];
            let crowded = self.sizes.len() - self.boxes + (last - first) > BENDS;
            for layer in first + 1..last {
                let label = link.label.filter(|_| layer == first + 1);
                if crowded && label.is_none() {
                    continue;
                }
                chain.push(self.sizes.len());
                if label.is_some() {
                    self.labels[number] = Some(self.sizes.len());
                }
                self.sizes.push(label.unwrap_or_default());
                self.layer_of.push(layer);
                self.above.push(Vec::new());
                self.below.push(Vec::new());
            }
            chain.push(link.to);
            for hop in chain.windows(2) {
                if self.layer_of[hop[1]] == self.layer_of[hop[0]] + 1 {
                    self.below[hop[0]].push(hop[1]);
                    self.above[hop[1]].push(hop[0]);
                }
            }
            self.chains[number] = chain;
        }
    }

    /// Fills the layers from the roots on, depth first: what belongs together begins together.
    fn fill(&mut self) {
        let mut seen = vec![false; self.sizes.len()];
        let mut roots: Vec<usize> = (0..self.sizes.len()).collect();
        roots.sort_by_key(|&cell| self.layer_of[cell]);
        for root in roots {
            let mut stack = vec![root];
            while let Some(cell) = stack.pop() {
                if !std::mem::replace(&mut seen[cell], true) {
                    self.order[self.layer_of[cell]].push(cell);
                    stack.extend(self.below[cell].iter().rev());
                }
            }
        }
    }

    /// Sweeps over the layers and keeps the order with the fewest crossings.
    fn untangle(&mut self) {
        let mut place = vec![0; self.sizes.len()];
        for layer in &self.order {
            number(layer, &mut place);
        }
        let mut best = self.order.clone();
        let mut fewest = self.crossings(&place);
        for sweep in 0..SWEEPS {
            if fewest == 0 {
                break;
            }
            let down = sweep % 2 == 0;
            for step in 1..self.order.len() {
                let at = if down {
                    step
                } else {
                    self.order.len() - 1 - step
                };
                let neighbours = if down { &self.above } else { &self.below };
                // Where the order of the file leaves crossings, cells that pull equally change sides.
                if sweep >= SWEEPS / 2 && sweep % 4 >= 2 {
                    self.order[at].reverse();
                }
                sort(&mut self.order[at], neighbours, &mut place);
            }
            let crossings = self.crossings(&place);
            if crossings < fewest {
                fewest = crossings;
                best.clone_from(&self.order);
            }
        }
        self.order = best;
    }

    /// Counts the crossings between neighbouring layers (Barth, Mutzel and Jünger, 2004).
    fn crossings(&self, place: &[usize]) -> usize {
        let between = |pair: &[Vec<usize>]| {
            let mut tree = vec![0_usize; pair[1].len() + 1];
            let mut count = 0;
            let mut inserted = 0;
            for cell in &pair[0] {
                let mut ends: Vec<_> = self.below[*cell].iter().map(|&end| place[end]).collect();
                ends.sort_unstable();
                // Links that were inserted earlier and end further right are crossed.
                count += ends.len() * inserted;
                count -= ends.iter().map(|&end| sum(&tree, end + 1)).sum::<usize>();
                inserted += ends.len();
                for end in ends {
                    add(&mut tree, end + 1);
                }
            }
            count
        };
        self.order.windows(2).map(between).sum()
    }
}

/// Gives each box its level: one below the lowest box with a link to it.
fn levels(boxes: usize, links: &[Link]) -> Vec<usize> {
    let mut outs = vec![Vec::new(); boxes];
    let mut ins = vec![0_usize; boxes];
    for link in links {
        outs[link.from].push(link.to);
        ins[link.to] += 1;
    }
    let mut level = vec![0; boxes];
    for from in 0..boxes {
        for &to in &outs[from] {
            level[to] = level[to].max(level[from] + 1);
        }
    }
    // A box with more links down than up moves down to them: that shortens more links than it lengthens.
    for from in (0..boxes).rev() {
        let below = outs[from].iter().map(|&to| level[to]).min();
        if let Some(below) = below.filter(|_| outs[from].len() > ins[from]) {
            level[from] = below - 1;
        }
    }
    level
}

/// Puts a layer in the order of its cells' mean neighbours; a cell without any stays where it is.
fn sort(layer: &mut [usize], neighbours: &[Vec<usize>], place: &mut [usize]) {
    let mut keyed: Vec<(f64, usize)> = layer
        .iter()
        .map(|&cell| (mean(&neighbours[cell], place[cell], place), cell))
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (slot, (_, cell)) in layer.iter_mut().zip(keyed) {
        *slot = cell;
    }
    number(layer, place);
}

fn mean(neighbours: &[usize], own: usize, place: &[usize]) -> f64 {
    let sum: usize = neighbours.iter().map(|&cell| place[cell]).sum();
    if neighbours.is_empty() {
        whole(own)
    } else {
        whole(sum) / whole(neighbours.len())
    }
}

fn number(layer: &[usize], place: &mut [usize]) {
    for (position, &cell) in layer.iter().enumerate() {
        place[cell] = position;
    }
}

/// Gives a count as a number to reckon with; counts here are far below 2^32.
pub(super) fn whole(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Adds one to a place of a Fenwick tree; places count from 1.
fn add(tree: &mut [usize], mut at: usize) {
    while at < tree.len() {
        tree[at] += 1;
        at += at & at.wrapping_neg();
    }
}

/// Sums a Fenwick tree up to a place.
fn sum(tree: &[usize], mut at: usize) -> usize {
    let mut sum = 0;
    while at > 0 {
        sum += tree[at];
        at &= at - 1;
    }
    sum
}
