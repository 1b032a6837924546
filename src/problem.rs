//! Problem details (RFC 9457) for the caller, and the reason that only the log records.

use std::borrow::Cow;

use lambda_http::http::StatusCode;
use lambda_http::http::header::{ACCEPT_ENCODING, ALLOW, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;
use strum::VariantArray;

use crate::entity_tag::EntityTag;

/// The stable name of a problem, `code` in the response. The order is that of the checks.
#[derive(Clone, Copy, Debug, PartialEq, VariantArray)]
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
    /// The token has no valid node claim.
    NodeClaimMissing,
    /// The issuer's keys cannot be fetched.
    KeysUnavailable,
    /// The request is meant for another server.
    WrongTargetServer,
    /// The id in the path is not a hyphenated UUID.
    InvalidId,
    /// `If-Match` is malformed, or `If-None-Match` was sent.
    InvalidIfMatch,
    /// `Content-Type` is not JSON, or `Content-Encoding` is not `identity`.
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
    /// The store did not respond in time, or it is unknown whether it wrote.
    StoreUnavailable,
    /// The store refused, or the function failed; nothing was written.
    InternalError,
}

impl Code {
    /// Returns its name in responses, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the HTTP status of its response.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// Returns the title of its status in RFC 9110, which `about:blank` requires. The titles of the crate `http` are those of
    /// RFC 7231, which differ in two cases.
    fn title(self) -> &'static str {
        match self.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
            StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
            status => status.canonical_reason().unwrap_or_default(),
        }
    }

    fn row(self) -> (&'static str, StatusCode) {
        match self {
            Self::InvalidEvent => ("invalid_event", StatusCode::BAD_REQUEST),
            Self::RouteNotFound => ("route_not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::MissingToken => ("missing_token", StatusCode::UNAUTHORIZED),
            Self::InvalidToken => ("invalid_token", StatusCode::UNAUTHORIZED),
            Self::InsufficientScope => ("insufficient_scope", StatusCode::FORBIDDEN),
            Self::NodeClaimMissing => ("node_claim_missing", StatusCode::FORBIDDEN),
            Self::KeysUnavailable => ("keys_unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::WrongTargetServer => ("wrong_target_server", StatusCode::BAD_REQUEST),
            Self::InvalidId => ("invalid_id", StatusCode::BAD_REQUEST),
            Self::InvalidIfMatch => ("invalid_if_match", StatusCode::BAD_REQUEST),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::MalformedJson => ("malformed_json", StatusCode::BAD_REQUEST),
            Self::InvalidBody => ("invalid_body", StatusCode::UNPROCESSABLE_ENTITY),
            Self::DistributorNotFound => ("distributor_not_found", StatusCode::NOT_FOUND),
            Self::PreconditionFailed => ("precondition_failed", StatusCode::PRECONDITION_FAILED),
            Self::StoreUnavailable => ("store_unavailable", StatusCode::SERVICE_UNAVAILABLE),
            Self::InternalError => ("internal_error", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// A response other than 200: what the caller reads, and apart from it the reason that only the log records.
#[derive(Debug)]
pub struct Problem {
    /// Its name and status.
    pub code: Code,
    /// The headers that belong to it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The invalid members of the body, only for `invalid_body`.
    pub errors: Vec<InvalidMember>,
    /// For the operator; never part of the response.
    pub reason: Option<Cow<'static, str>>,
    detail: Cow<'static, str>,
}

/// A member of the body that is invalid or missing.
#[derive(Debug, PartialEq, Serialize)]
pub struct InvalidMember {
    /// The member, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong with it, for a person to read. It never contains a password or token.
    pub detail: Cow<'static, str>,
}

impl Problem {
    /// Creates a problem with a detail for the caller, and the headers that every problem of its code has.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        let header = match code {
            Code::MethodNotAllowed => Some((ALLOW, HeaderValue::from_static("PUT"))),
            Code::MissingToken => Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            Code::InvalidToken => Some((WWW_AUTHENTICATE, challenge("invalid_token", &detail, None))),
            Code::InsufficientScope | Code::NodeClaimMissing => {
                Some((WWW_AUTHENTICATE, challenge("insufficient_scope", &detail, None)))
            }
            Code::KeysUnavailable => Some((RETRY_AFTER, HeaderValue::from_static("5"))),
            Code::StoreUnavailable => Some((RETRY_AFTER, HeaderValue::from_static("1"))),
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
            | Code::InternalError => None,
        };
        // The detail says which rule the token or the event breaks, and the operator never sees the response.
        let has_reason = code == Code::InvalidEvent || code.status() == StatusCode::UNAUTHORIZED;
        let reason = has_reason.then(|| detail.clone());
        Self { code, headers: header.into_iter().collect(), errors: Vec::new(), reason, detail }
    }

    /// Creates the 422 that lists every invalid member of the body.
    #[must_use]
    pub fn invalid_body(errors: Vec<InvalidMember>) -> Self {
        Self { errors, ..Self::new(Code::InvalidBody, "the body has invalid members; see `errors`") }
    }

    /// Creates the 403 that names the missing scope (RFC 6750, 3).
    #[must_use]
    pub fn insufficient_scope(detail: String, scope: &str) -> Self {
        let headers = vec![(WWW_AUTHENTICATE, challenge("insufficient_scope", &detail, Some(scope)))];
        Self { headers, ..Self::new(Code::InsufficientScope, detail) }
    }

    /// Creates the 415 that names the supported content coding (RFC 9110, 12.5.3).
    #[must_use]
    pub fn unsupported_encoding(detail: &'static str) -> Self {
        let headers = vec![(ACCEPT_ENCODING, HeaderValue::from_static("identity"))];
        Self { headers, ..Self::new(Code::UnsupportedMediaType, detail) }
    }

    /// Creates the 412 with the tag of the stored version.
    #[must_use]
    pub fn precondition_failed(entity_tag: Option<&EntityTag>) -> Self {
        let detail = "the distributor's current version matches no entity tag in If-Match";
        let headers = entity_tag.map(EntityTag::header).into_iter().collect();
        Self { headers, ..Self::new(Code::PreconditionFailed, detail) }
    }

    /// Adds what only the log records.
    #[must_use]
    pub fn because(self, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: Some(reason.into()), ..self }
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
            status: self.code.status().as_u16(),
            code: self.code.name(),
            detail: &self.detail,
            request_id,
            errors: &self.errors,
        };
        // Strings and numbers: serialization cannot fail.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// Returns a challenge (RFC 6750, 3). Details are texts of this crate and scopes have only characters that a quoted string
/// can contain.
fn challenge(error: &str, detail: &str, scope: Option<&str>) -> HeaderValue {
    let scope = scope.map(|scope| format!(", scope=\"{scope}\"")).unwrap_or_default();
    let challenge = format!("Bearer error=\"{error}\", error_description=\"{detail}\"{scope}");
    HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"))
}
