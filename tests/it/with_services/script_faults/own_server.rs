//! A PostgreSQL that a test starts for itself, to do to it what the shared one must be spared.

use std::path::PathBuf;
use std::process::Command;

use crate::services::postgres_url;

/// A server with the programs of the shared one; stopped when it is dropped.
pub struct OwnServer {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl OwnServer {
    /// Starts a server with an empty database.
    pub async fn start() -> Self {
        let shared = postgres_url().await;
        let sql = "SELECT setting FROM pg_config WHERE name = 'BINDIR'";
        let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&shared)
            .await
            .expect("PostgreSQL answers");
        let programs: String = sqlx::query_scalar(sql)
            .fetch_one(&mut connection)
            .await
            .expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            programs: programs.into(),
            folder: tempfile::tempdir().expect("a folder"),
            port: listener.local_addr().expect("an address").port(),
        };
        drop(listener);
        let folder = server.folder.path().to_str().expect("a path in UTF-8");
        if is_root() {
            let owned = Command::new("chown").args(["nobody", folder]).status();
            assert!(owned.expect("chown runs").success());
        }
        std::fs::write(server.folder.path().join("password"), "own").expect("a file");
        let password = format!("{folder}/password");
        server.call(
            "initdb",
            &[
                "-U",
                "relvec",
                "--auth=scram-sha-256",
                "--pwfile",
                &password,
                "-E",
                "UTF8",
                "--no-locale",
            ],
        );
        server.pg_ctl("start");
        server
    }

    /// Gives the URL of its database.
    pub fn url(&self) -> String {
        format!("postgres://relvec:own@127.0.0.1:{}/postgres", self.port)
    }

    /// Restarts it as after a crash.
    pub fn restart(&self) {
        self.pg_ctl("restart");
    }

    fn pg_ctl(&self, action: &str) {
        let folder = self.folder.path().display().to_string();
        let log = format!("{folder}/log");
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={folder}",
            self.port
        );
        self.call(
            "pg_ctl",
            &[action, "-w", "-m", "immediate", "-l", &log, "-o", &options],
        );
    }

    /// Calls one of its programs; a server refuses to run as root.
    fn call(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "nobody", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let data = self.folder.path().join("data");
        let ended = command
            .args(arguments)
            .arg("-D")
            .arg(data)
            .current_dir(self.folder.path())
            .stdout(std::process::Stdio::null())
            .status();
        assert!(ended.expect("the program runs").success(), "{arguments:?}");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.call("pg_ctl", &["stop", "-m", "immediate"]);
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
