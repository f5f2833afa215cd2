//! `normalize_schema`: from what the catalogue says to what the tables are like and how they join.
//!
//! 1. [`profile`]: the statistics of each column's sample, and what its values look like ([`classes`]).
//! 2. [`joins`]: declared foreign keys, then joins inferred from names ([`names`]), types and values, and which tables meet many
//!    to many.

use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::metadata::RawMetadata;
use crate::model::schema_context::{JoinOrigin, SchemaContext};

mod classes;
mod joins;
pub(crate) mod lexicon;
pub(crate) mod names;
mod profile;

/// The handler.
pub struct NormalizeSchema;

impl NodeHandler for NormalizeSchema {
    const NAME: &'static str = "normalize_schema";
    const SUMMARY: &'static str = "profiles every column and draws the join graph";
    type Params = NoParams;
    type Input = RawMetadata;
    type Output = SchemaContext;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(&self, input: RawMetadata, ctx: &Context) -> Result<SchemaContext, HandlerError> {
        let context = normalize(&input);
        let inferred = context
            .joins
            .iter()
            .filter(|join| matches!(join.origin, JoinOrigin::Inferred { .. }))
            .count();
        ctx.log(
            LogLevel::Info,
            format!(
                "{} tables and views, {} joins, {inferred} of them inferred",
                context.tables.len(),
                context.joins.len()
            ),
        );
        Ok(context)
    }
}

/// Gives the profiles and the join graph of a catalogue. Pure: the same catalogue gives the same context.
#[must_use]
pub fn normalize(metadata: &RawMetadata) -> SchemaContext {
    let joins = joins::graph(&metadata.tables);
    SchemaContext {
        dialect: metadata.dialect,
        database: metadata.database.clone(),
        tables: metadata.tables.iter().map(profile::table).collect(),
        junctions: joins::junctions(&metadata.tables, &joins),
        joins,
    }
}
