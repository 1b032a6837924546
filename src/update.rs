//! What a request asks of the store. `request`, `token` and `body` produce the parts, `store` carries them out.

use std::fmt;

use uuid::Uuid;

use crate::webhook::Meta;

/// One update of one distributor.
#[derive(Debug)]
pub struct Update {
    /// The distributor.
    pub id: Uuid,
    /// The distributors that the caller may update.
    pub access: Access,
    /// The versions that the update may replace.
    pub if_match: IfMatch,
    /// The change of `meta`.
    pub change: Change,
}

/// The distributors that a caller may update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Access {
    /// Those of every node.
    AnyNode,
    /// Those of this node.
    Node(Uuid),
}

/// The versions that `If-Match` allows (RFC 9110, 13.1.1).
#[derive(Debug, PartialEq)]
pub enum IfMatch {
    /// Any version of a distributor that exists: the header was not sent, or is `*`.
    Any,
    /// One of these versions. Weak tags never match and are left out, so the list may be empty.
    OneOf(Vec<EntityTag>),
}

impl IfMatch {
    /// Returns whether an item with this `updated_at` is at an allowed version.
    #[must_use]
    pub fn allows(&self, updated_at: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|tag| Some(tag.opaque()) == updated_at),
        }
    }
}

/// The change of the stored `meta`.
#[derive(Debug)]
pub enum Change {
    /// It is left as it is: the distributor is only read.
    Keep,
    /// It is removed.
    Remove,
    /// It is replaced as a whole.
    Set(Meta),
}

/// A strong entity tag (RFC 9110, 8.8.3). `Display` writes it as a header value, in double quotes.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityTag(String);

impl EntityTag {
    /// Returns the tag with this text between its quotes, or `None` if a tag cannot contain it.
    #[must_use]
    pub fn new(opaque: &str) -> Option<Self> {
        let is_etagc = |byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        opaque.bytes().all(is_etagc).then(|| Self(opaque.to_owned()))
    }

    /// Returns the text between the quotes.
    #[must_use]
    pub fn opaque(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.0)
    }
}

/// Parses a UUID in the hyphenated form of RFC 9562, case-insensitively. (The other forms that the `uuid` crate reads
/// have other lengths.)
#[must_use]
pub fn hyphenated_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_contains_only_what_rfc_9110_allows() {
        #[track_caller]
        fn check(opaque: &str, expected: Option<&str>) {
            assert_eq!(EntityTag::new(opaque).map(|tag| tag.to_string()).as_deref(), expected, "{opaque:?}");
        }
        check("2025-12-23T23:16:10.419732Z", Some("\"2025-12-23T23:16:10.419732Z\""));
        check("", Some("\"\""));
        check("ä", Some("\"ä\""));
        for opaque in ["a b", "a\"b", "a\tb", "a\nb", "\u{7f}"] {
            check(opaque, None);
        }
    }
}
