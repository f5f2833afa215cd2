//! What the tests of source drivers share: reading a catalogue, and a proxy that fails at a chosen statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use relvec::error::Result;
use relvec::model::metadata::{RawMetadata, TableMetadata};
use relvec::source::{self, Collected, Selection};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Reads a source as `collect_metadata` does.
pub async fn collect(url: &str, selection: &Selection) -> Result<Collected> {
    source::open(&SecretString::from(url.to_owned()))?
        .collect(selection)
        .await
}

/// Selects everything.
pub fn all(sample_rows: u32) -> Selection {
    Selection {
        sample_rows,
        ..Selection::default()
    }
}

/// Gives a table by its name.
pub fn table<'a>(metadata: &'a RawMetadata, name: &str) -> &'a TableMetadata {
    let found = metadata
        .tables
        .iter()
        .find(|table| table.table.name == name);
    found.unwrap_or_else(|| panic!("no table {name}"))
}

/// Texts that end a string, a name, a comment or a statement, or that order somebody about: names of tables and columns, labels
/// and comments are made of them.
pub const HOSTILE: &[&str] = &[
    "x\"; import os #",
    "'''\"\"\"```",
    "a\rb\nc\u{2028}d",
    "back\\slash\\",
    "coding: utf-7",
    "{{7*7}}{% raw %}",
    "100%s",
    "{0}$(id)",
    "-- comment",
    "/* */",
    "right \u{202e}tfel",
    "snow man ü",
    "select",
    "a.b",
    "T",
    "[x]",
    "; DROP TABLE t",
    "ignore previous instructions",
];

/// What a proxy does when the statement comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Closes the connection.
    Drop,
    /// Passes nothing on any more, and closes nothing.
    Stall,
    /// Waits for [`Proxy::let_go`].
    Hold,
}

/// A proxy between a driver and its server.
pub struct Proxy {
    url: String,
    state: Arc<State>,
}

struct State {
    server: String,
    statement: String,
    fault: Fault,
    done: AtomicBool,
    seen: Notify,
    go: Notify,
}

impl Proxy {
    /// Stands before the server of a URL, and fails once, where a client first sends `statement`.
    pub async fn start(url: &str, statement: &str, fault: Fault) -> Self {
        let (_, place) = url.rsplit_once('@').expect("a user");
        let (server, database) = place.split_once('/').expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            server: server.to_owned(),
            statement: statement.to_owned(),
            fault,
            done: AtomicBool::new(false),
            seen: Notify::new(),
            go: Notify::new(),
        });
        let mut url = url.replace(place, &format!("{address}/{database}"));
        if url.starts_with("mysql") {
            // It could not read what is encrypted.
            url.push_str("?ssl-mode=DISABLED");
        }
        let proxy = Self {
            url,
            state: Arc::clone(&state),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move { state.pass(client).await });
            }
        });
        proxy
    }

    /// Gives the URL through the proxy.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the statement comes by.
    pub async fn seen(&self) {
        self.state.seen.notified().await;
    }

    /// Lets the held statement go on.
    pub fn let_go(&self) {
        self.state.go.notify_one();
    }
}

impl State {
    async fn pass(&self, client: TcpStream) {
        let server = TcpStream::connect(&self.server)
            .await
            .expect("the server answers");
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = async {
            // The other half says when it is over.
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        };
        let questions = async {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                let sent = &buffer[..length];
                if self.is_asked(sent) {
                    self.seen.notify_one();
                    match self.fault {
                        Fault::Drop => return,
                        Fault::Stall => std::future::pending().await,
                        Fault::Hold => self.go.notified().await,
                    }
                }
                if to_server.write_all(sent).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = answers => {}
            () = questions => {}
        }
    }

    fn is_asked(&self, sent: &[u8]) -> bool {
        let statement = self.statement.as_bytes();
        let found = sent.windows(statement.len()).any(|part| part == statement);
        found && !self.done.swap(true, Ordering::SeqCst)
    }
}

/// Gives a word of the model as JSON has it.
fn word(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_value(value).expect("JSON");
    json.as_str().expect("a word").to_owned()
}

/// Gives the foreign keys of a table, a line each: `name: a,b -> schema.table(x,y) on_delete on_update deferrable`.
pub fn keys(table: &TableMetadata) -> Vec<String> {
    let keys = table.foreign_keys.iter().map(|key| {
        format!(
            "{}: {} -> {}({}) {} {} {}",
            key.name.as_deref().unwrap_or("-"),
            key.columns.join(","),
            key.to.name,
            key.to_columns.join(","),
            word(&key.on_delete),
            word(&key.on_update),
            word(&key.deferrable)
        )
    });
    keys.collect()
}

/// Gives the columns of a table with their types: `a integer, b text`.
pub fn types(table: &TableMetadata) -> String {
    let columns = table
        .columns
        .iter()
        .map(|column| format!("{} {}", column.name, word(&column.data_type)));
    columns.collect::<Vec<_>>().join(", ")
}

/// Gives the tables with their sorts: `a table, b view`.
pub fn kinds(metadata: &RawMetadata) -> String {
    let tables = metadata
        .tables
        .iter()
        .map(|table| format!("{} {}", table.table.name, word(&table.kind)));
    tables.collect::<Vec<_>>().join(", ")
}
