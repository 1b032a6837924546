//! UUIDs in the one form that the API has.

use uuid::Uuid;

/// Parses a UUID in the hyphenated form of RFC 9562, case-insensitively. (The other forms that the `uuid` crate reads
/// have other lengths.)
#[must_use]
pub fn parse(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}
