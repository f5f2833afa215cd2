//! `relvec demo`: the whole thing on a sample shop.
//!
//! 1. [`shop`] makes the SQLite database, once.
//! 2. The default graph takes it to the embedded target, as `relvec run` would.
//! 3. Three searches show what came of it.

pub mod shop;
mod words;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use crate::cli::{DemoArgs, Format};
use crate::commands::{describe, jobs, show};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::event::RunStatus;
use crate::launch::{graphs, prepare};
use crate::model::plan::MigrationPlan;
use crate::model::run::RunDocument;
use crate::service::embedded::Embedded;
use crate::service::endpoint::Endpoint;
use crate::service::search::{Hit, Query, search};
use crate::settings::{Settings, variable};

/// What is looked for in the end, each in the entity where a person would look.
const SEARCHES: &[(&str, &str)] = &[
    (
        "the bell does not work, leave it with the neighbour",
        "orders",
    ),
    ("stays dry in heavy rain while camping", "products"),
    (
        "I returned it weeks ago and the refund has not reached my account",
        "support_tickets",
    ),
];

/// The most characters of a hit that are shown.
const SHOWN: usize = 120;

/// The table of the demo, so that a user's own documents in the embedded target stay as they are.
const TABLE: &str = "relvec_demo";

/// Makes the sample shop, takes it to the embedded target, and searches it.
///
/// # Errors
/// The shop cannot be made, or the run cannot start. A run that fails is not an error: its exit code says so.
pub async fn demo(args: &DemoArgs, settings: Settings) -> Result<u8> {
    let began = Instant::now();
    let path = settings.home.join("demo").join("shop.db");
    let made = shop::ensure(&path).await?;
    let job = json!({
        "source": {"url": format!("sqlite:{}", path.display())},
        "target": {"url": "embedded", "table": TABLE},
    });
    let graph = graphs::find("default", &settings)?;
    let launch = jobs::open(settings.clone()).await?;
    let document = jobs::execute(&launch, &graph, prepare(&job, variable)?).await?;
    let artifacts = settings.artifacts(document.run_id);
    if args.format == Format::Json {
        jobs::print_run(&document, &artifacts, Format::Json)?;
        return Ok(document.exit_code());
    }
    if document.status != RunStatus::Succeeded {
        jobs::print_ended(&document, &artifacts, Format::Human)?;
        return Ok(document.exit_code());
    }
    let source = if made { "made" } else { "kept" };
    show(&format!(
        "\nsource: {} ({source})\n{}",
        path.display(),
        outcome(&document, began)
    ))?;
    show(&format!("artifacts: {}\n", artifacts.display()))?;
    show(&searches(&settings, &artifacts).await?)?;
    show(&format!("\n{}", next_steps()))?;
    Ok(0)
}

fn outcome(document: &RunDocument, began: Instant) -> String {
    let mut text = document
        .validation_report
        .as_ref()
        .map(describe::verdict)
        .unwrap_or_default();
    if let Some(migration) = document
        .execution_report
        .as_ref()
        .and_then(|report| report.migration.as_ref())
    {
        let sum = |count: fn(&crate::model::execution::EntityReport) -> u64| -> u64 {
            migration.entities.iter().map(count).sum()
        };
        let _ = writeln!(
            text,
            "{} chunks embedded, {} unchanged, {} requests; {:.1} s in all",
            sum(|entity| entity.embedded),
            sum(|entity| entity.unchanged),
            migration.requests,
            began.elapsed().as_secs_f64()
        );
    }
    text
}

async fn searches(settings: &Settings, artifacts: &Path) -> Result<String> {
    let plan = read_plan(artifacts)?;
    let target = Embedded::ensure(&settings.cache(), &settings.python, &|_| ()).await?;
    let endpoint = Endpoint::start().await?;
    let mut text = String::new();
    for (words, entity) in SEARCHES {
        let query = Query {
            text: words,
            entity: Some(entity),
            limit: 3,
        };
        let hits = search(&target.url, &plan, &endpoint.base_url, None, &query).await?;
        let _ = writeln!(text, "\nsearch in {entity}: {words}");
        for hit in &hits {
            let _ = writeln!(text, "  {}", describe_hit(hit));
        }
    }
    Ok(text)
}

fn read_plan(artifacts: &Path) -> Result<MigrationPlan> {
    let path = artifacts.join("plan.json");
    let unreadable = || Error::new(ErrorKind::Failed, format!("cannot read {}", path.display()));
    let text = std::fs::read(&path).map_err(|error| unreadable().because(error))?;
    serde_json::from_slice(&text).map_err(|error| unreadable().because(error))
}

/// Gives a hit on one line: the demo's own text, which is nobody's data.
fn describe_hit(hit: &Hit) -> String {
    let content = hit.content.replace('\n', " ");
    let mut shown: String = content.chars().take(SHOWN).collect();
    if shown.len() < content.len() {
        shown.push('…');
    }
    let key = hit.source_key.as_object().into_iter().flatten();
    let key: Vec<String> = key
        .map(|(_, value)| value.to_string().replace('"', ""))
        .collect();
    format!(
        "{:.2}  {} {}  {shown}",
        hit.score,
        hit.entity,
        key.join(", ")
    )
}

fn next_steps() -> &'static str {
    "Your own database:\n  \
     echo '{\"source\": {\"url\": \"postgres://user@host/database\"}}' > job.json\n  \
     relvec inspect postgres://user@host/database\n  \
     relvec plan default --input job.json\n  \
     relvec run default --input job.json\n"
}
