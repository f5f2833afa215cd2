//! The built binary, run as a user would run it, and small shops to run it on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, PgConnection};

/// The stages of the default graph in its order.
pub const STAGES: [&str; 9] = [
    "collect_metadata",
    "normalize_schema",
    "analyzer",
    "llm_advisor",
    "code_generator",
    "infra_generator",
    "executor",
    "run_validation",
    "gate_review",
];

/// A relvec with a data folder of its own. Virtual environments are shared between tests: they are slow to make.
pub struct Relvec {
    home: PathBuf,
    folder: tempfile::TempDir,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Relvec {
    /// Gives a relvec whose files stand in a temporary folder.
    pub fn new() -> Self {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("home");
        std::fs::create_dir_all(&home).expect("a data folder");
        Self {
            home,
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// Gives a relvec whose data folder is its own too: no other test makes runs in it.
    pub fn alone() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            home: folder.path().join("home"),
            folder,
        }
    }

    /// Gives the data folder.
    pub fn home(&self) -> PathBuf {
        self.home.clone()
    }

    /// Gives the id of the run that was made last.
    pub fn newest_run(&self) -> String {
        let runs = std::fs::read_dir(self.home.join("runs")).expect("runs");
        let names = runs.map(|run| {
            run.expect("a run")
                .file_name()
                .to_string_lossy()
                .into_owned()
        });
        names.max().expect("a run")
    }

    /// Gives a path in the temporary folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives the folder of a run's artifacts.
    pub fn artifacts(&self, run: &Value) -> PathBuf {
        self.home
            .join("runs")
            .join(run["run_id"].as_str().expect("a run id"))
    }

    /// Gives the Python of the virtual environment that a run's requirements have.
    pub fn python(&self, run: &Value) -> PathBuf {
        use sha2::Digest as _;
        let requirements = self.artifacts(run).join("requirements.txt");
        let requirements = std::fs::read(requirements).expect("the run's requirements");
        let digest = sha2::Sha256::digest(&requirements);
        let hash: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = hash.concat();
        let venvs = std::fs::read_dir(self.home.join("cache/venvs")).expect("environments");
        let mut pythons = venvs.map(|entry| entry.expect("an entry"));
        let found = pythons.find(|entry| {
            entry.file_name().to_string_lossy().starts_with(&hash) && entry.path().is_dir()
        });
        found
            .expect("the run's environment")
            .path()
            .join("bin/python")
    }

    /// Prepares a command, for tests that change it before they start it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_relvec"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("RELVEC_HOME", &self.home)
            .env_remove("GOOGLE_API_KEY")
            .env_remove("OPENAI_API_KEY");
        command
    }

    /// Runs a command to its end.
    pub fn call(&self, arguments: &[&str]) -> Ended {
        self.call_with(arguments, &[])
    }

    /// Runs a command to its end with more environment.
    pub fn call_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let output = self
            .command(arguments)
            .envs(environment.iter().copied())
            .output()
            .expect("relvec starts");
        Ended::from(output)
    }

    /// Runs the default graph on a job and gives the final run with the exit code.
    pub fn run(&self, job: &Value) -> (i32, Value) {
        self.run_with(job, &[])
    }

    /// Runs the default graph on a job with more environment.
    pub fn run_with(&self, job: &Value, environment: &[(&str, &str)]) -> (i32, Value) {
        self.run_graph("default", job, environment)
    }

    /// Runs a graph on a job with more environment.
    pub fn run_graph(
        &self,
        graph: &str,
        job: &Value,
        environment: &[(&str, &str)],
    ) -> (i32, Value) {
        let file = self.path("job.json");
        std::fs::write(&file, job.to_string()).expect("a job file");
        let file = file.to_str().expect("a path in UTF-8");
        let arguments = ["run", graph, "--input", file, "--format", "json"];
        let ended = self.call_with(&arguments, environment);
        let run = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("no run document ({error}): {ended:?}"));
        (ended.code, run)
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Gives a stage of a run document.
pub fn stage<'a>(run: &'a Value, id: &str) -> &'a Value {
    run["stages"]
        .as_array()
        .and_then(|stages| stages.iter().find(|stage| stage["id"] == id))
        .unwrap_or_else(|| panic!("no stage {id} in {run}"))
}

/// Gives the SQL of a small shop, for SQLite and PostgreSQL alike.
///
/// 60 products and 240 orders; every seventh order has no note, one is blank, and lines are spread unevenly, so that some
/// orders have none.
pub fn shop_sql() -> String {
    use std::fmt::Write as _;
    let mut sql = String::from(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, password_hash TEXT NOT NULL);
         CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, description TEXT NOT NULL, price NUMERIC NOT NULL);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), status TEXT NOT NULL, order_notes TEXT);
         CREATE TABLE order_lines (id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id), product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL);\n",
    );
    let words = [
        "garden", "kitchen", "winter", "travel", "music", "office", "morning",
    ];
    for id in 1..=20 {
        let _ = writeln!(
            sql,
            "INSERT INTO customers VALUES ({id}, 'Customer Number {id}', 'c4n4ry{id:058x}');"
        );
    }
    for id in 1..=60 {
        let word = words[id % words.len()];
        let _ = writeln!(
            sql,
            "INSERT INTO products VALUES ({id}, 'The {word} helper {id}', 'A sturdy thing for every {word} day that lasts for years and is easy to clean, model {id}.', {id}.50);"
        );
    }
    for id in 1..=240 {
        let word = words[id * 3 % words.len()];
        let note = match id % 7 {
            0 => "NULL".to_owned(),
            _ if id == 8 => "'   '".to_owned(),
            _ => format!(
                "'Please deliver the {word} parcel number {id} to the neighbour, the bell doesn''t work.'"
            ),
        };
        let _ = writeln!(
            sql,
            "INSERT INTO orders VALUES ({id}, {}, 'paid', {note});",
            1 + id % 20
        );
    }
    for id in 1..=400 {
        let _ = writeln!(
            sql,
            "INSERT INTO order_lines VALUES ({id}, {}, {}, {});",
            1 + id * id % 200,
            1 + id % 60,
            1 + id % 3
        );
    }
    sql
}

/// Makes a SQLite file from SQL and gives its source URL.
pub async fn sqlite(path: &Path, sql: &str) -> String {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .expect("a SQLite file");
    let sql = format!("BEGIN; {sql}; COMMIT");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .expect("the SQL runs on SQLite");
    connection.close().await.expect("the file closes");
    format!("sqlite:{}", path.display())
}

/// Runs SQL on PostgreSQL.
pub async fn postgres(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url)
        .await
        .expect("PostgreSQL answers");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .expect("the SQL runs on PostgreSQL");
}

/// Runs SQL on MariaDB, which is told to quote names as the other databases do.
pub async fn mariadb(url: &str, sql: &str) {
    let mut connection = MySqlConnection::connect(url)
        .await
        .expect("MariaDB answers");
    let sql = format!("SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'; {sql}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .expect("the SQL runs on MariaDB");
}

/// Gives a job from a source to a target with relvec's own embeddings.
pub fn job(source: &str, target: &str) -> Value {
    json!({
        "source": {"url": source},
        "target": {"url": target},
        "execution": {"mode": "process", "runtime": "script"},
    })
}
