//! Passwords and the key are where they have to be and nowhere else. What every script said, and its arguments, each test of these
//! searches as it goes.

use super::{Script, code};
use crate::mock_api::Reply;

#[tokio::test]
async fn the_key_reaches_the_api_and_no_file() {
    let script = Script::of_postgres().await;
    let key = script.key.clone();
    script.mock.behave(move |asked| {
        if asked.key == key {
            Reply::Good
        } else {
            Reply::Status(401, None)
        }
    });
    let ended = script.run(script.command().env("OPENAI_API_KEY", "c4n4ry-another"));
    assert_eq!(
        (ended.code, &*code(&ended)),
        (1, "key_refused"),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("set OPENAI_API_KEY"), "{ended:?}");
    assert!(!ended.stderr.contains("c4n4ry-another"), "{ended:?}");
    let ended = script.migrate();
    assert_eq!(ended.code, 0, "{ended:?}");
    script.assert_completes().await;

    let home = script.artifacts.ancestors().nth(2).expect("a data folder");
    let mut files: Vec<_> = script.artifacts.read_dir().expect("artifacts").collect();
    let before = files.len();
    // The store and what belongs to it.
    files.extend(home.read_dir().expect("a data folder").filter(|entry| {
        let entry = entry.as_ref().expect("an entry");
        entry.path().is_file()
    }));
    assert!(before > 2 && files.len() > before, "{files:?}");
    for file in files {
        let text = std::fs::read(file.expect("a file").path()).expect("a file");
        script.assert_no_secret(&String::from_utf8_lossy(&text));
    }
}

#[tokio::test]
async fn a_password_that_is_refused_is_not_said_again() {
    let mut script = Script::of_postgres().await;
    let target = script.target.clone();
    for url in [
        target.replacen("://relvec:", "://relvec:c4n4ry%40", 1),
        target.replacen("://relvec:", "://relvec:c4n4ry%zz", 1),
        format!("{target}?passfile=c4n4ry"),
        target.replacen("postgres://", "c4n4ry://", 1),
    ] {
        script.target = url;
        let ended = script.migrate();
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(!ended.stderr.contains("c4n4ry"), "{ended:?}");
        assert!(!ended.stderr.contains("Traceback"), "{ended:?}");
    }
    script.target = target;
    script.assert_completes().await;
}
