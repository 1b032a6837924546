//! The description, README, the runbook and the sample events, held to the function.

// A test that meets what it does not expect fails at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs
)]

mod events;
mod openapi;
mod readme;
mod runbook;
