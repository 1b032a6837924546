//! What the tests, benchmarks, examples and fuzz targets of `update-distributor` are built on.
//!
//! By what it replaces:
//!
//! - [`store`]: an embedded DynamoDB, TLS in front of it, and what an item must hold.
//! - [`issuer`]: an issuer of tokens, keys of every type, and a server that publishes them.
//! - [`lambda`]: the Runtime API, the events of each front end, the real handler in this process, and the real binary.
//! - [`simulation`]: instances, network and store on paused time.
//!
//! [`fault`] names what can go wrong with a request; the [`proxy`] does it to real connections.
//! [`model`] is a model of the API, and [`invariants`] is what holds for any input.

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

pub mod fault;
pub mod invariants;
pub mod issuer;
pub mod lambda;
pub mod model;
pub mod proxy;
pub mod simulation;
pub mod store;

/// Returns the folder of this repository.
///
/// # Panics
///
/// If this package is not in a folder.
pub fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a folder")
}

/// Returns the path after an option on the command line, as seen from the folder of this repository: cargo starts a
/// benchmark in that of its package.
///
/// # Panics
///
/// If the option is the last argument.
pub fn path_after(option: &str) -> Option<std::path::PathBuf> {
    let mut arguments = std::env::args().skip_while(|argument| argument != option);
    arguments.next()?;
    Some(root().join(arguments.next().unwrap_or_else(|| panic!("{option} takes a path"))))
}
