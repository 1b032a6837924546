//! The reasons why a token is refused, and what the caller reads of each. Why there are no keys to judge it by is said by
//! [`key_store`](super::key_store).

use thiserror::Error;

use crate::problem::{Code, Problem};

/// The reason why a token is invalid. `Display` is the `detail` of the 401. It repeats nothing of the token but names of
/// members.
#[derive(Debug, Error)]
pub enum InvalidToken {
    /// RFC 7515, 3.1: three parts.
    #[error("the token is not a signed JWT")]
    NotSigned,
    /// RFC 7515, 2: base64url without padding.
    #[error("the token's {0} is not base64url without padding")]
    NotBase64url(Part),
    /// The part is not a JSON object.
    #[error("the token's {0} is not a JSON object")]
    NotObject(Part),
    /// The part has a member twice.
    #[error("the token's {0} has the member {1} twice")]
    DuplicateMember(Part, String),
    /// `kid`, `alg` or `typ` is not a string, or `alg` is missing.
    #[error("the token's header has no string as {0}")]
    HeaderMember(&'static str),
    /// `crit` (RFC 7515, 4.1.11) or `b64` (RFC 7797).
    #[error("the token's header requires an extension that is not supported")]
    Extension,
    /// `typ` is neither `JWT` (RFC 7519, 5.1) nor `at+jwt` (RFC 9068, 2.1).
    #[error("the token's typ is not that of an access token")]
    Type,
    /// A registered claim that is a number in place of a string, or the like.
    #[error("the token's claim {0} has the wrong JSON type")]
    ClaimType(&'static str),
    /// `iss` is not in `TOKEN_ISSUER`.
    #[error("the token is from another issuer (iss)")]
    Issuer,
    /// No key of the issuer verifies it, as far as is known.
    #[error(transparent)]
    Unverified(#[from] Unverified),
    /// `aud` is not in `TOKEN_AUDIENCE`, or without it `client_id` is not.
    #[error("the token is for another audience ({0})")]
    Audience(&'static str),
    /// `exp` is required.
    #[error("the token has no expiry time (exp)")]
    NoExpiry,
    /// `exp` and the leeway are over.
    #[error("the token has expired (exp)")]
    Expired,
    /// `nbf` or `iat` is in the future by more than the leeway.
    #[error("the token is not valid yet ({0})")]
    NotYetValid(&'static str),
    /// `token_use` is `id`.
    #[error("ID tokens are not accepted (token_use)")]
    IdToken,
}

impl InvalidToken {
    /// Returns the claim that breaks the rule, if it is one.
    #[must_use]
    pub fn claim(&self) -> Option<&'static str> {
        match self {
            Self::ClaimType(claim) | Self::Audience(claim) | Self::NotYetValid(claim) => Some(claim),
            Self::Issuer => Some("iss"),
            Self::NoExpiry | Self::Expired => Some("exp"),
            Self::IdToken => Some("token_use"),
            Self::NotSigned
            | Self::NotBase64url(_)
            | Self::NotObject(_)
            | Self::DuplicateMember(..)
            | Self::HeaderMember(_)
            | Self::Extension
            | Self::Type
            | Self::Unverified(_) => None,
        }
    }
}

/// A part of a token in compact form (RFC 7515, 3.1).
#[derive(Clone, Copy, Debug, Error)]
pub enum Part {
    /// The first.
    #[error("header")]
    Header,
    /// The second, with the claims.
    #[error("payload")]
    Payload,
    /// The third.
    #[error("signature")]
    Signature,
}

/// The reason why no key of a set verifies a token.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum Unverified {
    /// The issuer has not published the key.
    #[error("the token's kid names no key")]
    UnknownKid,
    /// RFC 8725, 3.1: the key decides which algorithms are possible.
    #[error("the token's alg is not that of its key")]
    Algorithm,
    /// No key that is tried has made the signature.
    #[error("the token's signature does not verify")]
    Signature,
}

/// The reason why the caller of a valid token is not authorized to update anything. `Display` is the `detail` of the 403.
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

impl From<Forbidden> for Problem {
    fn from(error: Forbidden) -> Self {
        let detail = error.to_string();
        match error {
            Forbidden::Scope { required } => Self::insufficient_scope(detail, &required),
            Forbidden::Node => Self::new(Code::NodeClaimMissing, detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_claim_names_it() {
        for (error, claim) in [
            (InvalidToken::ClaimType("scp"), Some("scp")),
            (InvalidToken::Issuer, Some("iss")),
            (InvalidToken::Audience("client_id"), Some("client_id")),
            (InvalidToken::NoExpiry, Some("exp")),
            (InvalidToken::Expired, Some("exp")),
            (InvalidToken::NotYetValid("iat"), Some("iat")),
            (InvalidToken::IdToken, Some("token_use")),
            (InvalidToken::NotSigned, None),
            (InvalidToken::Type, None),
        ] {
            assert_eq!(error.claim(), claim, "{error}");
            assert!(claim.is_none_or(|claim| error.to_string().contains(claim)), "{error}");
        }
    }
}
