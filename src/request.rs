//! The request in an event. Each part is read by the rule that the API has for it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::entity_tag::EntityTag;
use crate::event::{ByteString, Event, string};
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
    /// As they were sent: a name may appear more than once, in upper and lower case.
    headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// The last segment of a path that matches the route.
pub struct IdSegment<'a>(&'a str);

impl<'a> Request<'a> {
    /// Reads the parts of an event that every check may need.
    ///
    /// # Errors
    ///
    /// `invalid_event` if a part has characters that HTTP does not allow.
    pub fn new(event: Event<'a>) -> Result<Self, Problem> {
        let invalid = |part: &'static str| {
            move || Problem::new(Code::InvalidEvent, format!("the event's {part} is not valid HTTP"))
        };
        let string = |value: Option<&'a RawValue>| value.and_then(string);
        let method = string(event.method).filter(|method| is_token(method)).ok_or_else(invalid("method"))?;
        let decoded = string(event.path).and_then(|path| if event.path_is_encoded { decode(path) } else { Some(path) });
        let path = decoded.filter(|path| !path.chars().any(is_control)).ok_or_else(invalid("path"))?;
        let headers = headers(&event).ok_or_else(invalid("header"))?;
        let allowed = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| {
            is_token(name) && !value.chars().any(|char| char != '\t' && is_control(char))
        };
        if !headers.iter().all(allowed) {
            return Err(invalid("header")());
        }
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
        let mut types = self.header("content-type");
        match (types.next(), types.next()) {
            (None, _) => {}
            (Some(value), None) if is_json(value) => {}
            _ => {
                let detail = "Content-Type must be application/json or a type that ends in +json";
                return Err(Problem::new(Code::UnsupportedMediaType, detail));
            }
        }
        let mut encodings = self.header("content-encoding");
        match (encodings.next(), encodings.next()) {
            (None, _) => Ok(()),
            (Some(value), None) if value.eq_ignore_ascii_case("identity") => Ok(()),
            _ => Err(Problem::unsupported_encoding()),
        }
    }

    /// Returns the decoded bytes of the body, which need not be UTF-8.
    ///
    /// # Errors
    ///
    /// `invalid_event` where it is not what a front end sends, `body_too_large`.
    pub fn body(&self) -> Result<Cow<'a, [u8]>, Problem> {
        let text = match self.event.body {
            None => Some(Cow::Borrowed(&[][..])),
            Some(body) => ByteString::read(body).map(|text| text.0),
        };
        let bytes = match self.event.is_base64_encoded.map_or("false", RawValue::get) {
            "false" => text,
            "true" => text.and_then(|text| STANDARD_PAD_INDIFFERENT.decode(text).ok()).map(Cow::Owned),
            _ => None,
        };
        let body = bytes.ok_or_else(|| Problem::new(Code::InvalidEvent, "the event's body cannot be read"))?;
        if body.len() > MAX_BODY {
            return Err(Problem::new(Code::BodyTooLarge, "the body must be at most 16384 bytes"));
        }
        Ok(body)
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

fn headers<'a>(event: &Event<'a>) -> Option<Vec<(Cow<'a, str>, Cow<'a, str>)>> {
    let mut headers = Vec::new();
    if let Some(multi_value_headers) = event.multi_value_headers {
        let lists: Entries<ByteString<'a>, Option<Vec<&'a RawValue>>> = read(multi_value_headers)?;
        for (name, values) in lists.0 {
            let name = name.into_str()?;
            for value in values.iter().flatten().copied().filter(|value| !is_null(value)) {
                headers.push((name.clone(), string(value)?));
            }
            // A name with an empty list of values is still a name.
            if values.is_some_and(|values| values.is_empty()) && !is_token(&name) {
                return None;
            }
        }
    } else if let Some(single) = event.headers {
        let single: Entries<ByteString<'a>, &'a RawValue> = read(single)?;
        for (name, value) in single.0.into_iter().filter(|(_, value)| !is_null(value)) {
            headers.push((name.into_str()?, string(value)?));
        }
    }
    Some(headers)
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
