//! Key sets that are fetched and cached.
//!
//! The words are those of HTTP caches (RFC 9111, RFC 5861): a set is fresh for ten minutes, then stale. A stale set is
//! used while it is revalidated, and for two hours if that fails. Ages are wall-clock time: between invocations the
//! process is frozen, and a monotonic clock may be frozen with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{InvalidToken, Unverified};
use super::fetch::{Endpoint, FetchError, Fetcher};
use super::jws::Jws;
use super::key_set::{KeySet, Warnings};
use crate::problem::{Code, Problem};

/// The age up to which a set is fresh.
const FRESH: Duration = Duration::from_mins(10);
/// The age up to which a set is used while the issuer is out of reach.
const STALE_IF_ERROR: Duration = Duration::from_hours(2);
/// Minimum delay after a failed fetch. While a set serves it is doubled with every further failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The most that [`AFTER_FAILURE`] grows to.
const MAX_AFTER_FAILURE: Duration = Duration::from_mins(5);
/// Minimum delay between two refetches for tokens that no key of the set verifies.
const BETWEEN_REFETCHES: Duration = Duration::from_secs(10);
/// Delay before the second try at the start. Short: the whole start has two seconds.
const BEFORE_SECOND_TRY: Duration = Duration::from_millis(100);
/// The wait after a response for a fetch from an issuer that has failed before. Arbitrary; a healthy issuer takes less.
const WAIT_AFTER_FAILURE: Duration = Duration::from_millis(300);

/// The last good set of an endpoint. The failure of one does not affect the others.
pub struct CachedKeySet {
    /// Where the set is fetched.
    pub endpoint: Endpoint,
    cache: Mutex<Cache>,
    /// Held while fetching, so that there is one fetch at a time, however many invocations want it.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Cache {
    /// The last good set, and when it was requested.
    set: Option<(Arc<KeySet>, SystemTime)>,
    /// The last failure, if no fetch has succeeded since, and when it was.
    failure: Option<(FetchError, SystemTime)>,
    /// The number of fetches that failed since the last success.
    failures: u32,
    /// The end of the last refetch for a token that no key of the set verified.
    refetched: Option<SystemTime>,
    /// What the log last said of a set.
    logged: Warnings,
}

impl Cache {
    fn set_younger_than(&self, age: Duration, now: SystemTime) -> Option<&Arc<KeySet>> {
        self.set.as_ref().filter(|(_, requested)| age_of(*requested, now) < age).map(|(set, _)| set)
    }

    fn usable_set(&self, now: SystemTime) -> Option<&Arc<KeySet>> {
        self.set_younger_than(STALE_IF_ERROR, now)
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.set_younger_than(FRESH, now).is_some()
    }

    fn may_fetch_after_failure(&self, now: SystemTime) -> bool {
        let serves = self.usable_set(now).is_some();
        let doublings = if serves { self.failures.saturating_sub(1).min(16) } else { 0 };
        let delay = (AFTER_FAILURE * (1 << doublings)).min(MAX_AFTER_FAILURE);
        self.failure.as_ref().is_none_or(|(_, failed)| age_of(*failed, now) >= delay)
    }

    fn may_refetch(&self, now: SystemTime) -> bool {
        self.refetched.is_none_or(|fetched| age_of(fetched, now) >= BETWEEN_REFETCHES)
    }

    /// Returns the usable set, and the error of the last fetch if it failed.
    fn lookup(&self, now: SystemTime) -> Result<(Arc<KeySet>, Option<FetchError>), KeysUnavailable> {
        let failure = self.failure.as_ref().map(|(error, _)| error.clone());
        match self.usable_set(now) {
            Some(set) => Ok((Arc::clone(set), failure)),
            None => Err(failure.map_or(KeysUnavailable::NotFetched, KeysUnavailable::Fetch)),
        }
    }
}

/// Returns how long ago a time was. A time in the future (the clock was set back) counts as equally old.
fn age_of(time: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(time).unwrap_or_else(|error| error.duration())
}

impl CachedKeySet {
    /// Creates a cache without a set.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, cache: Mutex::default(), fetching: Arc::default() }
    }

    /// Fetches the set at the start, at most until `deadline`. A fetch that fails is tried once more.
    ///
    /// # Errors
    ///
    /// That of the first try, if both fail.
    pub async fn prepare(&self, fetcher: &Fetcher, deadline: Instant) -> Result<(), FetchError> {
        let _fetching = self.fetching.lock().await;
        let Err(first) = self.fetch(fetcher, Some(deadline)).await else { return Ok(()) };
        // Not if the deadline has come.
        let is_in_time = timeout_at(deadline, sleep(BEFORE_SECOND_TRY)).await.is_ok();
        if is_in_time && self.fetch(fetcher, Some(deadline)).await.is_ok() {
            return Ok(());
        }
        Err(first)
    }

    /// Verifies the signature of a token. If a cached set verifies it, that is done at once, and the set is revalidated in
    /// the background if it is stale. If none does, the issuer may have published the key meanwhile: under a new `kid`,
    /// without one, or under one that it had before. So the set is fetched first, and the token is judged by what that
    /// brings.
    ///
    /// # Errors
    ///
    /// No key verifies it, there is no set, or the set cannot be fetched before `deadline`.
    pub async fn verify(
        self: &Arc<Self>,
        jws: &Jws<'_>,
        fetcher: &Fetcher,
        deadline: Instant,
    ) -> Result<(), TokenError> {
        if jws.algorithm.is_symmetric() {
            // No fetch can bring such a key.
            return Err(InvalidToken::from(Unverified::Algorithm).into());
        }
        let now = fetcher.clock.now();
        let (cached, is_fresh) = {
            let cache = self.cache();
            (cache.usable_set(now).cloned(), cache.is_fresh(now))
        };
        let judged = cached.map(|set| (set.verify(jws), set));
        if let Some((Ok(()), _)) = judged {
            if !is_fresh {
                self.revalidate(fetcher);
            }
            return Ok(());
        }
        self.refetch(judged.as_ref().map(|(_, set)| set), fetcher, deadline).await?;
        let (set, last_error) = self.cache().lookup(fetcher.clock.now())?;
        let verified = match judged {
            Some((verified, judged)) if Arc::ptr_eq(&judged, &set) => verified,
            _ => set.verify(jws),
        };
        verified.map_err(|reason| TokenError::Invalid { reason: reason.into(), last_error })
    }

    /// Fetches the set in the background, unless that is under way or a failure is too recent.
    fn revalidate(self: &Arc<Self>, fetcher: &Fetcher) {
        let Ok(fetching) = Arc::clone(&self.fetching).try_lock_owned() else { return };
        let may_fetch = {
            let (cache, now) = (self.cache(), fetcher.clock.now());
            // Another request may have fetched it just before.
            !cache.is_fresh(now) && cache.may_fetch_after_failure(now)
        };
        if may_fetch {
            let (set, fetcher) = (Arc::clone(self), fetcher.clone());
            tokio::spawn(async move {
                // A failure is recorded in the cache.
                let _ = set.fetch(&fetcher, None).await;
                drop(fetching);
            });
        }
    }

    /// Fetches the set for a token that `judged` does not verify, or for want of any set, unless the last fetch is too
    /// recent. If another request or a revalidation is fetching it, that is the fetch.
    async fn refetch(
        &self,
        judged: Option<&Arc<KeySet>>,
        fetcher: &Fetcher,
        deadline: Instant,
    ) -> Result<(), KeysUnavailable> {
        let Ok(_fetching) = timeout_at(deadline, self.fetching.lock()).await else {
            return Err(KeysUnavailable::NotInTime);
        };
        let now = fetcher.clock.now();
        let (has_set, may_fetch) = {
            let mut cache = self.cache();
            let has_set = cache.usable_set(now).is_some();
            let is_judged = |set: &Arc<KeySet>| judged.is_some_and(|judged| Arc::ptr_eq(judged, set));
            if cache.usable_set(now).is_some_and(|set| !is_judged(set)) {
                // Fetched meanwhile.
                if judged.is_some() {
                    cache.refetched = Some(now);
                }
                return Ok(());
            }
            (has_set, cache.may_fetch_after_failure(now) && (!has_set || cache.may_refetch(now)))
        };
        if may_fetch {
            if let Err(error) = self.fetch(fetcher, Some(deadline)).await
                && error.is_cut_off()
            {
                return Err(KeysUnavailable::Fetch(error));
            }
            if has_set {
                self.cache().refetched = Some(fetcher.clock.now());
            }
        }
        Ok(())
    }

    /// Waits for a fetch that is under way, at most until `deadline`, and at most 300 ms if the issuer has failed before.
    pub async fn wait_for_fetch(&self, deadline: Instant) {
        let has_failed = self.cache().failures > 0;
        let end = if has_failed { deadline.min(Instant::now() + WAIT_AFTER_FAILURE) } else { deadline };
        // Without an error: the next request finds what has been fetched by then.
        let _ = timeout_at(end, self.fetching.lock()).await;
    }

    /// Fetches the set and records the result. What the deadline cuts off is not recorded: it says nothing about the
    /// issuer. Whoever calls this holds `fetching`.
    async fn fetch(&self, fetcher: &Fetcher, deadline: Option<Instant>) -> Result<(), FetchError> {
        let result = fetcher.key_set(&self.endpoint, deadline).await;
        let warnings = match &result {
            Ok((set, _)) => Some(set.warnings.clone()),
            Err(error) => error.skipped().map(|skipped| Warnings { skipped: skipped.clone(), ..Warnings::default() }),
        };
        let mut cache = self.cache();
        if let Some(warnings) = warnings
            && cache.logged != warnings
        {
            warnings.log();
            cache.logged = warnings;
        }
        match result {
            Ok((set, requested)) => {
                cache.set = Some((Arc::new(set), requested));
                cache.failure = None;
                cache.failures = 0;
                Ok(())
            }
            Err(error) => {
                if !error.is_cut_off() {
                    cache.failure = Some((error.clone(), fetcher.clock.now()));
                    cache.failures = cache.failures.saturating_add(1);
                }
                Err(error)
            }
        }
    }

    /// The guard must not be held across an `.await`.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason why a token is not verified.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The token is at fault.
    #[error("{reason}")]
    Invalid {
        /// The first rule that fails.
        reason: InvalidToken,
        /// The error of the last fetch, if it failed: the cached set may lack a new key.
        last_error: Option<FetchError>,
    },
    /// There are no keys to verify it with.
    #[error(transparent)]
    Keys(#[from] KeysUnavailable),
}

/// The reason why there are no keys. `Display` is the `reason` in the log.
#[derive(Debug, Error)]
pub enum KeysUnavailable {
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

impl From<InvalidToken> for TokenError {
    fn from(reason: InvalidToken) -> Self {
        Self::Invalid { reason, last_error: None }
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid { reason, last_error } => {
                let detail = reason.to_string();
                let problem = Self::new(Code::InvalidToken, detail.clone());
                match last_error {
                    Some(error) => problem.because(format!("{detail}; {error}")),
                    None => problem,
                }
            }
            TokenError::Keys(error) => {
                Self::new(Code::KeysUnavailable, "the issuer's keys cannot be fetched").because(error.to_string())
            }
        }
    }
}
