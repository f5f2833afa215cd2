//! One entity, both sides in the order of the key, byte by byte.
//!
//! ```text
//! source:  1  2     4  5        only there:  missing, empty or quarantined
//! target:  1  2  3  4           only here:   extra
//!                               both:        compared chunk by chunk
//! ```
//!
//! Where the job keeps the documents of deleted rows, what is only in the target is `kept`, if its ids are those of its key.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;
use futures::stream::BoxStream;

use super::Embed;
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::OnDelete;
use crate::model::plan::EntityPlan;
use crate::model::validation::{EntityValidation, Identity};
use crate::service::target::{TargetChunk, TargetDocument};
use crate::source::SourceDocument;
use crate::source::canonical::{chunk_id, content_hash};

/// Keys of a kind of difference that a report names.
const NAMED: usize = 10;

/// Characters of a key that a report shows.
const SHOWN: usize = 80;

/// The least cosine between a stored vector and relvec's own: below 1 because a `halfvec` keeps 11 bits a number.
const NEAR: f64 = 0.9999;

/// Rows between two calls of `count`.
const COUNTED: u64 = 500;

/// What the target has to hold.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The entity.
    pub entity: &'a EntityPlan,
    /// The model of every vector.
    pub model: &'a str,
    /// The numbers of every vector.
    pub dimensions: i32,
    /// Gives the vector that a text must have, where relvec can compute it.
    pub embed: Option<Embed>,
    /// What becomes of documents whose source rows are gone.
    pub on_delete: OnDelete,
}

/// A side that could not be read to its end.
#[derive(Debug)]
pub enum Broken {
    /// The source.
    Source(Error),
    /// The target.
    Target(Error),
}

/// Compares both sides. Their documents have to come in the order of the key; `count` is told the source rows so far.
///
/// # Errors
/// A side cannot be read, or does not come in order.
pub async fn compare(
    expected: &Expected<'_>,
    source: BoxStream<'_, Result<SourceDocument>>,
    target: BoxStream<'_, Result<TargetDocument>>,
    quarantined: BTreeSet<Vec<String>>,
    count: &(dyn Fn(u64) + Sync),
) -> Result<EntityValidation, Broken> {
    let mut source = Side::new(source);
    let mut target = Side::new(target);
    let mut tally = Tally::new(expected, quarantined);
    let mut row = source.next().await.map_err(Broken::Source)?;
    let mut document = target.next().await.map_err(Broken::Target)?;
    while let Some(order) = order(row.as_ref(), document.as_ref()) {
        match (order, &row, &document) {
            (Ordering::Equal, Some(row), Some(document)) => tally.both(row, document),
            (Ordering::Less, Some(row), _) => tally.source_only(row),
            (Ordering::Greater, _, Some(document)) => tally.target_only(document),
            (Ordering::Equal | Ordering::Less, None, _)
            | (Ordering::Equal | Ordering::Greater, _, None) => {}
        }
        if order.is_le() {
            row = source.next().await.map_err(Broken::Source)?;
        }
        if order.is_ge() {
            document = target.next().await.map_err(Broken::Target)?;
        }
        if tally.report.source_rows.is_multiple_of(COUNTED) {
            count(tally.report.source_rows);
        }
    }
    count(tally.report.source_rows);
    Ok(tally.finish())
}

/// Which side is behind; nothing when both are at their end. A document without a sound key belongs to no row.
fn order(row: Option<&SourceDocument>, document: Option<&TargetDocument>) -> Option<Ordering> {
    match (row, document) {
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (Some(row), Some(document)) => Some(
            document
                .key
                .as_ref()
                .map_or(Ordering::Greater, |key| row.key.cmp(key)),
        ),
    }
}

trait Keyed {
    fn key(&self) -> Option<&Vec<String>>;
}

impl Keyed for SourceDocument {
    fn key(&self) -> Option<&Vec<String>> {
        Some(&self.key)
    }
}

impl Keyed for TargetDocument {
    fn key(&self) -> Option<&Vec<String>> {
        self.key.as_ref()
    }
}

/// One side, with a guard: a merge join of sides that are not in order would report nonsense.
struct Side<'a, T> {
    documents: BoxStream<'a, Result<T>>,
    last: Option<Vec<String>>,
}

impl<'a, T: Keyed> Side<'a, T> {
    fn new(documents: BoxStream<'a, Result<T>>) -> Self {
        Self {
            documents,
            last: None,
        }
    }

    async fn next(&mut self) -> Result<Option<T>> {
        let document = self.documents.try_next().await?;
        let Some(key) = document.as_ref().and_then(Keyed::key) else {
            return Ok(document);
        };
        if self.last.as_ref().is_some_and(|last| last >= key) {
            return Err(Error::new(
                ErrorKind::Internal,
                "documents did not come in the order of their keys",
            ));
        }
        self.last = Some(key.clone());
        Ok(document)
    }
}

struct Tally<'a> {
    expected: &'a Expected<'a>,
    quarantined: BTreeSet<Vec<String>>,
    report: EntityValidation,
    named: BTreeMap<&'static str, usize>,
}

impl<'a> Tally<'a> {
    fn new(expected: &'a Expected<'a>, quarantined: BTreeSet<Vec<String>>) -> Self {
        Self {
            expected,
            quarantined,
            report: EntityValidation {
                entity: expected.entity.name.clone(),
                identity: if expected.entity.is_keyless() {
                    Identity::Row
                } else {
                    Identity::Key
                },
                source_rows: 0,
                documents: 0,
                empty: 0,
                quarantined: 0,
                missing: 0,
                extra: 0,
                kept: 0,
                changed: 0,
                bad_vectors: 0,
                differences: Vec::new(),
            },
            named: BTreeMap::new(),
        }
    }

    fn source_only(&mut self, row: &SourceDocument) {
        self.report.source_rows += 1;
        if self.quarantined.remove(&row.key) {
            self.report.quarantined += 1;
        } else if row.content.is_empty() {
            self.report.empty += 1;
        } else {
            self.report.missing += 1;
            self.name("missing", &shown(&row.key));
        }
    }

    fn target_only(&mut self, document: &TargetDocument) {
        self.report.documents += 1;
        let Expected {
            entity, on_delete, ..
        } = self.expected;
        if let Some(key) = &document.key {
            match on_delete {
                OnDelete::Keep if has_ids(entity, key, &document.chunks) => self.report.kept += 1,
                OnDelete::Keep | OnDelete::Remove => {
                    self.report.extra += 1;
                    self.name("extra", &shown(key));
                }
            }
            return;
        }
        self.report.extra += 1;
        for chunk in &document.chunks {
            self.name("extra, with a malformed key", &format!("id {}", chunk.id));
        }
    }

    fn both(&mut self, row: &SourceDocument, document: &TargetDocument) {
        self.report.source_rows += 1;
        self.report.documents += 1;
        let key = shown(&row.key);
        if self.quarantined.remove(&row.key) {
            self.report.changed += 1;
            self.name("changed, in the target and in quarantine", &key);
        } else if row.content.is_empty() {
            self.report.extra += 1;
            self.report.empty += 1;
            self.name("extra, the row has no text", &key);
        } else if let Some(what) = difference(self.expected.entity, row, document) {
            self.report.changed += 1;
            self.name(what, &key);
        }
        let mut chunks = document.chunks.iter();
        if let Some(what) = chunks.find_map(|chunk| vector_fault(self.expected, chunk)) {
            self.report.bad_vectors += 1;
            self.name(what, &key);
        }
    }

    fn finish(mut self) -> EntityValidation {
        for key in std::mem::take(&mut self.quarantined) {
            self.report.extra += 1;
            self.name("extra, in quarantine", &shown(&key));
        }
        self.report
    }

    fn name(&mut self, what: &'static str, key: &str) {
        let named = self.named.entry(what).or_default();
        if *named < NAMED {
            *named += 1;
            self.report.differences.push(format!("{what}: {key}"));
        }
    }
}

/// Says what differs between a row and its document, nothing if they are equal.
fn difference(
    entity: &EntityPlan,
    row: &SourceDocument,
    document: &TargetDocument,
) -> Option<&'static str> {
    let chunks = &document.chunks;
    let numbered = chunks.iter().zip(0_i32..);
    if numbered
        .into_iter()
        .any(|(chunk, number)| chunk.chunk != number)
    {
        return Some("changed, its chunks are not 0, 1, 2, …");
    }
    if !has_ids(entity, &row.key, chunks) {
        return Some("changed, id");
    }
    let pieces = chunks.iter().flat_map(|chunk| chunk.content.as_bytes());
    if !pieces.eq(row.content.as_bytes()) {
        return Some("changed, content");
    }
    if chunks
        .iter()
        .any(|chunk| !chunk.metadata_names || chunk.metadata != row.metadata)
    {
        return Some("changed, metadata");
    }
    let hashed = |chunk: &TargetChunk| content_hash(&chunk.content, &row.metadata);
    if chunks
        .iter()
        .any(|chunk| chunk.content_hash != hashed(chunk))
    {
        return Some("changed, content hash");
    }
    None
}

/// Whether the chunks of a document have the ids that migrate.py gives to those of its key.
fn has_ids(entity: &EntityPlan, key: &[String], chunks: &[TargetChunk]) -> bool {
    let mut numbered = chunks.iter().zip(0_u64..);
    numbered.all(|(chunk, number)| chunk.id == chunk_id(&entity.name, key, number))
}

/// Says what is wrong with a chunk's vector, nothing if it is sound.
fn vector_fault(expected: &Expected<'_>, chunk: &TargetChunk) -> Option<&'static str> {
    if chunk.model != expected.model {
        return Some("vector of another model");
    }
    let (Some(dimensions), Some(norm)) = (chunk.dimensions, chunk.norm) else {
        return Some("no vector");
    };
    if dimensions != expected.dimensions {
        return Some("vector of another dimension");
    }
    if !norm.is_finite() {
        return Some("vector with a number that is not finite");
    }
    if norm <= 0.0 {
        return Some("vector of norm 0");
    }
    let (Some(embed), Some(vector)) = (expected.embed, &chunk.vector) else {
        return None;
    };
    let own = embed(&chunk.content, vector.len());
    // A cosine that is no number is not near either.
    let near = cosine(&own, vector) >= NEAR;
    (!near).then_some("vector of another text")
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

/// A key for people: its values, cut where they are long.
fn shown(key: &[String]) -> String {
    let text = key.join(", ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
