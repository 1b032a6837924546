//! The webhook configuration `meta`: each part is a type whose constructor checks its rules.
//!
//! Callers read the texts of the errors. None repeats a password or token.

use percent_encoding::percent_decode_str;
use strum::VariantArray;
use thiserror::Error;
use url::{Host as UrlHost, Url};

use crate::address;
use crate::canonical_url::{has_user_information, is_canonical};
use crate::secret::Secret;

/// The reason why a value of the body is refused: every text about a member that a caller can read, but for those of
/// [`body`](crate::body) on wrong types, and on members that are unknown or missing.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum InvalidValue {
    /// It is longer than this.
    #[error("must be at most {max_chars} characters")]
    TooLong {
        /// The limit, in characters.
        max_chars: usize,
    },
    /// It has a character of the Unicode category Cc.
    #[error("must have no control characters")]
    ControlCharacter,
    /// It is a user name of HTTP Basic with a colon.
    #[error("must have no : where type is 1 (RFC 7617)")]
    Colon,
    /// It is not the number of a [`Scheme`].
    #[error("must be the integer 1 (Basic) or 2 (Token)")]
    UnknownScheme,
    /// It is neither the number nor the name of a [`Method`].
    #[error("must be one of the integers 1 (GET), 2 (POST), 3 (PUT), 4 (PATCH) and 5 (DELETE), or one of these names")]
    UnknownMethod,
    /// It is not an absolute URL, or its host is not valid.
    #[error("must be an absolute http or https URL with a valid host")]
    NotUrl,
    /// Its scheme is neither `http` nor `https`.
    #[error("must be an absolute http or https URL")]
    OtherScheme,
    /// It has a user name or a password.
    #[error("must not have user information")]
    UserInformation,
    /// It has more than scheme, host and port.
    #[error("must have no path, query or fragment")]
    MoreThanHost,
    /// Port 0 cannot be connected to.
    #[error("must have a port from 1 to 65535")]
    PortZero,
    /// Its name is too long, or has a label that is too long or has other characters.
    #[error("must have a host name of at most 253 characters in labels of 1 to 63 letters, digits, - or _")]
    HostName,
    /// It is private by its name or its address.
    #[error("must be a publicly reachable host")]
    NotPublic,
    /// URL parsers would write it in this way.
    #[error("must be in canonical form: {0}")]
    NotCanonical(String),
    /// `//` would start an authority (RFC 3986, 4.2).
    #[error("must start with one /")]
    PathStart,
    /// It has a `#` or a `\`.
    #[error("must have no fragment and no backslash")]
    FragmentOrBackslash,
    /// It has a `%` without two hexadecimal digits.
    #[error("must have two hexadecimal digits after every %")]
    Escape,
    /// It has a control character, encoded or not.
    #[error("must have no control character, encoded or not")]
    EncodedControlCharacter,
    /// URL parsers would write it in another way, which is not a valid path.
    #[error("must be in canonical form: without dot segments, and percent-encoded where a URL requires it")]
    NoCanonicalForm,
}

/// The stored configuration. Every member is optional; an empty one is valid.
#[derive(Debug)]
pub struct Meta {
    /// The host to call.
    pub host: Option<Host>,
    /// The path to call.
    pub path: Option<Path>,
    /// The HTTP method to call it with.
    pub method: Option<Method>,
    /// The credentials to send.
    pub authentication: Option<Authentication>,
}

/// The credentials that a webhook is sent with.
#[derive(Debug)]
pub struct Authentication {
    /// The scheme, which tells the members that are used. The others are stored all the same.
    pub scheme: Option<Scheme>,
    /// The user name of HTTP Basic.
    pub username: Option<Username>,
    /// The password of HTTP Basic.
    pub password: Option<Password>,
    /// The token of token authentication.
    pub token: Option<Token>,
}

/// A user name of at most 256 characters, without control characters.
#[derive(Debug)]
pub struct Username(String);

impl Username {
    const MAX_CHARS: usize = 256;

    /// Checks a user name.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn new(text: &str) -> Result<Self, InvalidValue> {
        credential(text, Self::MAX_CHARS).map(Self)
    }

    /// Checks a user name for HTTP Basic, which cannot have a colon (RFC 7617, 2).
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn basic(text: &str) -> Result<Self, InvalidValue> {
        if text.contains(':') { Err(InvalidValue::Colon) } else { Self::new(text) }
    }

    /// Returns the user name as it was sent.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// A secret text of at most so many characters, without control characters.
#[derive(Debug)]
pub struct Credential<const MAX_CHARS: usize>(Secret);

/// A password of HTTP Basic.
pub type Password = Credential<1_024>;

/// A token of token authentication.
pub type Token = Credential<4_096>;

impl<const MAX_CHARS: usize> Credential<MAX_CHARS> {
    /// Checks a password or token.
    ///
    /// # Errors
    ///
    /// The rule that it breaks.
    pub fn new(text: &str) -> Result<Self, InvalidValue> {
        credential(text, MAX_CHARS).map(Secret::new).map(Self)
    }

    /// Returns the text as it was sent.
    #[must_use]
    pub fn into_exposed(self) -> String {
        self.0.into_exposed()
    }
}

fn credential(text: &str, max_chars: usize) -> Result<String, InvalidValue> {
    if text.chars().count() > max_chars {
        Err(InvalidValue::TooLong { max_chars })
    } else if text.chars().any(char::is_control) {
        Err(InvalidValue::ControlCharacter)
    } else {
        Ok(text.to_owned())
    }
}

/// The authentication scheme of a webhook, `authentication.type` of the API.
#[derive(Clone, Copy, Debug, PartialEq, VariantArray)]
pub enum Scheme {
    /// 1: HTTP Basic (RFC 7617).
    Basic,
    /// 2: a token.
    Token,
}

impl Scheme {
    /// Returns the scheme with this number.
    ///
    /// # Errors
    ///
    /// It has another number.
    pub fn from_number(number: f64) -> Result<Self, InvalidValue> {
        Self::VARIANTS.iter().copied().find(|scheme| is(number, scheme.number())).ok_or(InvalidValue::UnknownScheme)
    }

    /// Returns its number, as it is stored.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Basic => 1,
            Self::Token => 2,
        }
    }

    /// Returns the members of `authentication` that it requires.
    #[must_use]
    pub fn required(self) -> &'static [&'static str] {
        match self {
            Self::Basic => &["username", "password"],
            Self::Token => &[],
        }
    }
}

/// The HTTP method that a request may ask for. (What an item may hold is less certain; see `distributor`.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Method {
    number: u8,
    name: &'static str,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 5] = [
        Self { number: 1, name: "GET" },
        Self { number: 2, name: "POST" },
        Self { number: 3, name: "PUT" },
        Self { number: 4, name: "PATCH" },
        Self { number: 5, name: "DELETE" },
    ];

    /// Returns the method with this number.
    ///
    /// # Errors
    ///
    /// It has another number.
    pub fn from_number(number: f64) -> Result<Self, InvalidValue> {
        Self::ALL.into_iter().find(|method| is(number, method.number)).ok_or(InvalidValue::UnknownMethod)
    }

    /// Returns the method with this name, so that a client can send back what it received.
    ///
    /// # Errors
    ///
    /// It has another name.
    pub fn from_name(name: &str) -> Result<Self, InvalidValue> {
        Self::ALL.into_iter().find(|method| method.name == name).ok_or(InvalidValue::UnknownMethod)
    }

    /// Returns its number, as it is stored.
    #[must_use]
    pub fn number(self) -> u8 {
        self.number
    }

    /// Returns its name, as it is in responses.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }
}

/// Returns whether a JSON number is this integer.
fn is(number: f64, integer: u8) -> bool {
    number.total_cmp(&f64::from(integer)).is_eq()
}

/// The hosts that a webhook may name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HostPolicy {
    /// Only those that are publicly reachable, judged by the text of the URL. A name is not resolved here: the sender of
    /// the webhook must check the address that it connects to.
    Public,
    /// Private ones too.
    Any,
}

/// An `http` or `https` URL of only scheme, host and port, in its canonical form, which every parser reads alike.
#[derive(Debug, PartialEq)]
pub struct Host(String);

impl Host {
    const MAX_CHARS: usize = 2_048;

    /// Checks a host and keeps it as it was sent.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks, with the canonical form if that is all.
    pub fn new(text: &str, host_policy: HostPolicy) -> Result<Self, InvalidValue> {
        if text.chars().count() > Self::MAX_CHARS {
            return Err(InvalidValue::TooLong { max_chars: Self::MAX_CHARS });
        }
        let url = Url::parse(text).map_err(|_| InvalidValue::NotUrl)?;
        let ("http" | "https", Some(host)) = (url.scheme(), url.host()) else {
            return Err(InvalidValue::OtherScheme);
        };
        if has_user_information(&url) {
            return Err(InvalidValue::UserInformation);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidValue::MoreThanHost);
        }
        if url.port() == Some(0) {
            return Err(InvalidValue::PortZero);
        }
        let has_valid_name = match host {
            UrlHost::Domain(name) => is_name(name.strip_suffix('.').unwrap_or(name)),
            UrlHost::Ipv4(_) | UrlHost::Ipv6(_) => true,
        };
        if !has_valid_name {
            Err(InvalidValue::HostName)
        } else if host_policy == HostPolicy::Public && !is_public(&host) {
            // Before the spelling: the advice on that would be refused next.
            Err(InvalidValue::NotPublic)
        } else if !is_canonical(text, &url) {
            Err(InvalidValue::NotCanonical(url.origin().ascii_serialization()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// Returns the host as it was sent.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Returns whether a name has the lengths of RFC 1035, 2.3.4, and only the letters, digits, `-` and `_` of names in use.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_public(host: &UrlHost<&str>) -> bool {
    /// Names that resolvers handle themselves (RFC 6761), or that are reserved for private networks.
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

/// An absolute path with an optional query, in the form that every URL parser leaves unchanged.
#[derive(Debug, PartialEq)]
pub struct Path(String);

impl Path {
    const MAX_CHARS: usize = 2_048;

    /// Checks a path and keeps it as it was sent.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks, with the canonical form if that is all.
    pub fn new(text: &str) -> Result<Self, InvalidValue> {
        Self::check(text)?;
        let url = Url::parse(&format!("http://host{text}")).map_err(|_| InvalidValue::NoCanonicalForm)?;
        let (path, query) =
            (&url[url::Position::BeforePath..url::Position::AfterPath], &url[url::Position::AfterPath..]);
        // The URL standard encodes it in paths; the `url` crate does not yet.
        let plain = format!("{}{query}", path.replace('^', "%5E"));
        if plain == *text {
            Ok(Self(text.to_owned()))
        } else if Self::check(&plain).is_ok() {
            Err(InvalidValue::NotCanonical(plain))
        } else {
            Err(InvalidValue::NoCanonicalForm)
        }
    }

    /// Checks the rules that need no URL parser.
    fn check(text: &str) -> Result<(), InvalidValue> {
        if text.chars().count() > Self::MAX_CHARS {
            return Err(InvalidValue::TooLong { max_chars: Self::MAX_CHARS });
        }
        if !text.starts_with('/') || text.starts_with("//") {
            return Err(InvalidValue::PathStart);
        }
        if text.contains(['#', '\\']) {
            return Err(InvalidValue::FragmentOrBackslash);
        }
        if text.split('%').skip(1).any(|rest| !starts_with_hex_octet(rest)) {
            return Err(InvalidValue::Escape);
        }
        if percent_decode_str(text).decode_utf8_lossy().chars().any(char::is_control) {
            return Err(InvalidValue::EncodedControlCharacter);
        }
        Ok(())
    }

    /// Returns the path as it was sent.
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
    fn only_paths_in_canonical_form_are_accepted() {
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
            assert_eq!(Path::new(path).err(), Some(InvalidValue::NotCanonical((*plain).to_owned())));
        }
        // Its plain spelling would be refused next.
        assert_eq!(Path::new("/a/..//b").err(), Some(InvalidValue::NoCanonicalForm));
    }

    #[test]
    fn methods_and_schemes_have_numbers_and_names() {
        let methods = [(1, "GET"), (2, "POST"), (3, "PUT"), (4, "PATCH"), (5, "DELETE")];
        for (number, name) in methods {
            let method = Method::from_number(f64::from(number)).unwrap();
            assert_eq!((method.number(), method.name()), (number, name));
            assert_eq!(Method::from_name(name), Ok(method));
        }
        for number in [0.0, -0.0, 6.0, -1.0, 1.5, 1.000_000_1, 257.0, f64::MAX, f64::NAN, f64::INFINITY] {
            assert!(Method::from_number(number).is_err(), "{number}");
            assert!(Scheme::from_number(number).is_err(), "{number}");
        }
        for name in ["get", "GET ", "HEAD", "1", ""] {
            assert!(Method::from_name(name).is_err(), "{name}");
        }
        for number in [1, 2] {
            assert_eq!(Scheme::from_number(f64::from(number)).unwrap().number(), number);
        }
        for scheme in Scheme::VARIANTS {
            assert_eq!(Scheme::from_number(f64::from(scheme.number())), Ok(*scheme));
            assert!(InvalidValue::UnknownScheme.to_string().contains(&scheme.number().to_string()), "{scheme:?}");
        }
    }
}
