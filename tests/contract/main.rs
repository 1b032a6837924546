//! What the function promises, section by section: the real handler against an embedded store, and the real binary
//! behind a Runtime API.

// A test that meets what it does not expect fails at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs
)]

mod checks;
mod faults;
mod issuers;
mod keys;
mod process;
mod runtime;
mod simulation;
mod table;
mod time;
mod token;
mod write;

/// The binary that Lambda starts.
const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_bootstrap");
