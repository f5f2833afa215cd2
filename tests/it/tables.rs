//! Tables that are kept by hand hold what their folders hold: a forgotten line is caught here.

use std::collections::BTreeSet;
use std::path::Path;

use relvec::handlers::HANDLERS;

use crate::relvec::Relvec;

#[test]
fn every_file_of_the_handlers_folder_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/handlers");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "mod")
        .collect();
    let table: BTreeSet<String> = HANDLERS
        .iter()
        .map(|handler| handler.name.to_owned())
        .collect();
    assert_eq!(files, table);
    assert_eq!(table.len(), HANDLERS.len(), "no handler stands twice");
}

#[test]
fn handlers_that_a_graph_file_declares_explain_themselves() {
    let ended = Relvec::new().call(&["handlers", "command"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for says in [
        "command: runs a program",
        "reads and writes what its parameters declare",
        "\"program\"",
        "\"max_output\"",
        "Beside `PATH` it sees no others",
    ] {
        assert!(ended.stdout.contains(says), "{says}: {}", ended.stdout);
    }
}
