//! Errors and their sources.

use std::error::Error;
use std::iter::successors;

/// Returns the texts of an error and its sources, outermost first.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    sources(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Returns the error and its sources, outermost first.
pub fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}
