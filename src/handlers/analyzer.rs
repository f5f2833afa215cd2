//! `analyzer`: what is worth embedding, and how a document of it is made.
//!
//! 1. [`overrides`]: what the job says about tables and joins is laid over the schema.
//! 2. [`roles`]: what each column is for, from its name ([`words`]) and its values; then what the job says about it.
//! 3. [`tables`]: what each table is: an entity, a part of one ([`owners`]), or neither.
//! 4. [`sections`]: the document, the metadata and the joins of each entity, or the job's [`template`]; its filter.
//! 5. [`embedding`]: the model's defaults and the estimate; [`dimension`]: an API is asked for what is not known of its model.
//! 6. [`questions`]: what its author was not sure of. Where there is a safe answer, it is the default, the plan has it, and nobody has to
//!    be there. Three have none: no table has text worth searching, a table has neither a key nor different rows, nobody knows the
//!    model's dimension. Then the stage parks before anything is generated, and an answer goes on with it.
//!
//! The same schema context, the same job and the same dimension give the same plan, to the byte.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};
use crate::graph::context::Context;
use crate::graph::event::{LogLevel, Question};
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::analysis::{AnalysisSpec, FilterCondition, TemplateSection};
use crate::model::job::{JobInput, TargetSpec};
use crate::model::metadata::TableRef;
use crate::model::plan::{EntityPlan, LeftOut, MigrationPlan, RankedColumn, TargetPlan};
use crate::model::schema_context::{Join, SchemaContext, TableProfile};

mod dimension;
mod embedding;
mod overrides;
mod owners;
mod questions;
mod roles;
mod sections;
mod tables;
mod template;
mod words;

pub(super) use questions::joins as join_questions;
use tables::{Schema, Standing};

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
        (mut job, mut context): Self::Input,
        ctx: &Context,
    ) -> Result<MigrationPlan, HandlerError> {
        let taken_out = take_out(&mut context, ctx);
        if let Some(question) = questions::no_text(&job, &context)? {
            let id = question.id.clone();
            ctx.ask(question);
            match ctx.answer(&id) {
                Some(answer) => questions::force_root(&mut job, &context, &answer.choice),
                None => {
                    return Err(HandlerError::parked(format!(
                        "no table has text worth searching; answer `{id}` with the table whose rows get documents all the same, \
                         or start again with analysis.roots or analysis.include_columns in the job"
                    )));
                }
            }
        }
        let mut analysis = analyze(&job, &context)?;
        analysis.plan.left_out.extend(taken_out);
        analysis.plan.left_out.sort_by(|a, b| a.table.cmp(&b.table));
        if !embedding::has_dimension(&analysis.plan.embedding) {
            let found = dimension::ask(&analysis.plan.embedding, ctx).await;
            analysis.add_dimension(&found);
        }
        let open = unanswered(&analysis.questions, ctx);
        for question in analysis.questions {
            ctx.ask(question);
        }
        if !open.is_empty() {
            return Err(HandlerError::parked(format!(
                "nothing is generated before this is answered: {}",
                open.join(", ")
            )));
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
    /// Questions: what does not block has a default, and the plan has that.
    pub questions: Vec<Question>,
    /// Tables with rows that no document will hold, one sentence each.
    pub notes: Vec<String>,
}

impl Analysis {
    /// Adds what an API said of the dimension of a model that is not known here.
    fn add_dimension(&mut self, found: &Result<u32>) {
        let plan = &mut self.plan;
        if let Ok(dimension) = *found {
            embedding::add_sizes(&mut plan.estimate, &plan.entities, dimension);
        }
        self.questions
            .push(questions::model(&plan.embedding, found));
    }
}

/// Gives the ids of the questions that block and that nobody answered.
fn unanswered(questions: &[Question], ctx: &Context) -> Vec<String> {
    questions
        .iter()
        .filter(|question| question.blocking && ctx.answer(&question.id).is_none())
        .map(|question| format!("`{}`", question.id))
        .collect()
}

/// Gives the plan for a schema. Pure: the same input gives the same plan.
///
/// # Errors
/// The schema has no tables, or none of them is worth embedding; or the job names something that is not there.
pub fn analyze(job: &JobInput, context: &SchemaContext) -> Result<Analysis> {
    if context.tables.is_empty() {
        return Err(without_tables(context));
    }
    let spec = &job.analysis;
    let (context, mut left_out) = overrides::joins(spec, context)?;
    let context = &context;
    let schema = Schema::new(context, spec)?;
    let standings = schema.standings();
    let laid = Laid::new(spec, context)?;
    let mut entities = Vec::new();
    let mut questions = Vec::new();
    for (table, standing) in schema.tables.iter().zip(&standings) {
        let profile = table.profile;
        match standing {
            Standing::Entity { key, reasons } => {
                let template = laid.templates.get(&profile.table).copied();
                let mut entity =
                    sections::entity(&schema, &standings, table, (key, reasons), template)?;
                if entity.sections.is_empty() {
                    return Err(without_sections(&entity));
                }
                if let Some(filter) = laid.filters.get(&profile.table) {
                    entity.filter = overrides::filter(profile, filter)?;
                }
                if entity.is_keyless() && !schema.is_forced(&profile.table) {
                    questions.push(questions::no_key(profile));
                }
                entities.push(entity);
            }
            Standing::Part { reason, .. } | Standing::LeftOut { reason } => {
                left_out.push(LeftOut {
                    table: profile.table.clone(),
                    reason: reason.clone(),
                });
            }
        }
    }
    if entities.is_empty() {
        return Err(without_text(context, &left_out));
    }
    laid.check(&entities)?;
    entities.sort_by(|a: &EntityPlan, b| a.name.cmp(&b.name));
    left_out.sort_by(|a, b| a.table.cmp(&b.table));
    questions.extend(questions::joins(context, &entities));
    let embedding = embedding::plan(&job.embedding)?;
    Ok(Analysis {
        plan: MigrationPlan {
            version: 1,
            dialect: context.dialect,
            database: context.database.clone(),
            target: target(&job.target),
            estimate: embedding::estimate(&entities, context, &embedding, &job.embedding),
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

/// Gives the schema as the job and the answers to questions leave it: without what they take away, with the joins that they force.
///
/// # Errors
/// The job names something that is not there.
pub(super) fn as_told(
    job: &JobInput,
    mut context: SchemaContext,
    ctx: &Context,
) -> Result<SchemaContext> {
    take_out(&mut context, ctx);
    overrides::joins(&job.analysis, &context).map(|(context, _)| context)
}

/// Takes away the joins and the tables without a key that answers take away, and gives these tables.
fn take_out(context: &mut SchemaContext, ctx: &Context) -> Vec<LeftOut> {
    context.joins.retain(|join| !is_dropped(join, ctx));
    let (out, kept) = std::mem::take(&mut context.tables)
        .into_iter()
        .partition::<Vec<TableProfile>, _>(|table| {
            ctx.answer(&questions::no_key_id(&table.table))
                .is_some_and(|answer| answer.choice == questions::LEAVE_OUT)
        });
    context.tables = kept;
    let is_out = |table: &TableRef| out.iter().any(|profile| profile.table == *table);
    context
        .joins
        .retain(|join| !is_out(&join.from) && !is_out(&join.to));
    let left_out = out.into_iter().map(|profile| LeftOut {
        table: profile.table,
        reason: "it has no key, and the answer to that leaves it out".to_owned(),
    });
    left_out.collect()
}

fn is_dropped(join: &Join, ctx: &Context) -> bool {
    ctx.answer(&questions::join_id(join))
        .is_some_and(|answer| answer.choice == questions::DROP)
}

/// Gives the roots whose documents the job describes itself.
///
/// # Errors
/// The job names a table that is not there.
pub(super) fn described(job: &JobInput, context: &SchemaContext) -> Result<Vec<TableRef>> {
    Ok(Laid::new(&job.analysis, context)?
        .templates
        .into_keys()
        .collect())
}

fn without_tables(context: &SchemaContext) -> Error {
    let message = format!("the source `{}` has no tables", context.database);
    Error::new(ErrorKind::Invalid, message).hint(
        "check that source.url names the right database, and what source.include and source.exclude leave",
    )
}

/// What the job says about documents, by table.
struct Laid<'a> {
    templates: BTreeMap<TableRef, &'a [TemplateSection]>,
    filters: BTreeMap<TableRef, &'a [FilterCondition]>,
}

impl<'a> Laid<'a> {
    fn new(spec: &'a AnalysisSpec, context: &SchemaContext) -> Result<Self> {
        let mut laid = Self {
            templates: BTreeMap::new(),
            filters: BTreeMap::new(),
        };
        for (name, sections) in &spec.templates {
            let table = overrides::table(context, "analysis.templates", name)?;
            laid.templates.insert(table.table.clone(), sections);
        }
        for (name, conditions) in &spec.filters {
            let table = overrides::table(context, "analysis.filters", name)?;
            laid.filters.insert(table.table.clone(), conditions);
        }
        Ok(laid)
    }

    /// Whether each of these tables gets documents: a filter that is not applied would be worse than none.
    fn check(&self, entities: &[EntityPlan]) -> Result<()> {
        let lists = [
            ("templates", self.templates.keys().collect::<Vec<_>>()),
            ("filters", self.filters.keys().collect()),
        ];
        for (list, tables) in lists {
            for table in tables {
                if !entities.iter().any(|entity| entity.root == *table) {
                    let roots: Vec<String> = entities
                        .iter()
                        .map(|entity| entity.root.to_string())
                        .collect();
                    let message =
                        format!("analysis.{list}: `{table}` gets no documents of its own");
                    return Err(Error::new(ErrorKind::Invalid, message).hint(format!(
                        "name it in analysis.roots; these have documents: {}",
                        roots.join(", ")
                    )));
                }
            }
        }
        Ok(())
    }
}

fn without_sections(entity: &EntityPlan) -> Error {
    let message = format!(
        "`{}` has no column whose text could make a document",
        entity.root
    );
    Error::new(ErrorKind::Invalid, message).hint(
        "name columns in analysis.include_columns, or the whole document in analysis.templates",
    )
}

/// Names the tables whose rows are in no document. Views repeat rows of tables.
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
            Standing::Entity { .. } | Standing::Part { .. } => None,
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

fn target(spec: &TargetSpec) -> TargetPlan {
    let (schema, table) = spec
        .table
        .split_once('.')
        .unwrap_or(("public", &spec.table));
    TargetPlan {
        schema: schema.to_owned(),
        table: table.to_owned(),
        on_delete: spec.on_delete,
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
            "no table of `{}` has text worth searching ({})",
            context.database,
            why.join("; ")
        ),
    )
    .hint("look at what was found with `relvec inspect`")
    .hint("if the tables are sampled too thinly, raise source.sample_rows; if they are left out, widen source.include")
    .hint("to embed one all the same, name it in the job's analysis.roots and its columns in analysis.include_columns")
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
