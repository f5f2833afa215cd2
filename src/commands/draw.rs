//! `relvec graph`: a graph as it runs, or as it ran.

use uuid::Uuid;

use super::{jobs, print_json, show};
use crate::cli::{GraphArgs, GraphFormat};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::draw::{self, History};
use crate::graph::file::GraphFile;
use crate::graph::flat;
use crate::graph::plan::Plan;
use crate::handlers::CATALOG;
use crate::launch::graphs::{find, load};
use crate::settings::Settings;

/// A proved graph, and what happened on it in a run.
struct Drawn {
    file: GraphFile,
    plan: Plan,
    history: Option<History>,
}

/// Draws a graph from the edges that run, or a run on its graph.
///
/// # Errors
/// There is no such graph or run, the graph has defects, or the run is one of another graph.
pub async fn draw(args: &GraphArgs, settings: Settings) -> Result<u8> {
    let name = args.graph.as_deref();
    let drawn = match args.run {
        Some(run) => recorded(run, name, settings).await?,
        // Without a run, the command line has a graph.
        None => planned(name.unwrap_or_default(), &settings)?,
    };
    let (plan, history) = (&drawn.plan, drawn.history.as_ref());
    match args.format {
        GraphFormat::Mermaid => show(&draw::mermaid(plan, history))?,
        GraphFormat::Dot => show(&draw::dot(plan, history))?,
        GraphFormat::Svg => show(&draw::svg(plan, history))?,
        GraphFormat::Json => print_json(&draw::json(plan, history))?,
        GraphFormat::Toml => show(&flat::to_toml(&drawn.file))?,
    }
    Ok(0)
}

fn planned(name: &str, settings: &Settings) -> Result<Drawn> {
    let file = load(&find(name, settings)?, settings).map_err(Diagnostics::into_error)?;
    Ok(Drawn {
        plan: Plan::build(&file, CATALOG).map_err(Diagnostics::into_error)?,
        file,
        history: None,
    })
}

/// Gives the graph of a run as it was accepted, and what happened on it.
async fn recorded(run: Uuid, named: Option<&str>, settings: Settings) -> Result<Drawn> {
    let given = named.map(|name| find(name, &settings)).transpose()?;
    let launch = jobs::open(settings).await?;
    let stored = launch.store().load(run).await?;
    if let Some(given) = given.filter(|given| given.name != stored.graph) {
        let (given, own) = (given.name, stored.graph);
        return Err(Error::new(
            ErrorKind::Usage,
            format!("run {run} is one of graph `{own}`, not of `{given}`"),
        )
        .hint(format!("relvec graph --run {run}")));
    }
    let (file, plan) = launch
        .plan_again(&stored)
        .map_err(Diagnostics::into_error)?;
    let stages = stored.stages.into_iter().map(|stage| stage.document);
    let statuses = stages.map(|stage| (stage.id, stage.status)).collect();
    Ok(Drawn {
        file,
        plan,
        history: Some(History::new(statuses, stored.edges)),
    })
}
