//! `relvec plan`, `handlers` and `schema`: what can be known without running anything.

use serde_json::Value;

use super::runs::remote::Remote;
use super::{print_json, show, word};
use crate::cli::{Format, HandlersArgs, JobArgs, SchemaArgs};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::handler::Interface;
use crate::graph::plan::{Plan, Selection};
use crate::graph::preview::{self, Preview};
use crate::handlers::{CATALOG, HANDLERS};
use crate::launch::graphs::{find, load, nearest};
use crate::launch::prepare;
use crate::schema;
use crate::settings::{Settings, variable};

/// Says what each stage would do with a job.
///
/// # Errors
/// The graph or the job is wrong.
pub async fn plan(args: &JobArgs, settings: &Settings) -> Result<u8> {
    let job = super::jobs::read_job(args)?;
    let preview = match &args.server {
        Some(server) => Remote::new(server)?.plan(&args.graph, &job).await?,
        None => plan_here(args, &job, settings)?,
    };
    match args.format {
        Format::Json => print_json(&preview)?,
        Format::Human => {
            for stage in &preview {
                let forecast = word(stage.forecast).replace('_', " ");
                // A stage that depends on several others has a line for each.
                let reason = stage
                    .reason
                    .replace("; and on ", &format!(";\n{:40}and on ", ""));
                let line = format!("{:<18} {forecast:<20} {reason}", stage.stage);
                show(&format!("{}\n", line.trim_end()))?;
            }
        }
    }
    Ok(0)
}

fn plan_here(args: &JobArgs, job: &Value, settings: &Settings) -> Result<Vec<Preview>> {
    let job = prepare(job, variable)?;
    let plan = planned(&args.graph, &job.input.selection(), settings)?;
    let job = serde_json::to_value(&job.input)
        .map_err(|error| Error::new(ErrorKind::Internal, "the job is not JSON").because(error))?;
    super::jobs::print_warnings(&plan);
    Ok(preview::preview(&plan, &job))
}

/// Plans a graph of which something is left out.
///
/// # Errors
/// There is no such graph, or it has defects.
pub fn planned(name: &str, selection: &Selection, settings: &Settings) -> Result<Plan> {
    let graph = find(name, settings)?;
    load(&graph, settings)
        .and_then(|file| Plan::select(&file, CATALOG, selection))
        .map_err(Diagnostics::into_error)
}

/// Lists the handlers, or describes one.
///
/// # Errors
/// There is no such handler.
pub fn handlers(args: &HandlersArgs) -> Result<u8> {
    let Some(name) = &args.name else {
        for handler in HANDLERS {
            show(&format!("{:<18} {}\n", handler.name, handler.summary))?;
        }
        return Ok(0);
    };
    let handler = HANDLERS
        .iter()
        .find(|handler| handler.name == name)
        .ok_or_else(|| unknown("handler", name, HANDLERS.iter().map(|handler| handler.name)))?;
    show(&format!("{}: {}\n", handler.name, handler.summary))?;
    match handler.interface {
        Some(interface) => {
            let interface = interface();
            show(&format!("reads:  {}\n", reads(&interface)))?;
            show(&format!("writes: {}\n", interface.writes))?;
        }
        None => show("reads and writes what its parameters declare\n")?,
    }
    show("parameters:\n")?;
    print_json(&(handler.params_schema)())?;
    Ok(0)
}

fn reads(interface: &Interface) -> String {
    let reads: Vec<String> = interface
        .reads
        .iter()
        .map(|read| format!("{}{}", read.kind, if read.required { "" } else { "?" }))
        .collect();
    reads.join(", ")
}

/// Prints a published schema, or the names of all.
///
/// # Errors
/// There is no such schema.
pub fn print_schema(args: &SchemaArgs) -> Result<u8> {
    let schemas = schema::published();
    let names = || schemas.iter().map(|(name, _)| *name);
    let Some(name) = &args.name else {
        for name in names() {
            show(&format!("{name}\n"))?;
        }
        return Ok(0);
    };
    let (_, published) = schemas
        .iter()
        .find(|(known, _)| known == name)
        .ok_or_else(|| unknown("schema", name, names()))?;
    print_json(published)?;
    Ok(0)
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let error = Error::new(ErrorKind::Usage, format!("there is no {what} `{name}`"));
    let error = match nearest(name, known.clone()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    let list: Vec<&str> = known.collect();
    error.hint(format!("there are: {}", list.join(", ")))
}
