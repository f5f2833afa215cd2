//! `relvec run` and `relvec embed-server`: what works until it is done.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::runs::place::Place as _;
use super::runs::remote::Remote;
use super::{describe, print_json, show};
use crate::cli::{EmbedServerArgs, Format, JobArgs};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::diagnostic::Diagnostics;
use crate::graph::plan::Plan;
use crate::handlers::CATALOG;
use crate::http::embeddings;
use crate::launch::graphs::{self, GraphSource};
use crate::launch::{Control, Launch, PreparedJob, prepare, set};
use crate::model::run::RunDocument;
use crate::report::Report;
use crate::report::terminal;
use crate::settings::{Settings, colored, variable};
use crate::store::Store;

/// The most bytes of a job file.
const JOB_BYTES: u64 = 1 << 20;

/// Runs a graph in this process and prints the final run.
///
/// # Errors
/// The graph or the job is wrong, or the run store cannot be used. A run that fails is not an error: its exit code says so.
pub async fn run(args: JobArgs, settings: Settings) -> Result<u8> {
    if let Some(server) = &args.server {
        let gateway = Remote::new(server)?;
        let document = gateway.run(&args.graph, &read_job(&args)?).await?;
        print_ended(&document, &gateway.files(document.run_id), args.format)?;
        return Ok(document.exit_code());
    }
    let graph = graphs::find(&args.graph, &settings)?;
    let job = prepare(&read_job(&args)?, variable)?;
    let launch = open(settings).await?;
    let plan = launch
        .plan(&graph, &job.input.selection())
        .map_err(Diagnostics::into_error)?;
    print_warnings(&plan);
    let document = execute(&launch, &graph, job).await?;
    let folder = launch.settings().artifacts(document.run_id);
    print_ended(&document, &folder, args.format)?;
    Ok(document.exit_code())
}

/// Opens the run store and gives what makes runs in it.
///
/// # Errors
/// The store cannot be opened.
pub async fn open(settings: Settings) -> Result<Launch> {
    let store = Store::open(&settings.store()).await?;
    Ok(Launch::new(settings, store, CATALOG, variable))
}

/// Executes a job with progress on standard error; the first interrupt cancels it.
///
/// # Errors
/// As [`Launch::start`].
pub async fn execute(
    launch: &Launch,
    graph: &GraphSource,
    job: PreparedJob,
) -> Result<RunDocument> {
    let control = Control::default();
    let mut reports: Vec<Box<dyn Report>> = vec![terminal::on_standard_error()];
    until_interrupted(&control, launch.start(graph, job, &control, &mut reports)).await
}

/// Waits for a run; an interrupt cancels it, and what it was doing is ended in order.
pub async fn until_interrupted<T>(control: &Control, run: impl Future<Output = T>) -> T {
    tokio::pin!(run);
    tokio::select! {
        ended = &mut run => return ended,
        _ = tokio::signal::ctrl_c() => control.cancel(),
    }
    run.await
}

/// Prints a run for people or programs; `files` says where its files are.
///
/// # Errors
/// The document is not JSON, which does not happen.
pub fn print_run(document: &RunDocument, files: &Path, format: Format) -> Result<()> {
    match format {
        Format::Json => print_json(document),
        Format::Human => show(&describe::run(document, files)),
    }
}

/// Prints a run whose progress was shown, for people or programs; `files` says where its files are.
///
/// # Errors
/// As [`print_run`].
pub fn print_ended(document: &RunDocument, files: &Path, format: Format) -> Result<()> {
    match format {
        Format::Json => print_json(document),
        Format::Human => show(&describe::ended(document, files)),
    }
}

/// Prints what a graph that is sound should not have, on standard error: standard output holds the result only.
pub fn print_warnings(plan: &Plan) {
    let color = colored(&std::io::stderr());
    eprint!("{}", plan.warnings().render(color));
}

/// Reads a job file, `-` for standard input, and sets what `--set` sets.
///
/// # Errors
/// The file cannot be read, is not JSON, or is larger than a job can be.
pub fn read_job(args: &JobArgs) -> Result<Value> {
    let mut job = read_json(&args.input)?;
    for assignment in &args.sets {
        set(&mut job, assignment)?;
    }
    for (key, stages) in [("skip", &args.skip), ("only", &args.only)] {
        if !stages.is_empty() {
            set(&mut job, &format!("{key}={}", json!(stages)))?;
        }
    }
    Ok(job)
}

/// Reads a job file, `-` for standard input.
///
/// # Errors
/// As [`read_job`].
pub fn read_json(path: &Path) -> Result<Value> {
    let shown = if path.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let unreadable = |error: std::io::Error| {
        Error::new(
            ErrorKind::Configuration,
            format!("cannot read the job from {shown}"),
        )
        .because(error)
        .hint("a job is a JSON object; the least is {\"source\": {\"url\": \"sqlite:shop.db\"}}")
    };
    let mut text = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin()
            .take(JOB_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(JOB_BYTES + 1).read_to_end(&mut text))
            .map_err(unreadable)?;
    }
    if text.len() as u64 > JOB_BYTES {
        return Err(unreadable(std::io::Error::other("it is larger than 1 MiB")));
    }
    serde_json::from_slice(&text).map_err(|error| unreadable(error.into()))
}

/// Serves relvec's own embeddings until it is stopped.
///
/// # Errors
/// The port is taken.
pub async fn embed_server(args: &EmbedServerArgs) -> Result<u8> {
    let address = SocketAddr::from((args.address, args.port));
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Failed, format!("cannot listen on {address}"))
            .because(error)
            .hint("choose another port with --port; 0 takes a free one")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    show(&format!("listening on http://{address}/v1\n"))?;
    let server = axum::serve(listener, embeddings::router());
    if args.until_stdin_ends {
        let mut stdin = tokio::io::stdin();
        let mut nothing = tokio::io::sink();
        tokio::select! {
            ended = server => ended.map_err(failed)?,
            _ = tokio::io::copy(&mut stdin, &mut nothing) => {}
        }
    } else {
        server.await.map_err(failed)?;
    }
    Ok(0)
}
