//! Leads a database's driver to an address that was checked, and lets it keep the host's name for TLS.
//!
//! sqlx looks a host's name up itself, and what it finds may be another address than the one that was checked. Over a socket of the
//! file system it looks nothing up, and still checks the server's certificate for the host's name. So the driver talks to such a
//! socket in a folder that only this user can enter, and this passes the bytes on.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};

use crate::error::{Error, ErrorKind, Result};

/// How long the driver may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket that leads to a server, for one connection. The folder goes when the connection is made, or was not in time.
#[derive(Debug)]
pub struct Relay {
    folder: PathBuf,
    socket: PathBuf,
}

impl Relay {
    /// Connects to the first of the addresses that answers, within a time, and makes the socket for that connection.
    ///
    /// `port` is part of the socket's name, as PostgreSQL's drivers want it.
    ///
    /// # Errors
    /// None of the addresses answers in time, or the socket cannot be made.
    pub async fn open(
        host: &str,
        port: u16,
        addresses: &[SocketAddr],
        within: Duration,
    ) -> Result<Self> {
        let unreachable = || {
            Error::new(
                ErrorKind::Unavailable,
                format!("cannot connect to {host}:{port}"),
            )
            .hint("check host and port, and that the server runs")
        };
        let server = tokio::time::timeout(within, TcpStream::connect(addresses))
            .await
            .map_err(|_| unreachable())?
            .map_err(|error| unreachable().because(error))?;
        // Small messages go back and forth: none waits for the next.
        let _ = server.set_nodelay(true);
        let relay = Self::in_new_folder(port)?;
        let listener = UnixListener::bind(&relay.socket).map_err(|error| {
            let _ = std::fs::remove_dir(&relay.folder);
            unmade(&relay.socket, error)
        })?;
        let given = Self {
            folder: relay.folder.clone(),
            socket: relay.socket.clone(),
        };
        // Ends when either side does: the driver holds no handle that it could be tied to.
        tokio::spawn(async move {
            relay.pass(listener, server).await;
        });
        Ok(given)
    }

    /// Gives the folder, for a driver that makes the socket's name of folder and port.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn in_new_folder(port: u16) -> Result<Self> {
        let name = format!("relvec-{}", uuid::Uuid::new_v4().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| unmade(&folder, error))?;
        let socket = folder.join(format!(".s.PGSQL.{port}"));
        Ok(Self { folder, socket })
    }

    async fn pass(self, listener: UnixListener, mut server: TcpStream) {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        drop(listener);
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_dir(&self.folder);
        if let Ok(Ok((mut driver, _))) = accepted {
            // Either side may go at any time; both see that on their own sockets.
            let _ = copy_bidirectional(&mut driver, &mut server).await;
        }
    }
}

fn unmade(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("cannot make {}", path.display()),
    )
    .because(error)
    .hint("set TMPDIR to a folder that relvec may write to, with a short path")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, UnixStream};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_folder_goes() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let patience = Duration::from_secs(10);
        let relay = Relay::open("db.example", 5432, &[address], patience)
            .await
            .unwrap();
        let (mut there, _) = server.accept().await.unwrap();
        let mut here = UnixStream::connect(relay.socket()).await.unwrap();
        here.write_all(b"ping").await.unwrap();
        let mut bytes = [0; 4];
        there.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ping");
        there.write_all(b"pong").await.unwrap();
        here.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"pong");
        assert!(!relay.folder().exists());
        drop(here);
        assert_eq!(
            there.read(&mut bytes).await.unwrap(),
            0,
            "it ends with the driver"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named() {
        let patience = Duration::from_secs(10);
        let nobody = "127.0.0.1:1".parse().unwrap();
        let error = Relay::open("db.example", 5432, &[nobody], patience).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("db.example:5432"), "{error}");
    }
}
