//! Tokens in a PostgreSQL store: every gateway of the store knows them, and none of them shows another tenant's runs.

use serde_json::{Value, json};

use crate::access::served::problem;
use crate::gateway::{Gateway, PATIENCE};
use crate::relvec::{Relvec, mariadb, shop_sql};
use crate::services::{mariadb_url, postgres_url};

#[tokio::test]
async fn a_mariadb_that_rules_allow_is_read_by_its_name() {
    let relvec = Relvec::alone();
    let source = mariadb_url().await;
    mariadb(&source, &shop_sql()).await;
    let gateway = Gateway::start(&relvec, &[("RELVEC_ALLOW_HOSTS", "source=127.0.0.0/8,*")]);
    let by_name = source.replace("127.0.0.1", "localhost");
    assert_ne!(source, by_name);
    let job = json!({"source": {"url": by_name}, "target": {"url": "postgres://u@vectors.example.invalid/v"}});
    let run = gateway.submit_as(None, "plan-only", &job).await;
    let ended = gateway.until_ended(&run, None).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    let log = gateway.ask(&format!("/jobs/{run}/logs"), None).await;
    assert!(log.text().await.expect("text").contains("tables and views"));
}

#[tokio::test]
async fn the_gateways_of_one_store_know_the_same_tokens() {
    let store = postgres_url().await;
    let machines = [Relvec::alone(), Relvec::alone()];
    let environment = [("RELVEC_STORE", store.as_str()), ("RELVEC_RATE", "0")];
    let create = |tenant: &str| {
        let arguments = ["token", "create", "--tenant", tenant, "--scope", "admin"];
        let made = machines[0].call_with(&arguments, &environment);
        assert_eq!(made.code, 0, "{made:?}");
        made.stdout.trim().to_owned()
    };
    let (a, b) = (create("a"), create("b"));
    let gateways = [
        Gateway::start(&machines[0], &environment),
        Gateway::start(&machines[1], &environment),
    ];
    let job = json!({"source": {"url": "postgres://reader@db.example.invalid/shop"},
        "target": {"url": "postgres://writer@vectors.example.invalid/vectors"}});
    let run = gateways[0].submit_as(Some(&a), "plan-only", &job).await;
    let path = format!("/jobs/{run}");
    for gateway in &gateways {
        problem(gateway.ask(&path, None).await, 401).await;
        assert_eq!(gateway.ask(&path, Some(&a)).await.status(), 200);
        problem(gateway.ask(&path, Some(&b)).await, 404).await;
        let page = gateway.ask("/jobs", Some(&b)).await;
        let page: Value = page.json().await.expect("JSON");
        assert_eq!(page["runs"], json!([]));
    }
    let listed = machines[1].call_with(&["token", "list", "--format", "json"], &environment);
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let of_a = listed.as_array().expect("tokens").iter();
    let of_a = of_a.filter(|token| token["tenant"] == "a");
    let ids: Vec<&str> = of_a.filter_map(|token| token["id"].as_str()).collect();
    assert_eq!(ids.len(), 1, "{listed:#}");
    let revoked = machines[1].call_with(&["token", "revoke", ids[0]], &environment);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let begun = std::time::Instant::now();
    for gateway in &gateways {
        while gateway.ask(&path, Some(&a)).await.status() != 401 {
            assert!(begun.elapsed() < PATIENCE, "the token still works");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(gateway.ask("/jobs", Some(&b)).await.status(), 200);
    }
}
