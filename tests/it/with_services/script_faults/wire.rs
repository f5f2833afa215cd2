//! A wire between the script and a server that a test can cut or hold. It has threads of its own.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where the wire is cut.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// The server never hears of the statement.
    Before,
    /// The server has done it, and the script never hears of that.
    After,
}

type Choice = dyn Fn(usize) -> Option<Cut> + Send + Sync;

struct State {
    server: String,
    statement: String,
    choice: Mutex<Box<Choice>>,
    statements: AtomicUsize,
    cuts: AtomicUsize,
    held: AtomicBool,
    kept_back: AtomicBool,
}

/// The wire; it ends with the test's process.
pub struct Wire {
    /// The URL through the wire.
    pub url: String,
    state: Arc<State>,
}

impl Wire {
    /// Stands before the server of a URL and asks `choice` at each `statement`, by its number from 1, whether to cut.
    pub fn start(
        url: &str,
        statement: &str,
        choice: impl Fn(usize) -> Option<Cut> + Send + Sync + 'static,
    ) -> Self {
        let (_, place) = url.rsplit_once('@').expect("a user");
        let (server, database) = place.split_once('/').expect("a database");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            server: server.to_owned(),
            statement: statement.to_owned(),
            choice: Mutex::new(Box::new(choice)),
            statements: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            held: AtomicBool::new(false),
            kept_back: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, state) = (client.expect("a connection"), Arc::clone(&shared));
                std::thread::spawn(move || state.pass(&client));
            }
        });
        let url = url.replace(place, &format!("{address}/{database}"));
        Self { url, state }
    }

    /// Gives how often the wire was cut.
    pub fn cuts(&self) -> usize {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Passes nothing on until [`Wire::let_go`].
    pub fn hold(&self) {
        self.state.held.store(true, Ordering::SeqCst);
    }

    /// Waits until something is kept back, so that whoever sent it waits.
    pub async fn until_something_is_held(&self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.state.kept_back.load(Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "nothing was sent");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Passes everything on again.
    pub fn let_go(&self) {
        self.state.held.store(false, Ordering::SeqCst);
    }
}

impl State {
    fn pass(self: Arc<Self>, client: &TcpStream) {
        // Where the server is away, so is the client's connection.
        let Ok(server) = TcpStream::connect(&self.server) else {
            return;
        };
        let (from_server, to_client) = (
            server.try_clone().expect("a socket"),
            client.try_clone().expect("a socket"),
        );
        let is_last = Arc::new(AtomicBool::new(false));
        let (state, ends) = (Arc::clone(&self), Arc::clone(&is_last));
        std::thread::spawn(move || {
            state.copy(&from_server, &to_client, |_| ends.load(Ordering::SeqCst));
        });
        self.copy(client, &server, |sent| match self.cut(sent) {
            Some(Cut::Before) => true,
            Some(Cut::After) => {
                is_last.store(true, Ordering::SeqCst);
                false
            }
            None => false,
        });
    }

    /// Copies until one end closes or `ends` says so of what came.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, ends: impl Fn(&[u8]) -> bool) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            while self.held.load(Ordering::SeqCst) {
                self.kept_back.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
            if ends(&buffer[..length]) || to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        // It may be closed already.
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn cut(&self, sent: &[u8]) -> Option<Cut> {
        let statement = self.statement.as_bytes();
        if !sent.windows(statement.len()).any(|part| part == statement) {
            return None;
        }
        let number = 1 + self.statements.fetch_add(1, Ordering::SeqCst);
        let cut = (self.choice.lock().expect("no test panics here"))(number);
        self.cuts
            .fetch_add(usize::from(cut.is_some()), Ordering::SeqCst);
        cut
    }
}
