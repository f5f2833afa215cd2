//! The statements on the target: those of `templates/migrate/target.sql`, with the names of the plan's tables in them.

use serde_json::{Map, Value};

use super::sql::Sql;
use crate::model::job::OnDelete;
use crate::model::metadata::Dialect;
use crate::model::plan::TargetPlan;

const STATEMENTS: &str = include_str!("../../../../templates/migrate/target.sql");

/// What the source lacks goes; or only what its documents have become too short for.
const GONE: &str = "true";
const OUTGROWN: &str = "source_key IN (SELECT k.source_key FROM {table} k JOIN {seen} USING (id) WHERE k.entity = %(entity)s)";

/// Gives each statement by its name. What is known at run time only stays in braces.
pub(super) fn statements(plan: &TargetPlan) -> Map<String, Value> {
    let sql = Sql {
        dialect: Dialect::Postgres,
    };
    let named = |suffix: &str| {
        let table = format!("{}{suffix}", plan.table);
        format!("{}.{}", sql.quoted(&plan.schema), sql.quoted(&table))
    };
    let gone = match plan.on_delete {
        OnDelete::Remove => GONE,
        OnDelete::Keep => OUTGROWN,
    };
    let mut found = Map::new();
    for (name, text) in sections() {
        let text = text
            .replace("{gone}", gone)
            .replace("{table}", &named(""))
            .replace("{checkpoint}", &named("_checkpoint"))
            .replace("{quarantine}", &named("_quarantine"))
            .replace("{seen}", &named("_seen"))
            .replace("{schema}", &sql.quoted(&plan.schema))
            .replace(
                "{index}",
                &sql.quoted(&format!("{}_embedding_hnsw", plan.table)),
            );
        found.insert(name.to_owned(), text.into());
    }
    found
}

/// A comment of one word names what follows it; other comments are for who reads the file.
fn sections() -> Vec<(&'static str, String)> {
    let mut sections: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in STATEMENTS.lines() {
        match (line.strip_prefix("-- "), sections.last_mut()) {
            (Some(name), _) if !name.contains(' ') => sections.push((name, Vec::new())),
            (None, Some((_, lines))) => lines.push(line),
            (Some(_) | None, _) => {}
        }
    }
    let joined = sections.into_iter();
    joined
        .map(|(name, lines)| (name, lines.join(" ")))
        .collect()
}
