//! Whether a plan's joins can multiply rows: each rests on a unique key, which may be gone since the plan was made.

use std::collections::BTreeMap;

use super::{Counts, Selection, SourceDriver};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{TableMetadata, TableRef};
use crate::model::plan::{EntityPlan, MigrationPlan, ParentJoin, Section};

/// Gives the entities of a plan with a join that can multiply rows, each with what is wrong. Reads the catalogue and opens no table.
///
/// # Errors
/// The source cannot be reached or read.
pub async fn multiplying(
    driver: &dyn SourceDriver,
    plan: &MigrationPlan,
) -> Result<BTreeMap<String, String>> {
    if plan
        .entities
        .iter()
        .all(|entity| joins(entity).next().is_none())
    {
        return Ok(BTreeMap::new());
    }
    let selection = Selection {
        counts: Counts::Statistics,
        ..Selection::default()
    };
    let tables = driver.collect(&selection).await?.metadata.tables;
    Ok(found(plan, &tables))
}

/// Refuses a plan with a join that can multiply rows.
///
/// # Errors
/// There is one; or the source cannot be reached or read.
pub async fn refuse(driver: &dyn SourceDriver, plan: &MigrationPlan) -> Result<()> {
    let wrong: Vec<String> = multiplying(driver, plan).await?.into_values().collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the plan no longer fits the source, and nothing was written: {}",
        wrong.join("; ")
    );
    Err(Error::new(ErrorKind::Invalid, message).hint(
        "start a new run, which plans without the join; or give the table its unique key back",
    ))
}

fn joins(entity: &EntityPlan) -> impl Iterator<Item = &ParentJoin> {
    let of_children = entity.sections.iter().flat_map(|section| match section {
        Section::Field { .. } => [].as_slice(),
        Section::Children { parents, .. } => parents.as_slice(),
    });
    entity.parents.iter().chain(of_children)
}

fn found(plan: &MigrationPlan, tables: &[TableMetadata]) -> BTreeMap<String, String> {
    let tables: BTreeMap<&TableRef, &TableMetadata> =
        tables.iter().map(|table| (&table.table, table)).collect();
    let mut found = BTreeMap::new();
    for entity in &plan.entities {
        // A table that is gone is for whoever reads it to say.
        let wrong = joins(entity).find(|join| {
            let table = tables.get(&join.table);
            table.is_some_and(|table| !is_unique(table, join))
        });
        if let Some(join) = wrong {
            let columns: Vec<&str> = join.on.iter().map(|pair| pair.to.as_str()).collect();
            let message = format!(
                "`{}` joins `{}` by ({}), where no unique key is any more, so that its rows could be multiplied",
                entity.name,
                join.table,
                columns.join(", ")
            );
            found.insert(entity.name.clone(), message);
        }
    }
    found
}

fn is_unique(table: &TableMetadata, join: &ParentJoin) -> bool {
    let joined = |column: &String| join.on.iter().any(|pair| pair.to == *column);
    std::iter::once(&table.primary_key)
        .chain(&table.unique_keys)
        .any(|key| !key.is_empty() && key.iter().all(joined))
}
