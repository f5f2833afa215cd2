//! `collect_metadata`: reads the source's catalogue, row counts and samples.

use crate::graph::context::Context;
use crate::graph::event::{LogLevel, Question};
use crate::graph::handler::{HandlerError, NoParams, NodeHandler, ParamError};
use crate::model::job::{JobInput, secret};
use crate::model::metadata::{RawMetadata, TableRef};
use crate::source::{self, Counts, Place, Selection};

const CONTINUE: &str = "continue";
const STOP: &str = "stop";
/// More tables than this are asked about in one question.
const QUESTIONS: usize = 20;

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
        let driver = source::open(Place::within(url, ctx.allowed()))?;
        let collected = tokio::select! {
            collected = driver.collect(&selection) => collected?,
            () = ctx.cancellation().cancelled() => {
                return Err(HandlerError::transient("stopped while reading the source"));
            }
        };
        for note in &collected.notes {
            ctx.log(LogLevel::Warn, note.clone());
        }
        for question in denied_questions(&collected.denied) {
            if ctx
                .answer(&question.id)
                .is_some_and(|answer| answer.choice == STOP)
            {
                return Err(HandlerError::permanent(format!(
                    "{}: grant SELECT on it, or answer `{CONTINUE}`",
                    question.text
                )));
            }
            ctx.ask(question);
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

/// Asks about tables that cannot be read. The run goes on without them unless somebody says otherwise.
fn denied_questions(denied: &[TableRef]) -> Vec<Question> {
    let ask = |id: String, text: String| Question {
        id,
        stage: String::new(),
        text,
        choices: vec![CONTINUE.to_owned(), STOP.to_owned()],
        default: Some(CONTINUE.to_owned()),
        expires_at: None,
        blocking: false,
    };
    if denied.len() > QUESTIONS {
        let some: Vec<String> = denied
            .iter()
            .take(QUESTIONS)
            .map(ToString::to_string)
            .collect();
        let text = format!(
            "the source's user may not read {} tables, {} and others, so they are left out",
            denied.len(),
            some.join(", ")
        );
        return vec![ask("denied:*".to_owned(), text)];
    }
    denied
        .iter()
        .map(|table| {
            let text = format!("the source's user may not read `{table}`, so it is left out");
            ask(format!("denied:{table}"), text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denied_table_is_asked_about_and_many_are_asked_about_at_once() {
        let table = |number: usize| TableRef {
            schema: Some("public".to_owned()),
            name: format!("t{number}"),
        };
        let tables: Vec<TableRef> = (0..30).map(table).collect();
        let asked = denied_questions(&tables[..2]);
        assert_eq!(asked[1].id, "denied:public.t1");
        assert!(!asked[1].blocking && asked[1].default.as_deref() == Some(CONTINUE));
        let asked = denied_questions(&tables);
        assert!(
            asked.len() == 1 && asked[0].text.contains("30 tables"),
            "{asked:?}"
        );
        assert!(denied_questions(&[]).is_empty());
    }
}
