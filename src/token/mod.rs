//! Bearer tokens: JWTs (RFC 7519) signed as JWS (RFC 7515), verified as RFC 8725 recommends.

pub mod claims;
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
use crate::json::Members;
use crate::problem::{Code, Problem};
use crate::update::Access;
use claims::Rules;
use jws::Jws;
use key::Algorithm;
use key_store::KeyStore;

/// Verifies tokens.
pub struct Verifier {
    rules: Rules,
    keys: KeyStore,
    clock: Clock,
}

/// The identity in a verified token; only verification creates one.
#[derive(Debug)]
pub struct Caller {
    subject: Option<String>,
    access: Result<Access, Problem>,
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
    /// `insufficient_scope`, `node_claim_missing`: the caller is authenticated but not authorized.
    pub fn authorize(self) -> Result<Access, Problem> {
        self.access
    }
}

impl Verifier {
    /// Creates a verifier with these rules and keys.
    #[must_use]
    pub fn new(rules: Rules, keys: KeyStore, clock: Clock) -> Self {
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
    /// `invalid_token`, or `keys_unavailable` if there is no key to verify it with before `deadline`.
    pub async fn verify(&self, token: &str, deadline: Instant) -> Result<Caller, Problem> {
        let jws = Jws::parse(token)?;
        let payload = URL_SAFE_NO_PAD.decode(jws.payload).ok();
        let members = payload.as_deref().and_then(Members::parse);
        let claims = members.ok_or_else(|| invalid("the token's claims are malformed"))?;
        let issuer = self.rules.issuer(&claims)?;
        let kid = jws.kid.as_deref();
        let keys = self.keys.keys_for(issuer, kid, deadline).await?;
        if kid.is_some_and(|kid| !keys.set.has_kid(kid)) {
            let detail = "the token's kid names no key";
            return Err(match keys.stale_because {
                Some(reason) => invalid(detail).because(format!("{detail}; {reason}")),
                None => invalid(detail),
            });
        }
        let no_candidate = || invalid("the token's alg is not that of its key");
        let algorithm = Algorithm::from_name(&jws.alg).ok_or_else(no_candidate)?;
        let mut candidates = keys.set.candidates(kid, algorithm).peekable();
        if candidates.peek().is_none() {
            return Err(no_candidate());
        }
        if !candidates.any(|key| key.verifies(&jws, algorithm)) {
            return Err(invalid("the token's signature does not verify"));
        }
        self.rules.validate(&claims, self.clock.now())
    }
}

fn invalid(detail: &'static str) -> Problem {
    Problem::new(Code::InvalidToken, detail)
}
