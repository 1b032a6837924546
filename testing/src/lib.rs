//! What the tests, benchmarks, examples and fuzz targets of `update-distributor` are built on.
//!
//! - [`embedded`]: a DynamoDB in this process; [`proxy`] and [`tls`]: faults and TLS in front of it.
//! - [`issuer`]: an issuer of tokens; [`signer`]: keys of every type, and a server that publishes them.
//! - [`request`]: a request as the event of each front end; [`gateway`]: an HTTP API in front of the function.
//! - [`function`]: the real handler in this process; [`process`]: the real binary behind a [`runtime_api`].
//! - [`invariants`]: what holds for any input; [`simulation`]: what holds for any schedule; [`table`]: what an item
//!   must hold.

// A helper that meets what it does not expect ends the test that uses it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::panic,
    clippy::return_self_not_must_use,
    clippy::unwrap_used,
    missing_docs
)]

pub mod embedded;
pub mod function;
pub mod gateway;
pub mod invariants;
pub mod issuer;
pub mod lines;
pub mod process;
pub mod proxy;
pub mod request;
pub mod runtime_api;
pub mod signer;
pub mod simulation;
pub mod table;
pub mod tls;

/// Returns the path after an option on the command line.
///
/// # Panics
///
/// If the option is the last argument.
pub fn path_after(option: &str) -> Option<std::path::PathBuf> {
    let mut arguments = std::env::args().skip_while(|argument| argument != option);
    arguments.next()?;
    Some(arguments.next().unwrap_or_else(|| panic!("{option} takes a path")).into())
}
