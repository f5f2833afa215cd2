//! Databases that restart, break off, stand still, change or refuse while the script reads and writes them.

use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row as _};

use super::own_server::OwnServer;
use super::wire::{Cut, Wire};
use super::{IN_FLIGHT, ITEMS, ROWS, SMALL_WRITES, Script, code, note, notes, report};
use crate::relvec::{mariadb, postgres, sqlite};
use crate::services::mariadb_url;

/// What the API takes until a test has done what it wants in the middle.
pub(super) const SLOW: Duration = Duration::from_millis(300);

/// Pages of a hundred rows, so that the source is read all the time.
pub(super) const SMALL_PAGES: &str = "migrate.PAGE = 100";

/// Ends the script's sessions in a PostgreSQL database.
pub(super) async fn end_sessions(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("it answers");
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name = 'relvec-migrate'";
    let ended = sqlx::query(sql).fetch_all(&mut connection).await;
    assert!(!ended.expect("an administrator").is_empty());
}

/// Ends the sessions of others in a MariaDB database.
async fn end_sessions_of_mariadb(url: &str) {
    let mut connection = MySqlConnection::connect(url).await.expect("it answers");
    let sql = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = database() AND id <> connection_id()";
    let sessions = sqlx::raw_sql(sql).fetch_all(&mut connection).await;
    let sessions = sessions.expect("sessions");
    assert!(!sessions.is_empty());
    for session in sessions {
        let kill = format!("KILL {}", session.get::<i64, _>(0));
        sqlx::raw_sql(AssertSqlSafe(kill))
            .execute(&mut connection)
            .await
            .expect("an administrator");
    }
}

/// Changes rows that were read, rows that were not, and adds one at each end.
const WRITER: &str = "
UPDATE notes SET body = 'Behind the cursor, a note was changed.' WHERE id = 1;
UPDATE notes SET body = 'Ahead of the cursor, a note was changed.' WHERE id = 1150;
DELETE FROM notes WHERE id IN (2, 1151);
INSERT INTO notes VALUES (-1, 'A note that came late, behind the cursor.'), (5000, 'A note that came late, ahead of the cursor.');";

#[tokio::test]
async fn a_target_that_restarts_is_gone_on_with() {
    let server = OwnServer::start().await;
    let mut script = Script::of_postgres().await;
    script.target = server.url();
    script.mock.delay(SLOW);
    let child = script.start(&mut script.command());
    script.until_stored(3 * ITEMS).await;
    server.restart();
    script.mock.delay(Duration::ZERO);
    let ended = script.end(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = report(&ended);
    assert!(report["passes"].as_u64() > Some(1), "{report}");
    // A crash may take the last commits along, rows and checkpoint together.
    let again = script.mock.embedded_again();
    assert!(again < ROWS, "{again} texts were embedded again");
    script.assert_whole().await;
    script.assert_completes().await;
}

#[tokio::test]
async fn the_outcome_of_a_commit_is_read_and_not_guessed() {
    let mut script = Script::of_postgres().await;
    script.mock.delay(Duration::from_millis(5));
    // Each seventh commit of the first sixty, one before and one after it is done.
    let wire = Wire::start(&script.target, "COMMIT", |number| match number % 14 {
        7 if number < 60 => Some(Cut::After),
        0 if number < 60 => Some(Cut::Before),
        _ => None,
    });
    let direct = std::mem::replace(&mut script.target, wire.url.clone());
    let ended = script.run(&mut script.changed(SMALL_WRITES));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(wire.cuts() >= 4, "{} cuts", wire.cuts());
    assert_eq!(report(&ended)["passes"], 1 + wire.cuts());
    let again = script.mock.embedded_again();
    assert!(again <= wire.cuts() as u64 * IN_FLIGHT * ITEMS, "{again}");
    script.target = direct;
    script.assert_completes().await;
}

#[tokio::test]
async fn a_commit_that_begins_a_pass_may_be_lost_too() {
    for second in [Cut::Before, Cut::After] {
        let mut script = Script::of_postgres().await;
        // Of a pass, the first commit makes the tables and the second one begins: that of the second pass is lost.
        let wire = Wire::start(&script.target, "COMMIT", move |number| match number {
            4 => Some(Cut::Before),
            6 => Some(second),
            _ => None,
        });
        let direct = std::mem::replace(&mut script.target, wire.url.clone());
        let ended = script.migrate();
        assert_eq!(ended.code, 0, "{second:?}: {ended:?}");
        assert_eq!((wire.cuts(), &report(&ended)["passes"]), (2, &json!(3)));
        script.target = direct;
        script.assert_completes().await;
    }
}

/// Ends the source's sessions in the middle, after its rows have changed: what is there in the end is what the source has then.
async fn is_read_anew(script: Script) {
    script.mock.delay(SLOW);
    let child = script.start(&mut script.changed(SMALL_PAGES));
    script.until_stored(2 * ITEMS).await;
    if script.source.starts_with("mysql") {
        mariadb(&script.source, WRITER).await;
        end_sessions_of_mariadb(&script.source).await;
    } else {
        postgres(&script.source, WRITER).await;
        end_sessions(&script.source).await;
    }
    script.mock.delay(Duration::ZERO);
    let ended = script.end(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report = report(&ended);
    assert_eq!(report["passes"], 2, "{report}");
    assert_eq!(
        report["entities"][0]["documents"], ROWS,
        "two went and two came"
    );
    script.assert_whole().await;
    script.assert_completes().await;
}

#[tokio::test]
async fn a_source_that_breaks_off_is_read_anew_from_postgres() {
    is_read_anew(Script::of_postgres().await).await;
}

#[tokio::test]
async fn a_source_that_breaks_off_is_read_anew_from_mariadb() {
    let source = mariadb_url().await;
    mariadb(&source, &notes(ROWS)).await;
    is_read_anew(Script::new(&source).await).await;
}

/// What libpq does of itself about a connection whose other end is gone without a word.
#[tokio::test]
async fn a_dead_connection_is_noticed_within_a_minute() {
    let script = Script::of_postgres().await;
    let ended = script.run(&mut script.changed(
        "
real = migrate.connect
def connect(*arguments, **named):
    connection = real(*arguments, **named)
    found = connection.info.get_parameters()
    wanted = {'keepalives_idle': '30', 'keepalives_interval': '10', 'keepalives_count': '3', 'tcp_user_timeout': '60000', 'connect_timeout': '10'}
    assert {name: found.get(name) for name in wanted} == wanted, found
    next(hits)
    return connection
migrate.connect = connect
import atexit
atexit.register(lambda: print(next(hits)))",
    ));
    assert_eq!(
        (ended.code, ended.stdout.lines().last()),
        (0, Some("4")),
        "{ended:?}"
    );
    script.assert_completes().await;
}

/// Writes to the source while it is read: what is there in the end is what it had in the beginning, and the next run takes the rest.
async fn one_instant(script: Script) {
    script.mock.delay(SLOW);
    let child = script.start(&mut script.changed(SMALL_PAGES));
    script.until_stored(2 * ITEMS).await;
    match script.source.split_once(':').expect("a scheme").0 {
        "mysql" => mariadb(&script.source, WRITER).await,
        "postgres" => postgres(&script.source, WRITER).await,
        _ => {
            let file = script.source.replace("sqlite:", "");
            sqlite(file.as_ref(), WRITER).await;
        }
    }
    assert!(script.stored().await < ROWS, "it still reads");
    script.mock.delay(Duration::ZERO);
    let ended = script.end(child);
    assert_eq!(ended.code, 0, "{ended:?}");
    let mut target = PgConnection::connect(&script.target)
        .await
        .expect("a target");
    let rows: Vec<(i32, String)> = sqlx::query_as(
        "SELECT (source_key ->> 'id')::int AS id, content FROM relvec_documents ORDER BY 1",
    )
    .fetch_all(&mut target)
    .await
    .expect("rows");
    assert_eq!(rows.len() as u64, ROWS);
    for ((id, content), wanted) in rows.into_iter().zip(1..) {
        assert_eq!(id, wanted);
        assert!(
            content.ends_with(&note(u64::try_from(id).expect("positive"))),
            "{content}"
        );
    }
    script.mock.delay(Duration::ZERO);
    let report = script.assert_completes().await;
    let entity = &report["entities"][0];
    assert_eq!(
        (&entity["embedded"], &entity["removed"]),
        (&json!(4), &json!(2)),
        "{entity}"
    );
}

#[tokio::test]
async fn postgres_is_read_at_one_instant() {
    one_instant(Script::of_postgres().await).await;
}

#[tokio::test]
async fn mariadb_is_read_at_one_instant() {
    let source = mariadb_url().await;
    mariadb(&source, &notes(ROWS)).await;
    one_instant(Script::new(&source).await).await;
}

#[tokio::test]
async fn sqlite_is_read_at_one_instant() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("notes.db");
    // Only so can a file be written while it is read.
    let sql = format!("COMMIT; PRAGMA journal_mode = WAL; BEGIN; {}", notes(ROWS));
    let source = sqlite(&file, &sql).await;
    one_instant(Script::new(&source).await).await;
}

#[tokio::test]
async fn a_schema_that_changed_since_the_plan_is_told_and_nothing_is_done() {
    for change in [
        "ALTER TABLE notes DROP COLUMN body",
        "ALTER TABLE notes RENAME COLUMN id TO number",
        "DROP TABLE notes",
    ] {
        let script = Script::of_postgres().await;
        script.mock.delay(SLOW);
        let child = script.start(&mut script.command());
        script.until_stored(2 * ITEMS).await;
        super::kills::send("TERM", child.id());
        script.end(child);
        let (stored, requests) = (script.fingerprint().await, script.mock.requests());
        postgres(&script.source, change).await;
        let ended = script.migrate();
        assert_eq!(
            (ended.code, &*code(&ended)),
            (1, "schema_drift"),
            "{ended:?}"
        );
        assert!(ended.stdout.is_empty(), "no report: {ended:?}");
        assert!(
            ended.stderr.contains("generate this file anew"),
            "{ended:?}"
        );
        assert_eq!(script.mock.requests(), requests);
        assert_eq!(script.fingerprint().await, stored);
    }
}

#[tokio::test]
async fn a_schema_that_changes_during_a_run_waits_or_is_told() {
    let script = Script::of_postgres().await;
    script.mock.delay(SLOW);
    let child = script.start(&mut script.changed(SMALL_PAGES));
    script.until_stored(2 * ITEMS).await;
    // It has to wait for the reader, and comes first when that is gone.
    let source = script.source.clone();
    let altering = tokio::spawn(async move {
        postgres(&source, "ALTER TABLE notes RENAME COLUMN body TO words").await;
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER%' AND datname = current_database()";
    let mut connection = PgConnection::connect(&script.source)
        .await
        .expect("a source");
    loop {
        let waiting: i64 = sqlx::query_scalar(waits)
            .fetch_one(&mut connection)
            .await
            .expect("a count");
        if waiting == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!altering.is_finished());
    end_sessions(&script.source).await;
    script.mock.delay(Duration::ZERO);
    let ended = script.end(child);
    altering.await.expect("the column has its new name");
    assert_eq!(
        (ended.code, &*code(&ended)),
        (1, "schema_drift"),
        "{ended:?}"
    );
    assert!(ended.stdout.is_empty(), "no report of a part: {ended:?}");
    let stored = script.stored().await;
    assert!((ITEMS..ROWS).contains(&stored), "{stored} are there");

    postgres(
        &script.source,
        "ALTER TABLE notes RENAME COLUMN words TO body",
    )
    .await;
    script.mock.delay(Duration::ZERO);
    let report = script.assert_completes().await;
    assert_eq!(report["entities"][0]["unchanged"], stored);
}

/// Takes the checkpoint away in the middle: the run ends, and what is there is what the checkpoint says.
async fn no_checkpoint(script: Script, administrator: &str, take: &str, give: &str) -> String {
    script.mock.delay(SLOW);
    let child = script.start(&mut script.command());
    script.until_stored(2 * ITEMS).await;
    postgres(administrator, take).await;
    script.mock.delay(Duration::ZERO);
    let ended = script.end(child);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.is_empty(), "no report of a part: {ended:?}");
    let stored = script.stored().await;
    assert!((ITEMS..ROWS).contains(&stored), "{stored} are there");
    let noted = script
        .number("SELECT sum(chunks)::bigint FROM relvec_documents_checkpoint")
        .await;
    assert_eq!(noted, i64::try_from(stored).expect("few"));
    // Still without it, nothing is done and nothing is asked for.
    let requests = script.mock.requests();
    let again = script.migrate();
    assert_eq!(again.code, 1, "{again:?}");
    assert_eq!(
        (script.mock.requests(), script.stored().await),
        (requests, stored)
    );

    postgres(administrator, give).await;
    script.mock.delay(Duration::ZERO);
    let report = script.assert_completes().await;
    assert_eq!(report["entities"][0]["unchanged"], stored);
    ended.stderr
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_written_ends_the_run() {
    let script = Script::of_postgres().await;
    let target = script.target.clone();
    let take = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is tired'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON relvec_documents_checkpoint EXECUTE FUNCTION refuse()";
    let give = "DROP FUNCTION refuse CASCADE";
    let said = no_checkpoint(script, &target, take, give).await;
    assert!(
        said.contains("the disk is tired") && said.contains("to go on"),
        "{said}"
    );
}

#[tokio::test]
async fn a_checkpoint_that_may_not_be_written_ends_the_run() {
    let mut script = Script::of_postgres().await;
    let administrator = script.target.clone();
    let (_, name) = administrator.rsplit_once('/').expect("a database");
    let (_, place) = administrator.rsplit_once('@').expect("a user");
    let role = format!("{name}_w");
    let sql = format!(
        "CREATE EXTENSION vector; CREATE ROLE {role} LOGIN PASSWORD 'c4n4ry-w'; GRANT ALL ON SCHEMA public TO {role}"
    );
    postgres(&administrator, &sql).await;
    script.target = format!("postgres://{role}:c4n4ry-w@{place}");
    let take = format!("REVOKE UPDATE ON relvec_documents_checkpoint FROM {role}");
    let give = format!("GRANT UPDATE ON relvec_documents_checkpoint TO {role}");
    let said = no_checkpoint(script, &administrator, &take, &give).await;
    assert!(said.contains("grant that right"), "{said}");
}

#[tokio::test]
async fn a_database_that_is_away_costs_no_request() {
    let mut script = Script::of_postgres().await;
    let (source, target) = (script.source.clone(), script.target.clone());
    let away = "postgres://relvec:c4n4ry-a@127.0.0.1:1/nowhere";
    for (from, to, wanted) in [
        (&*source, away, "target_unreachable"),
        (away, &*target, "source_unreachable"),
    ] {
        (script.source, script.target) = (from.to_owned(), to.to_owned());
        let ended = script.migrate();
        assert_eq!((ended.code, &*code(&ended)), (1, wanted), "{ended:?}");
        assert_eq!(script.mock.requests(), 0);
    }
    (script.source, script.target) = (source, target);
    script.assert_completes().await;
}
