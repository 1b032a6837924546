//! The compact form of a signed token (RFC 7515, 3.1) and its header.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::invalid;
use crate::json::Members;
use crate::problem::Problem;

/// A JWS whose header has been read and whose signature has not been verified.
pub struct Jws<'a> {
    /// All of it.
    pub token: &'a str,
    /// The name of the key.
    pub kid: Option<String>,
    /// The algorithm of the signature.
    pub alg: String,
    /// Header and payload as they were signed.
    pub signing_input: &'a str,
    /// The payload, in base64url.
    pub payload: &'a str,
    /// The signature, in base64url.
    pub signature: &'a str,
}

impl<'a> Jws<'a> {
    /// Reads a token.
    ///
    /// # Errors
    ///
    /// `invalid_token` if it is not a JWS in compact form, or its header is refused: a member twice, an extension that
    /// would have to be understood (`crit`, RFC 7515, 4.1.11; `b64`, RFC 7797), or another `typ` than `JWT` (RFC 7519, 5.1) or
    /// `at+jwt` (RFC 9068, 2.1). Keys in the header are never read, and neither is what RFC 7515 does not define.
    pub fn parse(token: &'a str) -> Result<Self, Problem> {
        let not_signed = || invalid("the token is not a signed JWT");
        let (signing_input, signature) = token.rsplit_once('.').ok_or_else(not_signed)?;
        let (header, payload) = signing_input.split_once('.').ok_or_else(not_signed)?;
        if payload.contains('.') {
            return Err(not_signed());
        }
        let decoded = URL_SAFE_NO_PAD.decode(header).map_err(|_| not_signed())?;
        let malformed = || invalid("the token's header is malformed");
        let header = Members::parse(&decoded).ok_or_else(malformed)?;
        if header.has("crit") || header.has("b64") {
            return Err(invalid("the token's header requires an extension that is not supported"));
        }
        let kid = header.read("kid").map_err(|_| malformed())?;
        let alg = header.read("alg").ok().flatten().ok_or_else(malformed)?;
        let typ: Option<String> = header.read("typ").map_err(|_| malformed())?;
        if !typ.is_none_or(|typ| is_jwt_type(&typ)) {
            return Err(invalid("the token's type is not that of an access token"));
        }
        Ok(Self { token, kid, alg, signing_input, payload, signature })
    }
}

fn is_jwt_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}
