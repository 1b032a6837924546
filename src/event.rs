//! The event as the front end sent it, before any conversion that could fail on it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::json::{Entries, is_empty_object, is_null};

/// The front end that sent an event, which determines the form of the response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FrontEnd {
    /// An HTTP API (payload 2.0) or a function URL.
    HttpApi,
    /// A REST API, or an HTTP API with payload 1.0.
    RestApi,
    /// An Application Load Balancer, with or without multi-value headers.
    LoadBalancer,
}

/// An HTTP event: its members, unread, where it has them and they are not `null`.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    /// The front end that sent it.
    pub front_end: FrontEnd,
    gateway_request_id: Option<&'a RawValue>,
    /// `requestContext.http.method`, else `httpMethod`.
    pub method: Member<'a>,
    /// `rawPath`, else `path`.
    pub path: Member<'a>,
    /// Whether the path still has to be percent-decoded. An HTTP API has done so; a function URL, whose events are
    /// otherwise alike, and all others have not.
    pub path_is_encoded: bool,
    /// Takes precedence over `headers`, unless it is empty: no gateway sends a request without headers, but adapters and
    /// test events fill only the other.
    pub multi_value_headers: Option<&'a RawValue>,
    /// The headers.
    pub headers: Option<&'a RawValue>,
    /// The body.
    pub body: Option<&'a RawValue>,
    /// Whether the body is base64.
    pub is_base64_encoded: Option<&'a RawValue>,
}

/// A member of an event that front ends put in different places.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    /// The place where it is, or would be expected.
    pub name: &'static str,
    /// Its value.
    pub value: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] for what no HTTP front end sends. The parts of an HTTP event may have any shape.
    pub fn parse(raw: &'a [u8]) -> Result<Self, InvalidEvent> {
        let members: LastMembers<'a> = serde_json::from_slice(raw).map_err(|_| InvalidEvent)?;
        let context = members.object("requestContext");
        let in_context = |name: &str| context.as_ref().and_then(|context| context.find(name));
        // Their presence, even as null, marks an HTTP event.
        let (http, raw_path, method) = (in_context("http"), members.find("rawPath"), members.find("httpMethod"));
        if http.is_none() && raw_path.is_none() && method.is_none() {
            return Err(InvalidEvent);
        }
        // To tell the front ends apart, one that is null counts as absent.
        let is_present = |value: Option<&RawValue>| value.is_some_and(|value| !is_null(value));
        let front_end = if method.is_none() || is_present(http) || is_present(raw_path) {
            FrontEnd::HttpApi
        } else if is_present(in_context("elb")) {
            FrontEnd::LoadBalancer
        } else {
            FrontEnd::RestApi
        };
        let http = context.as_ref().and_then(|context| context.object("http"));
        let member = |[of_http_api, of_others]: [(&'static str, Option<&'a RawValue>); 2]| {
            let is_of_others = of_others.1.is_some() || front_end != FrontEnd::HttpApi;
            let (name, value) = if of_http_api.1.is_none() && is_of_others { of_others } else { of_http_api };
            Member { name, value }
        };
        let domain = context.as_ref().and_then(|context| context.present("domainName")).and_then(ByteString::read);
        let is_function_url =
            domain.and_then(ByteString::into_str).is_some_and(|domain| domain.contains(".lambda-url."));
        Ok(Self {
            front_end,
            path_is_encoded: front_end != FrontEnd::HttpApi || is_function_url,
            gateway_request_id: context.as_ref().and_then(|context| context.present("requestId")),
            method: member([
                ("requestContext.http.method", http.and_then(|http| http.present("method"))),
                ("httpMethod", members.present("httpMethod")),
            ]),
            path: member([("rawPath", members.present("rawPath")), ("path", members.present("path"))]),
            multi_value_headers: members.present("multiValueHeaders").filter(|headers| !is_empty_object(headers)),
            headers: members.present("headers"),
            body: members.present("body"),
            is_base64_encoded: members.present("isBase64Encoded"),
        })
    }

    /// Returns the gateway's own id of the request.
    #[must_use]
    pub fn gateway_request_id(&self) -> Option<Cow<'a, str>> {
        string(self.gateway_request_id?)
    }
}

/// Returns the value if it is a string without lone surrogates.
#[must_use]
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    ByteString::read(value)?.into_str()
}

/// An event that no HTTP front end sends. A response to it would not be read, and a queue would take one for success
/// and delete its messages, so it is an error of the invocation.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("the event was not sent by an HTTP API, a REST API, a load balancer or a function URL")]
pub struct InvalidEvent;

/// An object of an event. The last member with a name counts, and a name may be any string.
type LastMembers<'a> = Entries<ByteString<'a>, &'a RawValue>;

impl<'a> LastMembers<'a> {
    /// Returns the last member with this name.
    fn find(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().rev().find(|(key, _)| *key.0 == *name.as_bytes());
        found.map(|(_, value)| *value)
    }

    fn present(&self, name: &str) -> Option<&'a RawValue> {
        self.find(name).filter(|value| !is_null(value))
    }

    fn object(&self, name: &str) -> Option<Self> {
        serde_json::from_str(self.find(name)?.get()).ok()
    }
}

/// A JSON string as bytes: UTF-8, but for lone surrogates, which only an escape can hold and a `str` cannot.
#[derive(Deserialize, PartialEq)]
#[serde(transparent)]
pub struct ByteString<'a>(#[serde(borrow)] pub Cow<'a, [u8]>);

impl<'a> ByteString<'a> {
    /// Returns the string, or `None` if the value is of another type.
    #[must_use]
    pub fn read(value: &'a RawValue) -> Option<Self> {
        serde_json::from_str(value.get()).ok()
    }

    /// Returns the text, with U+FFFD for each byte of a lone surrogate.
    #[must_use]
    pub fn into_lossy(self) -> Cow<'a, str> {
        match self.0 {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        }
    }

    /// Returns the text, or `None` if it has a lone surrogate.
    #[must_use]
    pub fn into_str(self) -> Option<Cow<'a, str>> {
        match self.0 {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_events_are_told_by_their_members() {
        #[track_caller]
        fn check(event: &str, expected: Result<FrontEnd, InvalidEvent>) {
            assert_eq!(Event::parse(event.as_bytes()).map(|event| event.front_end), expected, "{event}");
        }
        check(r#"{"requestContext":{"http":{"method":"PUT"}}}"#, Ok(FrontEnd::HttpApi));
        check(r#"{"requestContext":{"http":null}}"#, Ok(FrontEnd::HttpApi));
        check(r#"{"rawPath":7}"#, Ok(FrontEnd::HttpApi));
        check(r#"{"httpMethod":null}"#, Ok(FrontEnd::RestApi));
        check(r#"{"httpMethod":"PUT","requestContext":{"elb":{}}}"#, Ok(FrontEnd::LoadBalancer));
        check(r#"{"httpMethod":"PUT","requestContext":[]}"#, Ok(FrontEnd::RestApi));
        check(r#"{"httpMethod":"PUT","rawPath":null,"requestContext":{"http":null}}"#, Ok(FrontEnd::RestApi));
        check(r#"{"httpMethod":"PUT","requestContext":{"elb":null}}"#, Ok(FrontEnd::RestApi));
        check(r#"{"httpMethod":null,"rawPath":"/"}"#, Ok(FrontEnd::HttpApi));
        check(r#"{"httpMethod":null,"requestContext":{"http":null}}"#, Ok(FrontEnd::RestApi));
        check(r#"{"httpMethod":"PUT","\ud800":1e999,"deep":[[[{"a":"\udfff"}]]]}"#, Ok(FrontEnd::RestApi));
        check(
            &format!(r#"{{"httpMethod":"PUT","deep":{}{}}}"#, "[".repeat(9_999), "]".repeat(9_999)),
            Ok(FrontEnd::RestApi),
        );
        for event in [
            "",
            "null",
            "[]",
            "7",
            "\"rawPath\"",
            "{}",
            "{",
            r#"{"rawPath":"/"} x"#,
            r#"{"Records":[{"body":"{}"}]}"#,
            r#"{"requestContext":{"connectionId":"x","routeKey":"$default"}}"#,
            r#"{"path":"/"}"#,
            r#"{"requestContext":{"method":"PUT"}}"#,
            r#"[{"httpMethod":"PUT"}]"#,
        ] {
            check(event, Err(InvalidEvent));
        }
        assert!(Event::parse(b"{\"rawPath\":\"\xff\"}").is_err());
    }

    /// As `JSON.parse` and most other readers do.
    #[test]
    fn of_members_with_one_name_the_last_counts() {
        let event = Event::parse(br#"{"rawPath":"/a","body":"x","rawPath":"/b","body":null}"#).unwrap();
        assert_eq!(event.path.value.map(RawValue::get), Some(r#""/b""#));
        assert!(event.body.is_none());
    }
}
