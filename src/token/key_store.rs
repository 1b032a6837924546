//! The keys of each issuer: from the configuration, or fetched and cached.
//!
//! The words are those of HTTP caches (RFC 9111, RFC 5861): a set is fresh for ten minutes, then stale. A stale set is
//! used while it is revalidated, and where that fails for two hours. Ages are wall-clock time: between invocations the
//! process is frozen, and a monotonic clock may be frozen with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::error::KeysUnavailable;
use super::fetch::{Endpoint, FetchError};
use super::key_set::{KeySet, SkippedKeys};
use crate::clock::Clock;

/// The age up to which a set is fresh.
const FRESH: Duration = Duration::from_mins(10);
/// The age up to which a set is used while the issuer is out of reach.
const STALE_IF_ERROR: Duration = Duration::from_hours(2);
/// Minimum delay after a failed fetch. While a set serves it is doubled with every further failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The most that [`AFTER_FAILURE`] grows to.
const MAX_AFTER_FAILURE: Duration = Duration::from_mins(5);
/// Minimum delay between two fetches for unknown `kid`s.
const AFTER_UNKNOWN_KID: Duration = Duration::from_secs(10);
/// Delay before the second try at the start. Short: the whole start has two seconds.
const BEFORE_SECOND_TRY: Duration = Duration::from_millis(100);
/// The wait after a response for a fetch from an issuer that has failed before. Arbitrary; a healthy issuer takes less.
const WAIT_AFTER_FAILURE: Duration = Duration::from_millis(300);

/// The source of the keys that tokens are verified with.
pub enum KeySource {
    /// The configuration: one set for every issuer.
    Inline(KeySet),
    /// These endpoints, each for the issuers that it [serves](Endpoint::serves).
    Fetched(Vec<Endpoint>),
}

/// The keys of all issuers, fetched when they have to be.
pub enum KeyStore {
    /// One set for every issuer.
    Inline(Arc<KeySet>),
    /// A set for each endpoint. They fail apart.
    Fetched(Vec<Arc<CachedKeySet>>),
}

/// The keys for one token.
pub struct Lookup {
    /// The set.
    pub set: Arc<KeySet>,
    /// The error of the last fetch, if it failed.
    pub stale_because: Option<FetchError>,
}

impl KeyStore {
    /// Creates a store of the keys of `source`, which are fetched through `http` where they are not inline.
    #[must_use]
    pub fn new(source: KeySource, http: &SharedHttpConnector, clock: &Clock) -> Self {
        match source {
            KeySource::Inline(set) => {
                warn_of(&set.skipped);
                Self::Inline(Arc::new(set))
            }
            KeySource::Fetched(endpoints) => Self::Fetched(
                endpoints
                    .into_iter()
                    .map(|endpoint| {
                        Arc::new(CachedKeySet {
                            endpoint,
                            http: http.clone(),
                            clock: clock.clone(),
                            cache: Mutex::default(),
                            fetching: Arc::default(),
                        })
                    })
                    .collect(),
            ),
        }
    }

    /// Fetches the keys of every issuer, where they are not inline, at most until `deadline`. A fetch that fails is
    /// tried once more. Returns the error of each issuer that could not be reached; the first request will try again.
    pub async fn prepare(&self, deadline: Instant) -> Vec<FetchError> {
        let prepared = join_all(self.fetched().iter().map(|set| set.prepare(deadline))).await;
        prepared.into_iter().filter_map(Result::err).collect()
    }

    /// Returns the keys of an accepted issuer. A cached set that has `kid` is returned at once, and revalidated in the
    /// background if it is stale; otherwise the set is fetched first.
    ///
    /// # Errors
    ///
    /// There is no set, or the key cannot be fetched before `deadline`.
    pub async fn keys_for(
        &self,
        issuer: &str,
        kid: Option<&str>,
        deadline: Instant,
    ) -> Result<Lookup, KeysUnavailable> {
        match self {
            Self::Inline(set) => Ok(Lookup { set: Arc::clone(set), stale_because: None }),
            Self::Fetched(sets) => match sets.iter().find(|set| set.endpoint.serves(issuer)) {
                Some(set) => set.keys_for(kid, deadline).await,
                None => Err(KeysUnavailable::NoEndpoint),
            },
        }
    }

    /// Waits for fetches that are under way, at most until `deadline`, and at most 300 ms for an issuer that has failed
    /// before.
    pub async fn finish_background_work(&self, deadline: Instant) {
        join_all(self.fetched().iter().map(|set| set.wait_for_fetch(deadline))).await;
    }

    fn fetched(&self) -> &[Arc<CachedKeySet>] {
        match self {
            Self::Inline(_) => &[],
            Self::Fetched(sets) => sets,
        }
    }
}

/// The last good set of an endpoint.
pub struct CachedKeySet {
    endpoint: Endpoint,
    http: SharedHttpConnector,
    clock: Clock,
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
    /// The end of the last fetch for an unknown `kid`.
    unknown_kid: Option<SystemTime>,
    /// The keys that were skipped when the log last had them.
    skipped: SkippedKeys,
}

/// The use of a cached set for a token.
#[derive(Debug, PartialEq)]
enum Freshness {
    /// The set is usable.
    Fresh,
    /// The set is usable, and should be revalidated.
    Stale,
    /// There is no usable set, or it lacks the key.
    Missing,
}

impl Cache {
    fn set_younger_than(&self, age: Duration, now: SystemTime) -> Option<&Arc<KeySet>> {
        self.set.as_ref().filter(|(_, requested)| age_of(*requested, now) < age).map(|(set, _)| set)
    }

    fn freshness(&self, kid: Option<&str>, now: SystemTime) -> Freshness {
        match self.set_younger_than(STALE_IF_ERROR, now) {
            Some(set) if kid.is_none_or(|kid| set.has_kid(kid)) => {
                if self.set_younger_than(FRESH, now).is_some() {
                    Freshness::Fresh
                } else {
                    Freshness::Stale
                }
            }
            _ => Freshness::Missing,
        }
    }

    fn may_fetch_after_failure(&self, now: SystemTime) -> bool {
        let serves = self.set_younger_than(STALE_IF_ERROR, now).is_some();
        let doublings = if serves { self.failures.saturating_sub(1).min(16) } else { 0 };
        let delay = (AFTER_FAILURE * (1 << doublings)).min(MAX_AFTER_FAILURE);
        self.failure.as_ref().is_none_or(|(_, failed)| age_of(*failed, now) >= delay)
    }

    fn may_fetch_for_unknown_kid(&self, now: SystemTime) -> bool {
        self.unknown_kid.is_none_or(|fetched| age_of(fetched, now) >= AFTER_UNKNOWN_KID)
    }

    fn lookup(&self, now: SystemTime) -> Result<Lookup, KeysUnavailable> {
        let failure = self.failure.as_ref().map(|(error, _)| error.clone());
        match self.set_younger_than(STALE_IF_ERROR, now) {
            Some(set) => Ok(Lookup { set: Arc::clone(set), stale_because: failure }),
            None => Err(failure.map_or(KeysUnavailable::NotFetched, KeysUnavailable::Fetch)),
        }
    }
}

/// Returns how long ago a time was. A time in the future (the clock was set back) counts as equally old.
fn age_of(time: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(time).unwrap_or_else(|error| error.duration())
}

impl CachedKeySet {
    async fn prepare(&self, deadline: Instant) -> Result<(), FetchError> {
        let _fetching = self.fetching.lock().await;
        let Err(first) = self.fetch(Some(deadline)).await else { return Ok(()) };
        // Not where the deadline has come.
        if timeout_at(deadline, sleep(BEFORE_SECOND_TRY)).await.is_ok() && self.fetch(Some(deadline)).await.is_ok() {
            return Ok(());
        }
        Err(first)
    }

    async fn keys_for(self: &Arc<Self>, kid: Option<&str>, deadline: Instant) -> Result<Lookup, KeysUnavailable> {
        let freshness = self.cache().freshness(kid, self.now());
        match freshness {
            Freshness::Fresh => {}
            Freshness::Stale => self.revalidate(),
            Freshness::Missing => self.fetch_missing(kid, deadline).await?,
        }
        self.cache().lookup(self.now())
    }

    /// Fetches the set in the background, unless that is under way or a failure is too recent.
    fn revalidate(self: &Arc<Self>) {
        let Ok(fetching) = Arc::clone(&self.fetching).try_lock_owned() else { return };
        let may_fetch = {
            let (cache, now) = (self.cache(), self.now());
            // Another request may have fetched it just before.
            cache.set_younger_than(FRESH, now).is_none() && cache.may_fetch_after_failure(now)
        };
        if may_fetch {
            let set = Arc::clone(self);
            tokio::spawn(async move {
                // A failure is recorded in the cache.
                let _ = set.fetch(None).await;
                drop(fetching);
            });
        }
    }

    /// Fetches the set for a token whose key it lacks, unless the last fetch is too recent.
    async fn fetch_missing(&self, kid: Option<&str>, deadline: Instant) -> Result<(), KeysUnavailable> {
        let Ok(_fetching) = timeout_at(deadline, self.fetching.lock()).await else {
            return Err(KeysUnavailable::NotInTime);
        };
        let (has_set, may_fetch) = {
            let (cache, now) = (self.cache(), self.now());
            let has_set = cache.set_younger_than(STALE_IF_ERROR, now).is_some();
            let may_fetch = cache.may_fetch_after_failure(now) && (!has_set || cache.may_fetch_for_unknown_kid(now));
            // Another request may have fetched it meanwhile.
            (has_set, may_fetch && cache.freshness(kid, now) == Freshness::Missing)
        };
        if may_fetch {
            if let Err(error) = self.fetch(Some(deadline)).await
                && error.is_cut_off()
            {
                return Err(KeysUnavailable::Fetch(error));
            }
            if has_set {
                self.cache().unknown_kid = Some(self.now());
            }
        }
        Ok(())
    }

    async fn wait_for_fetch(&self, deadline: Instant) {
        let has_failed = self.cache().failures > 0;
        let end = if has_failed { deadline.min(Instant::now() + WAIT_AFTER_FAILURE) } else { deadline };
        // Without an error: the next request finds what has been fetched by then.
        let _ = timeout_at(end, self.fetching.lock()).await;
    }

    /// Fetches the set and records the result. What the deadline cuts off is not recorded: it says nothing about the
    /// issuer. Whoever calls this holds `fetching`.
    async fn fetch(&self, deadline: Option<Instant>) -> Result<(), FetchError> {
        let result = self.endpoint.fetch(&self.http, &self.clock, deadline).await;
        let skipped = match &result {
            Ok((set, _)) => Some(&set.skipped),
            Err(error) => error.skipped(),
        };
        let mut cache = self.cache();
        if let Some(skipped) = skipped
            && cache.skipped != *skipped
        {
            warn_of(skipped);
            cache.skipped.clone_from(skipped);
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
                    cache.failure = Some((error.clone(), self.now()));
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

    fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

fn warn_of(skipped: &SkippedKeys) {
    for key in &skipped.named {
        warn!("a key of the JWK set is not used: {key}");
    }
    if skipped.others > 0 {
        warn!("further keys of the JWK set that are not used: {}", skipped.others);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::body::SdkBody;
    use tokio::time::advance;

    use super::*;
    use crate::token::fetch::FetchUrl;

    const A: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const B: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    /// What an issuer does with a request.
    #[derive(Clone, Copy, Debug)]
    enum Reply {
        Keys(&'static [&'static str]),
        KeysAfter(u64, &'static [&'static str]),
        Status(u16),
        Reset,
        Timeout,
        Hang,
    }
    use Reply::{Hang, Keys, KeysAfter, Reset, Status};

    /// An issuer that does this, and counts how often it is asked.
    #[derive(Clone, Debug, Default)]
    struct Script(Arc<Mutex<Vec<Reply>>>, Arc<AtomicUsize>);

    impl HttpConnector for Script {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            self.1.fetch_add(1, Ordering::Relaxed);
            let reply = {
                let mut replies = self.0.lock().unwrap();
                // The last one again and again.
                if replies.len() > 1 { replies.remove(0) } else { replies[0] }
            };
            let error = || std::io::Error::other("broken").into();
            let response = |status: u16, keys: &[&str]| {
                let body = format!("{{\"keys\":[{}]}}", keys.join(","));
                Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
            };
            HttpConnectorFuture::new(async move {
                match reply {
                    Keys(keys) => response(200, keys),
                    KeysAfter(milliseconds, keys) => {
                        sleep(Duration::from_millis(milliseconds)).await;
                        response(200, keys)
                    }
                    Status(status) => response(status, &[A]),
                    Reset => Err(ConnectorError::io(error())),
                    Reply::Timeout => Err(ConnectorError::timeout(error())),
                    Hang => std::future::pending().await,
                }
            })
        }
    }

    /// A store whose clock goes with tokio's.
    struct World {
        store: KeyStore,
        script: Script,
        clock: Clock,
    }

    impl World {
        fn new(replies: &[Reply]) -> Self {
            let script = Script::default();
            script.0.lock().unwrap().extend(replies);
            let started = Instant::now();
            let clock = Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_hours(24) + started.elapsed());
            Self { store: Self::store(&script, &clock), script, clock }
        }

        fn store(script: &Script, clock: &Clock) -> KeyStore {
            let url = FetchUrl::configured("https://issuer.example/jwks").unwrap();
            let source = KeySource::Fetched(vec![Endpoint::Jwks(url)]);
            KeyStore::new(source, &SharedHttpConnector::new(script.clone()), clock)
        }

        /// With a set that was fetched so many seconds ago, and the replies after that.
        async fn aged(age: u64, replies: &[Reply]) -> Self {
            let world = Self::new(&[Keys(&[A])]);
            assert!(world.store.prepare(later(2_000)).await.is_empty());
            world.replies(replies);
            advance(Duration::from_secs(age)).await;
            world.asked();
            world
        }

        fn replies(&self, replies: &[Reply]) {
            *self.script.0.lock().unwrap() = replies.to_vec();
        }

        /// How often the issuer was asked since the last time.
        fn asked(&self) -> usize {
            self.script.1.swap(0, Ordering::Relaxed)
        }

        /// Whether a token with this `kid` finds its key, lacks it, or has no keys at all.
        async fn ask(&self, kid: &str, left: u64) -> &'static str {
            match self.store.keys_for("issuer", Some(kid), later(left)).await {
                Ok(keys) if keys.set.has_kid(kid) => "found",
                Ok(_) => "lacking",
                Err(_) => "unavailable",
            }
        }

        async fn finish_background_work(&self) {
            self.store.finish_background_work(later(60_000)).await;
        }
    }

    fn later(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    /// Seconds of tokio's clock that something takes.
    async fn seconds<T>(work: impl Future<Output = T>) -> (T, f64) {
        let started = Instant::now();
        let result = work.await;
        (result, started.elapsed().as_secs_f64())
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_that_can_answer_is_returned_at_once_and_revalidated_when_stale() {
        for (age, replies, asked) in [
            (599, &[Status(500)][..], 0),
            (600, &[Keys(&[A])], 1),
            (600, &[KeysAfter(200, &[A])], 1),
            (600, &[Status(500)], 1),
            (7_199, &[Status(500)], 1),
            (7_199, &[Hang], 1),
        ] {
            let world = World::aged(age, replies).await;
            for _ in 0..3 {
                assert_eq!(seconds(world.ask("a", 9_000)).await, ("found", 0.0), "{age}: {replies:?}");
            }
            world.finish_background_work().await;
            assert_eq!(world.asked(), asked, "{age}: {replies:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_revalidation_brings_what_the_issuer_has_now() {
        let world = World::aged(600, &[KeysAfter(200, &[B])]).await;
        assert_eq!(world.ask("a", 9_000).await, "found");
        world.finish_background_work().await;
        assert_eq!((world.ask("b", 9_000).await, world.asked()), ("found", 1));
        // The old key is gone, and the set is new: an unknown key is asked for once.
        assert_eq!((world.ask("a", 9_000).await, world.asked()), ("lacking", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_set_the_issuer_has_to_be_asked() {
        for (replies, expected, asked) in [
            (&[Keys(&[A])][..], "found", 1),
            (&[Keys(&[B])], "lacking", 1),
            (&[Status(500)], "unavailable", 1),
            (&[Hang], "unavailable", 1),
            (&[Reset, Keys(&[A])], "unavailable", 1),
            (&[Reply::Timeout, Keys(&[A])], "unavailable", 1),
        ] {
            for age in [None, Some(7_200)] {
                let world = match age {
                    None => World::new(replies),
                    Some(age) => World::aged(age, replies).await,
                };
                assert_eq!(world.ask("a", 9_000).await, expected, "{replies:?}");
                assert_eq!(world.asked(), asked, "{replies:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_kid_is_asked_for_once_in_ten_seconds() {
        let world = World::aged(1, &[Keys(&[A])]).await;
        for (wait, asked) in [(0, 1), (9, 0), (1, 1), (3, 0), (7, 1)] {
            advance(Duration::from_secs(wait)).await;
            assert_eq!((world.ask("b", 9_000).await, world.asked()), ("lacking", asked));
        }
        // A token without kid causes no fetch.
        advance(Duration::from_mins(1)).await;
        assert!(world.store.keys_for("issuer", None, later(9_000)).await.is_ok());
        assert_eq!(world.asked(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_fetch_serves_everyone_who_waits_for_it() {
        for (age, reply, outcome, took) in
            [(1, KeysAfter(300, &[A, B]), "found", 0.3), (1, Hang, "lacking", 2.0), (600, Hang, "lacking", 2.0)]
        {
            let world = World::aged(age, &[reply]).await;
            let asks = (0..20).map(|_| world.ask("b", 9_000));
            assert_eq!(seconds(join_all(asks)).await, (vec![outcome; 20], took), "{age}: {reply:?}");
            assert_eq!(world.asked(), 1, "{age}: {reply:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_deadline_cuts_off_is_unavailable_and_holds_nothing_back() {
        for age in [None, Some(1), Some(600), Some(7_200)] {
            let world = match age {
                None => World::new(&[Hang, Hang, Keys(&[A, B])]),
                Some(age) => World::aged(age, &[Hang, Hang, Keys(&[A, B])]).await,
            };
            for _ in 0..2 {
                assert_eq!(seconds(world.ask("b", 700)).await, ("unavailable", 0.7), "{age:?}");
            }
            assert_eq!((world.ask("b", 9_000).await, world.asked()), ("found", 3), "{age:?}");
        }
        // Nor does it for those who have waited with it and have more time.
        let world = World::aged(1, &[Hang, Keys(&[A, B])]).await;
        let both = tokio::join!(world.ask("b", 700), world.ask("b", 9_000));
        assert_eq!((both, world.asked()), (("unavailable", "found"), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_the_issuer_is_left_alone_for_five_seconds() {
        let world = World::new(&[Status(500)]);
        for (wait, asked) in [(0, 1), (4, 0), (1, 1), (4, 0), (1, 1), (5, 1), (60, 1)] {
            advance(Duration::from_secs(wait)).await;
            assert_eq!((world.ask("a", 9_000).await, world.asked()), ("unavailable", asked), "after {wait} s");
        }
        advance(Duration::from_secs(5)).await;
        world.replies(&[Keys(&[A])]);
        assert_eq!(world.ask("a", 9_000).await, "found");
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_set_serves_a_failing_issuer_is_asked_less_and_less_often() {
        for reply in [Status(500), Hang, Keys(&[]), Reset] {
            let world = World::aged(600, &[reply]).await;
            let mut times = Vec::new();
            for second in 0..1_500_u64 {
                assert_eq!(seconds(world.ask("a", 9_000)).await, ("found", 0.0), "{reply:?}");
                world.finish_background_work().await;
                if world.asked() > 0 {
                    times.push(second);
                }
                advance(Duration::from_secs(1)).await;
            }
            let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            // A fetch that hangs takes two seconds, in part or all of which the loop goes on.
            let expected = [5, 10, 20, 40, 80, 160, 300, 300, 300];
            assert!(gaps.len() >= 9, "{reply:?}: {gaps:?}");
            assert!(gaps.iter().zip(expected).all(|(gap, expected)| gap.abs_diff(expected) <= 3), "{gaps:?}");
            world.replies(&[Keys(&[A, B])]);
            advance(Duration::from_mins(5)).await;
            assert_eq!(world.ask("b", 9_000).await, "found", "{reply:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_first_revalidation_that_hangs_is_waited_for() {
        let world = World::aged(600, &[Hang]).await;
        for expected in [2.0, 0.3, 0.3] {
            assert_eq!(world.ask("a", 9_000).await, "found");
            let ((), took) = seconds(world.finish_background_work()).await;
            assert!((took - expected).abs() < 0.01, "{took}");
            sleep(Duration::from_mins(6)).await;
        }
        // What is not waited for goes on, and the next request finds what it has brought.
        world.replies(&[KeysAfter(1_000, &[B])]);
        assert_eq!(world.ask("a", 9_000).await, "found");
        assert!((seconds(world.finish_background_work()).await.1 - 0.3).abs() < 0.01);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.ask("b", 9_000).await, "found");
    }

    /// So many invocations at once find the set stale during an outage, and ask for a key that it then brings.
    #[tokio::test(start_paused = true)]
    async fn one_outage_is_one_fetch_at_a_time_however_many_invocations_run() {
        // What the issuer does, for so long; how often it is asked; the longest that an invocation takes, with its wait
        // after the response; and when a new key is accepted after the outage.
        for (reply, outage, fetches, longest, new_key) in
            [(Status(500), 2_000, 1, 0.0, 4.0), (Hang, 2_000, 1, 2.0, 6.0), (Hang, 10_000, 2, 2.0, 9.0)]
        {
            for workers in [1, 8, 16] {
                let world = World::aged(600, &[reply]).await;
                let ended = later(outage);
                let work = (0..workers).map(async |worker| {
                    sleep(Duration::from_millis(worker)).await;
                    let mut longest = 0.0_f64;
                    while Instant::now() < ended {
                        let invocation = async {
                            assert_eq!(world.ask("a", 3_000).await, "found");
                            world.store.finish_background_work(later(3_000)).await;
                        };
                        longest = longest.max(seconds(invocation).await.1);
                        sleep(Duration::from_millis(20)).await;
                    }
                    longest
                });
                let took = join_all(work).await.into_iter().fold(0.0, f64::max);
                let asked = world.asked();
                world.replies(&[Keys(&[A, B])]);
                let (refused, waited) = seconds(async {
                    let mut refused = 0;
                    while world.ask("b", 3_000).await != "found" {
                        refused += 1;
                        sleep(Duration::from_millis(500)).await;
                    }
                    refused
                })
                .await;
                let row = format!(
                    "{reply:?} for {outage} ms, {workers} at once: {asked} fetches, longest {took:.1} s, new key after {waited:.1} s, {refused} times refused"
                );
                assert_eq!(asked, fetches, "{row}");
                assert!(took <= longest + 0.05 && waited <= new_key, "{row}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_set_is_as_old_as_the_request_for_it() {
        for (took, expected) in [(599, 0), (600, 1)] {
            let world = World::new(&[KeysAfter(1_000, &[A]), Keys(&[A])]);
            let frozen = Arc::new(Mutex::new(Duration::ZERO));
            let clock = {
                let (frozen, clock) = (Arc::clone(&frozen), world.clock.clone());
                Clock::new(move || clock.now() + *frozen.lock().unwrap())
            };
            let world = World { store: World::store(&world.script, &clock), ..world };
            let frozen_meanwhile = async {
                sleep(Duration::from_millis(500)).await;
                *frozen.lock().unwrap() = Duration::from_secs(took - 1);
            };
            let (errors, ()) = tokio::join!(world.store.prepare(later(2_000)), frozen_meanwhile);
            assert!(errors.is_empty());
            world.asked();
            assert_eq!(world.ask("a", 9_000).await, "found");
            world.finish_background_work().await;
            assert_eq!(world.asked(), expected, "after {took} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_fails_at_the_start_is_tried_once_more() {
        for (replies, prepared, asked) in [
            (&[Keys(&[A])][..], true, 1),
            (&[Status(500), Keys(&[A])], true, 2),
            (&[Keys(&[]), Keys(&[A])], true, 2),
            (&[Status(500)], false, 2),
            (&[Hang], false, 1),
            (&[Status(500), Hang], false, 2),
        ] {
            let world = World::new(replies);
            let (result, took) = seconds(world.store.prepare(later(1_950))).await;
            assert_eq!((result.is_empty(), world.asked()), (prepared, asked), "{replies:?}");
            assert!(took <= 1.951, "{took}");
            // What the end of the start cut off is not a failure.
            world.replies(&[Keys(&[A])]);
            let expected = if matches!(replies, [Status(500)] | [Status(500), Hang]) { "unavailable" } else { "found" };
            assert_eq!(world.ask("a", 9_000).await, expected, "{replies:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_does_not_keep_a_set() {
        let set_back = Arc::new(Mutex::new(false));
        let clock = {
            let set_back = Arc::clone(&set_back);
            Clock::new(move || {
                SystemTime::UNIX_EPOCH + Duration::from_hours(if *set_back.lock().unwrap() { 1 } else { 24 })
            })
        };
        let script = Script::default();
        script.0.lock().unwrap().push(Keys(&[A]));
        let store = World::store(&script, &clock);
        assert!(store.prepare(later(2_000)).await.is_empty());
        *set_back.lock().unwrap() = true;
        *script.0.lock().unwrap() = vec![Status(500)];
        assert!(store.keys_for("issuer", Some("a"), later(2_000)).await.is_err());
    }
}
