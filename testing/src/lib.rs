//! What the tests of `update-distributor` are built on.

// What does not go as expected is to end a test there and then.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::missing_panics_doc, clippy::panic, clippy::unwrap_used)]

pub mod simulation;
pub mod table;
