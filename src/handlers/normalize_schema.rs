//! `normalize_schema`: from what the catalogue says to what the tables are like and how they join.
//!
//! 1. [`profile`]: the statistics of each column's sample, and what its values look like ([`classes`]).
//! 2. [`joins`]: declared foreign keys, then joins inferred from names ([`names`]), types and values, and which tables meet many
//!    to many.
//! 3. [`understand`]: where samples cannot tell, the source is asked whether the values of an inferred join are there.

use crate::graph::context::Context;
use crate::graph::event::LogLevel;
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::job::secret;
use crate::model::metadata::{RawMetadata, TableRef};
use crate::model::schema_context::{Join, JoinOrigin, SchemaContext};
use crate::source::{self, Lookup, Place, SourceDriver};

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
        let driver = ctx
            .secret(secret::SOURCE_URL)
            .map(|url| source::open(Place::within(url, ctx.allowed())));
        let (context, lookups) = match driver {
            Some(Ok(driver)) => understand(&input, driver.as_ref()).await,
            Some(Err(_)) | None => (normalize(&input), Lookups::default()),
        };
        for line in lookups.lines() {
            ctx.log(LogLevel::Info, line);
        }
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

/// What became of inferred joins whose keys were sampled only in part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Those that the database confirmed.
    pub confirmed: usize,
    /// Those that it did not, one sentence each.
    pub dropped: Vec<String>,
    /// Those that it was not asked about in time, or could not be.
    pub unasked: usize,
}

impl Lookups {
    fn lines(&self) -> Vec<String> {
        let mut lines = self.dropped.clone();
        if self.unasked > 0 {
            lines.push(format!(
                "{} inferred joins rest on samples alone: the source was not asked for their values",
                self.unasked
            ));
        }
        lines
    }
}

/// The share of values without a key that is forgiven, as among samples.
const ORPHANS: f64 = 0.05;

/// Gives the profiles and the join graph, with the source asked where samples cannot tell: whether the values of an inferred join
/// are there on its other side. A source that does not answer leaves the guess.
pub async fn understand(
    metadata: &RawMetadata,
    driver: &dyn SourceDriver,
) -> (SchemaContext, Lookups) {
    let mut context = normalize(metadata);
    let partly = |table: &TableRef| {
        let found = metadata.tables.iter().find(|found| found.table == *table);
        found.is_none_or(|found| {
            !found.row_count_exact || found.row_count > found.sample_rows.len() as u64
        })
    };
    let guessed: Vec<Join> = context
        .joins
        .iter()
        .filter(|join| matches!(join.origin, JoinOrigin::Inferred { .. }))
        .filter(|join| partly(&join.from) || partly(&join.to))
        .cloned()
        .collect();
    let mut lookups = Lookups::default();
    if guessed.is_empty() {
        return (context, lookups);
    }
    let answers = driver.lookup(&guessed).await.unwrap_or_default();
    lookups.unasked = guessed.len() - answers.len();
    for (join, answer) in guessed.iter().zip(answers) {
        let place = context.joins.iter().position(|known| known == join);
        let Some(place) = place else { continue };
        if is_there(answer) {
            lookups.confirmed += 1;
            confirm(&mut context.joins[place], answer);
        } else {
            lookups.dropped.push(format!(
                "`{}` ({}) does not refer to `{}`: {} of {} values are not there",
                join.from,
                join.from_columns.join(", "),
                join.to,
                answer.missing,
                answer.values
            ));
            context.joins.remove(place);
        }
    }
    context.junctions = joins::junctions(&metadata.tables, &context.joins);
    (context, lookups)
}

/// One value may stand for nothing, as 0 does, and a few may have lost their rows.
fn is_there(answer: Lookup) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = answer.missing as f64 / answer.values.max(1) as f64;
    answer.missing == 0 || (answer.missing == 1 && answer.values > 1) || share <= ORPHANS
}

fn confirm(join: &mut Join, answer: Lookup) {
    if let JoinOrigin::Inferred {
        confidence,
        evidence,
    } = &mut join.origin
    {
        *confidence = ((*confidence + 0.1).min(0.99) * 100.0).round() / 100.0;
        evidence.push(format!(
            "the database has {} of {} values that were looked up",
            answer.values - answer.missing,
            answer.values
        ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sqlite::tests::database;

    /// 900 customers of whom 50 are sampled; `orders` refers to them, and `visits` has numbers that only samples hold equal.
    const SCRIPT: &str = "
CREATE TABLE customers(customer_code TEXT PRIMARY KEY NOT NULL, name TEXT);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer_code TEXT);
CREATE TABLE visits(id INTEGER PRIMARY KEY, customer_code TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
INSERT INTO customers SELECT printf('K%05d', i * 2), 'Ada' FROM n;
INSERT INTO orders SELECT rowid, customer_code FROM customers;
INSERT INTO visits SELECT rowid, printf('K%05d', rowid * 2 - rowid % 3) FROM customers;";

    #[tokio::test]
    async fn the_source_is_asked_where_samples_cannot_tell() {
        let (_folder, url) = database(SCRIPT).await;
        let driver = source::open(&url).expect("a driver");
        let selection = source::Selection {
            sample_rows: 50,
            ..source::Selection::default()
        };
        let metadata = driver.collect(&selection).await.expect("reads").metadata;
        let guessed = normalize(&metadata);
        let from = |context: &SchemaContext| -> Vec<String> {
            context
                .joins
                .iter()
                .map(|join| join.from.name.clone())
                .collect()
        };
        assert_eq!(from(&guessed), ["orders", "visits"]);
        let (context, lookups) = understand(&metadata, driver.as_ref()).await;
        assert_eq!(from(&context), ["orders"]);
        assert_eq!((lookups.confirmed, lookups.unasked), (1, 0));
        assert!(
            lookups.dropped[0].starts_with("`visits` (customer_code) does not refer to"),
            "{lookups:?}"
        );
        let JoinOrigin::Inferred { evidence, .. } = &context.joins[0].origin else {
            panic!("it is inferred");
        };
        assert!(
            evidence.last().is_some_and(
                |last| last == "the database has 900 of 900 values that were looked up"
            ),
            "{evidence:?}"
        );
    }

    #[test]
    fn a_few_values_may_have_lost_their_rows() {
        let there = |values, missing| is_there(Lookup { values, missing });
        assert!(there(100, 0) && there(100, 5) && there(10, 1));
        assert!(!there(100, 6) && !there(10, 2) && !there(1, 1));
    }
}
