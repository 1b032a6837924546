//! Problems: what a caller reads of an error (RFC 9457), and what only the log says of it.

use std::borrow::Cow;

use lambda_http::http::header::{ACCEPT_ENCODING, ALLOW, ETAG, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use crate::update::EntityTag;

/// The stable name of a problem, `code` in the response.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(test, derive(strum::EnumCount))]
pub enum Code {
    /// The event has parts that HTTP does not allow.
    InvalidEvent,
    /// No such path.
    RouteNotFound,
    /// Another method than `PUT`.
    MethodNotAllowed,
    /// No bearer token was sent.
    MissingToken,
    /// The bearer token does not verify.
    InvalidToken,
    /// The token lacks the scope.
    InsufficientScope,
    /// The token names no node.
    NodeClaimMissing,
    /// The keys that tokens are verified with are out of reach.
    KeysUnavailable,
    /// The request is meant for another server.
    WrongTargetServer,
    /// The id in the path is not a hyphenated UUID.
    InvalidId,
    /// `If-Match` is malformed, or `If-None-Match` was sent.
    InvalidIfMatch,
    /// The body is declared as something else than JSON, or as compressed.
    UnsupportedMediaType,
    /// The body is longer than 16,384 bytes.
    BodyTooLarge,
    /// The body is not one JSON object.
    MalformedJson,
    /// Members of the body are invalid or missing.
    InvalidBody,
    /// The caller has no such distributor.
    DistributorNotFound,
    /// The distributor is at none of the versions that `If-Match` lists.
    PreconditionFailed,
    /// The store did not respond in time, or whether it wrote is unknown.
    StoreUnavailable,
    /// The store refused, or the function failed; nothing was written.
    InternalError,
}

impl Code {
    /// Every code, in the order of the checks, which is that of the enum.
    pub const ALL: [Self; 19] = [
        Self::InvalidEvent,
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::MissingToken,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::NodeClaimMissing,
        Self::KeysUnavailable,
        Self::WrongTargetServer,
        Self::InvalidId,
        Self::InvalidIfMatch,
        Self::UnsupportedMediaType,
        Self::BodyTooLarge,
        Self::MalformedJson,
        Self::InvalidBody,
        Self::DistributorNotFound,
        Self::PreconditionFailed,
        Self::StoreUnavailable,
        Self::InternalError,
    ];

    /// Returns its name in responses, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the HTTP status of its response.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// Returns the title of its status in RFC 9110, which `about:blank` asks for.
    fn title(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidEvent => ("invalid_event", 400, "Bad Request"),
            Self::RouteNotFound => ("route_not_found", 404, "Not Found"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "Method Not Allowed"),
            Self::MissingToken => ("missing_token", 401, "Unauthorized"),
            Self::InvalidToken => ("invalid_token", 401, "Unauthorized"),
            Self::InsufficientScope => ("insufficient_scope", 403, "Forbidden"),
            Self::NodeClaimMissing => ("node_claim_missing", 403, "Forbidden"),
            Self::KeysUnavailable => ("keys_unavailable", 503, "Service Unavailable"),
            Self::WrongTargetServer => ("wrong_target_server", 400, "Bad Request"),
            Self::InvalidId => ("invalid_id", 400, "Bad Request"),
            Self::InvalidIfMatch => ("invalid_if_match", 400, "Bad Request"),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, "Unsupported Media Type"),
            Self::BodyTooLarge => ("body_too_large", 413, "Content Too Large"),
            Self::MalformedJson => ("malformed_json", 400, "Bad Request"),
            Self::InvalidBody => ("invalid_body", 422, "Unprocessable Content"),
            Self::DistributorNotFound => ("distributor_not_found", 404, "Not Found"),
            Self::PreconditionFailed => ("precondition_failed", 412, "Precondition Failed"),
            Self::StoreUnavailable => ("store_unavailable", 503, "Service Unavailable"),
            Self::InternalError => ("internal_error", 500, "Internal Server Error"),
        }
    }
}

/// A response other than 200: what the caller reads, and apart from it what only the log says.
#[derive(Debug)]
pub struct Problem {
    /// Its name and status.
    pub code: Code,
    detail: Cow<'static, str>,
    extra: Extra,
    /// For the operator; never part of the response.
    reason: Option<Cow<'static, str>>,
}

/// A member of the body that is invalid or missing.
#[derive(Debug, PartialEq, Serialize)]
pub struct InvalidMember {
    /// The member, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong with it, for a person to read. It never contains a password or token.
    pub detail: Cow<'static, str>,
}

/// Details that only some problems have.
#[derive(Debug)]
enum Extra {
    Nothing,
    InvalidMembers(Vec<InvalidMember>),
    /// The scope that the token lacks.
    Scope(String),
    /// The tag of the stored version.
    EntityTag(Option<EntityTag>),
    /// The content coding of the body is not supported.
    Encoding,
}

impl Problem {
    /// Creates a problem with a detail for the caller.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), extra: Extra::Nothing, reason: None }
    }

    /// Creates the 422 that lists every invalid member of the body.
    #[must_use]
    pub fn invalid_body(members: Vec<InvalidMember>) -> Self {
        Self {
            extra: Extra::InvalidMembers(members),
            ..Self::new(Code::InvalidBody, "the body has invalid members; see `errors`")
        }
    }

    /// Creates the 403 that names the missing scope (RFC 6750, 3).
    #[must_use]
    pub fn insufficient_scope(scope: &str) -> Self {
        let problem = Self::new(Code::InsufficientScope, "the token lacks the scope that this operation needs");
        Self { extra: Extra::Scope(scope.to_owned()), ..problem }
    }

    /// Creates the 415 that names the supported content coding (RFC 9110, 12.5.3).
    #[must_use]
    pub fn unsupported_encoding() -> Self {
        let problem = Self::new(Code::UnsupportedMediaType, "Content-Encoding must be identity");
        Self { extra: Extra::Encoding, ..problem }
    }

    /// Creates the 412 with the tag of the stored version.
    #[must_use]
    pub fn precondition_failed(entity_tag: Option<EntityTag>) -> Self {
        let detail = "the distributor has changed: it is at none of the versions that If-Match lists";
        Self { extra: Extra::EntityTag(entity_tag), ..Self::new(Code::PreconditionFailed, detail) }
    }

    /// Adds what only the log says.
    #[must_use]
    pub fn because(self, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// Returns the invalid members of the body. Only `invalid_body` has any.
    #[must_use]
    pub fn invalid_members(&self) -> &[InvalidMember] {
        match &self.extra {
            Extra::InvalidMembers(members) => members,
            Extra::Nothing | Extra::Scope(_) | Extra::EntityTag(_) | Extra::Encoding => &[],
        }
    }

    /// Returns the headers that belong to this problem.
    #[must_use]
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        match self.code {
            Code::MethodNotAllowed => headers.push((ALLOW, HeaderValue::from_static("PUT"))),
            Code::MissingToken => headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Code::InvalidToken => headers.push((WWW_AUTHENTICATE, self.challenge("invalid_token"))),
            Code::InsufficientScope | Code::NodeClaimMissing => {
                headers.push((WWW_AUTHENTICATE, self.challenge("insufficient_scope")));
            }
            Code::KeysUnavailable => headers.push((RETRY_AFTER, HeaderValue::from_static("5"))),
            Code::StoreUnavailable => headers.push((RETRY_AFTER, HeaderValue::from_static("1"))),
            Code::InvalidEvent
            | Code::RouteNotFound
            | Code::WrongTargetServer
            | Code::InvalidId
            | Code::InvalidIfMatch
            | Code::UnsupportedMediaType
            | Code::BodyTooLarge
            | Code::MalformedJson
            | Code::InvalidBody
            | Code::DistributorNotFound
            | Code::PreconditionFailed
            | Code::InternalError => {}
        }
        match &self.extra {
            Extra::EntityTag(Some(entity_tag)) => headers.extend(entity_tag_header(entity_tag)),
            Extra::Encoding => headers.push((ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            Extra::EntityTag(None) | Extra::Nothing | Extra::InvalidMembers(_) | Extra::Scope(_) => {}
        }
        headers
    }

    /// RFC 6750, 3. Details of tokens are our own words and a scope has only characters that a quoted string can hold.
    fn challenge(&self, error: &str) -> HeaderValue {
        let scope = match &self.extra {
            Extra::Scope(scope) => format!(", scope=\"{scope}\""),
            Extra::Nothing | Extra::InvalidMembers(_) | Extra::EntityTag(_) | Extra::Encoding => String::new(),
        };
        let challenge = format!("Bearer error=\"{error}\", error_description=\"{}\"{scope}", self.detail);
        HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// Returns what the log says about it besides its code: for 401 the words of `detail` if nothing else, since the
    /// operator does not see the response.
    #[must_use]
    pub fn into_reason(self) -> Option<Cow<'static, str>> {
        let is_unauthorized = self.code.status() == 401;
        self.reason.or_else(|| is_unauthorized.then_some(self.detail))
    }

    /// Returns the body of the response.
    #[must_use]
    pub fn to_json(&self, request_id: &str) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            code: &'static str,
            detail: &'a str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [InvalidMember],
        }

        let body = Body {
            r#type: "about:blank",
            title: self.code.title(),
            status: self.code.status(),
            code: self.code.name(),
            detail: &self.detail,
            request_id,
            errors: self.invalid_members(),
        };
        // Strings and numbers: nothing in it can fail to be written.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// Returns the `ETag` header for a tag.
#[must_use]
pub fn entity_tag_header(entity_tag: &EntityTag) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::try_from(entity_tag.to_string().into_bytes()).ok()?;
    Some((ETAG, value))
}

#[cfg(test)]
mod tests {
    use strum::EnumCount as _;

    use super::*;

    #[test]
    fn every_code_is_in_the_list_of_all() {
        assert_eq!(Code::ALL.len(), Code::COUNT);
        assert!(Code::ALL.into_iter().map(|code| code as usize).eq(0..Code::COUNT), "in the order of the enum");
    }
}
