//! A client that does nothing but ask: its rate is the most that anything can get out of the API.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::Deserialize;
use serde_json::json;

/// `migration ask`
#[derive(Debug, Args)]
pub struct AskArgs {
    /// The API's port on this machine
    #[arg(long)]
    port: u16,
    /// A file with a text a line
    #[arg(long, value_name = "FILE")]
    texts: PathBuf,
    /// Texts a request
    #[arg(long)]
    batch: usize,
    /// Requests at once
    #[arg(long)]
    concurrency: usize,
    /// Numbers a vector
    #[arg(long)]
    dimensions: usize,
    /// Reads the replies' vectors instead of dropping the bytes
    #[arg(long)]
    parse: bool,
}

/// Makes all requests, sends them, and prints how long the sending took.
///
/// # Panics
///
/// Where the API does not answer as it should.
pub fn ask(options: &AskArgs) {
    let file = std::fs::read_to_string(&options.texts).expect("the file of texts can be read");
    let texts: Vec<&str> = file.lines().collect();
    let requests: Vec<Vec<u8>> = texts
        .chunks(options.batch)
        .map(|batch| request(batch, options.dimensions))
        .collect();
    let left = Mutex::new(requests.iter());
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..options.concurrency {
            scope.spawn(|| {
                let mut connection = connect(options.port);
                let mut reply = Vec::new();
                while let Some(request) = next(&left) {
                    send(&mut connection, request, &mut reply);
                    if options.parse {
                        parse(&reply, options.dimensions);
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"rows": texts.len(), "requests": requests.len(), "seconds": seconds})
    );
}

fn next<'a>(left: &Mutex<std::slice::Iter<'a, Vec<u8>>>) -> Option<&'a Vec<u8>> {
    left.lock()
        .expect("no thread panics while it holds it")
        .next()
}

fn request(batch: &[&str], dimensions: usize) -> Vec<u8> {
    let body = json!({
        "model": "text-embedding-3-small", "input": batch, "encoding_format": "base64", "dimensions": dimensions,
    });
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn connect(port: u16) -> BufReader<TcpStream> {
    let connection = TcpStream::connect(("127.0.0.1", port)).expect("the API listens");
    connection
        .set_nodelay(true)
        .expect("a TCP connection takes it");
    BufReader::with_capacity(256 * 1024, connection)
}

/// Sends one request and reads the body of its reply.
fn send(connection: &mut BufReader<TcpStream>, request: &[u8], reply: &mut Vec<u8>) {
    connection
        .get_mut()
        .write_all(request)
        .expect("the API reads");
    let mut line = String::new();
    let mut length = None;
    connection.read_line(&mut line).expect("the API answers");
    assert!(line.starts_with("HTTP/1.1 200"), "the API answers {line}");
    while line != "\r\n" {
        line.clear();
        connection
            .read_line(&mut line)
            .expect("the reply has headers");
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    reply.resize(length.expect("the reply says how long it is"), 0);
    connection.read_exact(reply).expect("the reply is whole");
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    data: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    embedding: &'a str,
}

fn parse(reply: &[u8], dimensions: usize) {
    let reply: Reply<'_> = serde_json::from_slice(reply).expect("the reply is the API's");
    for item in reply.data {
        let bytes = STANDARD
            .decode(item.embedding)
            .expect("the vector is base64");
        assert_eq!(bytes.len(), dimensions * 4, "the vector has its numbers");
        std::hint::black_box(bytes);
    }
}
