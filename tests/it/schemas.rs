//! The checked-in schemas are those of the types.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
