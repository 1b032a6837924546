//! URLs in the form in which a URL parser writes them.

use thiserror::Error;
use url::Url;

/// The reason why a configured URL is refused, without any part of the URL.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum InvalidUrl {
    /// It is not absolute, or has another scheme.
    #[error("must be an absolute http or https URL")]
    NotHttp,
    /// Keys are not fetched from there.
    #[error("must be an https URL (http for this machine only)")]
    NotHttps,
    /// It has a user name or a password.
    #[error("must not contain user information")]
    UserInformation,
    /// A URL parser reads it as another text, so it may not be what was meant.
    #[error("must be in canonical form")]
    NotCanonical,
}

/// Parses an absolute `http` or `https` URL without user information. It may differ from its serialization by no more
/// than the case of scheme and host, a default port or a missing final `/`.
///
/// # Errors
///
/// The reason why it is refused.
pub fn parse(text: &str) -> Result<Url, InvalidUrl> {
    let url = Url::parse(text).map_err(|_| InvalidUrl::NotHttp)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(InvalidUrl::NotHttp);
    }
    if has_user_information(&url) {
        return Err(InvalidUrl::UserInformation);
    }
    if is_canonical(text, &url) { Ok(url) } else { Err(InvalidUrl::NotCanonical) }
}

/// Returns whether a text differs from what its parser makes of it, `url`, by no more than the case of scheme and host, a
/// default port or a missing final `/`.
#[must_use]
pub fn is_canonical(text: &str, url: &Url) -> bool {
    canonical(text).as_deref() == Some(url.as_str())
}

/// Returns whether a URL has a user name or a password.
#[must_use]
pub fn has_user_information(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Returns a URL as its parser would write it, if it differs from that by no more than the case of scheme and host, a
/// default port or a missing final `/`; any other difference is kept.
fn canonical(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let default_port = if scheme == "http" { ":80" } else { ":443" };
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Some(format!("{scheme}://{authority}{slash}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_absolute_and_canonical() {
        use InvalidUrl::{NotCanonical, NotHttp, UserInformation};

        for (url, expected) in [
            ("https://a.example/", None),
            ("https://a.example", None),
            ("HTTPS://A.Example:443/Jwks?a=b", None),
            ("https://a.example?key=x", None),
            ("http://a.example:8000", None),
            ("http://[::1]/", None),
            ("ftp://localhost/", Some(NotHttp)),
            ("localhost:8000", Some(NotHttp)),
            ("127.0.0.1:8000", Some(NotHttp)),
            ("/jwks", Some(NotHttp)),
            ("https://", Some(NotHttp)),
            ("https://u:p@a.example/", Some(UserInformation)),
            ("https://u@a.example/", Some(UserInformation)),
            ("https:///jwks", Some(NotCanonical)),
            ("https:a.example", Some(NotCanonical)),
            ("https://a.example/a/../b", Some(NotCanonical)),
            ("https://a.example/a b", Some(NotCanonical)),
            ("https://a.example\\b", Some(NotCanonical)),
            ("https://a.example:0443/", Some(NotCanonical)),
            ("https://0x7f.1/", Some(NotCanonical)),
            ("https://b\u{fc}cher.example/", Some(NotCanonical)),
            ("https://a.example/\n", Some(NotCanonical)),
        ] {
            assert_eq!(parse(url).err(), expected, "{url}");
        }
    }
}
