//! The request in an event. Each part is read by the rule that the API has for it.

use std::borrow::Cow;
use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::entity_tag::EntityTag;
use crate::event::{ByteString, Event, string};
use crate::excerpt::excerpt;
use crate::hyphenated_uuid;
use crate::json::{Entries, is_null};
use crate::problem::{Code, Problem};
use crate::update::IfMatch;

/// Path prefix; a stage or base path may precede it.
const ROUTE: &str = "/api/v1/integration/distributors";

/// Length of a token in bytes. Arbitrary; API Gateway allows 10,240 bytes for all headers, load balancers 65,536.
const MAX_TOKEN: usize = 16_384;
/// Length of a decoded body in bytes. Arbitrary; the longest valid configuration has some 9,500 characters.
const MAX_BODY: usize = 16_384;
/// DynamoDB's limit for `IN`.
const MAX_TAGS: usize = 100;

/// A request whose method, path and headers are valid in HTTP.
pub struct Request<'a> {
    event: Event<'a>,
    method: Cow<'a, str>,
    path: Cow<'a, str>,
    headers: Headers<'a>,
}

/// Names and values as they were sent: a name may appear more than once, in upper and lower case.
type Headers<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The last segment of a path that matches the route.
pub struct IdSegment<'a>(&'a str);

impl<'a> Request<'a> {
    /// Reads the parts of an event that every check may need.
    ///
    /// # Errors
    ///
    /// `invalid_event` if a part has characters that HTTP does not allow. It names the header or the member, never a value.
    pub fn new(event: Event<'a>) -> Result<Self, Problem> {
        let string = |value: Option<&'a RawValue>| value.and_then(string);
        let method = string(event.method.value).filter(|method| is_token(method));
        let method = method.ok_or_else(|| invalid(format!("the event's method ({})", event.method.name)))?;
        let decoded =
            string(event.path.value).and_then(|path| if event.path_is_encoded { decode(path) } else { Some(path) });
        let path = decoded.filter(|path| !path.chars().any(is_control));
        let path = path.ok_or_else(|| invalid(format!("the event's path ({})", event.path.name)))?;
        let headers = headers(&event)?;
        Ok(Self { event, method, path, headers })
    }

    /// Returns the id segment of the path, if the path and the method are those of the operation.
    ///
    /// # Errors
    ///
    /// `route_not_found`, `method_not_allowed`.
    pub fn route(&self) -> Result<IdSegment<'_>, Problem> {
        let segment = self.path.rsplit_once('/').and_then(|(before, id)| {
            let ours = before.ends_with(ROUTE)
                && !id.is_empty()
                && self.path.split('/').all(|segment| !matches!(segment, "." | ".."));
            ours.then_some(IdSegment(id))
        });
        let segment = segment.ok_or_else(|| Problem::new(Code::RouteNotFound, "no such path"))?;
        if self.method == "PUT" {
            Ok(segment)
        } else {
            Err(Problem::new(Code::MethodNotAllowed, "only PUT is allowed here"))
        }
    }

    /// Returns the token of the one `Authorization` header (RFC 6750, 2.1).
    ///
    /// # Errors
    ///
    /// `missing_token` if no bearer token was sent, `invalid_token` if there is not exactly one of at most 16,384 bytes.
    pub fn bearer_token(&self) -> Result<&str, Problem> {
        let values: Vec<_> = self.header("authorization").collect();
        if let [value] = values[..]
            && !value.contains(',')
            && let Some(token) = bearer(value)
            && token.len() <= MAX_TOKEN
            && !token.contains([' ', '\t'])
        {
            return Ok(token);
        }
        // A front end may have joined several headers to one.
        if values.iter().flat_map(|value| value.split(',')).any(|part| bearer(trim(part)).is_some()) {
            Err(Problem::new(Code::InvalidToken, "exactly one bearer token of at most 16384 bytes is expected"))
        } else {
            Err(Problem::new(Code::MissingToken, "a bearer token is required"))
        }
    }

    /// Requires that the request is meant for this server.
    ///
    /// # Errors
    ///
    /// `wrong_target_server`.
    pub fn require_target_server(&self, expected: &str) -> Result<(), Problem> {
        let mut values = self.header("x-target-server");
        match (values.next(), values.next()) {
            (Some(value), None) if value.eq_ignore_ascii_case(expected) => Ok(()),
            _ => Err(Problem::new(Code::WrongTargetServer, format!("the header X-Target-Server must be {expected}"))),
        }
    }

    /// Reads `If-Match` (RFC 9110, 13.1.1).
    ///
    /// # Errors
    ///
    /// `invalid_if_match` for anything but `*` or 1 to 100 entity tags, and for `If-None-Match`: if it were ignored, a write
    /// could happen that the caller meant to prevent (RFC 9110, 13.1.2).
    pub fn if_match(&self) -> Result<IfMatch, Problem> {
        if self.header("if-none-match").next().is_some() {
            return Err(Problem::new(Code::InvalidIfMatch, "If-None-Match is not supported"));
        }
        let values: Vec<_> = self.header("if-match").collect();
        let if_match = match values[..] {
            [] | ["*"] => Some(IfMatch::Any),
            _ => tags(&values).map(IfMatch::OneOf),
        };
        if_match
            .ok_or_else(|| Problem::new(Code::InvalidIfMatch, "If-Match must be * or a list of 1 to 100 entity tags"))
    }

    /// Requires that `Content-Type` and `Content-Encoding`, if sent, say JSON without compression.
    ///
    /// # Errors
    ///
    /// `unsupported_media_type`.
    pub fn require_json(&self) -> Result<(), Problem> {
        let detail = match self.only_value("content-type") {
            Ok(value) if value.is_none_or(is_json) => None,
            Ok(_) => Some("Content-Type must be application/json or a type that ends in +json"),
            Err(SeveralValues) => Some("Content-Type was sent twice or has two values; it must have one"),
        };
        if let Some(detail) = detail {
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        match self.only_value("content-encoding") {
            Ok(value) if value.is_none_or(|value| value.eq_ignore_ascii_case("identity")) => Ok(()),
            Ok(_) => Err(Problem::unsupported_encoding("Content-Encoding must be identity")),
            Err(SeveralValues) => {
                let detail = "Content-Encoding was sent twice or has two values; it must be identity";
                Err(Problem::unsupported_encoding(detail))
            }
        }
    }

    /// Returns the decoded bytes of the body, which need not be UTF-8.
    ///
    /// # Errors
    ///
    /// `invalid_event` if it is not what a front end sends, `body_too_large`.
    pub fn body(&self) -> Result<Cow<'a, [u8]>, Problem> {
        let invalid = |detail: &'static str| move || Problem::new(Code::InvalidEvent, detail);
        let is_base64 = match self.event.is_base64_encoded.map_or("false", RawValue::get) {
            "false" => false,
            "true" => true,
            _ => return Err(invalid("the event's isBase64Encoded is not a boolean")()),
        };
        let text = match self.event.body {
            None => Cow::Borrowed(&[][..]),
            Some(body) => ByteString::read(body).ok_or_else(invalid("the event's body is not a string"))?.0,
        };
        let body = if is_base64 {
            let decoded = STANDARD_PAD_INDIFFERENT.decode(text).ok();
            decoded.ok_or_else(invalid("the event's body is not base64, although isBase64Encoded is true"))?.into()
        } else {
            text
        };
        if body.len() > MAX_BODY {
            return Err(Problem::new(Code::BodyTooLarge, "the body must be at most 16384 bytes"));
        }
        Ok(body)
    }

    /// Returns the value of a header that has at most one. A gateway joins several headers to one with commas; inside of
    /// quotes, a comma is part of a value.
    fn only_value(&self, name: &str) -> Result<Option<&str>, SeveralValues> {
        let mut values = self.header(name);
        match (values.next(), values.next()) {
            (value, None) if !value.is_some_and(has_unquoted_comma) => Ok(value),
            _ => Err(SeveralValues),
        }
    }

    /// Returns every value of a header, without the white space around it.
    fn header(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.headers.iter().filter(move |(header, _)| header.eq_ignore_ascii_case(name));
        named.map(|(_, value)| trim(value))
    }
}

impl IdSegment<'_> {
    /// Reads the id.
    ///
    /// # Errors
    ///
    /// `invalid_id` for anything but a hyphenated UUID, case-insensitively.
    pub fn id(&self) -> Result<Uuid, Problem> {
        hyphenated_uuid::parse(self.0)
            .ok_or_else(|| Problem::new(Code::InvalidId, "the id in the path must be a hyphenated UUID"))
    }
}

/// A header was sent more than once.
struct SeveralValues;

/// Returns the problem of a part of the event, with the same text for the operator, who does not see the response.
fn invalid(part: impl Display) -> Problem {
    Problem::new(Code::InvalidEvent, format!("{part} is not valid HTTP"))
}

fn invalid_header(name: &str) -> Problem {
    invalid(format_args!("the header {:?}", excerpt(name)))
}

fn headers<'a>(event: &Event<'a>) -> Result<Headers<'a>, Problem> {
    let mut headers = Vec::new();
    if let Some(raw) = event.multi_value_headers {
        let lists: Entries<ByteString<'a>, Option<Vec<&RawValue>>> = read(raw).ok_or_else(|| unreadable_list(raw))?;
        for (name, values) in lists.0 {
            let name = header_name(name)?;
            for value in values.into_iter().flatten().filter(|value| !is_null(value)) {
                headers.push((name.clone(), header_value(&name, value)?));
            }
        }
    } else if let Some(raw) = event.headers {
        let single: Entries<ByteString<'a>, &RawValue> = read(raw).ok_or_else(|| invalid("the event's headers"))?;
        for (name, value) in single.0 {
            let name = header_name(name)?;
            if !is_null(value) {
                let value = header_value(&name, value)?;
                headers.push((name, value));
            }
        }
    }
    Ok(headers)
}

/// Returns the problem of `multiValueHeaders` that are not an object of lists.
fn unreadable_list(raw: &RawValue) -> Problem {
    let lists: Option<Entries<ByteString<'_>, &RawValue>> = read(raw);
    let is_list = |value: &RawValue| read::<Option<Vec<&RawValue>>>(value).is_some();
    let wrong = lists.and_then(|lists| lists.0.into_iter().find(|(_, value)| !is_list(value)));
    match wrong {
        Some((name, _)) => invalid_header(&name.into_lossy()),
        None => invalid("the event's multiValueHeaders"),
    }
}

/// Returns a header's name, which is a token whether or not the header has a value.
fn header_name(name: ByteString<'_>) -> Result<Cow<'_, str>, Problem> {
    // What replaces a lone surrogate is not allowed in a token.
    let name = name.into_lossy();
    if is_token(&name) { Ok(name) } else { Err(invalid_header(&name)) }
}

fn header_value<'a>(name: &str, value: &'a RawValue) -> Result<Cow<'a, str>, Problem> {
    let value = string(value).filter(|value| !value.chars().any(|char| char != '\t' && is_control(char)));
    value.ok_or_else(|| invalid_header(name))
}

/// Percent-decodes a path, once and as a whole. `None` if the result is not UTF-8.
fn decode(path: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if path.contains('%') {
        Some(percent_decode_str(&path).decode_utf8().ok()?.into_owned().into())
    } else {
        Some(path)
    }
}

fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

fn is_control(char: char) -> bool {
    matches!(char, '\0'..='\x1f' | '\x7f')
}

/// Returns whether a text is a token (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// Returns a value without the optional white space around it (RFC 9110, 5.6.3).
fn trim(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// Returns the text after the scheme `Bearer`, if there is any.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    let token = rest.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

/// Returns the strong tags of the lists, if these have 1 to 100 tags together.
fn tags(lists: &[&str]) -> Option<Vec<EntityTag>> {
    let mut tags = Vec::new();
    let mut count = 0;
    for list in lists {
        let mut rest = *list;
        while !rest.is_empty() {
            // Empty elements are allowed in any list (RFC 9110, 5.6.1.2).
            if let Some(next) = rest.strip_prefix(',') {
                rest = trim(next);
                continue;
            }
            let weak = rest.strip_prefix("W/");
            let (opaque, after) = weak.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
            let tag = EntityTag::new(opaque)?;
            count += 1;
            if weak.is_none() {
                tags.push(tag);
            }
            rest = trim(after);
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        }
    }
    (1..=MAX_TAGS).contains(&count).then_some(tags)
}

/// Returns whether a value has a comma outside of quoted strings (RFC 9110, 5.6.4).
fn has_unquoted_comma(value: &str) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    value.chars().any(|char| {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        char == ',' && !is_quoted
    })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split_once(';').map_or(content_type, |(essence, _)| essence);
    let Some((kind, subtype)) = trim(essence).split_once('/') else {
        return false;
    };
    let subtype = subtype.to_ascii_lowercase();
    is_token(kind)
        && is_token(&subtype)
        && ((kind.eq_ignore_ascii_case("application") && subtype == "json")
            || subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty()))
}
