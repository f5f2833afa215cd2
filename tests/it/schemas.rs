//! The checked-in schemas are those of the types, and the shipped graphs have no defects.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use relvec::graph::file::GraphFile;
use relvec::graph::plan::Plan;
use relvec::handlers::CATALOG;
use relvec::schema::published;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names_in(folder: &Path, end: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == end))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect()
}

/// `UPDATE_SCHEMAS=1` rewrites them.
#[test]
fn schemas_are_those_of_the_types() {
    let schemas = folder("schemas");
    #[expect(clippy::disallowed_methods, reason = "a switch of this test only")]
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut published_names = BTreeSet::new();
    for (name, schema) in published() {
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        let path = schemas.join(format!("{name}.json"));
        if update {
            std::fs::create_dir_all(&schemas).expect("a folder");
            std::fs::write(&path, &text).expect("a schema is written");
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            found, text,
            "schemas/{name}.json is not the schema of its type: run the tests with UPDATE_SCHEMAS=1"
        );
        published_names.insert(name.to_owned());
    }
    assert_eq!(names_in(&schemas, "json"), published_names);
}

#[test]
fn shipped_graphs_plan_without_findings() {
    let graphs = folder("graphs");
    let names = names_in(&graphs, "toml");
    assert!(names.contains("default"), "{names:?}");
    for name in names {
        let path = graphs.join(format!("{name}.toml"));
        let bytes = std::fs::read(&path).expect("a graph file");
        let file = GraphFile::parse(&format!("graphs/{name}.toml"), &bytes)
            .unwrap_or_else(|found| panic!("{}", found.render(false)));
        assert!(
            file.problems().is_empty(),
            "{}",
            file.problems().render(false)
        );
        assert_eq!(file.name.get_ref().as_str(), name);
        let found = match Plan::build(&file, CATALOG) {
            Ok(plan) => plan.warnings().clone(),
            Err(found) => found,
        };
        assert!(found.is_empty(), "{}", found.render(false));
    }
}
