//! Bearer tokens: JWTs (RFC 7519) signed as JWS (RFC 7515), verified as RFC 8725 recommends.

pub mod claims;
pub mod error;
pub mod fetch;
pub mod issuer;
pub mod jwk;
pub mod jws;
pub mod key;
pub mod key_set;
pub mod key_store;

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::Instant;

use claims::{Caller, ClaimRules};
use error::{InvalidToken, Part};
use fetch::{FetchError, Fetcher};
use issuer::Keys;
use jws::Jws;
use key_store::{CachedKeySet, TokenError};

/// Verifies tokens.
pub struct Verifier {
    rules: ClaimRules,
    fetcher: Fetcher,
}

impl Verifier {
    /// Creates a verifier with these rules, which fetches keys with `fetcher`.
    #[must_use]
    pub fn new(rules: ClaimRules, fetcher: Fetcher) -> Self {
        Self { rules, fetcher }
    }

    /// Fetches the keys of every issuer, if they are not inline, at most until `deadline`. A fetch that fails is tried once
    /// more. Returns the error of each set that could not be fetched; the first request will try again.
    pub async fn prepare(&self, deadline: Instant) -> Vec<FetchError> {
        if let Some(Keys::Inline(set)) = self.rules.issuers.first().map(|issuer| &issuer.keys) {
            // One set for all issuers.
            set.warnings.log();
        }
        let prepared = join_all(self.fetched().into_iter().map(|set| set.prepare(&self.fetcher, deadline))).await;
        prepared.into_iter().filter_map(Result::err).collect()
    }

    /// Verifies a token.
    ///
    /// # Errors
    ///
    /// The token is invalid, or there is no key to verify it with before `deadline`.
    pub async fn verify(&self, token: &str, deadline: Instant) -> Result<Caller, TokenError> {
        let jws = Jws::parse(token)?;
        let payload = jws.payload()?;
        let claims = jws::object(Part::Payload, &payload)?;
        match &self.rules.issuer(&claims)?.keys {
            Keys::Inline(set) => set.verify(&jws).map_err(InvalidToken::from)?,
            Keys::Fetched(set) => set.verify(&jws, &self.fetcher, deadline).await?,
        }
        Ok(self.rules.validate(&claims, self.fetcher.clock.now())?)
    }

    /// Waits for fetches that are under way, at most until `deadline`, and at most 300 ms for an issuer that has failed
    /// before.
    pub async fn finish_background_work(&self, deadline: Instant) {
        join_all(self.fetched().into_iter().map(|set| set.wait_for_fetch(deadline))).await;
    }

    /// Returns the sets that are fetched, each once.
    fn fetched(&self) -> Vec<&Arc<CachedKeySet>> {
        let mut sets = Vec::<&Arc<CachedKeySet>>::new();
        for issuer in &self.rules.issuers {
            if let Keys::Fetched(set) = &issuer.keys
                && !sets.iter().any(|known| Arc::ptr_eq(known, set))
            {
                sets.push(set);
            }
        }
        sets
    }
}
