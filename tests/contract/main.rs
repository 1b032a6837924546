//! What the function promises, section by section: the real handler against an embedded store, and the real binary
//! behind a Runtime API.

// A test that meets what it does not expect is to fail there and then. The fuzz targets, a crate of their own, bring
// the part of `support` that they stand on.
#![allow(
    clippy::duplicate_mod,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "../support/mod.rs"]
mod support;

mod checks;
mod events;
mod faults;
mod fuzz;
mod issuers;
mod model;
mod openapi;
mod process;
mod simulation;
mod stateful;
mod table;
mod time;
mod token;
mod write;
