//! The compact form of a signed token (RFC 7515, 3.1) and its header.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::InvalidToken;
use crate::json::UniqueMembers;

/// A JWS whose header has been read and whose signature has not been verified.
pub struct Jws<'a> {
    /// The name of the key.
    pub kid: Option<String>,
    /// The algorithm of the signature.
    pub alg: String,
    /// The payload, in base64url.
    pub payload: &'a str,
}

impl<'a> Jws<'a> {
    /// Reads a token.
    ///
    /// # Errors
    ///
    /// It is not a JWS in compact form, or its header is refused. Keys in the header are never read, and neither is what
    /// RFC 7515 does not define.
    pub fn parse(token: &'a str) -> Result<Self, InvalidToken> {
        let (signing_input, _) = token.rsplit_once('.').ok_or(InvalidToken::NotSigned)?;
        let (header, payload) = signing_input.split_once('.').ok_or(InvalidToken::NotSigned)?;
        if payload.contains('.') {
            return Err(InvalidToken::NotSigned);
        }
        let decoded = URL_SAFE_NO_PAD.decode(header).map_err(|_| InvalidToken::NotSigned)?;
        let header = UniqueMembers::parse(&decoded).ok_or(InvalidToken::Header)?;
        if header.has("crit") || header.has("b64") {
            return Err(InvalidToken::Extension);
        }
        let kid = header.read("kid").map_err(|_| InvalidToken::Header)?;
        let alg = header.read("alg").ok().flatten().ok_or(InvalidToken::Header)?;
        let typ: Option<String> = header.read("typ").map_err(|_| InvalidToken::Header)?;
        if !typ.is_none_or(|typ| is_jwt_type(&typ)) {
            return Err(InvalidToken::Type);
        }
        Ok(Self { kid, alg, payload })
    }
}

fn is_jwt_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}
