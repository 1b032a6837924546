//! Entity tags (RFC 9110, 8.8.3).

use lambda_http::http::header::{ETAG, HeaderName, HeaderValue};

/// A strong entity tag (RFC 9110, 8.8.3).
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

    /// Returns the `ETag` header with this tag.
    #[must_use]
    pub fn header(&self) -> (HeaderName, HeaderValue) {
        // Every `etagc` (RFC 9110, 8.8.3) is allowed in a header value.
        let value = HeaderValue::try_from(format!("\"{}\"", self.0).into_bytes());
        (ETAG, value.unwrap_or(HeaderValue::from_static("")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_contains_only_what_rfc_9110_allows() {
        #[track_caller]
        fn check(opaque: &str, expected: Option<&str>) {
            assert_eq!(
                EntityTag::new(opaque).map(|tag| tag.header().1).as_ref().map(HeaderValue::as_bytes),
                expected.map(str::as_bytes),
                "{opaque:?}"
            );
        }
        check("2025-12-23T23:16:10.419732Z", Some("\"2025-12-23T23:16:10.419732Z\""));
        check("", Some("\"\""));
        check("ä", Some("\"ä\""));
        for opaque in ["a b", "a\"b", "a\tb", "a\nb", "\u{7f}"] {
            check(opaque, None);
        }
    }
}
