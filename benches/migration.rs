//! `cargo bench --bench migration`: the generated script's rate beside the embedding endpoint's own, in one run.
//!
//! It starts the embedded target and hands over to `benches/migration/run.py`, which measures; arguments go on to it.

use std::path::Path;
use std::process::Command;

use relvec::service::embedded::Embedded;
use secrecy::ExposeSecret as _;

#[tokio::main]
async fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = root.join("target/bench-target");
    let log = |line: &str| eprintln!("{line}");
    let target = Embedded::ensure(&cache, "python3", &log)
        .await
        .expect("the embedded target starts");
    // Cargo adds `--bench`, which is for harnesses.
    let arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let status = Command::new("python3")
        .current_dir(root)
        .arg("benches/migration/run.py")
        .args(["--relvec", env!("CARGO_BIN_EXE_relvec")])
        .env("TARGET_URL", target.url.expose_secret())
        .args(arguments)
        .status();
    Embedded::stop(&cache)
        .await
        .expect("the embedded target stops");
    assert!(
        status.expect("python3 starts").success(),
        "the measurement failed"
    );
}
