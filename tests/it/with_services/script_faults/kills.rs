//! SIGKILL at every point where something could be lost or doubled, and the signals that end a run in order.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Duration;

use super::{IN_FLIGHT, ITEMS, ROWS, SMALL_WRITES, Script};

const SIGKILL: i32 = 9;

const AFTER_EMBED: &str = "
real = migrate.Migration._embedded
def embedded(*arguments):
    rows = real(*arguments)
    kill_at_the_right_hit()
    return rows
migrate.Migration._embedded = embedded
";

/// After the rows and the checkpoint, before the commit.
const IN_TRANSACTION: &str = "
real = migrate.Target._copy
def copy(*arguments):
    real(*arguments)
    if 'copy_rows' in arguments:
        kill_at_the_right_hit()
migrate.Target._copy = copy
";

/// Every transaction of a run: those that make the tables, begin, write, finish and settle.
const BEFORE_COMMIT: &str = "
real = migrate.psycopg.Transaction.__exit__
def leave(*arguments):
    kill_at_the_right_hit()
    return real(*arguments)
migrate.psycopg.Transaction.__exit__ = leave
";

const AFTER_COMMIT: &str = "
real = migrate.psycopg.Transaction.__exit__
def leave(*arguments):
    left = real(*arguments)
    kill_at_the_right_hit()
    return left
migrate.psycopg.Transaction.__exit__ = leave
";

/// Kills run after run at a later and later hit, until one ends by itself.
async fn killed_again_and_again(hook: &str, at_least: u32) {
    let script = Script::of_postgres().await;
    // Slower than the writer, so that what was embedded is soon written.
    script.mock.delay(Duration::from_millis(15));
    let (mut kills, mut stored) = (0, 0);
    loop {
        let mut command = script.changed(&format!("{SMALL_WRITES}{hook}"));
        let mut child = script.start(command.env("AT", (kills + 1).to_string()));
        let status = child.wait().expect("it ends");
        let now = script.stored().await;
        assert!(now >= stored, "what is written stays");
        let lost = script.mock.embedded() - script.mock.embedded_again() - now;
        assert!(
            lost <= IN_FLIGHT * ITEMS,
            "kill {kills}: {lost} texts are embedded twice"
        );
        stored = now;
        if status.signal() != Some(SIGKILL) {
            let ended = script.end(child);
            assert_eq!(status.code(), Some(0), "{ended:?}");
            break;
        }
        script.end(child);
        kills += 1;
    }
    assert!(kills >= at_least, "only {kills} kills");
    assert!(script.mock.embedded_again() <= u64::from(kills) * IN_FLIGHT * ITEMS);
    script.assert_whole().await;
    script.assert_again_is_a_no_op().await;
}

#[tokio::test]
async fn killed_after_an_embedding_it_goes_on() {
    killed_again_and_again(AFTER_EMBED, 8).await;
}

#[tokio::test]
async fn killed_within_a_transaction_it_goes_on() {
    killed_again_and_again(IN_TRANSACTION, 6).await;
}

#[tokio::test]
async fn killed_before_a_commit_it_goes_on() {
    killed_again_and_again(BEFORE_COMMIT, 8).await;
}

#[tokio::test]
async fn killed_after_a_commit_it_goes_on() {
    killed_again_and_again(AFTER_COMMIT, 8).await;
}

#[tokio::test]
async fn signals_finish_what_was_sent_and_say_how_to_go_on() {
    for signal in ["TERM", "INT"] {
        let script = Script::of_postgres().await;
        script.mock.delay(Duration::from_millis(50));
        let child = script.start(&mut script.command());
        script.until_stored(ITEMS).await;
        send(signal, child.id());
        let ended = script.end(child);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(
            ended.stderr.contains("run the same command again to go on"),
            "{ended:?}"
        );
        let stored = script.stored().await;
        assert!(stored < ROWS, "it was stopped in the middle");
        assert_eq!(
            script.mock.embedded(),
            stored,
            "what was embedded is written"
        );

        let report = script.assert_completes().await;
        assert_eq!(report["entities"][0]["unchanged"], stored);
        assert_eq!(script.mock.embedded_again(), 0);
    }
}

/// Sends a signal to a process that the test started.
pub(super) fn send(signal: &str, process: u32) {
    let sent = Command::new("kill")
        .args(["-s", signal, &process.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[tokio::test]
async fn the_second_signal_ends_it_at_once() {
    let script = Script::of_postgres().await;
    script.mock.behave(|asked| match asked.number {
        1..=8 => crate::mock_api::Reply::Good,
        _ => crate::mock_api::Reply::Hang,
    });
    let child = script.start(&mut script.command());
    script.until_stored(ITEMS).await;
    send("TERM", child.id());
    tokio::time::sleep(Duration::from_millis(300)).await;
    send("TERM", child.id());
    let ended = script.end(child);
    assert_ne!(ended.code, 0, "{ended:?}");
    let stored = script.stored().await;
    assert!(stored >= ITEMS);
    let report = script.assert_completes().await;
    assert_eq!(report["entities"][0]["unchanged"], stored);
}
