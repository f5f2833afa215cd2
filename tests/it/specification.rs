//! `docs/graph.md` is true in one respect at least: every rule names tests, and they exist.

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Gives every function that is a test, and every graph file of the tests, by name.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["src", "tests/it"] {
        collect(
            &root().join(folder),
            &mut |text| names.extend(test_functions(text)),
            "rs",
        );
    }
    for folder in ["valid", "invalid", "warned"] {
        let Ok(entries) = std::fs::read_dir(root().join("tests/graphs").join(folder)) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            names.insert(stem.expect("a name").to_owned());
        }
    }
    names
}

fn collect(folder: &Path, found: &mut dyn FnMut(&str), extension: &str) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found, extension);
        } else if path.extension().is_some_and(|end| end == extension) {
            found(&std::fs::read_to_string(&path).expect("a file"));
        }
    }
}

/// Gives the functions that stand behind a `#[test]` or `#[tokio::test]`.
fn test_functions(text: &str) -> Vec<String> {
    let mut is_test = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(rest) = line
            .trim_start_matches("async ")
            .strip_prefix("fn ")
            .filter(|_| is_test)
        {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            names.push(name.to_owned());
            is_test = false;
        }
    }
    names
}

/// Gives the rules of the specification: their number and their text.
fn rules(text: &str) -> Vec<(String, String)> {
    let mut rules: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("- **") {
            let number = rest.split('.').next().unwrap_or_default();
            rules.push((number.to_owned(), line.to_owned()));
            inside = true;
        } else if inside && line.starts_with("  ") {
            if let Some((_, rule)) = rules.last_mut() {
                rule.push(' ');
                rule.push_str(line.trim());
            }
        } else {
            inside = false;
        }
    }
    rules
}

#[test]
fn every_rule_of_the_specification_names_tests_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/graph.md")).expect("the specification");
    let known = tests();
    let rules = rules(&text);
    assert!(rules.len() > 40, "only {} rules were found", rules.len());
    let mut numbers = BTreeSet::new();
    let mut wrong = Vec::new();
    for (number, rule) in &rules {
        if !numbers.insert(number) {
            wrong.push(format!("{number} stands twice"));
        }
        let Some((_, named)) = rule.split_once("Tests:") else {
            wrong.push(format!("{number} names no test"));
            continue;
        };
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            wrong.push(format!("{number} names no test"));
        }
        let missing = named.iter().filter(|name| !known.contains(**name));
        wrong.extend(missing.map(|name| format!("{number}: there is no test `{name}`")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
