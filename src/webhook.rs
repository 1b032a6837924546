//! The webhook configuration `meta`, each part a type whose one constructor is its rule.
//!
//! The errors are what the caller reads; none repeats a password or token.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::{Host as UrlHost, Url};

use crate::address;
use crate::secret::Secret;

/// The stored configuration. Every member is optional; an empty one is valid.
#[derive(Debug, Default)]
pub struct Meta {
    /// Where the webhook is sent.
    pub host: Option<Host>,
    /// What of the host is called.
    pub path: Option<Path>,
    /// How it is called.
    pub method: Option<Method>,
    /// How the sender says who it is.
    pub authentication: Option<Authentication>,
}

/// The sender's credentials.
#[derive(Debug, Default)]
pub struct Authentication {
    /// Which of them are used; the others are stored all the same.
    pub scheme: Option<Scheme>,
    /// At most 256 characters.
    pub username: Option<String>,
    /// At most 1,024 characters.
    pub password: Option<Secret>,
    /// At most 4,096 characters.
    pub token: Option<Secret>,
}

/// How a webhook authenticates, `authentication.type` of the API.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scheme {
    /// 1: HTTP Basic (RFC 7617).
    Basic,
    /// 2: a token.
    Token,
}

impl Scheme {
    /// Both, by their number.
    const ALL: [(&'static str, Self); 2] = [("1", Self::Basic), ("2", Self::Token)];

    /// The scheme with this number, as JSON writes integers.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_number(number: &str) -> Result<Self, &'static str> {
        let known = Self::ALL.into_iter().find(|(known, _)| *known == number);
        known.map(|(_, scheme)| scheme).ok_or("must be the integer 1 (Basic) or 2 (Token)")
    }

    /// Its number, as it is stored.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::Basic => "1",
            Self::Token => "2",
        }
    }
}

/// The HTTP method that a request may ask for. (What an item may hold is less certain; see `distributor`.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    number: &'static str,
    name: &'static str,
}

impl Method {
    /// Every method there is.
    pub const ALL: [Self; 5] = [
        Self { number: "1", name: "GET" },
        Self { number: "2", name: "POST" },
        Self { number: "3", name: "PUT" },
        Self { number: "4", name: "PATCH" },
        Self { number: "5", name: "DELETE" },
    ];

    const FAULT: &'static str =
        "must be one of the integers 1 (GET), 2 (POST), 3 (PUT), 4 (PATCH) and 5 (DELETE), or one of these names";

    /// The method with this number, as JSON writes integers.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_number(number: &str) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|method| method.number == number).ok_or(Self::FAULT)
    }

    /// The method with this name, so that a client can send back what it received.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn from_name(name: &str) -> Result<Self, &'static str> {
        Self::ALL.into_iter().find(|method| method.name == name).ok_or(Self::FAULT)
    }

    /// Its number, as it is stored.
    #[must_use]
    pub fn number(self) -> &'static str {
        self.number
    }

    /// Its name, as it is answered.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }
}

/// Which hosts a webhook may name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// Only those that are publicly reachable, as far as the text of the URL tells. A name is not resolved here, so
    /// whoever sends the webhook must check the address that it connects to.
    Public,
    /// Private ones too.
    Any,
}

/// An `http` or `https` URL of nothing but scheme, host and port, in the one spelling that every parser reads alike.
#[derive(Debug, PartialEq)]
pub struct Host(String);

impl Host {
    const MAX_CHARS: usize = 2_048;

    /// Judges a host and keeps it as it was sent.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the plain spelling where that is all.
    pub fn new(text: &str, reach: Reach) -> Result<Self, Cow<'static, str>> {
        if text.chars().count() > Self::MAX_CHARS {
            return Err("must be at most 2048 characters".into());
        }
        let url = Url::parse(text).map_err(|_| "must be an absolute http or https URL with a valid host")?;
        let ("http" | "https", Some(host)) = (url.scheme(), url.host()) else {
            return Err("must be an absolute http or https URL".into());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not have user information".into());
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("must have no path, query or fragment".into());
        }
        if url.port() == Some(0) {
            return Err("must have a port from 1 to 65535".into());
        }
        // A default port is not part of what the parser makes of the URL.
        let plain = url.origin().ascii_serialization();
        let default_port = if url.scheme() == "http" { ":80" } else { ":443" };
        let lower = text.to_ascii_lowercase();
        let given = lower.strip_suffix('/').unwrap_or(&lower);
        let is_plain = given == plain || given.strip_suffix(default_port) == Some(&plain);
        let name =
            if let UrlHost::Domain(name) = host { check_name(name.strip_suffix('.').unwrap_or(name)) } else { Ok(()) };
        let is_allowed = reach == Reach::Any || is_public(&host);
        match (is_plain, name) {
            // The advice on the spelling would be refused next.
            (_, Ok(())) if !is_allowed => Err("must be a publicly reachable host".into()),
            (false, Ok(())) => Err(format!("must be written plainly, as {plain}").into()),
            (_, Err(detail)) => Err(detail),
            (true, Ok(())) => Ok(Self(text.to_owned())),
        }
    }

    /// The host as it was sent.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// RFC 1035, 2.3.4 for the lengths, and the letters, digits, `-` and `_` that names in use are made of.
fn check_name(name: &str) -> Result<(), Cow<'static, str>> {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(())
    } else {
        Err("must have a host name of at most 253 characters in labels of 1 to 63 letters, digits, - or _".into())
    }
}

fn is_public(host: &UrlHost<&str>) -> bool {
    /// Names that resolvers answer themselves or that are reserved for networks of one's own.
    const PRIVATE: [&str; 5] = ["localhost", "local", "localdomain", "internal", "home.arpa"];

    match host {
        UrlHost::Ipv4(address) => address::is_public((*address).into()),
        UrlHost::Ipv6(address) => address::is_public((*address).into()),
        UrlHost::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            let is_under =
                |private: &&str| name.strip_suffix(*private).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            name.contains('.') && !PRIVATE.iter().any(is_under)
        }
    }
}

/// An absolute path, with a query where there is one, that every URL parser leaves as it is.
#[derive(Debug, PartialEq)]
pub struct Path(String);

impl Path {
    const MAX_CHARS: usize = 2_048;

    /// Validates a path and keeps it as it was sent.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the plain spelling if that is all.
    pub fn new(text: &str) -> Result<Self, Cow<'static, str>> {
        Self::validate(text)?;
        let url = Url::parse(&format!("http://host{text}")).map_err(|_| "must be the path of a URL")?;
        let (path, query) =
            (&url[url::Position::BeforePath..url::Position::AfterPath], &url[url::Position::AfterPath..]);
        // The URL standard encodes it in paths; the `url` crate does not yet.
        let plain = format!("{}{query}", path.replace('^', "%5E"));
        if plain == *text {
            Ok(Self(text.to_owned()))
        } else if Self::validate(&plain).is_ok() {
            Err(format!("must be in canonical form: {plain}").into())
        } else {
            Err("must be in canonical form: without dot segments, and percent-encoded where a URL requires it".into())
        }
    }

    fn validate(text: &str) -> Result<(), &'static str> {
        if text.chars().count() > Self::MAX_CHARS {
            return Err("must be at most 2048 characters");
        }
        if !text.starts_with('/') || text.starts_with("//") {
            return Err("must start with one /");
        }
        if text.contains(['#', '\\']) {
            return Err("must have no fragment and no backslash");
        }
        if text.split('%').skip(1).any(|rest| !starts_with_hex_octet(rest)) {
            return Err("must have two hexadecimal digits after every %");
        }
        if percent_decode_str(text).decode_utf8_lossy().chars().any(char::is_control) {
            return Err("must have no control character, encoded or not");
        }
        Ok(())
    }

    /// The path as it was sent.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

fn starts_with_hex_octet(text: &str) -> bool {
    matches!(text.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        #[track_caller]
        fn check(path: &str, expected: bool) {
            assert_eq!(Path::new(path).is_ok(), expected, "{path:?}: {:?}", Path::new(path));
        }
        for path in [
            "/",
            "/webhook",
            "/a//b",
            "/a?b=c&d",
            "/%41%e2%82%ac",
            "/a/...",
            "/a?",
            "/a;b=1",
            "/?a=../b",
            "/%ff",
            "/a%5Eb",
            "/a?^",
        ] {
            check(path, true);
        }
        let longest = format!("/{}", "a".repeat(2_047));
        check(&longest, true);
        check(&format!("{longest}a"), false);
        for path in [
            "",
            "a",
            "//a",
            "?a",
            "/a#b",
            "/a#",
            "/a\\b",
            "/a b",
            "/ä",
            "/a\tb",
            "/a\n",
            "/\u{7f}",
            "/\u{85}",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2E/a",
            "/.%2e",
            "/%2e",
            "/a/..",
            "/%",
            "/%4",
            "/%4g",
            "/%zz",
            "/a%",
            "/%00",
            "/%1f",
            "/%7F",
            "/%c2%80",
            "/%C2%9f",
            "/?%0a",
            "/a?b#",
            "/<a>",
            "/{a}",
            "/a\"b",
            "/a`b",
            "/a^b",
            "/a%5E^?^",
            "/a?'",
            "/a?<",
            " /a",
            "/a ",
            "http://x/",
        ] {
            check(path, false);
        }
    }

    #[test]
    fn the_detail_has_the_plain_spelling_of_a_path() {
        for (path, plain) in [
            ("/a b", "/a%20b"),
            ("/ä", "/%C3%A4"),
            ("/a/../b", "/b"),
            ("/%2e%2E/a?x=/..", "/a?x=/.."),
            ("/a^b?^", "/a%5Eb?^"),
            ("/a?b c", "/a?b%20c"),
            ("/<a>", "/%3Ca%3E"),
        ] {
            assert_eq!(Path::new(path).err().as_deref(), Some(&*format!("must be in canonical form: {plain}")));
        }
        // Its plain spelling would be refused next.
        let detail = Path::new("/a/..//b").err().unwrap();
        assert!(detail.starts_with("must be in canonical form: without"), "{detail}");
    }

    #[test]
    fn methods_and_schemes() {
        let methods = [("1", "GET"), ("2", "POST"), ("3", "PUT"), ("4", "PATCH"), ("5", "DELETE")];
        for (number, name) in methods {
            let method = Method::from_number(number).unwrap();
            assert_eq!((method.number(), method.name()), (number, name));
            assert_eq!(Method::from_name(name), Ok(method));
        }
        for number in ["0", "6", "-1", "1.0", "1e0", "01", "-0", ""] {
            assert!(Method::from_number(number).is_err(), "{number}");
            assert!(Scheme::from_number(number).is_err(), "{number}");
        }
        for name in ["get", "GET ", "HEAD", "1", ""] {
            assert!(Method::from_name(name).is_err(), "{name}");
        }
        for number in ["1", "2"] {
            assert_eq!(Scheme::from_number(number).unwrap().number(), number);
        }
    }
}
