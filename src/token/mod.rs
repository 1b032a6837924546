//! Bearer tokens: JWTs (RFC 7519) signed as JWS (RFC 7515), verified as RFC 8725 recommends.

pub mod claims;
pub mod error;
pub mod fetch;
pub mod jwk;
pub mod jws;
pub mod key;
pub mod key_set;
pub mod key_store;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::json::UniqueMembers;
use crate::update::Access;
use claims::ClaimRules;
use error::{Forbidden, InvalidToken, TokenError};
use jws::Jws;
use key::Algorithm;
use key_store::{KeyStore, Lookup};

/// Verifies tokens.
pub struct Verifier {
    rules: ClaimRules,
    keys: KeyStore,
    clock: Clock,
}

/// The identity in a verified token; only verification creates one.
#[derive(Debug)]
pub struct Caller {
    subject: Option<String>,
    access: Result<Access, Forbidden>,
}

impl Caller {
    /// Returns `sub`, if it is a string.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Returns the distributors that the caller may update.
    ///
    /// # Errors
    ///
    /// The caller is authenticated but not authorized.
    pub fn authorize(self) -> Result<Access, Forbidden> {
        self.access
    }
}

impl Verifier {
    /// Creates a verifier with these rules and keys.
    #[must_use]
    pub fn new(rules: ClaimRules, keys: KeyStore, clock: Clock) -> Self {
        Self { rules, keys, clock }
    }

    /// Returns the keys that tokens are verified with.
    #[must_use]
    pub fn keys(&self) -> &KeyStore {
        &self.keys
    }

    /// Verifies a token.
    ///
    /// # Errors
    ///
    /// The token is invalid, or there is no key to verify it with before `deadline`.
    pub async fn verify(&self, token: &str, deadline: Instant) -> Result<Caller, TokenError> {
        let jws = Jws::parse(token)?;
        let payload = URL_SAFE_NO_PAD.decode(jws.payload).ok();
        let claims = payload.as_deref().and_then(UniqueMembers::parse).ok_or(InvalidToken::Claims)?;
        let issuer = self.rules.issuer(&claims)?;
        let kid = jws.kid.as_deref();
        let Lookup { set, stale_because } = self.keys.keys_for(issuer, kid, deadline).await?;
        if kid.is_some_and(|kid| !set.has_kid(kid)) {
            return Err(InvalidToken::UnknownKid { stale_because }.into());
        }
        let algorithm = Algorithm::from_name(&jws.alg).ok_or(InvalidToken::Algorithm)?;
        let mut candidates = set.candidates(kid, algorithm).peekable();
        if candidates.peek().is_none() {
            return Err(InvalidToken::Algorithm.into());
        }
        if !candidates.any(|key| key.verifies(token, algorithm)) {
            return Err(InvalidToken::Signature.into());
        }
        Ok(self.rules.validate(&claims, self.clock.now())?)
    }
}
