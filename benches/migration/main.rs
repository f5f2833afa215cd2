//! `benches/migration/run` measures the generated script; this is the part of it that must not be the bottleneck.
//!
//! `migration serve` is an embedding API that costs next to nothing, `migration ask` is a client that sends requests made
//! beforehand: together they give the ceiling of everything that asks that API.

mod ask;
mod request;
mod server;
mod vectors;

use clap::{Parser, Subcommand};

/// The embedding API of the measurement, and its ceiling.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves OpenAI's `/v1/embeddings` and says `listening on http://…/v1`
    Serve(server::ServeArgs),
    /// Sends all texts of a file to such an API and prints the seconds as JSON
    Ask(ask::AskArgs),
}

fn main() {
    // Cargo adds `--bench`, which is for harnesses.
    let words = std::env::args().filter(|word| word != "--bench");
    match Cli::parse_from(words).command {
        Some(Command::Serve(options)) => server::serve(&options),
        Some(Command::Ask(options)) => ask::ask(&options),
        // As `cargo bench` starts it.
        None => println!("benches/migration/run measures; this is only its API"),
    }
}
