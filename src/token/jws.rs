//! The compact form of a signed token (RFC 7515, 3.1) and its header.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{InvalidToken, Part, Unverified};
use super::key::Algorithm;
use crate::json::{InvalidObject, UniqueMembers};

/// A JWS whose header has been read and whose signature has not been verified.
pub struct Jws<'a> {
    /// The token as it was sent.
    pub token: &'a str,
    /// The name of the key.
    pub kid: Option<String>,
    /// The algorithm of the signature.
    pub algorithm: Algorithm,
    payload: &'a str,
}

impl<'a> Jws<'a> {
    /// Reads a token.
    ///
    /// # Errors
    ///
    /// It is not a JWS in compact form, or its header is refused. Keys in the header are never read, and neither is what
    /// RFC 7515 does not define.
    pub fn parse(token: &'a str) -> Result<Self, InvalidToken> {
        let (signing_input, signature) = token.rsplit_once('.').ok_or(InvalidToken::NotSigned)?;
        let (header, payload) = signing_input.split_once('.').ok_or(InvalidToken::NotSigned)?;
        if payload.contains('.') {
            return Err(InvalidToken::NotSigned);
        }
        let decoded = decode(Part::Header, header)?;
        let header = object(Part::Header, &decoded)?;
        if header.has("crit") || header.has("b64") {
            return Err(InvalidToken::Extension);
        }
        let string = |name| header.read::<String>(name).map_err(|_| InvalidToken::HeaderMember(name));
        let (kid, typ) = (string("kid")?, string("typ")?);
        let alg = string("alg")?.ok_or(InvalidToken::HeaderMember("alg"))?;
        if !typ.is_none_or(|typ| is_jwt_type(&typ)) {
            return Err(InvalidToken::Type);
        }
        let algorithm = Algorithm::from_name(&alg).ok_or(Unverified::Algorithm)?;
        decode(Part::Signature, signature)?;
        Ok(Self { token, kid, algorithm, payload })
    }

    /// Returns the decoded payload, which need not be JSON.
    ///
    /// # Errors
    ///
    /// It is not base64url.
    pub fn payload(&self) -> Result<Vec<u8>, InvalidToken> {
        decode(Part::Payload, self.payload)
    }
}

fn decode(part: Part, text: &str) -> Result<Vec<u8>, InvalidToken> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken::NotBase64url(part))
}

/// Reads a decoded part of a token.
///
/// # Errors
///
/// It is not one JSON object, or has a member twice.
pub fn object(part: Part, decoded: &[u8]) -> Result<UniqueMembers<'_>, InvalidToken> {
    UniqueMembers::parse(decoded).map_err(|error| match error {
        InvalidObject::NotObject => InvalidToken::NotObject(part),
        InvalidObject::DuplicateMember(name) => InvalidToken::DuplicateMember(part, quotable(&name)),
    })
}

/// Returns the name of a member in the characters that a challenge can quote (RFC 6750, 3), cut at 64 of them.
fn quotable(name: &str) -> String {
    let is_allowed = |char| matches!(char, ' '..='~') && !matches!(char, '"' | '\\');
    name.chars().take(64).map(|char| if is_allowed(char) { char } else { '?' }).collect()
}

fn is_jwt_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}
