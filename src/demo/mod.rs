//! `relvec demo`: the whole thing on a sample shop.

pub mod shop;
mod words;
