//! Services that refuse: each refusal is one clear message, and a second run does not trip over the first.

use crate::relvec::{Relvec, job, postgres, shop_sql, sqlite, stage};
use crate::services::postgres_url;

fn with_password(url: &str, password: &str) -> String {
    let (before, after) = url.split_once('@').unwrap();
    let (user, _) = before.rsplit_once(':').unwrap();
    format!("{user}:{password}@{after}")
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let relvec = Relvec::new();
    let source = postgres_url().await;
    postgres(&source, &shop_sql()).await;
    let wrong = with_password(&source, "c4n4ry");
    let (code, run) = relvec.run(&job(&wrong, &postgres_url().await));
    assert_eq!(code, 1, "{run:#}");
    let error = stage(&run, "collect_metadata")["reason"]["error"]
        .as_str()
        .unwrap();
    assert!(
        error.contains("password") && error.contains("next:"),
        "{error}"
    );
    assert_eq!(
        stage(&run, "collect_metadata")["attempts"],
        1,
        "a wrong password stays wrong"
    );
    assert!(!run.to_string().contains("c4n4ry"));

    let shop = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let target = postgres_url().await;
    let (code, run) = relvec.run(&job(&shop, &with_password(&target, "c4n4ry")));
    assert_eq!(code, 3, "{run:#}");
    let error = stage(&run, "executor")["reason"]["error"].as_str().unwrap();
    assert!(
        error.contains("password") && !error.contains("c4n4ry"),
        "{error}"
    );

    let (code, run) = relvec.run(&job(&shop, &target));
    assert_eq!(
        code, 0,
        "the next run with the right password succeeds: {run:#}"
    );
}

#[tokio::test]
async fn a_target_without_pgvector_says_what_to_install() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let target = postgres_url().await;
    // An owner who may not create extensions meets the same refusal as a server that does not have pgvector.
    postgres(
        &target,
        "DO $$ BEGIN CREATE ROLE plain LOGIN PASSWORD 'plain'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    )
    .await;
    let plain = with_password(&target, "plain").replace("//relvec:", "//plain:");
    let (code, run) = relvec.run(&job(&source, &plain));
    assert_eq!(code, 3, "{run:#}");
    let error = stage(&run, "executor")["reason"]["error"].as_str().unwrap();
    assert!(error.contains("vector"), "{error}");
}
