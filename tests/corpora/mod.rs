//! Realistic databases with their truth: what a careful engineer says is a join, an entity, worth embedding, and never to be embedded.
//!
//! 1. [`schema`] describes a database without a dialect; [`generate`] fills it with rows, the same ones every time.
//! 2. [`sql`] writes it for SQLite, PostgreSQL and MySQL, with its foreign keys or stripped of them.
//! 3. [`truth`] reads the file `NAME.toml` beside each generator.
//!
//! The heuristics may be developed against [`Half::Development`] only. [`Half::HeldOut`] is measured at the end.

mod clinic;
mod erp;
mod forum;
pub mod generate;
mod german;
mod helpdesk;
mod hr;
mod logistics;
mod realestate;
pub mod schema;
mod shop;
mod spanish;
pub mod sql;
pub mod truth;

use schema::Database;

/// Which half of the corpora one belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The heuristics are developed against it.
    Development,
    /// The heuristics are measured with it, once, at the end.
    HeldOut,
}

/// A database and its truth.
pub struct Corpus {
    /// Its name, and that of its files.
    pub name: &'static str,
    /// Which half.
    pub half: Half,
    /// Makes the database; the same rows each time.
    pub build: fn() -> Database,
    /// The text of its truth file.
    pub truth: &'static str,
}

macro_rules! corpus {
    ($name:ident, $half:ident) => {
        Corpus {
            name: stringify!($name),
            half: Half::$half,
            build: $name::build,
            truth: include_str!(concat!(stringify!($name), ".toml")),
        }
    };
}

/// Every corpus.
pub static CORPORA: &[Corpus] = &[
    corpus!(shop, Development),
    corpus!(helpdesk, Development),
    corpus!(erp, Development),
    corpus!(german, Development),
    corpus!(forum, Development),
    corpus!(clinic, HeldOut),
    corpus!(realestate, HeldOut),
    corpus!(hr, HeldOut),
    corpus!(spanish, HeldOut),
    corpus!(logistics, HeldOut),
];
