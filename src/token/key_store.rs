//! The keys of each issuer: from the configuration, or fetched and kept for a while.
//!
//! Ages are wall-clock time: between invocations the process is frozen, and a monotonic clock may be frozen with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::key_set::{KeySet, KeySetError, Skipped};
use super::remote::{FetchError, Location};
use crate::clock::Clock;
use crate::problem::{Code, Problem};

/// The age at which a set is fetched again.
const MAX_AGE: Duration = Duration::from_mins(10);
/// The age up to which a set is used while the issuer is out of reach.
const MAX_STALE: Duration = Duration::from_hours(2);
/// Minimum delay after a failed fetch. While a set serves it is doubled with every further failure.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// The most that [`AFTER_FAILURE`] grows to.
const MAX_AFTER_FAILURE: Duration = Duration::from_mins(5);
/// Minimum delay between two fetches for unknown `kid`s.
const AFTER_UNKNOWN_KID: Duration = Duration::from_secs(10);
/// Delay before the second try at the start: a moment, since the start is short.
const BEFORE_SECOND_TRY: Duration = Duration::from_millis(100);

/// The wait for a renewal after a failure. Arbitrary; a healthy issuer takes less.
const SETTLE_AFTER_FAILURE: Duration = Duration::from_millis(300);

/// The source of the keys that tokens are verified with.
pub enum KeySource {
    /// The configuration: one set for every issuer.
    Inline(KeySet),
    /// These places, each for the issuers that it [serves](Location::serves).
    Remote(Vec<Location>),
}

/// The keys of all issuers, fetched when they have to be.
pub struct KeyStore(Sets);

enum Sets {
    Inline(Arc<KeySet>),
    Remote(Vec<Arc<Remote>>),
}

/// The keys for one token.
pub struct Keys {
    /// The set.
    pub set: Arc<KeySet>,
    /// The error of the last fetch, if it failed.
    pub stale_because: Option<FetchError>,
}

impl KeyStore {
    /// Creates a store of the keys of `source`, which are fetched through `http` where they are not inline.
    #[must_use]
    pub fn new(source: KeySource, http: &SharedHttpConnector, clock: &Clock) -> Self {
        let remote = |location| {
            Arc::new(Remote {
                location,
                http: http.clone(),
                clock: clock.clone(),
                cache: Mutex::default(),
                fetching: tokio::sync::Mutex::default(),
                renewal: Mutex::default(),
            })
        };
        match source {
            KeySource::Inline(set) => {
                warn_of(&set.skipped);
                Self(Sets::Inline(Arc::new(set)))
            }
            KeySource::Remote(locations) => Self(Sets::Remote(locations.into_iter().map(remote).collect())),
        }
    }

    /// Fetches the keys of every issuer, where they are not inline, at most until `deadline`. A fetch that fails is
    /// tried once more.
    ///
    /// # Errors
    ///
    /// The error of each issuer that could not be reached. The first request will try again.
    pub async fn prepare(&self, deadline: Instant) -> Result<(), Vec<FetchError>> {
        let prepared = join_all(self.remotes().iter().map(|remote| remote.prepare(deadline))).await;
        let errors: Vec<_> = prepared.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Returns the keys of an accepted issuer. If the issuer has published `kid`, it is among them; a set that can
    /// do is returned at once, and renewed in the background if it is old.
    ///
    /// # Errors
    ///
    /// `keys_unavailable` if there is no set, or the key cannot be fetched before `deadline`.
    pub async fn keys_for(&self, issuer: &str, kid: Option<&str>, deadline: Instant) -> Result<Keys, Problem> {
        match &self.0 {
            Sets::Inline(set) => Ok(Keys { set: Arc::clone(set), stale_because: None }),
            Sets::Remote(remotes) => match remotes.iter().find(|remote| remote.location.serves(issuer)) {
                Some(remote) => Remote::keys_for(remote, kid, deadline).await,
                None => Err(unavailable("the issuer has no keys")),
            },
        }
    }

    /// Waits for renewals that are under way, at most until `deadline`: the process may be frozen afterwards. An issuer
    /// that has failed before gets only a moment, so that while it is out of reach it holds up no second request.
    pub async fn settle(&self, deadline: Instant) {
        for remote in self.remotes() {
            let moment = Instant::now() + SETTLE_AFTER_FAILURE;
            let has_failed = remote.cache().failures > 0;
            let deadline = if has_failed { deadline.min(moment) } else { deadline };
            let renewal = lock(&remote.renewal).take();
            if let Some(mut renewal) = renewal
                && timeout_at(deadline, &mut renewal).await.is_err()
            {
                *lock(&remote.renewal) = Some(renewal);
            }
        }
    }

    fn remotes(&self) -> &[Arc<Remote>] {
        match &self.0 {
            Sets::Inline(_) => &[],
            Sets::Remote(remotes) => remotes,
        }
    }
}

/// A set that is fetched.
struct Remote {
    location: Location,
    http: SharedHttpConnector,
    clock: Clock,
    cache: Mutex<Cache>,
    /// Held while fetching, so that one fetch serves everyone who waits for it.
    fetching: tokio::sync::Mutex<()>,
    /// The renewal in the background, until someone has waited for it.
    renewal: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Cache {
    /// The last good set, and when it was fetched.
    set: Option<(Arc<KeySet>, SystemTime)>,
    /// The last failure, if no fetch has succeeded since, and when it was.
    failure: Option<(FetchError, SystemTime)>,
    /// The number of fetches that failed since the last success.
    failures: u32,
    /// The end of the last fetch for an unknown `kid`.
    unknown_kid: Option<SystemTime>,
    /// The keys that were skipped when the log last had them.
    skipped: Vec<Skipped>,
}

/// The use of a cached set for a token.
#[derive(Debug, PartialEq)]
enum Standing {
    /// The set will do.
    Current,
    /// The set will do, and should be renewed.
    Old,
    /// It has no set, or one without the key.
    Lacking,
}

impl Cache {
    fn set_younger_than(&self, age: Duration, now: SystemTime) -> Option<&Arc<KeySet>> {
        self.set.as_ref().filter(|(_, fetched)| age_of(*fetched, now) < age).map(|(set, _)| set)
    }

    fn standing(&self, kid: Option<&str>, now: SystemTime) -> Standing {
        match self.set_younger_than(MAX_STALE, now) {
            Some(set) if kid.is_none_or(|kid| set.has_kid(kid)) => {
                if self.set_younger_than(MAX_AGE, now).is_some() {
                    Standing::Current
                } else {
                    Standing::Old
                }
            }
            _ => Standing::Lacking,
        }
    }

    fn may_fetch_after_failure(&self, now: SystemTime) -> bool {
        let serves = self.set_younger_than(MAX_STALE, now).is_some();
        let doublings = if serves { self.failures.saturating_sub(1).min(16) } else { 0 };
        let delay = (AFTER_FAILURE * (1 << doublings)).min(MAX_AFTER_FAILURE);
        self.failure.as_ref().is_none_or(|(_, failed)| age_of(*failed, now) >= delay)
    }

    fn may_fetch_for_unknown_kid(&self, now: SystemTime) -> bool {
        self.unknown_kid.is_none_or(|fetched| age_of(fetched, now) >= AFTER_UNKNOWN_KID)
    }

    fn keys(&self, now: SystemTime) -> Result<Keys, Problem> {
        let reason = self.failure.as_ref().map(|(error, _)| error.clone());
        match self.set_younger_than(MAX_STALE, now) {
            Some(set) => Ok(Keys { set: Arc::clone(set), stale_because: reason }),
            None => Err(unavailable(reason.map_or("not fetched yet".to_owned(), |error| error.to_string()))),
        }
    }
}

/// Returns how long ago a time was. After the clock was set back, what lies in the future is as uncertain as what is as
/// old.
fn age_of(time: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(time).unwrap_or_else(|error| error.duration())
}

impl Remote {
    async fn prepare(&self, deadline: Instant) -> Result<(), FetchError> {
        let _fetching = self.fetching.lock().await;
        let mut first = match self.refresh(deadline).await {
            Err(error) if !error.is_cut_off() => error,
            result => return result,
        };
        if timeout_at(deadline, sleep(BEFORE_SECOND_TRY)).await.is_ok() {
            match self.refresh(deadline).await {
                Err(error) if error.is_cut_off() => {}
                Err(error) => first = error,
                Ok(()) => return Ok(()),
            }
        }
        Err(first)
    }

    async fn keys_for(this: &Arc<Self>, kid: Option<&str>, deadline: Instant) -> Result<Keys, Problem> {
        let standing = this.cache().standing(kid, this.now());
        match standing {
            Standing::Current => return this.cache().keys(this.now()),
            Standing::Old => {
                Self::renew(this);
                return this.cache().keys(this.now());
            }
            Standing::Lacking => {}
        }
        let Ok(_fetching) = timeout_at(deadline, this.fetching.lock()).await else {
            return Err(unavailable("not fetched in time"));
        };
        // Another request may have fetched it meanwhile.
        let (has_set, fetch) = {
            let (cache, now) = (this.cache(), this.now());
            let has_set = cache.set_younger_than(MAX_STALE, now).is_some();
            let may_fetch = cache.may_fetch_after_failure(now) && (!has_set || cache.may_fetch_for_unknown_kid(now));
            (has_set, may_fetch && cache.standing(kid, now) == Standing::Lacking)
        };
        if fetch {
            if let Err(error) = this.refresh(deadline).await
                && error.is_cut_off()
            {
                return Err(unavailable(error.to_string()));
            }
            if has_set {
                this.cache().unknown_kid = Some(this.now());
            }
        }
        this.cache().keys(this.now())
    }

    /// Starts to fetch the set again, unless that is under way or has failed lately.
    fn renew(this: &Arc<Self>) {
        let mut renewal = lock(&this.renewal);
        let under_way = renewal.as_ref().is_some_and(|renewal| !renewal.is_finished());
        if under_way || !this.cache().may_fetch_after_failure(this.now()) {
            return;
        }
        let remote = Arc::clone(this);
        *renewal = Some(tokio::spawn(async move {
            let _fetching = remote.fetching.lock().await;
            let is_old = remote.cache().set_younger_than(MAX_AGE, remote.now()).is_none();
            if is_old {
                // Each document has a limit of its own. A failure is in the cache, and the next token that needs a
                // newer set is told of it.
                let _ = remote.refresh(Instant::now() + MAX_AFTER_FAILURE).await;
            }
        }));
    }

    /// Fetches the set and records the result. What the deadline cuts off is not recorded: it says nothing about the
    /// issuer.
    async fn refresh(&self, deadline: Instant) -> Result<(), FetchError> {
        let result = self.location.fetch(&self.http, deadline).await;
        let skipped = match &result {
            Ok(set) => Some(&set.skipped),
            Err(error) => error.key_set().and_then(|error| match error {
                KeySetError::Empty(skipped) => Some(skipped),
                KeySetError::Malformed => None,
            }),
        };
        let mut cache = self.cache();
        if let Some(skipped) = skipped
            && cache.skipped != *skipped
        {
            warn_of(skipped);
            cache.skipped.clone_from(skipped);
        }
        match result {
            Ok(set) => {
                cache.set = Some((Arc::new(set), self.now()));
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

    /// Never held while waiting: a temporary of one statement, or a block.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        lock(&self.cache)
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unavailable(reason: impl Into<String>) -> Problem {
    Problem::new(Code::KeysUnavailable, "the keys to verify tokens with are out of reach").because(reason.into())
}

fn warn_of(skipped: &[Skipped]) {
    for skipped in skipped {
        warn!("a key of the JWK set is not used: {skipped}");
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
    use crate::token::remote::RemoteUrl;

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
                let mut replies = lock(&self.0);
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
    }

    impl World {
        fn new(replies: &[Reply]) -> Self {
            let script = Script::default();
            lock(&script.0).extend(replies);
            let started = Instant::now();
            let clock = Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_hours(24) + started.elapsed());
            let url = RemoteUrl::configured("https://issuer.example/jwks").unwrap();
            let store = KeyStore::new(
                KeySource::Remote(vec![Location::Jwks(url)]),
                &SharedHttpConnector::new(script.clone()),
                &clock,
            );
            Self { store, script }
        }

        /// With a set that was fetched so many seconds ago, and the replies after that.
        async fn aged(age: u64, replies: &[Reply]) -> Self {
            let world = Self::new(&[Keys(&[A])]);
            world.store.prepare(later(2_000)).await.unwrap();
            world.replies(replies);
            advance(Duration::from_secs(age)).await;
            world.asked();
            world
        }

        fn replies(&self, replies: &[Reply]) {
            *lock(&self.script.0) = replies.to_vec();
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

        async fn settle(&self) {
            self.store.settle(later(60_000)).await;
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
    async fn a_set_that_can_answer_is_returned_at_once_and_renewed_when_old() {
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
            world.settle().await;
            assert_eq!(world.asked(), asked, "{age}: {replies:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_brings_what_the_issuer_has_now() {
        let world = World::aged(600, &[KeysAfter(200, &[B])]).await;
        assert_eq!(world.ask("a", 9_000).await, "found");
        world.settle().await;
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
        let world = World::aged(1, &[KeysAfter(300, &[A, B])]).await;
        let asks = (0..20).map(|_| world.ask("b", 9_000));
        assert_eq!(seconds(join_all(asks)).await, (vec!["found"; 20], 0.3));
        assert_eq!(world.asked(), 1);
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
                world.settle().await;
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
    async fn only_the_first_renewal_that_hangs_is_waited_for() {
        let world = World::aged(600, &[Hang]).await;
        for expected in [2.0, 0.3, 0.3] {
            assert_eq!(world.ask("a", 9_000).await, "found");
            let ((), took) = seconds(world.settle()).await;
            assert!((took - expected).abs() < 0.01, "{took}");
            sleep(Duration::from_mins(6)).await;
        }
        // What is not waited for goes on, and the next request finds what it has brought.
        world.replies(&[KeysAfter(1_000, &[B])]);
        assert_eq!(world.ask("a", 9_000).await, "found");
        assert!((seconds(world.settle()).await.1 - 0.3).abs() < 0.01);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.ask("b", 9_000).await, "found");
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
            assert_eq!((result.is_ok(), world.asked()), (prepared, asked), "{replies:?}");
            assert!(took <= 1.951, "{took}");
            // What the end of the start cut off is not a failure.
            world.replies(&[Keys(&[A])]);
            let expected = if matches!(replies, [Status(500)] | [Status(500), Hang]) { "unavailable" } else { "found" };
            assert_eq!(world.ask("a", 9_000).await, expected, "{replies:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_broke_is_replaced_once() {
        for (replies, expected, asked) in [
            (&[Keys(&[A])][..], "found", 1),
            (&[Reset, Keys(&[A])], "found", 2),
            (&[Reset], "unavailable", 2),
            (&[Reply::Timeout, Keys(&[A])], "unavailable", 1),
            (&[Status(503), Keys(&[A])], "unavailable", 1),
        ] {
            let world = World::new(replies);
            assert_eq!((world.ask("a", 9_000).await, world.asked()), (expected, asked), "{replies:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_back_does_not_keep_a_set() {
        let set_back = Arc::new(Mutex::new(false));
        let clock = {
            let set_back = Arc::clone(&set_back);
            Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_hours(if *lock(&set_back) { 1 } else { 24 }))
        };
        let script = Script::default();
        lock(&script.0).push(Keys(&[A]));
        let url = RemoteUrl::configured("https://issuer.example/jwks").unwrap();
        let store = KeyStore::new(
            KeySource::Remote(vec![Location::Jwks(url)]),
            &SharedHttpConnector::new(script.clone()),
            &clock,
        );
        store.prepare(later(2_000)).await.unwrap();
        *lock(&set_back) = true;
        *lock(&script.0) = vec![Status(500)];
        assert!(store.keys_for("issuer", Some("a"), later(2_000)).await.is_err());
    }
}
