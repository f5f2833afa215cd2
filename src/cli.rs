//! The command line: types only.
//!
//! An option that takes several stages takes every word behind it: where there is one, the usage line shows it last.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;
use uuid::Uuid;

/// Takes a relational database to pgvector and proves that nothing was lost.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the whole thing on a sample shop, with nothing to install but Python
    Demo(DemoArgs),
    /// Runs a graph in this process
    #[command(override_usage = "relvec run <GRAPH> --input <FILE> [OPTIONS]")]
    Run(JobArgs),
    /// Serves the gateway: POST /jobs, GET /jobs/{id}, …
    Serve(ServeArgs),
    /// Checks graph files and says where each mistake is
    Validate(ValidateArgs),
    /// Runs the tests that graph files hold, without their handlers
    Test(TestArgs),
    /// Says for each stage whether it runs, is skipped or is decided at run time, and why
    #[command(override_usage = "relvec plan <GRAPH> --input <FILE> [OPTIONS]")]
    Plan(JobArgs),
    /// Draws a graph
    Graph(GraphArgs),
    /// Compares two graphs by meaning, not by lines; exits with 0 if they mean the same and 1 if not, as diff does
    Diff(DiffArgs),
    /// Shows what relvec sees in a database: tables, columns, joins
    Inspect(InspectArgs),
    /// Lists the handlers, or describes one with its parameters
    Handlers(HandlersArgs),
    /// Prints a JSON Schema: job, graph, run, or a kind of output
    Schema(SchemaArgs),
    /// Lists runs, and shows, explains, answers, cancels, retries or validates one
    Runs(RunsArgs),
    /// Makes, lists and revokes the tokens that the gateway asks for
    Token {
        /// What to do with tokens.
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Says where the embedded target is, or stops it
    Target {
        /// What to do with the embedded target.
        #[command(subcommand)]
        command: TargetCommand,
    },
    /// Serves relvec's own embeddings (hashed n-grams) over OpenAI's API, for demos and tests
    EmbedServer(EmbedServerArgs),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// `relvec demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `relvec run` and `relvec plan`: a graph and a job
#[derive(Debug, Args)]
pub struct JobArgs {
    /// A graph's name or file
    pub graph: String,
    /// The job's `input` object, as a JSON file; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Sets a value of the job: execution.mode=simulate
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Leaves a stage out, as if its `when` were false
    #[arg(long, value_name = "STAGE", num_args = 1..)]
    pub skip: Vec<String>,
    /// Leaves all stages out but these
    #[arg(long, value_name = "STAGE", num_args = 1..)]
    pub only: Vec<String>,
    /// The gateway that does it; without it, this process does. The graph is then one of the gateway's, and the environment variable
    /// `RELVEC_TOKEN` is the access token
    #[arg(long, value_name = "URL")]
    pub server: Option<Url>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `relvec serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The address to listen on; beyond loopback, callers have to show tokens
    #[arg(long, default_value = "127.0.0.1:7070")]
    pub listen: std::net::SocketAddr,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FindingsFormat {
    /// For people, with the lines that they are about.
    #[default]
    Human,
    /// One JSON array.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// Annotations of GitHub Actions.
    Github,
}

/// `relvec validate`
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Graph files, or names of graphs; `-` reads standard input
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: FindingsFormat,
    /// Takes warnings for errors
    #[arg(long)]
    pub strict: bool,
}

/// `relvec test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Graphs by name, or graph files
    #[arg(required = true)]
    pub files: Vec<String>,
    /// Fails where the tests of a file cover less of it
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub min_coverage: Option<u8>,
    /// How the results are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Mermaid, for Markdown.
    Mermaid,
    /// DOT, for Graphviz.
    Dot,
    /// SVG, drawn by relvec itself.
    Svg,
    /// Stages and edges as JSON.
    Json,
    /// The graph file with what it has from those that it extends.
    Toml,
}

/// `relvec graph`
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// A graph's name or file; with --run, the graph is the run's own
    #[arg(required_unless_present = "run")]
    pub graph: Option<String>,
    /// Draws what happened in a run on the graph as it was when the run was accepted
    #[arg(long, value_name = "ID")]
    pub run: Option<Uuid>,
    /// How it is drawn
    #[arg(long, value_enum, default_value = "mermaid")]
    pub format: GraphFormat,
}

/// `relvec diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// A graph's name or file
    pub before: String,
    /// The graph that it is compared with: a name or a file
    pub after: String,
    /// How the differences are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `relvec inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// `postgres://user@host:port/database` or `sqlite:path`
    pub url: String,
    /// Only these tables: `schema.table` or `table`, with `*`
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// Not these tables
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Rows a table that are sampled for statistics
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub sample_rows: u32,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `relvec handlers`
#[derive(Debug, Args)]
pub struct HandlersArgs {
    /// The handler to describe
    pub name: Option<String>,
}

/// `relvec schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// The schema's name; without it, the names are listed
    pub name: Option<String>,
}

/// `relvec token`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Makes a token and prints it, this once
    Create(TokenArgs),
    /// Lists the tokens, never their text
    List {
        /// How they are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Revokes a token: a gateway that runs refuses it within a second
    Revoke {
        /// The token's id
        id: String,
    },
}

/// `relvec token create`
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whose runs the token is for; `local` is the command line's own
    #[arg(long)]
    pub tenant: String,
    /// What it allows: some of submit, read, answer, admin (those three) and metrics (figures of all tenants), with commas between them
    #[arg(long, value_name = "SCOPES")]
    pub scope: String,
    /// What people call it
    #[arg(long)]
    pub name: Option<String>,
    /// When it stops working: 30d, 12h, 2027-01-31 or an instant in RFC 3339; never if absent
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// How the token is printed; for people, it stands alone on standard output
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `relvec runs`
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// The gateway that has the runs; without it, they are those of this machine's store. The environment variable `RELVEC_TOKEN` is
    /// the access token
    #[arg(long, value_name = "URL", global = true)]
    pub server: Option<Url>,
    /// What to do with runs.
    #[command(subcommand)]
    pub command: RunsCommand,
}

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// Lists the newest runs
    List {
        /// Most runs to list
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// How they are printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Shows a run
    Show {
        /// The run
        run: Uuid,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Prints a run's events as JSON lines
    Events {
        /// The run
        run: Uuid,
        /// Goes on with what happens until the run is over
        #[arg(long)]
        follow: bool,
    },
    /// Prints the lines that a run's stages wrote to its log
    Logs(LogsArgs),
    /// Lists the files that a run generated, or saves them
    Artifacts {
        /// The run
        run: Uuid,
        /// Saves them in this folder
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
        /// How they are listed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Says why a stage of a run has the status it has: edges, conditions with their values, attempts, output
    Explain {
        /// The run
        run: Uuid,
        /// The stage
        stage: String,
        /// How it is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Ends a run that waits, is queued or was interrupted; one that another process executes is cancelled there
    Cancel {
        /// The run
        run: Uuid,
        /// How the result is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Makes a new run of one that is over: it takes over what ended well and does the rest again
    #[command(override_usage = "relvec runs retry <RUN> [OPTIONS]")]
    Retry(RetryArgs),
    /// Compares source and target of an earlier run as they are now, in a run of its own
    Validate {
        /// The earlier run
        run: Uuid,
        /// A job whose connection strings are used, where passwords stood in the earlier one itself: no run keeps them
        #[arg(long, value_name = "FILE")]
        input: Option<PathBuf>,
        /// How the result is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Answers a question of a waiting run and goes on with it
    Answer {
        /// The run
        run: Uuid,
        /// The question's id
        question: String,
        /// One of its choices
        choice: String,
        /// Who answers: `command line` if absent, or who holds the token that the gateway asks for
        #[arg(long)]
        by: Option<String>,
        /// How the result is printed
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// `relvec runs logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The run
    pub run: Uuid,
    /// Only the lines of this stage
    #[arg(long)]
    pub stage: Option<String>,
    /// Only the last lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub tail: Option<u32>,
    /// Goes on with lines as they come until the run is over; with `--format json`, an object a line
    #[arg(long)]
    pub follow: bool,
    /// How they are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `relvec runs retry`
#[derive(Debug, Args)]
pub struct RetryArgs {
    /// The run
    pub run: Uuid,
    /// Runs these stages again and what depends on them; without it, what did not end well
    #[arg(long, value_name = "STAGE", num_args = 1..)]
    pub from: Vec<String>,
    /// Runs these stages again and no other; what never ended is left out
    #[arg(long, value_name = "STAGE", num_args = 1.., conflicts_with = "from")]
    pub only: Vec<String>,
    /// Goes on with the graph as it is now, where it changed since
    #[arg(long)]
    pub accept_drift: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `relvec target`
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum TargetCommand {
    /// Starts the embedded target if it does not run, and says where it is
    Show,
    /// Stops the embedded target; the next run starts it again
    Stop,
}

/// `relvec embed-server`
#[derive(Debug, Args)]
pub struct EmbedServerArgs {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 7171)]
    pub port: u16,
    /// The address to listen on: a run in a container needs that of the container network's gateway
    #[arg(long, hide = true, default_value_t = std::net::IpAddr::from([127, 0, 0, 1]))]
    pub address: std::net::IpAddr,
    /// End when standard input ends: a run that is killed leaves no endpoint behind
    #[arg(long, hide = true)]
    pub until_stdin_ends: bool,
}
