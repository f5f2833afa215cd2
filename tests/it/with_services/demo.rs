//! `relvec demo`, as the README has it: the embedded target, the sample shop, and a second time that changes nothing.

use serde_json::Value;

use crate::relvec::Relvec;

fn demo(relvec: &Relvec) -> Value {
    let ended = relvec.call(&["demo", "--format", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let run: Value = serde_json::from_str(&ended.stdout).expect("nothing but JSON on stdout");
    let validation = &run["validation_report"];
    assert_eq!(validation["verdict"], "validated", "{run:#}");
    let entities = validation["entities"].as_array().expect("entities");
    let counts: Vec<(&str, u64)> = entities
        .iter()
        .filter_map(|entity| Some((entity["entity"].as_str()?, entity["documents"].as_u64()?)))
        .collect();
    assert_eq!(
        counts,
        [
            ("orders", 5000),
            ("products", 180),
            ("reviews", 1500),
            ("support_tickets", 800)
        ]
    );
    run
}

#[test]
fn the_demo_arrives_whole_and_the_second_one_changes_nothing() {
    let relvec = Relvec::new();
    demo(&relvec);
    let again = demo(&relvec);
    let migration = &again["execution_report"]["migration"];
    assert_eq!(migration["requests"], 0, "{migration:#}");
    for entity in migration["entities"].as_array().expect("entities") {
        assert_eq!(entity["embedded"], 0, "{entity}");
    }
    let ended = relvec.call(&["demo"]);
    assert_eq!(ended.stdout.matches("\nsearch in ").count(), 3, "{ended:?}");
    assert!(ended.stdout.contains("Your own database"), "{ended:?}");

    assert_eq!(relvec.call(&["target", "stop"]).stdout, "stopped\n");
    assert_eq!(relvec.call(&["target", "stop"]).stdout, "it did not run\n");
}
