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

use proptest::test_runner::{Config, RngAlgorithm};

mod fuzz;
mod stateful;

/// Draws so many inputs with a quick generator: the default one is made for secrets, and slow without optimization.
fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, rng_algorithm: RngAlgorithm::XorShift, ..Config::default() }
}
