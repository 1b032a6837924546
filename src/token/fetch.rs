//! Documents of an issuer, fetched over HTTPS.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use url::{Host, Position, Url};

use super::key_set::{FirstTen, KeySet, KeySetError, SkippedKey};
use crate::address::is_this_machine;
use crate::canonical_url::{self, InvalidUrl, has_user_information};
use crate::clock::Clock;
use crate::error::chain;
use crate::excerpt::excerpt;
use crate::json::without_byte_order_mark;

/// The limit for fetching one document.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Length of a document in bytes. Arbitrary; the largest sets in use have some 20,000.
const MAX_DOCUMENT: usize = 150_000;
/// Servers that have key sets only under their own media type (RFC 7517, 8.5.2) respond 406 where it is missing.
const ACCEPT: &str = "application/json, application/jwk-set+json";
/// Firewalls in front of issuers refuse requests without it.
const USER_AGENT: &str = concat!("update-distributor/", env!("CARGO_PKG_VERSION"));

/// A URL that documents may be fetched from: `https`, or `http` to this machine, without user information. `Display`
/// leaves out its query, which may contain a key, and cuts it at 256 characters.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchUrl {
    url: Url,
    /// Whether redirects and `jwks_uri` may point to this machine: only if the configured URL does.
    local: bool,
}

impl FetchUrl {
    /// Reads a URL from the configuration.
    ///
    /// # Errors
    ///
    /// The reason why it is refused.
    pub fn configured(text: &str) -> Result<Self, InvalidUrl> {
        let url = canonical_url::parse(text).map_err(|error| match error {
            InvalidUrl::NotHttp => InvalidUrl::NotHttps,
            error => error,
        })?;
        let local = url.host().is_some_and(|host| is_loopback(&host));
        Self::fetchable(url, local).ok_or(InvalidUrl::NotHttps)
    }

    /// Returns the URL that a redirect or a `jwks_uri` names, or `None` if it is not allowed. A relative one is resolved
    /// against this URL (RFC 3986, 5), in either place.
    #[must_use]
    pub fn follow(&self, reference: &str) -> Option<Self> {
        let url = self.url.join(reference).ok()?;
        let is_local = url.host().is_some_and(|host| is_local(&host));
        (!has_user_information(&url) && (self.local || !is_local)).then_some(())?;
        Self::fetchable(url, self.local)
    }

    fn fetchable(url: Url, local: bool) -> Option<Self> {
        let allowed = match url.scheme() {
            "https" => url.host().is_some(),
            "http" => local && url.host().is_some_and(|host| is_loopback(&host)),
            _ => false,
        };
        allowed.then_some(Self { url, local })
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(excerpt(&self.url[..Position::AfterPath]))
    }
}

/// Returns whether `http` is allowed for this host.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

/// Returns whether a connection to this host would reach this machine, judged by its text.
fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => is_this_machine((*address).into()),
        Host::Ipv6(address) => is_this_machine((*address).into()),
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Returns a URL that someone else wrote without its user information, its query and its fragment, which may contain
/// secrets, and cut at 256 characters.
fn without_secrets(text: &str) -> String {
    let before_query = text.split(['?', '#']).next().unwrap_or_default();
    let shown = match Url::parse(text) {
        // As it was written: it may differ from what is expected by no more than a final slash.
        Ok(url) if url.has_host() && !has_user_information(&url) => before_query.to_owned(),
        Ok(url) if url.has_host() => {
            format!("{}://{}", url.scheme(), &url[Position::BeforeHost..Position::AfterPath])
        }
        // Another text, in which user information can only be guessed.
        _ => before_query.rsplit('@').next().unwrap_or_default().to_owned(),
    };
    excerpt(&shown).to_owned()
}

/// The reason why a document could not be fetched or used, with the URL but not its query.
#[derive(Clone, Debug, Error)]
#[error("{url}: {kind}")]
pub struct FetchError {
    url: String,
    kind: FetchErrorKind,
}

#[derive(Clone, Debug, Error)]
enum FetchErrorKind {
    #[error("{0}")]
    Connection(String),
    #[error("status {0}")]
    Status(u16),
    #[error("redirected to a URL that is not allowed")]
    Redirect,
    #[error("timed out")]
    TimedOut,
    #[error("not fetched in time")]
    CutOff,
    #[error("the content coding {0:?} is not supported")]
    ContentEncoding(String),
    #[error("not issuer metadata: not a JSON object")]
    NotMetadata,
    #[error("not issuer metadata: {0} is missing or not a string")]
    MetadataMember(&'static str),
    #[error("the metadata is for issuer {found:?}, expected {expected:?}")]
    OtherIssuer { found: String, expected: String },
    #[error("the metadata's jwks_uri is not allowed")]
    JwksUriNotAllowed,
    #[error(transparent)]
    NotKeySet(KeySetError),
    // The log names the keys in warnings, once. This text is repeated with every request that it refuses.
    #[error("no key in the set can be used")]
    NoUsableKey(FirstTen<SkippedKey>),
}

impl From<KeySetError> for FetchErrorKind {
    fn from(error: KeySetError) -> Self {
        match error {
            KeySetError::Empty(skipped) => Self::NoUsableKey(skipped),
            error => Self::NotKeySet(error),
        }
    }
}

impl FetchError {
    /// Returns whether the request's own deadline came first. That says nothing about the issuer.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        matches!(self.kind, FetchErrorKind::CutOff)
    }

    /// Returns the keys that were skipped, where a set was fetched that has no other.
    #[must_use]
    pub fn skipped(&self) -> Option<&FirstTen<SkippedKey>> {
        if let FetchErrorKind::NoUsableKey(skipped) = &self.kind { Some(skipped) } else { None }
    }
}

/// Where a JWK set is fetched.
pub enum Endpoint {
    /// At this URL.
    Jwks(FetchUrl),
    /// At the `jwks_uri` of the issuer's metadata (`OpenID` Connect Discovery 1.0, 4).
    Discovery {
        /// The issuer that the metadata must name.
        issuer: String,
        /// The URL of the metadata.
        metadata: FetchUrl,
    },
}

/// Fetches documents of issuers, each over a connection of its own.
#[derive(Clone)]
pub struct Fetcher {
    /// Makes a connection for each request.
    pub http: SharedHttpConnector,
    /// The clock for the ages of sets.
    pub clock: Clock,
}

impl Fetcher {
    /// Fetches a set, at most until `deadline`, and returns it with the time at which it was requested: while its
    /// response was under way, the process may have been frozen and the issuer may have withdrawn a key.
    ///
    /// # Errors
    ///
    /// The reason why no usable set was found.
    pub async fn key_set(
        &self,
        endpoint: &Endpoint,
        deadline: Option<Instant>,
    ) -> Result<(KeySet, SystemTime), FetchError> {
        let url = self.jwks_url(endpoint, deadline).await?;
        let requested = self.clock.now();
        let text = document(&self.http, &url, deadline).await?;
        match KeySet::fetched(without_byte_order_mark(&text)) {
            Ok(set) => Ok((set, requested)),
            Err(error) => Err(FetchError { url: url.to_string(), kind: error.into() }),
        }
    }

    /// Returns the URL of a set, which may have to be discovered.
    ///
    /// # Errors
    ///
    /// The reason why the metadata does not lead to it.
    pub async fn jwks_url(&self, endpoint: &Endpoint, deadline: Option<Instant>) -> Result<FetchUrl, FetchError> {
        match endpoint {
            Endpoint::Jwks(url) => Ok(url.clone()),
            Endpoint::Discovery { issuer, metadata } => {
                let text = document(&self.http, metadata, deadline).await?;
                jwks_uri(&text, issuer, metadata).map_err(|kind| FetchError { url: metadata.to_string(), kind })
            }
        }
    }
}

fn jwks_uri(text: &[u8], issuer: &str, metadata: &FetchUrl) -> Result<FetchUrl, FetchErrorKind> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: Option<Value>,
        jwks_uri: Option<Value>,
    }

    let found: Metadata =
        serde_json::from_slice(without_byte_order_mark(text)).map_err(|_| FetchErrorKind::NotMetadata)?;
    let string = |name, value: Option<Value>| match value {
        Some(Value::String(text)) => Ok(text),
        _ => Err(FetchErrorKind::MetadataMember(name)),
    };
    let found_issuer = string("issuer", found.issuer)?;
    if found_issuer != issuer {
        return Err(FetchErrorKind::OtherIssuer { found: without_secrets(&found_issuer), expected: issuer.to_owned() });
    }
    metadata.follow(&string("jwks_uri", found.jwks_uri)?).ok_or(FetchErrorKind::JwksUriNotAllowed)
}

async fn document(
    http: &SharedHttpConnector,
    url: &FetchUrl,
    deadline: Option<Instant>,
) -> Result<Vec<u8>, FetchError> {
    let limit = Instant::now() + DOCUMENT_TIMEOUT;
    let (end, late) = match deadline {
        Some(deadline) if deadline < limit => (deadline, FetchErrorKind::CutOff),
        _ => (limit, FetchErrorKind::TimedOut),
    };
    let document = timeout_at(end, get(http, url)).await.unwrap_or(Err(late));
    document.map_err(|kind| FetchError { url: url.to_string(), kind })
}

async fn get(http: &SharedHttpConnector, url: &FetchUrl) -> Result<Vec<u8>, FetchErrorKind> {
    let mut response = call(http, url).await?;
    if matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        let location = response.headers().get("location").and_then(|location| url.follow(location));
        response = call(http, &location.ok_or(FetchErrorKind::Redirect)?).await?;
    }
    match response.status().as_u16() {
        200 => {
            // Sent although the request says that it is not read (RFC 9110, 12.5.3).
            let codings = response.headers().get_all("content-encoding").flat_map(|value| value.split(','));
            if let Some(coding) = codings.map(str::trim).find(|coding| !is_identity(coding)) {
                return Err(FetchErrorKind::ContentEncoding(excerpt(coding).to_owned()));
            }
            let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
            body.map(|body| body.to_bytes().into()).map_err(|error| connection(&*error))
        }
        status => Err(FetchErrorKind::Status(status)),
    }
}

fn is_identity(coding: &str) -> bool {
    coding.is_empty() || coding.eq_ignore_ascii_case("identity")
}

async fn call(http: &SharedHttpConnector, url: &FetchUrl) -> Result<HttpResponse, FetchErrorKind> {
    let mut request = HttpRequest::new(SdkBody::empty());
    // A fragment is not part of a request.
    request.set_uri(&url.url[..Position::AfterQuery]).map_err(|error| connection(&error))?;
    request.headers_mut().insert("accept", ACCEPT);
    // Without it, a server may choose any coding (RFC 9110, 12.5.3).
    request.headers_mut().insert("accept-encoding", "identity");
    request.headers_mut().insert("user-agent", USER_AGENT);
    http.call(request).await.map_err(|error| connection(&error))
}

/// An issuer can put texts of its own into an error: the names of its certificate.
fn connection(error: &(dyn std::error::Error + 'static)) -> FetchErrorKind {
    FetchErrorKind::Connection(excerpt(&chain(error)).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_urls_are_https_or_local() {
        use InvalidUrl::{NotHttps, UserInformation};

        for (url, expected) in [
            ("https://a.example/", None),
            ("http://127.0.0.1:1/", None),
            ("http://127.9.9.9/", None),
            ("http://[::1]/", None),
            ("http://localhost:80/x", None),
            ("https://localhost/x", None),
            ("http://a.example/", Some(NotHttps)),
            ("http://localhost.example/", Some(NotHttps)),
            ("http://10.0.0.1/", Some(NotHttps)),
            ("ftp://localhost/", Some(NotHttps)),
            ("/jwks", Some(NotHttps)),
            ("https://u:p@a.example/", Some(UserInformation)),
        ] {
            assert_eq!(FetchUrl::configured(url).err(), expected, "{url}");
        }
        let url = FetchUrl::configured("https://a.example/jwks?key=SECRET").unwrap();
        assert_eq!(url.to_string(), "https://a.example/jwks");
    }

    #[test]
    fn only_from_this_machine_may_a_document_point_to_it() {
        let local = ["http://127.0.0.1:9/", "https://127.0.0.1/", "https://localhost/", "http://[::1]/"];
        let also_local = [
            "https://localhost./",
            "https://a.localhost/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:0.0.0.0]/",
        ];
        let (here, elsewhere) = ("http://127.0.0.1:1/x", "https://a.example/x");
        let follows = |from: &str, to: &str| FetchUrl::configured(from).unwrap().follow(to).is_some();
        for to in local {
            assert!(follows(here, to), "{to}");
        }
        for to in local.iter().chain(&also_local) {
            assert!(!follows(elsewhere, to), "{to}");
        }
        let other_machines = ["https://10.0.0.7/", "https://[2001:db8::7]/", "https://[::ffff:10.0.0.7]/"];
        for to in ["/other", "https://b.example/", "//b.example/x"].iter().chain(&other_machines) {
            assert!(follows(elsewhere, to), "{to}");
        }
        for from in [here, elsewhere] {
            for to in ["http://b.example/", "https://u@b.example/", "file:///etc/passwd", "https://"] {
                assert!(!follows(from, to), "{from} to {to}");
            }
        }
        assert!(follows(here, "https://a.example/"));
    }

    #[test]
    fn no_secret_of_a_url_is_left() {
        for (url, expected) in [
            ("https://issuer.example", "https://issuer.example"),
            ("HTTPS://Issuer.example/?k=SECRET", "HTTPS://Issuer.example/"),
            ("https://issuer.example:8443/a@b/", "https://issuer.example:8443/a@b/"),
            ("https://u:SECRET@issuer.example/a?k=SECRET#SECRET", "https://issuer.example/a"),
            ("https://SECRET@issuer.example", "https://issuer.example/"),
            ("https:\\\\u:SECRET@issuer.example", "https://issuer.example/"),
            ("https:u:SECRET@issuer.example", "https://issuer.example/"),
            ("https://u:SECRET@issuer.example:99999/", "issuer.example:99999/"),
            ("//u:SECRET@issuer.example?SECRET", "issuer.example"),
            ("mailto:u:SECRET@issuer.example", "issuer.example"),
            ("accounts.example", "accounts.example"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(url), expected, "{url}");
        }
        assert_eq!(without_secrets(&format!("https://a.example/{}", "a".repeat(9_999))).len(), 256);
    }
}
