//! The reasons why a token is refused, and what the caller reads of each.

use thiserror::Error;

use super::fetch::FetchError;
use crate::problem::{Code, Problem};

/// The reason why a token is not verified.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The token is at fault.
    #[error(transparent)]
    Invalid(#[from] InvalidToken),
    /// There are no keys to verify it with.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
}

/// The reason why a token is invalid. `Display` is the `detail` of the 401.
#[derive(Debug, Error)]
pub enum InvalidToken {
    /// RFC 7515, 3.1: three parts, of which the first is base64url.
    #[error("the token is not a signed JWT")]
    NotSigned,
    /// The header is not a JSON object, has a member twice, or `kid`, `alg` or `typ` is not a string.
    #[error("the token's header is malformed")]
    Header,
    /// `crit` (RFC 7515, 4.1.11) or `b64` (RFC 7797).
    #[error("the token's header requires an extension that is not supported")]
    Extension,
    /// `typ` is neither `JWT` (RFC 7519, 5.1) nor `at+jwt` (RFC 9068, 2.1).
    #[error("the token's type is not that of an access token")]
    Type,
    /// The payload is not a JSON object, or has a member twice.
    #[error("the token's claims are malformed")]
    Claims,
    /// A registered claim that is a number in place of a string, or the like.
    #[error("a claim of the token has the wrong JSON type")]
    ClaimType,
    /// `iss` is not in `TOKEN_ISSUER`.
    #[error("the token is from another issuer")]
    Issuer,
    /// The issuer has not published the key, as far as is known.
    #[error("the token's kid names no key")]
    UnknownKid {
        /// The error of the last fetch, if it failed: the cached set may lack a new key.
        stale_because: Option<FetchError>,
    },
    /// RFC 8725, 3.1: the key decides which algorithms are possible.
    #[error("the token's alg is not that of its key")]
    Algorithm,
    /// No key that is tried has made the signature.
    #[error("the token's signature does not verify")]
    Signature,
    /// Neither `aud` nor, without it, `client_id` is in `TOKEN_AUDIENCE`.
    #[error("the token is for another audience")]
    Audience,
    /// `exp` is required.
    #[error("the token has no expiry time")]
    NoExpiry,
    /// `exp` and the leeway are over.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is in the future by more than the leeway.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `token_use` is `id`.
    #[error("ID tokens are not accepted")]
    IdToken,
}

/// The reason why there are no keys. `Display` is the `reason` in the log.
#[derive(Debug, Error)]
pub enum KeysUnavailable {
    /// No endpoint serves the issuer.
    #[error("the issuer has no keys")]
    NoEndpoint,
    /// No fetch has ended yet.
    #[error("not fetched yet")]
    NotFetched,
    /// Another request's fetch did not end before this one's deadline.
    #[error("not fetched in time")]
    NotInTime,
    /// The last fetch failed, or this request's deadline cut it off.
    #[error(transparent)]
    Fetch(FetchError),
}

/// The reason why the caller of a valid token may update nothing. `Display` is the `detail` of the 403.
#[derive(Debug, Error)]
pub enum Forbidden {
    /// `TOKEN_SCOPE` is neither in `scope` nor in `scp`.
    #[error("the token lacks the scope that this operation needs")]
    Scope {
        /// That scope.
        required: String,
    },
    /// The claim is missing, or has no hyphenated UUID.
    #[error("the token has no valid node claim")]
    Node,
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(error) => {
                let detail = error.to_string();
                let problem = Self::new(Code::InvalidToken, detail.clone());
                if let InvalidToken::UnknownKid { stale_because: Some(error) } = error {
                    problem.because(format!("{detail}; {error}"))
                } else {
                    problem
                }
            }
            TokenError::Keys(error) => {
                Self::new(Code::KeysUnavailable, "the issuer's keys cannot be fetched").because(error.to_string())
            }
        }
    }
}

impl From<Forbidden> for Problem {
    fn from(error: Forbidden) -> Self {
        let detail = error.to_string();
        match error {
            Forbidden::Scope { required } => Self::insufficient_scope(detail, &required),
            Forbidden::Node => Self::new(Code::NodeClaimMissing, detail),
        }
    }
}
