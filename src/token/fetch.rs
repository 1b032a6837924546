//! Where keys come from: the configuration, or a JWK set that is fetched and kept for a while.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use tracing::warn;
use url::{Host, Url};

use super::keys::KeySet;
use crate::clients::chain;
use crate::problem::{Code, Problem};

/// How long a fetched set is kept.
const MAX_AGE: Duration = Duration::from_mins(10);
/// How long it serves when the issuer is out of reach.
const MAX_STALE: Duration = Duration::from_hours(2);
/// How long a failed fetch is not tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long an unknown `kid` causes no other fetch.
const AFTER_UNKNOWN_KID: Duration = Duration::from_secs(10);
/// How long one document may take.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(2);
/// In bytes.
const MAX_DOCUMENT: usize = 150_000;

/// Where the keys are that tokens are verified with.
pub enum KeySource {
    /// In the configuration.
    Inline(KeySet),
    /// In a JWK set behind a URL.
    Jwks(RemoteUrl),
    /// Where the issuer's metadata says (OpenID Connect Discovery 1.0).
    Discovery {
        /// What the metadata must name as the issuer.
        issuer: String,
        /// Where the metadata is.
        metadata: RemoteUrl,
    },
}

/// The keys, fetched when they have to be.
pub struct KeyStore {
    source: Source,
}

enum Source {
    Inline(Arc<KeySet>),
    Fetched(Box<Fetched>),
}

/// The keys for one request.
pub struct Keys {
    /// The set.
    pub set: Arc<KeySet>,
    /// Why it is not a newer one, where one was asked for.
    pub stale_because: Option<String>,
}

impl KeyStore {
    /// Keys from `source`, which are fetched, where they have to be, through `http`.
    #[must_use]
    pub fn new(source: KeySource, http: SharedHttpConnector) -> Self {
        let fetched = |location| {
            Source::Fetched(Box::new(Fetched {
                location,
                http,
                cache: Mutex::default(),
                flight: tokio::sync::Mutex::default(),
            }))
        };
        Self {
            source: match source {
                KeySource::Inline(set) => {
                    report_skipped(&set, None);
                    Source::Inline(Arc::new(set))
                }
                KeySource::Jwks(url) => fetched(Location::Jwks(url)),
                KeySource::Discovery { issuer, metadata } => fetched(Location::Discovery { issuer, metadata }),
            },
        }
    }

    /// Fetches the keys, where they have to be fetched.
    ///
    /// # Errors
    ///
    /// Why that failed.
    pub async fn prepare(&self, deadline: Instant) -> Result<(), String> {
        match &self.source {
            Source::Inline(_) => Ok(()),
            Source::Fetched(fetched) => {
                let _flight = fetched.flight.lock().await;
                fetched.refresh(deadline).await
            }
        }
    }

    /// The keys among which `kid` is, where the issuer has it.
    ///
    /// # Errors
    ///
    /// `keys_unavailable` where there are none.
    pub async fn keys_for(&self, kid: Option<&str>, deadline: Instant) -> Result<Keys, Problem> {
        match &self.source {
            Source::Inline(set) => Ok(Keys { set: Arc::clone(set), stale_because: None }),
            Source::Fetched(fetched) => fetched.keys_for(kid, deadline).await,
        }
    }
}

/// A set that is fetched. Ages are wall-clock time: between invocations the process is frozen, and a monotonic clock
/// may be frozen with it.
struct Fetched {
    location: Location,
    http: SharedHttpConnector,
    cache: Mutex<Cache>,
    /// Held while fetching, so that one fetch serves all who wait for it.
    flight: tokio::sync::Mutex<()>,
}

enum Location {
    Jwks(RemoteUrl),
    Discovery { issuer: String, metadata: RemoteUrl },
}

#[derive(Clone, Default)]
struct Cache {
    /// The last good set, and when it was fetched.
    set: Option<(Arc<KeySet>, SystemTime)>,
    /// The last failure, where nothing good came after it.
    failure: Option<(String, SystemTime)>,
    /// When an unknown `kid` last caused a fetch.
    unknown_kid: Option<SystemTime>,
}

impl Cache {
    fn set_younger_than(&self, age: Duration) -> Option<&Arc<KeySet>> {
        self.set.as_ref().filter(|(_, fetched)| age_of(*fetched) < age).map(|(set, _)| set)
    }

    /// Whether the set can answer for `kid`; a token without one is judged by the set as it is.
    fn knows(&self, kid: Option<&str>) -> bool {
        let fresh = self.set_younger_than(MAX_AGE);
        fresh.is_some_and(|set| kid.is_none() || set.find(kid).is_some())
    }

    fn may_fetch(&self) -> bool {
        let failed_lately = self.failure.as_ref().is_some_and(|(_, failed)| age_of(*failed) < AFTER_FAILURE);
        let asked_lately = self.unknown_kid.is_some_and(|asked| age_of(asked) < AFTER_UNKNOWN_KID);
        // Asking for an unknown `kid` is held back; replacing a set that is too old is not.
        !failed_lately && (!asked_lately || self.set_younger_than(MAX_AGE).is_none())
    }

    fn keys(&self) -> Result<Keys, Problem> {
        let reason = self.failure.as_ref().map(|(reason, _)| reason.clone());
        match self.set_younger_than(MAX_STALE) {
            Some(set) => Ok(Keys { set: Arc::clone(set), stale_because: reason }),
            None => Err(Problem::new(Code::KeysUnavailable, "the keys to verify tokens with are out of reach")
                .because(reason.unwrap_or_else(|| "the keys were not fetched in time".to_owned()))),
        }
    }
}

/// How long ago that was, in nanoseconds: whether an age of just the limit is within it, nobody can see. After the
/// clock was set back, what lies in the future is as uncertain as what is as old.
fn age_of(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_else(|error| error.duration())
}

impl Fetched {
    async fn keys_for(&self, kid: Option<&str>, deadline: Instant) -> Result<Keys, Problem> {
        if !self.cached().knows(kid)
            && let Ok(_flight) = timeout_at(deadline, self.flight.lock()).await
        {
            // Whoever held the flight may have brought what is asked for.
            let cache = self.cached();
            if !cache.knows(kid) && cache.may_fetch() {
                if cache.set_younger_than(MAX_AGE).is_some() {
                    self.update(|cache| cache.unknown_kid = Some(SystemTime::now()));
                }
                // A failure is in the cache; what it means depends on what else is there.
                let _ = self.refresh(deadline).await;
            }
        }
        self.cached().keys()
    }

    async fn refresh(&self, deadline: Instant) -> Result<(), String> {
        match self.fetch(deadline).await {
            Ok(set) => {
                report_skipped(&set, self.cached().set.as_ref().map(|(set, _)| &**set));
                self.update(|cache| {
                    cache.set = Some((Arc::new(set), SystemTime::now()));
                    cache.failure = None;
                });
                Ok(())
            }
            Err(reason) => {
                // Where our own time was up, nothing is known of the issuer. (The very instant of it may go either way.)
                if Instant::now() < deadline {
                    self.update(|cache| cache.failure = Some((reason.clone(), SystemTime::now())));
                }
                Err(reason)
            }
        }
    }

    async fn fetch(&self, deadline: Instant) -> Result<KeySet, String> {
        let jwks = match &self.location {
            Location::Jwks(url) => self.document(url, deadline).await?,
            Location::Discovery { issuer, metadata: url } => {
                #[derive(Deserialize)]
                struct Metadata {
                    issuer: String,
                    jwks_uri: String,
                }

                let document = self.document(url, deadline).await?;
                let metadata: Metadata =
                    serde_json::from_slice(&document).map_err(|_| format!("{url} is no issuer metadata"))?;
                if metadata.issuer != *issuer {
                    return Err(format!("{url} is the metadata of another issuer"));
                }
                let jwks_uri = RemoteUrl::new(&metadata.jwks_uri);
                let jwks_uri = jwks_uri.ok_or_else(|| format!("{url} names a jwks_uri that may not be fetched"))?;
                self.document(&jwks_uri, deadline).await?
            }
        };
        KeySet::fetched(&jwks).map_err(|error| format!("the JWK set is not usable: {error}"))
    }

    async fn document(&self, url: &RemoteUrl, deadline: Instant) -> Result<Vec<u8>, String> {
        let deadline = deadline.min(Instant::now() + DOCUMENT_TIMEOUT);
        let document = timeout_at(deadline, self.get(url)).await;
        document.unwrap_or_else(|_| Err("timed out".to_owned())).map_err(|reason| format!("{url}: {reason}"))
    }

    async fn get(&self, url: &RemoteUrl) -> Result<Vec<u8>, String> {
        let mut response = self.call(url).await?;
        if matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            let location = response.headers().get("location").and_then(|location| url.join(location));
            let location = location.ok_or("redirected to where keys may not be fetched from")?;
            response = self.call(&location).await?;
        }
        match response.status().as_u16() {
            200 => {
                let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
                body.map(|body| body.to_bytes().into()).map_err(|error| chain(&*error))
            }
            status => Err(format!("answered {status}")),
        }
    }

    async fn call(
        &self,
        url: &RemoteUrl,
    ) -> Result<aws_smithy_runtime_api::client::orchestrator::HttpResponse, String> {
        let request = || {
            let mut request = HttpRequest::new(SdkBody::empty());
            request.set_uri(url.0.as_str()).map_err(|error| chain(&error))?;
            request.headers_mut().insert("accept", "application/json");
            Ok::<_, String>(request)
        };
        let mut result = self.http.call(request()?).await;
        // A pooled connection may have died while the process was frozen.
        if result.as_ref().is_err_and(|error| !error.is_timeout()) {
            result = self.http.call(request()?).await;
        }
        result.map_err(|error| chain(&error))
    }

    fn cached(&self) -> Cache {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut Cache)) {
        change(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Says once which keys of a set are not used, and again only when that changes.
fn report_skipped(set: &KeySet, before: Option<&KeySet>) {
    if before.is_none_or(|before| before.skipped != set.skipped) {
        for skipped in &set.skipped {
            warn!("a key of the JWK set is not used: {skipped}");
        }
    }
}

/// A URL that keys may be fetched from: `https`, or `http` to this machine, without user information.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteUrl(Url);

impl RemoteUrl {
    /// What a URL has to be.
    pub const EXPECTED: &str = "an https URL (http for this machine only) without user information";

    /// `None` where keys may not be fetched from there.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Self::from_url(Url::parse(text).ok()?)
    }

    /// Where a redirect leads to.
    #[must_use]
    pub fn join(&self, location: &str) -> Option<Self> {
        Self::from_url(self.0.join(location).ok()?)
    }

    fn from_url(mut url: Url) -> Option<Self> {
        let allowed = match url.scheme() {
            "https" => url.host().is_some(),
            "http" => url.host().is_some_and(|host| is_loopback(&host)),
            _ => false,
        };
        url.set_fragment(None);
        (allowed && url.username().is_empty() && url.password().is_none()).then_some(Self(url))
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str())
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_smithy_runtime_api::client::http::HttpConnectorFuture;
    use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
    use aws_smithy_runtime_api::client::result::ConnectorError;

    use super::*;

    #[test]
    fn where_keys_may_be_fetched_from() {
        for url in
            ["https://a.example/", "http://127.0.0.1:1/", "http://127.9.9.9/", "http://[::1]/", "http://localhost/"]
        {
            assert!(RemoteUrl::new(url).is_some(), "{url}");
        }
        for url in [
            "http://a.example/",
            "http://localhost.example/",
            "http://10.0.0.1/",
            "ftp://localhost/",
            "https://u:p@a.example/",
            "/jwks",
        ] {
            assert!(RemoteUrl::new(url).is_none(), "{url}");
        }
        let url = RemoteUrl::new("https://a.example/jwks#x").unwrap();
        assert_eq!(url.to_string(), "https://a.example/jwks");
        assert_eq!(url.join("/other").unwrap().to_string(), "https://a.example/other");
        assert!(url.join("http://a.example/").is_none());
    }

    const JWKS: &[u8] =
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn cache(set: Option<u64>, failure: Option<u64>, unknown_kid: Option<u64>) -> Cache {
        let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
        Cache {
            set: set.map(|seconds| (Arc::new(KeySet::fetched(JWKS).unwrap()), ago(seconds))),
            failure: failure.map(|seconds| ("why".to_owned(), ago(seconds))),
            unknown_kid: unknown_kid.map(ago),
        }
    }

    #[test]
    fn a_set_is_kept_for_ten_minutes() {
        for (age, kid, expected) in [
            (0, Some("a"), true),
            (599, Some("a"), true),
            (599, None, true),
            (601, Some("a"), false),
            (601, None, false),
            (0, Some("b"), false),
        ] {
            assert_eq!(cache(Some(age), None, None).knows(kid), expected, "{age} {kid:?}");
        }
        assert!(!cache(None, None, None).knows(None));
    }

    #[test]
    fn fetches_wait_after_a_failure_and_after_an_unknown_kid() {
        for (set, failure, unknown_kid, expected) in [
            (None, None, None, true),
            (None, Some(4), None, false),
            (None, Some(6), None, true),
            (Some(0), None, None, true),
            (Some(0), None, Some(9), false),
            (Some(0), None, Some(11), true),
            (Some(601), None, Some(9), true),
            (Some(601), Some(4), None, false),
            (Some(601), Some(6), Some(9), true),
        ] {
            assert_eq!(cache(set, failure, unknown_kid).may_fetch(), expected, "{set:?} {failure:?} {unknown_kid:?}");
        }
    }

    #[test]
    fn the_last_good_set_serves_for_two_hours() {
        for (set, expected) in [(None, false), (Some(0), true), (Some(7_199), true), (Some(7_201), false)] {
            let keys = cache(set, Some(1), None).keys();
            assert_eq!(keys.is_ok(), expected, "{set:?}");
            let reason = match keys {
                Ok(keys) => keys.stale_because,
                Err(problem) => problem.reason.map(Into::into),
            };
            assert_eq!(reason.as_deref(), Some("why"));
        }
    }

    /// An issuer that does this, one after the other and then the last of it again, and counts how often it is asked.
    #[derive(Clone, Debug)]
    struct Issuer(Vec<Reply>, Arc<AtomicUsize>);

    #[derive(Clone, Copy, Debug)]
    enum Reply {
        Status(u16),
        Reset,
        Timeout,
    }

    impl HttpConnector for Issuer {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let count = self.1.fetch_add(1, Ordering::Relaxed);
            let error = || std::io::Error::other("broken").into();
            HttpConnectorFuture::ready(match self.0.get(count).or(self.0.last()).unwrap() {
                Reply::Status(status) => Ok(HttpResponse::new((*status).try_into().unwrap(), SdkBody::from(JWKS))),
                Reply::Reset => Err(ConnectorError::io(error())),
                Reply::Timeout => Err(ConnectorError::timeout(error())),
            })
        }
    }

    fn fetched(replies: &[Reply], cache: Cache) -> (Fetched, Arc<AtomicUsize>) {
        let count = Arc::default();
        let fetched = Fetched {
            location: Location::Jwks(RemoteUrl::new("https://issuer.example/jwks").unwrap()),
            http: SharedHttpConnector::new(Issuer(replies.to_vec(), Arc::clone(&count))),
            cache: Mutex::new(cache),
            flight: tokio::sync::Mutex::default(),
        };
        (fetched, count)
    }

    #[tokio::test]
    async fn a_connection_that_broke_is_replaced_once() {
        use Reply::{Reset, Status, Timeout};

        for (replies, expected, asked) in [
            (&[Status(200)][..], true, 1),
            (&[Reset, Status(200)], true, 2),
            (&[Reset], false, 2),
            (&[Timeout, Status(200)], false, 1),
            (&[Status(503), Status(200)], false, 1),
        ] {
            let (fetched, count) = fetched(replies, Cache::default());
            let keys = fetched.keys_for(Some("a"), Instant::now() + Duration::from_secs(9)).await;
            assert_eq!((keys.is_ok(), count.load(Ordering::Relaxed)), (expected, asked), "{replies:?}");
        }
    }

    #[tokio::test]
    async fn an_old_set_is_fetched_anew_and_serves_where_that_fails() {
        for (age, status, failed, expected, asked) in [
            (599, 500, None, true, 0),
            (601, 500, None, true, 1),
            (601, 200, None, true, 1),
            (601, 500, Some(4), true, 0),
            (601, 500, Some(6), true, 1),
            (7_199, 500, None, true, 1),
            (7_201, 500, None, false, 1),
            (7_201, 500, Some(4), false, 0),
            (7_201, 200, None, true, 1),
        ] {
            let (fetched, count) = fetched(&[Reply::Status(status)], cache(Some(age), failed, None));
            let row = format!("{age} s old, answer {status}, failed {failed:?}");
            for _ in 0..2 {
                let keys = fetched.keys_for(Some("a"), Instant::now() + Duration::from_secs(9)).await;
                assert_eq!(keys.is_ok(), expected, "{row}");
            }
            assert_eq!(count.load(Ordering::Relaxed), asked, "{row}");
            assert_eq!(fetched.cached().knows(Some("a")), age < 600 || status == 200, "{row}");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_a_set() {
        let mut cache = cache(Some(0), None, None);
        cache.set.as_mut().unwrap().1 += Duration::from_hours(24);
        assert!(!cache.knows(Some("a")));
        assert!(cache.keys().is_err());
    }
}
