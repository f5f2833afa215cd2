//! The independent comparison of source and target: relvec reads both itself and believes no report.
//!
//! 1. [`compare`] opens a snapshot of each side and looks at the target's catalogue.
//! 2. [`entity`] reads both sides of an entity once and brings together what has the same key: a hash join over [`partitions`], so
//!    that memory does not grow with rows.
//! 3. [`vectors`] looks closer at a sample.
//! 4. [`verdict`] says what that means.

use futures::TryStreamExt as _;
use futures::stream::{self, StreamExt as _};

use crate::error::{ErrorKind, Result};
use crate::model::plan::MigrationPlan;
use crate::model::validation::{Check, EntityValidation, VectorSample};
use crate::service::embedding::EmbeddingApi;
use crate::service::target::{TableFacts, Target, Wanted};
use crate::source::{self, Place, Snapshot};

pub mod entity;
mod partitions;
mod records;
mod vectors;
pub mod verdict;

use entity::{Broken, Expected};
use vectors::Exact;

/// Gives the vector that a text must have, from the text and the numbers a vector; only for models that relvec computes.
pub type Embed = fn(&str, usize) -> Vec<f32>;

/// How vectors are checked, beyond their dimension, norm and model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vectors<'a> {
    /// Computes the vector of every chunk again.
    pub own: Option<Embed>,
    /// Computes those of a sample again.
    pub api: Option<&'a EmbeddingApi>,
    /// Chunks of that sample.
    pub embedded_again: u32,
    /// Chunks whose nearest neighbours are looked up, exactly and by the index.
    pub recall: u32,
}

/// pgvector indexes `vector` up to this dimension; above it the column is a `halfvec`.
const VECTOR_LIMIT: u32 = 2000;

/// pgvector indexes `halfvec` up to this dimension; above it there is no index.
const INDEX_LIMIT: u32 = 4000;

/// What was found in source and target.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// When the source was read, in RFC 3339, by the source's clock.
    pub source_read_at: String,
    /// Checks of the target's table: a failed one is a difference.
    pub target_checks: Vec<Check>,
    /// Checks of the source's columns: after a failed one, an entity is not compared.
    pub source_checks: Vec<Check>,
    /// The entities that could be compared.
    pub entities: Vec<EntityValidation>,
    /// What a sample says about the vectors.
    pub vectors: VectorSample,
}

impl Comparison {
    /// Adds what became of an entity; gives how many source rows it has.
    fn add(&mut self, entity: &str, found: Result<EntityValidation, Broken>) -> Result<u64> {
        let (wrong, rows) = match found {
            Ok(found) => {
                let rows = found.source_rows;
                self.entities.push(found);
                (None, rows)
            }
            Err(Broken::Source(error)) if is_drift(error.kind()) => (Some(error.to_string()), 0),
            Err(Broken::Source(error) | Broken::Target(error)) => return Err(error),
        };
        self.source_checks.push(columns(entity, wrong));
        Ok(rows)
    }
}

/// Compares every entity of a plan. `progress` is told the number of documents so far.
///
/// # Errors
/// The source or the target cannot be read.
pub async fn compare(
    plan: &MigrationPlan,
    source: impl Into<Place>,
    target: impl Into<Place>,
    vectors: Vectors<'_>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Comparison> {
    let mut target = Target::open(target, &plan.target).await?;
    let facts = target.facts().await?;
    let names: Vec<String> = plan.entities.iter().map(|e| e.name.clone()).collect();
    let mut exact = Exact::draw(&mut target, facts.as_ref(), &names, vectors.recall).await?;
    let driver = source::open(source)?;
    let multiplying = source::fan_out::multiplying(driver.as_ref(), plan).await?;
    let mut snapshot = driver.snapshot().await?;
    let mut comparison = Comparison {
        source_read_at: snapshot.read_at().to_owned(),
        target_checks: Vec::new(),
        source_checks: Vec::new(),
        entities: Vec::new(),
        vectors: VectorSample::default(),
    };
    let (mut done, mut read) = (0, 0);
    for entity in &plan.entities {
        if let Some(wrong) = multiplying.get(&entity.name) {
            let check = columns(&entity.name, Some(wrong.clone()));
            comparison.source_checks.push(check);
            continue;
        }
        let expected = Expected {
            entity,
            model: &plan.embedding.model,
            dimensions: wanted_dimensions(plan, facts.as_ref()),
            embed: vectors.own,
            on_delete: plan.target.on_delete,
        };
        let sides = Sides {
            snapshot: snapshot.as_mut(),
            target: &mut target,
            facts: facts.as_ref(),
        };
        let count = |rows| progress(done + rows);
        let found = sides.compare(&expected, &mut exact, &count, &mut read);
        done += comparison.add(&entity.name, found.await)?;
    }
    let others = match &facts {
        Some(_) => target.others(&names, read).await?,
        None => Vec::new(),
    };
    comparison.target_checks = target_checks(plan, facts.as_ref(), &others);
    if let Some(facts) = &facts {
        let checks = sampled(
            &mut target,
            facts,
            &names,
            vectors,
            &exact,
            &mut comparison.vectors,
        );
        comparison.target_checks.extend(checks.await?);
    }
    Ok(comparison)
}

/// Both sides, open.
struct Sides<'a> {
    snapshot: &'a mut dyn Snapshot,
    target: &'a mut Target,
    facts: Option<&'a TableFacts>,
}

impl Sides<'_> {
    async fn compare(
        self,
        expected: &Expected<'_>,
        exact: &mut Exact,
        count: &(dyn Fn(u64) + Sync),
        read: &mut u64,
    ) -> Result<EntityValidation, Broken> {
        let entity = expected.entity;
        let quarantined = self.target.quarantined(entity).await;
        let quarantined = quarantined.map_err(Broken::Target)?;
        let queries = exact.queries().to_vec();
        let wanted = Wanted {
            vectors: expected.embed.is_some(),
            distances: self.facts.map(|facts| (facts, queries.as_slice())),
        };
        let chunks = if self.facts.is_some() {
            self.target.chunks(entity, wanted)
        } else {
            stream::empty().boxed()
        };
        let chunks = chunks.inspect_ok(|(_, chunk)| {
            *read += 1;
            exact.see(&chunk.distances);
        });
        let rows = self.snapshot.documents(entity);
        entity::compare(expected, rows, chunks.boxed(), &quarantined, count).await
    }
}

/// Looks closer at a few vectors.
async fn sampled(
    target: &mut Target,
    facts: &TableFacts,
    entities: &[String],
    vectors: Vectors<'_>,
    exact: &Exact,
    sample: &mut VectorSample,
) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    vectors::recall(target, facts, exact, sample).await?;
    if let Some(recall) = sample.recall {
        checks.push(Check {
            name: "recall".to_owned(),
            passed: true,
            detail: format!(
                "the index finds {:.1} % of the exact ten nearest, for {} vectors of a sample",
                recall * 100.0,
                sample.recall_queries
            ),
        });
    }
    if let Some(api) = vectors.api {
        let chunks = target.sample(entities, vectors.embedded_again).await?;
        checks.extend(vectors::embed_again(api, &chunks, sample).await);
    }
    Ok(checks)
}

/// The source answers, and what it says is that the plan does not fit it.
fn is_drift(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Invalid | ErrorKind::NotFound)
}

fn columns(entity: &str, wrong: Option<String>) -> Check {
    Check {
        name: format!("columns of `{entity}`"),
        passed: wrong.is_none(),
        detail: wrong.unwrap_or_else(|| "every planned table and column was read".to_owned()),
    }
}

fn wanted_dimensions(plan: &MigrationPlan, facts: Option<&TableFacts>) -> i32 {
    let found = facts.map_or(0, |facts| facts.dimensions);
    plan.embedding
        .dimensions
        .and_then(|wanted| i32::try_from(wanted).ok())
        .unwrap_or(found)
}

fn target_checks(
    plan: &MigrationPlan,
    facts: Option<&TableFacts>,
    others: &[String],
) -> Vec<Check> {
    let table = format!("{}.{}", plan.target.schema, plan.target.table);
    let check = |name: &str, passed, detail| Check {
        name: name.to_owned(),
        passed,
        detail,
    };
    let Some(facts) = facts else {
        let detail = format!("the target has no table {table}");
        return vec![check("table", false, detail)];
    };
    let detail = if others.is_empty() {
        format!("{table} holds planned entities only")
    } else {
        let others = others.join(", ");
        format!("{table} also holds entities that this plan does not have: {others}")
    };
    let found = u32::try_from(facts.dimensions).unwrap_or(0);
    let wanted = plan.embedding.dimensions.unwrap_or(found);
    let kind = if wanted <= VECTOR_LIMIT {
        "vector"
    } else {
        "halfvec"
    };
    vec![
        check("table", true, detail),
        check(
            "dimension",
            found == wanted && found > 0 && facts.vector_type == kind,
            format!("{}({found}), planned {kind}({wanted})", facts.vector_type),
        ),
        check(
            "index",
            facts.index.is_some() || wanted > INDEX_LIMIT,
            match &facts.index {
                Some(index) => format!("HNSW index {index}"),
                None if wanted > INDEX_LIMIT => {
                    format!("none: HNSW takes up to {INDEX_LIMIT} dimensions")
                }
                None => "no valid HNSW index for the cosine distance".to_owned(),
            },
        ),
    ]
}
