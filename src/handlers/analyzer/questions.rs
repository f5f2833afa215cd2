//! What the author of a plan was not sure of. The id of a question says what it is about, so that an answer finds it again.

use super::overrides;
use super::roles::{Assessed, Role};
use super::tables::{Schema, Standing, Table};
use crate::error::Result;
use crate::graph::event::Question;
use crate::model::job::JobInput;
use crate::model::metadata::{DataType, TableRef};
use crate::model::plan::{EmbeddingPlan, EntityPlan, ParentJoin, Section};
use crate::model::schema_context::{Join, JoinOrigin, SchemaContext, TableProfile, ValueClass};

const KEEP: &str = "keep";
/// The choice by which a join goes.
pub(super) const DROP: &str = "drop";
const KEEP_ALL: &str = "keep them all";
/// The choice by which a table without a key goes.
pub(super) const LEAVE_OUT: &str = "leave out";
const GO_ON: &str = "go on";
/// The id of the question what to embed.
const NO_TEXT: &str = "no_text";
/// Most tables that are offered.
const OFFERED: usize = 10;

/// Gives the id of the question about a table without a key.
pub(super) fn no_key_id(table: &TableRef) -> String {
    format!("no_key:{table}")
}

/// Asks about a table that has text and no key. Its rows are known by what they hold, so that none is lost. Where some are seen to be
/// equal, only a person knows whether that is meant, and the question blocks.
pub(super) fn no_key(table: &TableProfile) -> Question {
    let name = &table.table;
    let equal = if table.equal_rows {
        "some rows are equal in every column, and each of them would get a document of its own"
    } else {
        "should rows be equal in every column, each of them keeps its own document"
    };
    Question {
        id: no_key_id(name),
        stage: String::new(),
        text: format!(
            "`{name}` has text but no key, so that its rows are known by what they hold: {equal}, and a changed row is embedded anew. \
             Keep them all, or leave the table out? A job says the first with analysis.roots, and names columns that identify the rows in \
             analysis.keys."
        ),
        choices: vec![KEEP_ALL.to_owned(), LEAVE_OUT.to_owned()],
        default: (!table.equal_rows).then(|| KEEP_ALL.to_owned()),
        expires_at: None,
        blocking: table.equal_rows,
    }
}

/// Gives the id of the question about a join.
pub(super) fn join_id(join: &Join) -> String {
    format!("join:{}.{}", join.from, join.from_columns.join(","))
}

/// Asks about every inferred join that a document depends on.
pub(in crate::handlers) fn joins(
    context: &SchemaContext,
    entities: &[EntityPlan],
) -> Vec<Question> {
    let mut questions = Vec::new();
    for join in &context.joins {
        let JoinOrigin::Inferred {
            confidence,
            evidence,
        } = &join.origin
        else {
            continue;
        };
        if !entities.iter().any(|entity| uses(entity, join)) {
            continue;
        }
        questions.push(Question {
            id: join_id(join),
            stage: String::new(),
            text: format!(
                "No foreign key says that `{}` ({}) refers to `{}`, but it looks so (confidence {confidence:.2}: {}). Keep the join?",
                join.from,
                join.from_columns.join(", "),
                join.to,
                evidence.join("; ")
            ),
            choices: vec![KEEP.to_owned(), DROP.to_owned()],
            default: Some(KEEP.to_owned()),
            expires_at: None,
            blocking: false,
        });
    }
    questions
}

fn uses(entity: &EntityPlan, join: &Join) -> bool {
    let joins = |parents: &[ParentJoin]| {
        parents.iter().any(|parent| {
            parent.table == join.to
                && parent
                    .on
                    .iter()
                    .map(|pair| &pair.from)
                    .eq(&join.from_columns)
        })
    };
    joins(&entity.parents)
        || entity.sections.iter().any(|section| match section {
            Section::Field { .. } => false,
            Section::Children {
                table, on, parents, ..
            } => {
                joins(parents)
                    || (*table == join.from
                        && on.iter().map(|pair| &pair.from).eq(&join.from_columns))
            }
        })
}

/// Asks about a model that is not known here, and of which nobody could say the dimension: then the question blocks.
pub(super) fn model(plan: &EmbeddingPlan, dimension: &Result<u32>) -> Question {
    let (model, tokens) = (&plan.model, plan.chunk_tokens);
    let text = match dimension {
        Ok(dimension) => format!(
            "The model `{model}` gives {dimension} numbers, as its API says, and its token limit is not known here: chunks have at most \
             {tokens} tokens. Go on, or set embedding.chunk_tokens and run again?"
        ),
        Err(why) => format!(
            "The dimension of the model `{model}` is not known: {why}. Before it makes a table, the script asks for it; chunks have at most \
             {tokens} tokens. Go on without it, or set embedding.dimensions and embedding.chunk_tokens and run again?"
        ),
    };
    Question {
        id: format!("model:{model}"),
        stage: String::new(),
        text,
        choices: vec![GO_ON.to_owned()],
        default: dimension.is_ok().then(|| GO_ON.to_owned()),
        expires_at: None,
        blocking: dimension.is_err(),
    }
}

/// Asks what to embed where no table has text worth searching but some have texts; nothing where the plan has entities, or there is
/// nothing to choose from.
///
/// # Errors
/// The job names something that is not there.
pub(super) fn no_text(job: &JobInput, context: &SchemaContext) -> Result<Option<Question>> {
    let (context, _) = overrides::joins(&job.analysis, context)?;
    let schema = Schema::new(&context, &job.analysis)?;
    let standings = schema.standings();
    let planned = |standing: &Standing<'_>| matches!(standing, Standing::Entity { .. });
    if standings.iter().any(planned) {
        return Ok(None);
    }
    let mut tables: Vec<(f64, &Table<'_>)> = schema
        .tables
        .iter()
        .filter(|table| !table.profile.kind.is_view())
        .filter_map(|table| {
            let scores = table
                .columns
                .iter()
                .filter(|column| is_text(column))
                .map(|column| column.score);
            Some((scores.reduce(f64::max)?, table))
        })
        .collect();
    tables.sort_by(|a, b| {
        b.0.total_cmp(&a.0)
            .then_with(|| a.1.profile.table.cmp(&b.1.profile.table))
    });
    let choices: Vec<String> = tables
        .into_iter()
        .take(OFFERED)
        .map(|(_, table)| table.profile.table.to_string())
        .collect();
    Ok((!choices.is_empty()).then(|| Question {
        id: NO_TEXT.to_owned(),
        stage: String::new(),
        text: format!(
            "No table of `{}` has text worth searching: there are names and codes only. Which table's rows get documents all the same, \
             made of all its texts?",
            context.database
        ),
        choices,
        default: None,
        expires_at: None,
        blocking: true,
    }))
}

/// Makes a root of the table that a person chose, with all its texts.
pub(super) fn force_root(job: &mut JobInput, context: &SchemaContext, choice: &str) {
    job.analysis.roots.push(choice.to_owned());
    let chosen = context
        .tables
        .iter()
        .find(|table| table.table.to_string() == choice);
    let Some(profile) = chosen else { return };
    let table = Table::new(profile);
    let texts = table.columns.iter().filter(|column| is_text(column));
    let names = texts.map(|column| format!("{choice}.{}", column.column.name));
    job.analysis.include_columns.extend(names);
}

/// Whether a column holds texts that are no secrets and reach nobody.
fn is_text(column: &Assessed<'_>) -> bool {
    let text = matches!(column.column.data_type, DataType::Text | DataType::Enum);
    let filled = column.column.class != ValueClass::Empty || column.column.samples == 0;
    text && filled && column.role != Role::Sensitive && !column.is_address()
}
