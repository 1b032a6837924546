//! What goes wrong, as the caller reads it (RFC 9457) and as the log says it.

use std::borrow::Cow;

use lambda_http::http::header::{ACCEPT_ENCODING, ALLOW, ETAG, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use crate::body::Fault;
use crate::update::EntityTag;

/// The stable name of a problem, `code` in the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Code {
    /// The event has parts that HTTP does not allow.
    InvalidEvent,
    /// No such path.
    RouteNotFound,
    /// Another method than `PUT`.
    MethodNotAllowed,
    /// No bearer token came.
    MissingToken,
    /// A bearer token came and does not verify.
    InvalidToken,
    /// The token lacks the scope.
    InsufficientScope,
    /// The token does not say which node it is for.
    NodeClaimMissing,
    /// The keys that tokens are verified with cannot be had.
    KeysUnavailable,
    /// The request is meant for another server.
    WrongTargetServer,
    /// The id in the path is no UUID.
    InvalidId,
    /// `If-Match` is malformed.
    InvalidIfMatch,
    /// The body is said to be something else than JSON.
    UnsupportedMediaType,
    /// The body is longer than it may be.
    BodyTooLarge,
    /// The body is no JSON object.
    MalformedJson,
    /// The body's members do not fit.
    InvalidBody,
    /// The caller has no such distributor.
    DistributorNotFound,
    /// The distributor is at none of the versions that `If-Match` lists.
    PreconditionFailed,
    /// The store did not answer in time; the write may have happened.
    StoreUnavailable,
    /// A fault of ours.
    InternalError,
}

impl Code {
    /// Every code, in the order of the checks.
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

    /// Its name in answers, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status of its answer.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().1
    }

    fn row(self) -> (&'static str, u16) {
        match self {
            Self::InvalidEvent => ("invalid_event", 400),
            Self::RouteNotFound => ("route_not_found", 404),
            Self::MethodNotAllowed => ("method_not_allowed", 405),
            Self::MissingToken => ("missing_token", 401),
            Self::InvalidToken => ("invalid_token", 401),
            Self::InsufficientScope => ("insufficient_scope", 403),
            Self::NodeClaimMissing => ("node_claim_missing", 403),
            Self::KeysUnavailable => ("keys_unavailable", 503),
            Self::WrongTargetServer => ("wrong_target_server", 400),
            Self::InvalidId => ("invalid_id", 400),
            Self::InvalidIfMatch => ("invalid_if_match", 400),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415),
            Self::BodyTooLarge => ("body_too_large", 413),
            Self::MalformedJson => ("malformed_json", 400),
            Self::InvalidBody => ("invalid_body", 422),
            Self::DistributorNotFound => ("distributor_not_found", 404),
            Self::PreconditionFailed => ("precondition_failed", 412),
            Self::StoreUnavailable => ("store_unavailable", 503),
            Self::InternalError => ("internal_error", 500),
        }
    }

    /// The title of its status in RFC 9110, which `about:blank` asks for.
    fn title(self) -> &'static str {
        match self.status() {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            412 => "Precondition Failed",
            413 => "Content Too Large",
            415 => "Unsupported Media Type",
            422 => "Unprocessable Content",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        }
    }
}

/// An answer other than 200: what the caller reads, and apart from it what only the log says.
#[derive(Debug)]
pub struct Problem {
    /// Its name and status.
    pub code: Code,
    detail: Cow<'static, str>,
    extra: Extra,
    /// For the operator; never part of the answer.
    reason: Option<Cow<'static, str>>,
}

/// What only some problems have.
#[derive(Debug)]
enum Extra {
    Nothing,
    Faults(Vec<Fault>),
    /// The scope that the token lacks.
    Scope(String),
    /// The tag of the stored version.
    EntityTag(Option<EntityTag>),
    /// The content coding of the body is not supported.
    Encoding,
}

impl Problem {
    /// A problem with what the caller should know about it.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), extra: Extra::Nothing, reason: None }
    }

    /// 422 with everything that is wrong with the body.
    #[must_use]
    pub fn invalid_body(faults: Vec<Fault>) -> Self {
        Self {
            extra: Extra::Faults(faults),
            ..Self::new(Code::InvalidBody, "the body has members that do not fit; errors lists them")
        }
    }

    /// 403 that names the scope which the token lacks.
    #[must_use]
    pub fn insufficient_scope(scope: &str) -> Self {
        let problem = Self::new(Code::InsufficientScope, "the token lacks the scope that this operation needs");
        Self { extra: Extra::Scope(scope.to_owned()), ..problem }
    }

    /// 415 that names the content coding which is supported (RFC 9110, 12.5.3).
    #[must_use]
    pub fn unsupported_encoding() -> Self {
        let problem = Self::new(Code::UnsupportedMediaType, "Content-Encoding must be identity");
        Self { extra: Extra::Encoding, ..problem }
    }

    /// 412 with the tag of the version that is stored.
    #[must_use]
    pub fn precondition_failed(entity_tag: Option<EntityTag>) -> Self {
        let detail = "the distributor has changed: it is at none of the versions that If-Match lists";
        Self { extra: Extra::EntityTag(entity_tag), ..Self::new(Code::PreconditionFailed, detail) }
    }

    /// The same problem, with what only the log says of it.
    #[must_use]
    pub fn because(self, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// The headers that belong to this problem.
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
            _ => {}
        }
        match &self.extra {
            Extra::EntityTag(Some(entity_tag)) => headers.extend(entity_tag_header(entity_tag)),
            Extra::Encoding => headers.push((ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            Extra::EntityTag(None) | Extra::Nothing | Extra::Faults(_) | Extra::Scope(_) => {}
        }
        headers
    }

    /// RFC 6750, 3. Details of tokens are our own words and a scope has only characters that a quoted string can hold.
    fn challenge(&self, error: &str) -> HeaderValue {
        let scope = match &self.extra {
            Extra::Scope(scope) => format!(", scope=\"{scope}\""),
            _ => String::new(),
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

    /// The body of the answer.
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
            errors: &'a [Fault],
        }

        let body = Body {
            r#type: "about:blank",
            title: self.code.title(),
            status: self.code.status(),
            code: self.code.name(),
            detail: &self.detail,
            request_id,
            errors: match &self.extra {
                Extra::Faults(faults) => faults,
                _ => &[],
            },
        };
        // Strings and numbers: nothing in it can fail to be written.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// The header for a tag.
#[must_use]
pub fn entity_tag_header(entity_tag: &EntityTag) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::try_from(entity_tag.to_string().into_bytes()).ok()?;
    Some((ETAG, value))
}
