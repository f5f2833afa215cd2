//! `analyzer`: what is worth embedding, and how a document of it is made.
//!
//! 1. [`roles`]: what each column is for, from its name ([`words`]) and its values.
//! 2. [`tables`]: what each table is: an entity, a part of one, or neither.
//! 3. [`sections`]: the document, the metadata and the joins of each entity.
//! 4. [`embedding`]: the model's defaults and the estimate.
//!
//! The same schema context gives the same plan, to the byte.

use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::Context;
use crate::graph::event::{LogLevel, Question};
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::job::JobInput;
use crate::model::plan::{EntityPlan, LeftOut, MigrationPlan, RankedColumn, Section, TargetPlan};
use crate::model::schema_context::{Join, JoinOrigin, SchemaContext};

mod embedding;
mod roles;
mod sections;
mod tables;
mod words;

use tables::{Schema, Standing};

const KEEP: &str = "keep";
const DROP: &str = "drop";
const LEAVE_OUT: &str = "leave out";

/// The most tables that are named one by one.
const MOST_NOTES: usize = 10;

/// The handler.
pub struct Analyzer;

impl NodeHandler for Analyzer {
    const NAME: &'static str = "analyzer";
    const SUMMARY: &'static str = "finds the entities, their joins and the columns worth embedding";
    type Params = NoParams;
    type Input = (JobInput, SchemaContext);
    type Output = MigrationPlan;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(
        &self,
        (job, mut context): Self::Input,
        ctx: &Context,
    ) -> Result<MigrationPlan, HandlerError> {
        let dropped = |join: &Join| {
            ctx.answer(&join_question_id(join))
                .is_some_and(|answer| answer.choice == DROP)
        };
        context.joins.retain(|join| !dropped(join));
        let analysis = analyze(&job, &context)?;
        for question in analysis.questions {
            ctx.ask(question);
        }
        for line in analysis.notes {
            ctx.log(LogLevel::Warn, line);
        }
        let names: Vec<&str> = analysis
            .plan
            .entities
            .iter()
            .map(|entity| entity.name.as_str())
            .collect();
        ctx.log(
            LogLevel::Info,
            format!(
                "{} entities ({}), {} documents expected",
                names.len(),
                names.join(", "),
                analysis.plan.estimate.documents
            ),
        );
        Ok(analysis.plan)
    }
}

/// A plan, and what its author was not sure of.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The plan.
    pub plan: MigrationPlan,
    /// Questions that do not block: each default is what the plan has.
    pub questions: Vec<Question>,
    /// Tables with rows that no document will hold, one sentence each.
    pub notes: Vec<String>,
}

/// Gives the plan for a schema. Pure: the same input gives the same plan.
///
/// # Errors
/// The schema has no tables, or none of them is worth embedding.
pub fn analyze(job: &JobInput, context: &SchemaContext) -> Result<Analysis> {
    if context.tables.is_empty() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("the source `{}` has no tables", context.database),
        )
        .hint("check that source.url names the right database, and what source.include and source.exclude leave"));
    }
    let schema = Schema::new(context);
    let standings = schema.standings();
    let mut entities = Vec::new();
    let mut left_out = Vec::new();
    let mut questions = Vec::new();
    for (table, standing) in schema.tables.iter().zip(&standings) {
        match standing {
            Standing::Entity { key, reasons } => {
                entities.push(sections::entity(&schema, &standings, table, key, reasons));
            }
            Standing::Part { reason, .. } | Standing::LeftOut { reason } => {
                left_out.push(LeftOut {
                    table: table.profile.table.clone(),
                    reason: reason.clone(),
                });
            }
            Standing::NoKey { reason } => {
                questions.push(no_key_question(&table.profile.table.to_string()));
                left_out.push(LeftOut {
                    table: table.profile.table.clone(),
                    reason: reason.clone(),
                });
            }
        }
    }
    if entities.is_empty() {
        return Err(without_text(context, &left_out));
    }
    entities.sort_by(|a: &EntityPlan, b| a.name.cmp(&b.name));
    questions.extend(join_questions(context, &entities));
    let embedding = embedding::plan(&job.embedding);
    Ok(Analysis {
        plan: MigrationPlan {
            version: 1,
            dialect: context.dialect,
            database: context.database.clone(),
            target: target(&job.target.table),
            estimate: embedding::estimate(&entities, context, &embedding),
            embedding,
            runtime: job.execution.runtime,
            ranking: ranking(&schema, &entities),
            entities,
            left_out,
        },
        questions,
        notes: notes(&schema, &standings),
    })
}

/// Names the tables whose rows are in no document. Views repeat rows of tables, and what has no key is a question.
fn notes(schema: &Schema<'_>, standings: &[Standing<'_>]) -> Vec<String> {
    let mut notes: Vec<String> = schema
        .tables
        .iter()
        .zip(standings)
        .filter(|(table, _)| !table.profile.kind.is_view() && table.profile.row_count > 0)
        .filter_map(|(table, standing)| match standing {
            Standing::LeftOut { reason } => {
                Some(format!("`{}` is left out: {reason}", table.profile.table))
            }
            Standing::Entity { .. } | Standing::Part { .. } | Standing::NoKey { .. } => None,
        })
        .collect();
    let more = notes.len().saturating_sub(MOST_NOTES);
    if more > 0 {
        notes.truncate(MOST_NOTES);
        notes.push(format!(
            "{more} more tables are left out: `left_out` in plan.json says why"
        ));
    }
    notes
}

fn target(table: &str) -> TargetPlan {
    let (schema, table) = table.split_once('.').unwrap_or(("public", table));
    TargetPlan {
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
}

fn without_text(context: &SchemaContext, left_out: &[LeftOut]) -> Error {
    let why: Vec<String> = left_out
        .iter()
        .take(5)
        .map(|left| format!("`{}`: {}", left.table, left.reason))
        .collect();
    Error::new(
        ErrorKind::Invalid,
        format!(
            "no table of `{}` has text worth searching and a key ({})",
            context.database,
            why.join("; ")
        ),
    )
    .hint("look at what was found with `relvec inspect`")
    .hint("if the tables are sampled too thinly, raise source.sample_rows; if they are left out, widen source.include")
}

fn no_key_question(table: &str) -> Question {
    Question {
        id: format!("no_key:{table}"),
        stage: String::new(),
        text: format!(
            "`{table}` has text but no key that identifies its rows, so it is left out. Give it a primary key and run again, or leave it out?"
        ),
        choices: vec![LEAVE_OUT.to_owned()],
        default: Some(LEAVE_OUT.to_owned()),
        blocking: false,
    }
}

fn join_question_id(join: &Join) -> String {
    format!("join:{}.{}", join.from, join.from_columns.join(","))
}

/// Asks about every inferred join that a document depends on.
fn join_questions(context: &SchemaContext, entities: &[EntityPlan]) -> Vec<Question> {
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
            id: join_question_id(join),
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
            blocking: false,
        });
    }
    questions
}

fn uses(entity: &EntityPlan, join: &Join) -> bool {
    let joins = |parents: &[crate::model::plan::ParentJoin]| {
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

/// Every column that was considered, best first.
fn ranking(schema: &Schema<'_>, entities: &[EntityPlan]) -> Vec<RankedColumn> {
    let chosen = sections::chosen(entities);
    let mut ranking: Vec<RankedColumn> = schema
        .tables
        .iter()
        .flat_map(|table| &table.columns)
        .filter(|assessed| !assessed.reasons.is_empty())
        .map(|assessed| RankedColumn {
            table: assessed.table.clone(),
            column: assessed.column.name.clone(),
            score: assessed.score,
            chosen: chosen.contains(&(assessed.table, assessed.column.name.as_str())),
            reasons: assessed.reasons.clone(),
        })
        .collect();
    ranking.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| (&a.table, &a.column).cmp(&(&b.table, &b.column)))
    });
    ranking
}

#[cfg(test)]
mod tests;
