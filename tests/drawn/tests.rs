//! Inputs that are drawn at random: requests against the model of the API, and any input against what must hold for all.

// A test that meets what it does not expect fails at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs
)]

mod fuzz;
mod stateful;
