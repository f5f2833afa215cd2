//! Graphs of small programs that tell what became of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::PATIENCE;
use crate::relvec::Relvec;

/// A job that names no secret and no database that is there.
pub fn job() -> Value {
    json!({"source": {"url": "sqlite:not-there.db"}})
}

/// A graph with one program, which tells of its begin and its end in a file and waits in between until it may go on.
pub struct Slow {
    told: PathBuf,
    go: PathBuf,
}

impl Slow {
    /// Writes the graph `slow`. `first` is what the program does first.
    pub fn new(relvec: &Relvec, first: &str) -> Self {
        let slow = Self {
            told: relvec.path("told"),
            go: relvec.path("go"),
        };
        std::fs::write(&slow.told, "").expect("a file");
        let program = format!(
            "{first} cat > /dev/null; echo begun $$ >> {told}; while [ ! -e {go} ]; do sleep 0.05; done; echo ended $$ >> {told}; echo '{{}}'",
            told = slow.told.display(),
            go = slow.go.display(),
        );
        graph(relvec, "slow", &program);
        slow
    }

    /// Lets every one of them go on.
    pub fn go(&self) {
        std::fs::write(&self.go, "").expect("a file");
    }

    /// Gives the process ids that were told with a word.
    pub fn told(&self, word: &str) -> Vec<u32> {
        let told = std::fs::read_to_string(&self.told).expect("a file");
        told.lines()
            .filter_map(|line| line.strip_prefix(word)?.trim().parse().ok())
            .collect()
    }

    /// Waits until so many have begun; gives their process ids.
    pub async fn begun(&self, count: usize) -> Vec<u32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let begun = self.told("begun");
            if begun.len() >= count {
                return begun;
            }
            assert!(Instant::now() < deadline, "{count} never began: {begun:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Writes a graph with one stage, a shell's program that has to print JSON.
pub fn graph(relvec: &Relvec, name: &str, program: &str) {
    let folder = relvec.path("graphs");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = format!(
        "name = \"{name}\"\ninput = \"job\"\n[stages.work]\nhandler = \"command\"\n\
         with = {{ program = \"sh\", args = [\"-c\", {}], kind = \"worked\", env = [] }}\n",
        json!(program)
    );
    std::fs::write(folder.join(format!("{name}.toml")), text).expect("a graph file");
}

/// Says whether a process is there, zombies aside.
pub fn is_there(process: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    stat.is_ok_and(|stat| {
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        !state.is_none_or(|state| state.starts_with('Z'))
    })
}

/// Waits until a process is gone.
pub async fn gone(process: u32) {
    let deadline = Instant::now() + PATIENCE;
    while is_there(process) {
        assert!(
            Instant::now() < deadline,
            "process {process} is still there"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
