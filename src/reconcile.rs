//! The independent comparison of source and target: relvec reads both itself and believes no report.
//!
//! 1. [`compare`] opens a snapshot of each side and looks at the target's catalogue.
//! 2. [`entity`] walks both sides of an entity in the order of the key: a merge join, so memory does not grow with rows.
//! 3. [`verdict`] says what that means.

use futures::stream::{self, StreamExt as _};
use secrecy::SecretString;

use crate::error::{ErrorKind, Result};
use crate::model::plan::MigrationPlan;
use crate::model::validation::{Check, EntityValidation};
use crate::service::target::{TableFacts, Target};
use crate::source;

pub mod entity;
pub mod verdict;

use entity::{Broken, Expected};

/// Gives the vector that a text must have, from the text and the numbers a vector; only for models that relvec computes.
pub type Embed = fn(&str, usize) -> Vec<f32>;

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
}

/// Compares every entity of a plan. `progress` is told the number of documents so far.
///
/// # Errors
/// The source or the target cannot be read.
pub async fn compare(
    plan: &MigrationPlan,
    source_url: &SecretString,
    target_url: &SecretString,
    embed: Option<Embed>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Comparison> {
    let mut target = Target::open(target_url, &plan.target).await?;
    let facts = target.facts().await?;
    let driver = source::open(source_url)?;
    let multiplying = source::fan_out::multiplying(driver.as_ref(), plan).await?;
    let mut snapshot = driver.snapshot().await?;
    let mut comparison = Comparison {
        source_read_at: snapshot.read_at().to_owned(),
        target_checks: target_checks(plan, facts.as_ref()),
        source_checks: Vec::new(),
        entities: Vec::new(),
    };
    let mut done = 0;
    for entity in &plan.entities {
        if let Some(wrong) = multiplying.get(&entity.name) {
            let check = columns(&entity.name, Some(wrong.clone()));
            comparison.source_checks.push(check);
            continue;
        }
        let quarantined = target.quarantined(entity).await?;
        let documents = if facts.is_some() {
            target.documents(entity, embed.is_some())
        } else {
            stream::empty().boxed()
        };
        let expected = Expected {
            entity,
            model: &plan.embedding.model,
            dimensions: wanted_dimensions(plan, facts.as_ref()),
            embed,
            on_delete: plan.target.on_delete,
        };
        let rows = snapshot.documents(entity);
        let count = |rows| progress(done + rows);
        match entity::compare(&expected, rows, documents, quarantined, &count).await {
            Ok(found) => {
                done += found.source_rows;
                comparison.source_checks.push(columns(&entity.name, None));
                comparison.entities.push(found);
            }
            Err(Broken::Source(error)) if is_drift(error.kind()) => {
                let check = columns(&entity.name, Some(error.to_string()));
                comparison.source_checks.push(check);
            }
            Err(Broken::Source(error) | Broken::Target(error)) => return Err(error),
        }
    }
    Ok(comparison)
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

fn target_checks(plan: &MigrationPlan, facts: Option<&TableFacts>) -> Vec<Check> {
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
    let planned = |entity: &&String| plan.entities.iter().any(|known| known.name == **entity);
    let others: Vec<&str> = facts
        .entities
        .iter()
        .filter(|entity| !planned(entity))
        .map(String::as_str)
        .collect();
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
