//! Key sets that are fetched: when the issuer is asked, who waits, and what a token gets. The real cache on paused time, and an
//! issuer whose replies are scripted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep};

use testing::issuer::reply::Reply::{self, Hang, Reset, Status};
use testing::issuer::signer::Signer;
use update_distributor::clock::Clock;
use update_distributor::token::error::InvalidToken;
use update_distributor::token::fetch::{Endpoint, FetchUrl, Fetcher};
use update_distributor::token::jws::Jws;
use update_distributor::token::key_store::{CachedKeySet, TokenError};

/// A key of the issuer, with the name that it has in its set and in its tokens.
struct Key {
    signer: Signer,
    kid: Option<&'static str>,
    token: String,
}

impl Key {
    fn new(kid: Option<&'static str>) -> Self {
        Self::with(Signer::ed25519(), "EdDSA", kid)
    }

    fn with(signer: Signer, alg: &str, kid: Option<&'static str>) -> Self {
        let token = signer.sign(alg, &json!({"alg": alg, "kid": kid}), &json!({}));
        Self { signer, kid, token }
    }

    fn jwk(&self) -> Value {
        let mut jwk = self.signer.jwk();
        jwk["kid"] = self.kid.into();
        jwk
    }
}

fn keys(keys: &[&Key]) -> Reply {
    keys_after(0, keys)
}

fn keys_after(milliseconds: u64, keys: &[&Key]) -> Reply {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    Reply::DocumentAfter(Duration::from_millis(milliseconds), json!({ "keys": keys }).to_string())
}

/// An issuer that does this, the last again and again, and counts how often it is asked.
#[derive(Clone, Debug, Default)]
struct Script(Arc<Mutex<Vec<Reply>>>, Arc<AtomicUsize>);

impl HttpConnector for Script {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        self.1.fetch_add(1, Ordering::Relaxed);
        let reply = {
            let mut replies = self.0.lock().unwrap();
            if replies.len() > 1 { replies.remove(0) } else { replies[0].clone() }
        };
        HttpConnectorFuture::new(reply.deliver())
    }
}

/// A cached set whose clock goes with tokio's.
struct Cache {
    set: Arc<CachedKeySet>,
    fetcher: Fetcher,
    script: Script,
}

impl Cache {
    fn new(replies: &[Reply]) -> Self {
        let started = Instant::now();
        let clock = Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_hours(24) + started.elapsed());
        Self::with_clock(replies, clock)
    }

    fn with_clock(replies: &[Reply], clock: Clock) -> Self {
        let script = Script(Arc::new(Mutex::new(replies.to_vec())), Arc::default());
        let url = FetchUrl::configured("https://issuer.example/jwks").unwrap();
        let set = Arc::new(CachedKeySet::new(Endpoint::Jwks(url)));
        Self { set, fetcher: Fetcher { http: SharedHttpConnector::new(script.clone()), clock }, script }
    }

    /// With these keys that were fetched so many seconds ago, and the replies after that.
    async fn aged(age: u64, published: &[&Key], replies: &[Reply]) -> Self {
        let cache = Self::new(&[keys(published)]);
        cache.set.prepare(&cache.fetcher, later(2_000)).await.unwrap();
        cache.replies(replies);
        advance(Duration::from_secs(age)).await;
        cache.asked();
        cache
    }

    fn replies(&self, replies: &[Reply]) {
        *self.script.0.lock().unwrap() = replies.to_vec();
    }

    /// How often the issuer was asked since the last time.
    fn asked(&self) -> usize {
        self.script.1.swap(0, Ordering::Relaxed)
    }

    /// What a token of a key gets that has so many milliseconds.
    async fn ask(&self, key: &Key, left: u64) -> &'static str {
        self.ask_with(&key.token, left).await
    }

    async fn ask_with(&self, token: &str, left: u64) -> &'static str {
        let Ok(jws) = Jws::parse(token) else { return "invalid" };
        match self.set.verify(&jws, &self.fetcher, later(left)).await {
            Ok(()) => "verified",
            Err(TokenError::Invalid { reason: InvalidToken::Unverified(_), .. }) => "refused",
            Err(TokenError::Invalid { reason, .. }) => panic!("{reason}"),
            Err(TokenError::Keys(_)) => "unavailable",
        }
    }

    /// Asks for a token again and again, so many times at once, and returns how often the issuer was asked, and the longest
    /// that a request took. Each is refused.
    async fn refuses(&self, key: &Key, at_once: usize, times: usize, pause: Duration) -> (usize, f64) {
        let (mut fetches, mut longest) = (0, 0.0_f64);
        for _ in 0..times {
            let asks = (0..at_once).map(|_| self.ask(key, 9_000));
            let (outcomes, took) = seconds(join_all(asks)).await;
            assert!(outcomes.iter().all(|outcome| *outcome == "refused"), "{outcomes:?}");
            longest = longest.max(took);
            fetches += self.asked();
            advance(pause).await;
        }
        (fetches, longest)
    }

    async fn finish_background_work(&self) {
        self.set.wait_for_fetch(later(60_000)).await;
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
async fn a_set_that_verifies_does_so_at_once_and_is_revalidated_when_stale() {
    let a = Key::new(Some("a"));
    for (age, replies, asked) in [
        (599, vec![Status(500)], 0),
        (600, vec![keys(&[&a])], 1),
        (600, vec![keys_after(200, &[&a])], 1),
        (600, vec![Status(500)], 1),
        (7_199, vec![Status(500)], 1),
        (7_199, vec![Hang], 1),
    ] {
        let cache = Cache::aged(age, &[&a], &replies).await;
        for _ in 0..3 {
            assert_eq!(seconds(cache.ask(&a, 9_000)).await, ("verified", 0.0), "{age}: {replies:?}");
        }
        cache.finish_background_work().await;
        assert_eq!(cache.asked(), asked, "{age}: {replies:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revalidation_brings_what_the_issuer_has_now() {
    let (a, b) = (Key::new(Some("a")), Key::new(Some("b")));
    let cache = Cache::aged(600, &[&a], &[keys_after(200, &[&b])]).await;
    assert_eq!(cache.ask(&a, 9_000).await, "verified");
    cache.finish_background_work().await;
    assert_eq!((cache.ask(&b, 9_000).await, cache.asked()), ("verified", 1));
    // The old key is gone, and the set is new: it is asked for once.
    assert_eq!((cache.ask(&a, 9_000).await, cache.asked()), ("refused", 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_set_the_issuer_has_to_be_asked() {
    let (a, b) = (Key::new(Some("a")), Key::new(Some("b")));
    for (replies, expected) in [
        (vec![keys(&[&a])], "verified"),
        // What was just fetched is not fetched again.
        (vec![keys(&[&b])], "refused"),
        (vec![Status(500)], "unavailable"),
        (vec![Hang], "unavailable"),
        (vec![Reset, keys(&[&a])], "unavailable"),
    ] {
        for age in [None, Some(7_200)] {
            let cache = match age {
                None => Cache::new(&replies),
                Some(age) => Cache::aged(age, &[&a], &replies).await,
            };
            assert_eq!((cache.ask(&a, 9_000).await, cache.asked()), (expected, 1), "{replies:?}");
        }
    }
}

/// How an issuer rotates: the keys that it published before, the new one, and what it publishes now.
fn rotations() -> [(&'static str, [Key; 2]); 4] {
    let es256 = Key::with(Signer::p256(), "ES256", Some("a"));
    [
        ("a new kid", [Key::new(Some("a")), Key::new(Some("b"))]),
        ("no kid", [Key::new(None), Key::new(None)]),
        ("a kid used again", [Key::new(Some("a")), Key::new(Some("a"))]),
        ("a kid used again with another alg", [Key::new(Some("a")), es256]),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_however_the_issuer_names_it() {
    for (name, [old, new]) in &rotations() {
        for age in [1, 60, 300, 3_600] {
            for at_once in [1, 8, 16] {
                // In this order, the new key is a candidate only if the old one does not verify the token.
                let cache = Cache::aged(age, &[old], &[keys_after(1_000, &[old, new])]).await;
                let asks = (0..at_once).map(|_| async { seconds(cache.ask(new, 9_000)).await });
                let outcomes = join_all(asks).await;
                let longest = outcomes.iter().map(|(_, took)| *took).fold(0.0, f64::max);
                let row = format!("{name}, {age} s old, {at_once} at once: longest {longest:.1} s");
                assert!(outcomes.iter().all(|(outcome, _)| *outcome == "verified"), "{row}: {outcomes:?}");
                assert!(longest < 1.01, "{row}");
                assert_eq!(cache.asked(), 1, "{row}");
                if age == 60 {
                    println!("{row}, 1 fetch");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_no_key_verifies_cause_one_fetch_in_ten_seconds() {
    for (name, [old, unknown]) in &rotations() {
        for at_once in [1, 8, 16] {
            let cache = Cache::aged(1, &[old], &[keys_after(100, &[old])]).await;
            let (fetches, longest) = cache.refuses(unknown, at_once, 100, Duration::from_millis(49)).await;
            println!("{name}, 100 times in 5 s, {at_once} at once: {fetches} fetches, longest {longest:.1} s");
            assert_eq!(fetches, 1, "{name}");
            assert!(longest < 0.11, "{name}: {longest}");
            // One limit for all reasons: the others have to wait, too.
            for (_, [_, other]) in &rotations() {
                assert_eq!((cache.ask(other, 9_000).await, cache.asked()), ("refused", 0), "{name}");
            }
            // Ten seconds after the end of that fetch.
            advance(Duration::from_millis(5_100)).await;
            assert_eq!((cache.ask(unknown, 9_000).await, cache.asked()), ("refused", 1), "{name}");
            // None of them costs a token that the set verifies anything.
            assert_eq!(seconds(cache.ask(old, 9_000)).await, ("verified", 0.0), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_issuer_out_of_reach_is_asked_less_and_less_often_by_refetches_too() {
    for (name, [old, new]) in &rotations() {
        for at_once in [1, 8, 16] {
            let others = [(Status(500), 0.0), (Reset, 0.0), (keys(&[]), 0.0)];
            // How it is out of reach has nothing to do with how it rotates.
            let others = others.into_iter().take(if *name == "no kid" { 3 } else { 0 });
            for (reply, longest_expected) in [(Hang, 2.0)].into_iter().chain(others) {
                let cache = Cache::aged(60, &[old], std::slice::from_ref(&reply)).await;
                let (fetches, longest) = cache.refuses(new, at_once, 300, Duration::from_secs(1)).await;
                println!("{name}, {reply:?} for 300 s, {at_once} at once: {fetches} fetches, longest {longest:.1} s");
                // At 0, 10, 20, 40, 80 and 160 s, since the wait after a failure is doubled.
                assert!((5..=6).contains(&fetches), "{name}, {reply:?}: {fetches}");
                assert!(longest <= longest_expected + 0.01, "{name}, {reply:?}: {longest}");
                cache.replies(&[keys(&[old, new])]);
                advance(Duration::from_mins(5)).await;
                assert_eq!(cache.ask(new, 9_000).await, "verified", "{name}, {reply:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_revalidation_under_way_is_the_refetch() {
    for (name, [old, new]) in &rotations() {
        for (published, expected) in [(vec![old, new], "verified"), (vec![old], "refused")] {
            let cache = Cache::aged(600, &[old], &[keys_after(1_000, &published)]).await;
            assert_eq!(seconds(cache.ask(old, 9_000)).await, ("verified", 0.0), "{name}");
            sleep(Duration::from_millis(500)).await;
            let asks = join_all((0..16).map(|_| cache.ask(new, 9_000)));
            assert_eq!(seconds(asks).await, (vec![expected; 16], 0.5), "{name}");
            assert_eq!(cache.asked(), 1, "{name}");
            advance(Duration::from_secs(9)).await;
            assert_eq!((cache.ask(new, 9_000).await, cache.asked()), (expected, 0), "{name}");
        }
        // One that fails or hangs is the refetch, too.
        for (reply, took) in [(Hang, 1.5), (Status(500), 0.0)] {
            let cache = Cache::aged(600, &[old], std::slice::from_ref(&reply)).await;
            assert_eq!(cache.ask(old, 9_000).await, "verified", "{name}");
            sleep(Duration::from_millis(500)).await;
            assert_eq!(seconds(cache.ask(new, 9_000)).await, ("refused", took), "{name}, {reply:?}");
            assert_eq!(cache.asked(), 1, "{name}, {reply:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_algorithm_that_no_set_can_have_fetches_nothing() {
    let (a, secret) = (Key::new(Some("a")), Signer::Secret(vec![7; 64]));
    for alg in ["none", "ES256K", "RSA-OAEP", "", "HS256", "HS384", "HS512"] {
        let token = secret.sign(alg, &json!({"alg": alg, "kid": "b"}), &json!({}));
        for age in [None, Some(1), Some(600), Some(7_200)] {
            let cache = match age {
                None => Cache::new(&[keys(&[&a])]),
                Some(age) => Cache::aged(age, &[&a], &[keys(&[&a])]).await,
            };
            let expected = if alg.starts_with("HS") { "refused" } else { "invalid" };
            assert_eq!((cache.ask_with(&token, 9_000).await, cache.asked()), (expected, 0), "{alg}, {age:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_fetch_serves_everyone_who_waits_for_it() {
    let (a, b) = (Key::new(Some("a")), Key::new(Some("b")));
    for (age, reply, outcome, took) in
        [(1, keys_after(300, &[&a, &b]), "verified", 0.3), (1, Hang, "refused", 2.0), (600, Hang, "refused", 2.0)]
    {
        let cache = Cache::aged(age, &[&a], std::slice::from_ref(&reply)).await;
        let asks = (0..20).map(|_| cache.ask(&b, 9_000));
        assert_eq!(seconds(join_all(asks)).await, (vec![outcome; 20], took), "{age}: {reply:?}");
        assert_eq!(cache.asked(), 1, "{age}: {reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_deadline_cuts_off_is_unavailable_and_holds_nothing_back() {
    for (name, [old, new]) in &rotations() {
        let published = keys(&[old, new]);
        for age in [None, Some(1), Some(600), Some(7_200)] {
            let replies = [Hang, Hang, published.clone()];
            let cache = match age {
                None => Cache::new(&replies),
                Some(age) => Cache::aged(age, &[old], &replies).await,
            };
            for _ in 0..2 {
                assert_eq!(seconds(cache.ask(new, 700)).await, ("unavailable", 0.7), "{name}, {age:?}");
            }
            assert_eq!((cache.ask(new, 9_000).await, cache.asked()), ("verified", 3), "{name}, {age:?}");
        }
        // Nor does it for those who have waited with it and have more time.
        let cache = Cache::aged(1, &[old], &[Hang, published]).await;
        let both = tokio::join!(cache.ask(new, 700), cache.ask(new, 9_000));
        assert_eq!((both, cache.asked()), (("unavailable", "verified"), 2), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_without_a_set_the_issuer_is_left_alone_for_five_seconds() {
    let a = Key::new(Some("a"));
    let cache = Cache::new(&[Status(500)]);
    for (wait, asked) in [(0, 1), (4, 0), (1, 1), (4, 0), (1, 1), (5, 1), (60, 1)] {
        advance(Duration::from_secs(wait)).await;
        assert_eq!((cache.ask(&a, 9_000).await, cache.asked()), ("unavailable", asked), "after {wait} s");
    }
    advance(Duration::from_secs(5)).await;
    cache.replies(&[keys(&[&a])]);
    assert_eq!(cache.ask(&a, 9_000).await, "verified");
}

#[tokio::test(start_paused = true)]
async fn only_the_first_revalidation_that_hangs_is_waited_for() {
    let (a, b) = (Key::new(Some("a")), Key::new(Some("b")));
    let cache = Cache::aged(600, &[&a], &[Hang]).await;
    for expected in [2.0, 0.3, 0.3] {
        assert_eq!(cache.ask(&a, 9_000).await, "verified");
        let ((), took) = seconds(cache.finish_background_work()).await;
        assert!((took - expected).abs() < 0.01, "{took}");
        sleep(Duration::from_mins(6)).await;
    }
    // What is not waited for goes on, and the next request finds what it has brought.
    cache.replies(&[keys_after(1_000, &[&b])]);
    assert_eq!(cache.ask(&a, 9_000).await, "verified");
    assert!((seconds(cache.finish_background_work()).await.1 - 0.3).abs() < 0.01);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(cache.ask(&b, 9_000).await, "verified");
}

#[tokio::test(start_paused = true)]
async fn a_set_is_as_old_as_the_request_for_it() {
    let a = Key::new(Some("a"));
    for (took, expected) in [(599, 0), (600, 1)] {
        let (started, frozen) = (Instant::now(), Arc::new(Mutex::new(Duration::ZERO)));
        let clock = {
            let frozen = Arc::clone(&frozen);
            let start = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
            Clock::new(move || start + started.elapsed() + *frozen.lock().unwrap())
        };
        let cache = Cache::with_clock(&[keys_after(1_000, &[&a]), keys(&[&a])], clock);
        let frozen_meanwhile = async {
            sleep(Duration::from_millis(500)).await;
            *frozen.lock().unwrap() = Duration::from_secs(took - 1);
        };
        let (result, ()) = tokio::join!(cache.set.prepare(&cache.fetcher, later(2_000)), frozen_meanwhile);
        assert!(result.is_ok());
        cache.asked();
        assert_eq!(cache.ask(&a, 9_000).await, "verified");
        cache.finish_background_work().await;
        assert_eq!(cache.asked(), expected, "after {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_at_the_start_is_tried_once_more() {
    let a = Key::new(Some("a"));
    for (replies, prepared, asked, then) in [
        (vec![keys(&[&a])], true, 1, "verified"),
        (vec![Status(500), keys(&[&a])], true, 2, "verified"),
        (vec![keys(&[]), keys(&[&a])], true, 2, "verified"),
        (vec![Status(500)], false, 2, "unavailable"),
        // What the end of the start cut off is not a failure.
        (vec![Hang], false, 1, "verified"),
        (vec![Status(500), Hang], false, 2, "unavailable"),
    ] {
        let cache = Cache::new(&replies);
        let (result, took) = seconds(cache.set.prepare(&cache.fetcher, later(1_950))).await;
        assert_eq!((result.is_ok(), cache.asked()), (prepared, asked), "{replies:?}");
        assert!(took <= 1.951, "{took}");
        cache.replies(&[keys(&[&a])]);
        assert_eq!(cache.ask(&a, 9_000).await, then, "{replies:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_does_not_keep_a_set() {
    let (a, set_back) = (Key::new(Some("a")), Arc::new(Mutex::new(false)));
    let clock = {
        let set_back = Arc::clone(&set_back);
        Clock::new(move || {
            SystemTime::UNIX_EPOCH + Duration::from_hours(if *set_back.lock().unwrap() { 1 } else { 24 })
        })
    };
    let cache = Cache::with_clock(&[keys(&[&a]), Status(500)], clock);
    assert!(cache.set.prepare(&cache.fetcher, later(2_000)).await.is_ok());
    *set_back.lock().unwrap() = true;
    assert_eq!(cache.ask(&a, 2_000).await, "unavailable");
}
