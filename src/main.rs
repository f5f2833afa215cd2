//! The command line of relvec.

fn main() {}
