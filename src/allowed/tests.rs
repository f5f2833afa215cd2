//! Rules that bind, with a resolver that says what a test wants.

use std::sync::atomic::AtomicUsize;

use super::*;

fn rules(hosts: &str) -> Rules {
    Rules::read(&Lists {
        hosts: Some(hosts),
        ..Lists::default()
    })
    .unwrap()
}

fn resolving(rules: Rules, answers: &'static [&'static str]) -> Allowed {
    let asked = AtomicUsize::new(0);
    Allowed::by(rules.resolving(Arc::new(move |_, port| {
        let number = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let found = answers[number]
            .split(' ')
            .map(|address| SocketAddr::new(address.parse().unwrap(), port))
            .collect();
        Box::pin(async move { Ok(found) })
    })))
}

#[tokio::test]
async fn metadata_hosts_are_refused_in_every_spelling() {
    let allowed = Allowed::by(rules("*"));
    for host in [
        "169.254.169.254",
        "0xA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe",
        "2852039166",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "[fd00:ec2::254]",
        "127.1",
        "0",
        "0.0.0.0",
        "10.0.0.1",
        "[::1]",
        "[fe80::1]",
    ] {
        for role in Role::ALL {
            let error = allowed.check_host(role, host, 5432).expect_err(host);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(allowed.addresses(role, host, 5432).await.is_err(), "{host}");
        }
    }
    assert!(allowed.check_host(Role::Source, "1.1.1.1", 5432).is_ok());
    assert!(allowed.check_host(Role::Source, "0x01010101", 5432).is_ok());
}

#[tokio::test]
async fn a_name_that_turns_to_a_private_address_is_refused_then() {
    let allowed = resolving(rules("*"), &["1.1.1.1", "127.0.0.1"]);
    let first = allowed.addresses(Role::Source, "flip.example", 5432).await;
    assert_eq!(first.unwrap(), Some(vec!["1.1.1.1:5432".parse().unwrap()]));
    let second = allowed.addresses(Role::Source, "flip.example", 5432).await;
    let error = second.expect_err("it turned");
    assert!(error.to_string().contains("flip.example:5432"), "{error}");
    // Also where the operator lists the name.
    let allowed = resolving(rules("flip.example"), &["10.0.0.1"]);
    let found = allowed.addresses(Role::Source, "flip.example", 5432).await;
    assert!(found.is_err());
}

#[tokio::test]
async fn of_several_addresses_only_allowed_ones_are_given() {
    let allowed = resolving(rules("*"), &["10.0.0.1 1.1.1.1 ::1"]);
    let found = allowed.addresses(Role::Target, "two.example", 1).await;
    assert_eq!(found.unwrap(), Some(vec!["1.1.1.1:1".parse().unwrap()]));
}

#[tokio::test]
async fn without_rules_everything_is_left_to_whoever_connects() {
    for allowed in [
        Allowed::everything(),
        Allowed::by(Rules::read(&Lists::default()).unwrap()),
    ] {
        assert!(!allowed.is_bound());
        let found = allowed.addresses(Role::Source, "127.0.0.1", 5432).await;
        assert_eq!(found.unwrap(), None);
        assert!(allowed.variable("x", "ANY").is_ok() && allowed.process());
        assert!(allowed.check_embedded().is_ok());
    }
}

#[test]
fn rules_bind_once_they_are_told_to() {
    let allowed = Allowed::by(Rules::read(&Lists::default()).unwrap());
    let shared = allowed.clone();
    allowed.bind();
    assert!(shared.is_bound());
    assert!(shared.check_host(Role::Source, "127.0.0.1", 5432).is_err());
    assert!(shared.check_host(Role::Source, "db.example", 5432).is_ok());
    assert!(shared.variable("source.url_env", "SECRET").is_err());
    assert!(shared.check_embedded().is_err() && !shared.process());
    assert!(shared.container(None, [None, None]).is_ok());
    assert!(shared.container(Some("evil"), [None, None]).is_err());
    assert!(shared.container(None, [Some("host"), None]).is_err());
    assert!(shared.container(None, [None, Some("host")]).is_err());
}

#[test]
fn files_are_in_an_allowed_folder_wherever_a_link_leads() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    for name in ["inside/a.db", "outside.db"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    std::os::unix::fs::symlink("../outside.db", inside.join("link.db")).unwrap();
    let folders = [inside.clone()];
    let rules = Rules::read(&Lists {
        folders: &folders,
        hosts: Some("*"),
        ..Lists::default()
    });
    let allowed = Allowed::by(rules.unwrap());
    assert!(allowed.file(&inside.join("a.db")).is_ok());
    let outside = allowed
        .file(&folder.path().join("outside.db"))
        .expect_err("outside");
    let missing = allowed
        .file(&folder.path().join("missing.db"))
        .expect_err("missing");
    let told = |error: &Error| {
        error
            .to_string()
            .replace("outside", "?")
            .replace("missing", "?")
    };
    assert_eq!(told(&outside), told(&missing));
    for path in [
        "link.db",
        "../outside.db",
        "../inside/../outside.db",
        "/etc/passwd",
    ] {
        assert!(allowed.file(&inside.join(path)).is_err(), "{path}");
    }
}
