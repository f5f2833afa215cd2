//! `collect_metadata`: reads the source's catalogue, row counts and samples.

use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::job::{JobInput, secret};
use crate::model::metadata::RawMetadata;
use crate::source::{self, Counts, Selection};

/// The handler.
pub struct CollectMetadata;

impl NodeHandler for CollectMetadata {
    const NAME: &'static str = "collect_metadata";
    const SUMMARY: &'static str = "reads the source's catalogue, row counts and sample rows";
    type Params = NoParams;
    type Input = JobInput;
    type Output = RawMetadata;

    fn new(_: NoParams) -> Result<Self, ParamError> {
        Ok(Self)
    }

    async fn run(&self, input: JobInput, ctx: &Context) -> Result<RawMetadata, HandlerError> {
        let url = ctx.need_secret(secret::SOURCE_URL)?;
        let selection = Selection {
            include: input.source.include,
            exclude: input.source.exclude,
            sample_rows: input.source.sample_rows.min(1000),
            counts: if input.source.exact_counts {
                Counts::Exact
            } else {
                Counts::default()
            },
            ..Selection::default()
        };
        let driver = source::open(url)?;
        let collected = tokio::select! {
            collected = driver.collect(&selection) => collected?,
            () = ctx.cancellation().cancelled() => {
                return Err(HandlerError::transient("stopped while reading the source"));
            }
        };
        for note in collected.notes {
            ctx.log(LogLevel::Warn, note);
        }
        let tables = &collected.metadata.tables;
        if tables.is_empty() {
            return Err(source::without_tables(&collected.metadata).into());
        }
        let rows = tables.iter().map(|table| table.row_count).sum::<u64>();
        ctx.log(
            LogLevel::Info,
            format!("{} tables and views, {rows} rows", tables.len()),
        );
        Ok(collected.metadata)
    }
}
