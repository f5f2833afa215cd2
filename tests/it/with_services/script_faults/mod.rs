//! The generated script under faults: of the embedding API, of the databases, of its own process. Each test also asserts progress,
//! and that the run after it ends complete and the one after that asks for nothing.

mod api;
mod copies;
mod databases;
mod kills;
mod own_server;
mod secrets;
mod shards;
mod silence;
mod through_relvec;
mod wire;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use relvec::handlers::code_generator::script_of;
use relvec::model::plan::MigrationPlan;
use relvec::model::validation::Verdict;
use relvec::reconcile::{self, Vectors, verdict};
use relvec::service::python::{Dependencies, Venv};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::mock_api::{DIMENSIONS, Mock, new_key, vector_of};
use crate::relvec::{Ended, Relvec};
use crate::services::{postgres_source_url, postgres_url};

/// Rows of the source.
const ROWS: u64 = 1_200;

/// Texts in a request, and requests at once: many small ones, so that a fault comes in the middle.
const ITEMS: u64 = 20;
const AT_ONCE: u64 = 4;

/// Two batches at most in a transaction; otherwise a slow machine would write more at once.
const SMALL_WRITES: &str = "migrate.WRITE_ROWS = 40";

/// Batches that may have been sent and not yet written: a queue of twice the requests at once and two, one in the reader's hand
/// and, with [`SMALL_WRITES`], three in the writer's.
const IN_FLIGHT: u64 = 2 * AT_ONCE + 2 + 1 + 3;

/// What a test puts before the script's start: it imports the file as it is, and changes what the test wants in memory.
const DRIVER: &str = "\
import importlib.util, itertools, os, signal, sys, threading, time
spec = importlib.util.spec_from_file_location('migrate', sys.argv.pop(1))
migrate = sys.modules['migrate'] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(migrate)
hits, AT = itertools.count(1), int(os.environ.get('AT', '0'))
def kill_at_the_right_hit():
    if next(hits) == AT:
        os.kill(os.getpid(), signal.SIGKILL)
";

/// Gives the SQL of a table of notes, for every database.
fn notes(rows: u64) -> String {
    let mut sql =
        String::from("CREATE TABLE notes (id INTEGER PRIMARY KEY, body VARCHAR(200) NOT NULL);\n");
    let ids: Vec<u64> = (1..=rows).collect();
    for ids in ids.chunks(500) {
        let values: Vec<String> = ids
            .iter()
            .map(|id| format!("({id}, '{}')", note(*id)))
            .collect();
        let _ = writeln!(sql, "INSERT INTO notes VALUES {};", values.join(", "));
    }
    sql
}

fn note(id: u64) -> String {
    format!("Note number {id} says that the delivery van came late again on a rainy morning.")
}

/// A generated script with its source, target and embedding API.
struct Script {
    relvec: Relvec,
    mock: Mock,
    key: String,
    plan: MigrationPlan,
    artifacts: PathBuf,
    python: PathBuf,
    source: String,
    target: String,
}

impl Script {
    /// Has relvec plan a source and write its script, with small batches, into an empty target.
    async fn new(source: &str) -> Self {
        let (relvec, mock, key) = (Relvec::new(), Mock::start(), new_key());
        let target = postgres_url().await;
        let job = json!({
            "source": {"url": source},
            "embedding": {
                "provider": "openai", "base_url": mock.base_url(), "model": "mock", "dimensions": DIMENSIONS,
                "api_key_env": "OPENAI_API_KEY",
            },
            "execution": {"runtime": "script"},
        });
        let (code, run) = relvec.run_graph("plan-only", &job, &[("OPENAI_API_KEY", &key)]);
        assert_eq!(code, 0, "{run:#}");
        let artifacts = relvec.artifacts(&run);
        let plan = std::fs::read(artifacts.join("plan.json")).expect("a plan");
        let mut plan: MigrationPlan = serde_json::from_slice(&plan).expect("a plan");
        let file = std::fs::read_to_string(artifacts.join("migrate.py")).expect("a script");
        assert_eq!(file, script_of(&plan).expect("a script"), "relvec's own");
        plan.embedding.batch_items = u32::try_from(ITEMS).expect("few");
        plan.embedding.concurrency = u32::try_from(AT_ONCE).expect("few");
        let python = environment(&artifacts).await;
        let script = Self {
            relvec,
            mock,
            key,
            plan,
            artifacts,
            python,
            source: source.to_owned(),
            target,
        };
        script.write();
        script
    }

    /// Gives a script for a table of notes in PostgreSQL.
    async fn of_postgres() -> Self {
        Self::of_rows(ROWS).await
    }

    async fn of_rows(rows: u64) -> Self {
        let source = postgres_source_url().await;
        crate::relvec::postgres(&source, &notes(rows)).await;
        Self::new(&source).await
    }

    /// Writes the script of the plan.
    fn write(&self) {
        let file = script_of(&self.plan).expect("a script");
        std::fs::write(self.file(), file).expect("a script");
    }

    fn file(&self) -> PathBuf {
        self.relvec.path("migrate.py")
    }

    /// Prepares the script as users start it.
    fn command(&self) -> Command {
        let mut command = self.python_with(&self.file());
        command.stdin(Stdio::null());
        command
    }

    /// Prepares the script with its functions changed by Python code.
    fn changed(&self, code: &str) -> Command {
        let driver = self
            .relvec
            .path(&format!("driver-{}.py", uuid::Uuid::new_v4()));
        let code = format!("{DRIVER}{code}\nsys.exit(migrate.main())\n");
        std::fs::write(&driver, code).expect("a driver");
        let mut command = self.python_with(&driver);
        command.arg(self.file());
        command
    }

    fn python_with(&self, file: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command
            .arg("-I")
            .arg(file)
            .env("SOURCE_URL", &self.source)
            .env("TARGET_URL", &self.target)
            .env("EMBEDDING_BASE_URL", self.mock.base_url())
            .env("OPENAI_API_KEY", &self.key)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a command; no secret is among its arguments.
    fn start(&self, command: &mut Command) -> Child {
        let child = command.spawn().expect("Python starts");
        let arguments = arguments(child.id());
        self.assert_no_secret(&arguments);
        child
    }

    /// Waits for the end; no secret is in what was said.
    fn end(&self, child: Child) -> Ended {
        let ended = Ended::from(child.wait_with_output().expect("it ends"));
        self.assert_no_secret(&ended.stdout);
        self.assert_no_secret(&ended.stderr);
        ended
    }

    /// Runs a command to its end.
    fn run(&self, command: &mut Command) -> Ended {
        let child = self.start(command);
        self.end(child)
    }

    /// Runs the script as users do.
    fn migrate(&self) -> Ended {
        self.run(&mut self.command())
    }

    fn assert_no_secret(&self, text: &str) {
        let passwords = [&self.source, &self.target].map(|url| password(url));
        for secret in passwords.into_iter().flatten().chain([&*self.key]) {
            assert!(!text.contains(secret), "a secret is in: {text}");
        }
    }

    /// Gives the number of documents in the target, 0 where nothing stands there yet.
    async fn stored(&self) -> u64 {
        let mut target = PgConnection::connect(&self.target).await.expect("a target");
        let there: bool = sqlx::query_scalar("SELECT to_regclass('relvec_documents') IS NOT NULL")
            .fetch_one(&mut target)
            .await
            .expect("an answer");
        if !there {
            return 0;
        }
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM relvec_documents")
            .fetch_one(&mut target)
            .await
            .expect("a count");
        u64::try_from(count).expect("a count")
    }

    /// Waits until the target holds so many documents.
    async fn until_stored(&self, wanted: u64) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.stored().await < wanted {
            assert!(Instant::now() < deadline, "too few documents arrived");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asserts with relvec's validator that the target has exactly the source's rows, and that each vector is its text's.
    async fn assert_whole(&self) {
        let (source, target) = (
            SecretString::from(&*self.source),
            SecretString::from(&*self.target),
        );
        let compared =
            reconcile::compare(&self.plan, &source, &target, Vectors::default(), &|_| ())
                .await
                .expect("both sides can be read");
        let report = verdict::conclude(Vec::new(), compared, None);
        assert_eq!(report.verdict, Verdict::Validated, "{report:?}");
        let mut target = PgConnection::connect(&self.target).await.expect("a target");
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT content, embedding::text FROM relvec_documents")
                .fetch_all(&mut target)
                .await
                .expect("rows");
        assert!(!rows.is_empty());
        for (content, vector) in rows {
            let vector: Vec<f32> = serde_json::from_str(&vector).expect("a vector");
            assert_eq!(vector, vector_of(&content), "the vector of: {content}");
        }
    }

    /// Runs the script without a fault: it ends complete, and again it asks for nothing and changes nothing.
    async fn assert_completes(&self) -> Value {
        self.mock.behave(|_| crate::mock_api::Reply::Good);
        let ended = self.migrate();
        assert_eq!(ended.code, 0, "{ended:?}");
        let report = report(&ended);
        self.assert_whole().await;
        self.assert_again_is_a_no_op().await;
        report
    }

    async fn assert_again_is_a_no_op(&self) {
        let (before, requests) = (self.fingerprint().await, self.mock.requests());
        let ended = self.migrate();
        assert_eq!(ended.code, 0, "{ended:?}");
        for entity in report(&ended)["entities"].as_array().expect("entities") {
            assert_eq!(entity["embedded"], 0, "{entity}");
        }
        assert_eq!(self.mock.requests(), requests, "nothing is asked for");
        assert_eq!(self.fingerprint().await, before);
    }

    /// Gives everything that a run without news must not touch.
    async fn fingerprint(&self) -> String {
        let sql = "SELECT md5(string_agg(id::text || migrated_at || content || embedding::text, ',' ORDER BY id)) \
                   FROM relvec_documents";
        let mut target = PgConnection::connect(&self.target).await.expect("a target");
        sqlx::query_scalar(sql)
            .fetch_one(&mut target)
            .await
            .expect("a fingerprint")
    }

    /// Gives a text of the target.
    async fn text(&self, sql: &'static str) -> String {
        let mut target = PgConnection::connect(&self.target).await.expect("a target");
        sqlx::query_scalar(sql)
            .fetch_one(&mut target)
            .await
            .expect("a text")
    }

    /// Gives a number of the target.
    async fn number(&self, sql: &'static str) -> i64 {
        let mut target = PgConnection::connect(&self.target).await.expect("a target");
        sqlx::query_scalar(sql)
            .fetch_one(&mut target)
            .await
            .expect("a number")
    }
}

/// Makes the virtual environment that relvec would run the script in, or finds it.
async fn environment(artifacts: &Path) -> PathBuf {
    let requirements = std::fs::read(artifacts.join("requirements.txt")).expect("requirements");
    let home = artifacts.ancestors().nth(2).expect("a data folder");
    let (venvs, python) = (home.join("cache/venvs"), relvec::settings::python());
    let venv = Venv::ensure(
        &venvs,
        &python,
        &requirements,
        Dependencies::Checked,
        &|_| (),
    )
    .await;
    venv.expect("a virtual environment").python()
}

/// Gives the arguments of a process; for a moment, a new one has none.
fn arguments(process: u32) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let arguments = std::fs::read(format!("/proc/{process}/cmdline")).expect("a process");
        if !arguments.is_empty() {
            return String::from_utf8_lossy(&arguments).replace('\0', " ");
        }
        assert!(Instant::now() < deadline, "the process has no arguments");
        std::thread::yield_now();
    }
}

/// Gives the password of a URL.
fn password(url: &str) -> Option<&str> {
    let (user, _) = url.split_once("://")?.1.split_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

/// Gives the script's report, its last line.
fn report(ended: &Ended) -> Value {
    let last = ended.stdout.lines().last().unwrap_or("");
    serde_json::from_str(last).unwrap_or_else(|error| panic!("no report ({error}): {ended:?}"))
}

/// Gives the code that the script ended with, for programs.
fn code(ended: &Ended) -> String {
    let lines = ended.stderr.lines().rev();
    let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let last = lines.find(|line| line["level"] == "error");
    let code = last.and_then(|line| line["code"].as_str().map(str::to_owned));
    code.unwrap_or_else(|| panic!("no error with a code: {ended:?}"))
}
