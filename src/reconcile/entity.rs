//! One entity: both sides are read once, at the same time, into [`partitions`](super::partitions) by the hash of the key, and each
//! partition is compared in memory.
//!
//! ```text
//! source:  1  2     4  5        only there:  missing, empty or quarantined
//! target:  1  2  3  4           only here:   extra
//!                               both:        compared chunk by chunk
//! ```
//!
//! Where the job keeps the documents of deleted rows, what is only in the target is `kept`, if its ids are those of its key.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

use futures::stream::BoxStream;
use futures::{TryFutureExt as _, TryStreamExt as _};

use super::Embed;
use super::partitions::{Partition, Partitions, records};
use super::records::{Reader, SourceRecord, TargetRecord, Texts, Writer};
use crate::error::{Error, ErrorKind, Result};
use crate::model::job::OnDelete;
use crate::model::plan::EntityPlan;
use crate::model::validation::{EntityValidation, Identity};
use crate::service::target::TargetChunk;
use crate::source::canonical::{chunk_id, content_hash};
use crate::source::{SourceDocument, mixed_up};

/// Keys of a kind of difference that a report names.
const NAMED: usize = 10;

/// Characters of a key that a report shows.
const SHOWN: usize = 80;

/// The least cosine between a stored vector and relvec's own: below 1 because a `halfvec` keeps 11 bits a number.
const NEAR: f64 = 0.9999;

/// Bytes of a partition that are compared at once.
const IN_MEMORY: u64 = 32 << 20;

/// How often a partition is parted; one that is too large even then has a key of many chunks.
const LEVELS: u64 = 4;

/// Threads that compare partitions: each has one in memory.
const MOST_THREADS: usize = 4;

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

/// Compares both sides, which may come in any order; `count` is told the source rows that were read so far.
///
/// # Errors
/// A side cannot be read, two source rows have the same key, or the folder of temporary files cannot be used.
pub async fn compare(
    expected: &Expected<'_>,
    source: BoxStream<'_, Result<SourceDocument>>,
    target: BoxStream<'_, Result<(Option<Vec<String>>, TargetChunk)>>,
    quarantined: &BTreeSet<Vec<String>>,
    count: &(dyn Fn(u64) + Sync),
) -> Result<EntityValidation, Broken> {
    let mut tally = Tally::new(expected, quarantined);
    let rows = part_source(source, count).map_err(Broken::Source);
    let chunks = part_target(expected, target, &mut tally).map_err(Broken::Target);
    let (rows, chunks) = tokio::try_join!(rows, chunks)?;
    let pairs: Vec<_> = rows.into_parts().zip(chunks.into_parts()).collect();
    for part in join_all(expected, quarantined, pairs)? {
        tally.add(part);
    }
    Ok(tally.finish())
}

async fn part_source(
    mut source: BoxStream<'_, Result<SourceDocument>>,
    count: &(dyn Fn(u64) + Sync),
) -> Result<Partitions> {
    let (mut parts, mut writer, mut rows) = (Partitions::new(0), Writer::default(), 0);
    while let Some(row) = source.try_next().await? {
        SourceRecord::write(&row, &mut writer);
        parts.add(writer.key(), writer.record())?;
        rows += 1;
        if rows % COUNTED == 0 {
            count(rows);
        }
    }
    count(rows);
    Ok(parts)
}

/// A row without a sound key belongs to no document, and is counted at once. Vectors are looked at here: none is kept.
async fn part_target(
    expected: &Expected<'_>,
    mut target: BoxStream<'_, Result<(Option<Vec<String>>, TargetChunk)>>,
    tally: &mut Tally<'_>,
) -> Result<Partitions> {
    let (mut parts, mut writer) = (Partitions::new(0), Writer::default());
    while let Some((key, chunk)) = target.try_next().await? {
        let Some(key) = key else {
            tally.without_key(&chunk);
            continue;
        };
        let fault = vector_fault(expected, &chunk);
        let fault = FAULTS.iter().position(|one| Some(*one) == fault);
        let fault = fault.and_then(|place| u32::try_from(place).ok());
        TargetRecord::write(&key, &chunk, fault.unwrap_or(u32::MAX), &mut writer);
        parts.add(writer.key(), writer.record())?;
    }
    Ok(parts)
}

/// Compares all partitions, on several threads: what is left to do are hashes.
fn join_all<'a>(
    expected: &'a Expected<'a>,
    quarantined: &'a BTreeSet<Vec<String>>,
    pairs: Vec<(Partition, Partition)>,
) -> Result<Vec<Tally<'a>>, Broken> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let pairs = Mutex::new(pairs.into_iter());
    let next = || pairs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut tally = Tally::new(expected, quarantined);
        while let Some((rows, chunks)) = next() {
            join(&mut tally, rows, chunks, 1)?;
        }
        Ok(tally)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(MOST_THREADS))
            .map(|_| scope.spawn(work))
            .collect();
        let ends = workers.into_iter().map(ScopedJoinHandle::join);
        ends.map(|end| end.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// Compares the rows and chunks of a partition. One that is too large for the memory is parted once more.
fn join(
    tally: &mut Tally<'_>,
    rows: Partition,
    chunks: Partition,
    level: u64,
) -> Result<(), Broken> {
    if rows.bytes() + chunks.bytes() > IN_MEMORY && level < LEVELS {
        let rows = part_again(rows, level).map_err(Broken::Source)?;
        let chunks = part_again(chunks, level).map_err(Broken::Target)?;
        for (rows, chunks) in rows.into_parts().zip(chunks.into_parts()) {
            join(tally, rows, chunks, level + 1)?;
        }
        return Ok(());
    }
    let rows = rows.load().map_err(Broken::Source)?;
    let rows = records(&rows).map(SourceRecord::read);
    let rows: Option<Vec<SourceRecord<'_>>> = rows.collect();
    let mut rows = rows.ok_or_else(|| Broken::Source(unread()))?;
    rows.sort_unstable_by_key(|row| row.key);
    if rows.windows(2).any(|pair| pair[0].key == pair[1].key) {
        return Err(Broken::Source(mixed_up(tally.expected.entity)));
    }
    let chunks = chunks.load().map_err(Broken::Target)?;
    let chunks = records(&chunks).map(TargetRecord::read);
    let chunks: Option<Vec<TargetRecord<'_>>> = chunks.collect();
    let mut chunks = chunks.ok_or_else(|| Broken::Target(unread()))?;
    chunks.sort_unstable_by_key(|chunk| (chunk.key, chunk.chunk, chunk.id));

    let mut rows = rows.into_iter().peekable();
    for chunks in chunks.chunk_by(|one, next| one.key == next.key) {
        let key = chunks[0].key;
        while let Some(row) = rows.next_if(|row| row.key < key) {
            tally.source_only(&row);
        }
        match rows.next_if(|row| row.key == key) {
            Some(row) => tally.both(&row, chunks),
            None => tally.target_only(key, chunks),
        }
    }
    rows.for_each(|row| tally.source_only(&row));
    Ok(())
}

fn part_again(part: Partition, level: u64) -> Result<Partitions> {
    let mut parts = Partitions::new(level);
    part.pour(|record| {
        let key = Reader(record).texts().ok_or_else(unread)?;
        parts.add(key.0, record)
    })?;
    Ok(parts)
}

fn unread() -> Error {
    Error::new(
        ErrorKind::Internal,
        "a temporary file does not hold what was written to it",
    )
}

/// What was found so far.
struct Tally<'a> {
    expected: &'a Expected<'a>,
    quarantined: &'a BTreeSet<Vec<String>>,
    /// Those of them that were met.
    met: BTreeSet<Vec<String>>,
    report: EntityValidation,
    named: BTreeMap<&'static str, BTreeSet<Vec<String>>>,
}

impl<'a> Tally<'a> {
    fn new(expected: &'a Expected<'a>, quarantined: &'a BTreeSet<Vec<String>>) -> Self {
        Self {
            expected,
            quarantined,
            met: BTreeSet::new(),
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

    /// Adds what was found in other partitions.
    fn add(&mut self, other: Self) {
        let (sum, part) = (&mut self.report, other.report);
        sum.source_rows += part.source_rows;
        sum.documents += part.documents;
        sum.empty += part.empty;
        sum.quarantined += part.quarantined;
        sum.missing += part.missing;
        sum.extra += part.extra;
        sum.kept += part.kept;
        sum.changed += part.changed;
        sum.bad_vectors += part.bad_vectors;
        self.met.extend(other.met);
        for (what, keys) in other.named {
            for key in keys {
                self.name(what, key);
            }
        }
    }

    /// Says whether a key is in quarantine.
    fn is_quarantined(&mut self, key: Texts<'_>) -> bool {
        if self.quarantined.is_empty() {
            return false;
        }
        let key = key.to_strings();
        let found = self.quarantined.contains(&key);
        if found {
            self.met.insert(key);
        }
        found
    }

    fn source_only(&mut self, row: &SourceRecord<'_>) {
        self.report.source_rows += 1;
        if self.is_quarantined(row.key) {
            self.report.quarantined += 1;
        } else if row.content.is_empty() {
            self.report.empty += 1;
        } else {
            self.report.missing += 1;
            self.name("missing", row.key.to_strings());
        }
    }

    fn target_only(&mut self, key: Texts<'_>, chunks: &[TargetRecord<'_>]) {
        self.report.documents += 1;
        let Expected {
            entity, on_delete, ..
        } = self.expected;
        match on_delete {
            OnDelete::Keep if has_ids(entity, key, chunks) => self.report.kept += 1,
            OnDelete::Keep | OnDelete::Remove => {
                self.report.extra += 1;
                self.name("extra", key.to_strings());
            }
        }
    }

    fn without_key(&mut self, chunk: &TargetChunk) {
        self.report.documents += 1;
        self.report.extra += 1;
        let id = format!("id {}", chunk.id);
        self.name("extra, with a malformed key", vec![id]);
    }

    fn both(&mut self, row: &SourceRecord<'_>, chunks: &[TargetRecord<'_>]) {
        self.report.source_rows += 1;
        self.report.documents += 1;
        if self.is_quarantined(row.key) {
            self.report.changed += 1;
            self.name(
                "changed, in the target and in quarantine",
                row.key.to_strings(),
            );
        } else if row.content.is_empty() {
            self.report.extra += 1;
            self.report.empty += 1;
            self.name("extra, the row has no text", row.key.to_strings());
        } else if let Some(what) = difference(self.expected.entity, row, chunks) {
            self.report.changed += 1;
            self.name(what, row.key.to_strings());
        }
        let fault = |chunk: &TargetRecord<'_>| FAULTS.get(usize::try_from(chunk.fault).ok()?);
        if let Some(fault) = chunks.iter().find_map(fault) {
            self.report.bad_vectors += 1;
            self.name(fault.text(), row.key.to_strings());
        }
    }

    fn finish(mut self) -> EntityValidation {
        for key in self.quarantined.difference(&std::mem::take(&mut self.met)) {
            self.report.extra += 1;
            self.name("extra, in quarantine", key.clone());
        }
        for (what, keys) in self.named {
            let named = keys.iter().map(|key| format!("{what}: {}", shown(key)));
            self.report.differences.extend(named);
        }
        self.report
    }

    /// Keeps the first keys of each kind in the order of their texts: partitions come in none.
    fn name(&mut self, what: &'static str, key: Vec<String>) {
        let named = self.named.entry(what).or_default();
        named.insert(key);
        if named.len() > NAMED {
            named.pop_last();
        }
    }
}

/// Says what differs between a row and its document, nothing if they are equal.
fn difference(
    entity: &EntityPlan,
    row: &SourceRecord<'_>,
    chunks: &[TargetRecord<'_>],
) -> Option<&'static str> {
    let mut numbered = chunks.iter().zip(0_i32..);
    if numbered.any(|(chunk, number)| chunk.chunk != number) {
        return Some("changed, its chunks are not 0, 1, 2, …");
    }
    if !has_ids(entity, row.key, chunks) {
        return Some("changed, id");
    }
    if !is_cut_into(row.content.as_bytes(), chunks) {
        return Some("changed, content");
    }
    if chunks
        .iter()
        .any(|chunk| !chunk.metadata_names || chunk.metadata != row.metadata)
    {
        return Some("changed, metadata");
    }
    let hashed = |chunk: &TargetRecord<'_>| content_hash(chunk.content, row.metadata.iter());
    if chunks
        .iter()
        .any(|chunk| chunk.content_hash != hashed(chunk))
    {
        return Some("changed, content hash");
    }
    None
}

/// Whether chunks, one after the other, are a text.
fn is_cut_into(mut text: &[u8], chunks: &[TargetRecord<'_>]) -> bool {
    let mut chunks = chunks.iter();
    chunks.all(|chunk| {
        let rest = text.strip_prefix(chunk.content.as_bytes());
        text = rest.unwrap_or(text);
        rest.is_some()
    }) && text.is_empty()
}

/// Whether the chunks of a document have the ids that migrate.py gives to those of its key.
fn has_ids(entity: &EntityPlan, key: Texts<'_>, chunks: &[TargetRecord<'_>]) -> bool {
    let mut numbered = chunks.iter().zip(0_u64..);
    numbered
        .all(|(chunk, number)| chunk.id == chunk_id(&entity.name, key.iter(), number).as_bytes())
}

/// What is wrong with a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VectorFault {
    OtherModel,
    Absent,
    OtherDimension,
    NotFinite,
    Zero,
    OtherText,
}

/// All of them: a record holds the place.
const FAULTS: [VectorFault; 6] = [
    VectorFault::OtherModel,
    VectorFault::Absent,
    VectorFault::OtherDimension,
    VectorFault::NotFinite,
    VectorFault::Zero,
    VectorFault::OtherText,
];

impl VectorFault {
    const fn text(self) -> &'static str {
        match self {
            Self::OtherModel => "vector of another model",
            Self::Absent => "no vector",
            Self::OtherDimension => "vector of another dimension",
            Self::NotFinite => "vector with a number that is not finite",
            Self::Zero => "vector of norm 0",
            Self::OtherText => "vector of another text",
        }
    }
}

/// Says what is wrong with a chunk's vector, nothing if it is sound.
fn vector_fault(expected: &Expected<'_>, chunk: &TargetChunk) -> Option<VectorFault> {
    if chunk.model != expected.model {
        return Some(VectorFault::OtherModel);
    }
    let (Some(dimensions), Some(norm)) = (chunk.dimensions, chunk.norm) else {
        return Some(VectorFault::Absent);
    };
    if dimensions != expected.dimensions {
        return Some(VectorFault::OtherDimension);
    }
    if !norm.is_finite() {
        return Some(VectorFault::NotFinite);
    }
    if norm <= 0.0 {
        return Some(VectorFault::Zero);
    }
    let (Some(embed), Some(vector)) = (expected.embed, &chunk.vector) else {
        return None;
    };
    let own = embed(&chunk.content, vector.len());
    // A cosine that is no number is not near either.
    let near = cosine(&own, vector) >= NEAR;
    (!near).then_some(VectorFault::OtherText)
}

/// Gives the cosine of two vectors of the same length; not a number where one has a norm of 0.
pub(super) fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
}

/// A key for people: its values, cut where they are long.
pub(super) fn shown(key: &[String]) -> String {
    let text = key.join(", ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
