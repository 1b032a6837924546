//! Documents of an issuer, fetched over HTTPS.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::key_set::{KeySet, KeySetError};
use crate::address::is_this_machine;
use crate::error::chain;
use crate::json::without_byte_order_mark;

/// The limit for fetching one document.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Length of a document in bytes. Arbitrary; the largest sets in use have some 20,000.
const MAX_DOCUMENT: usize = 150_000;
/// Firewalls in front of issuers refuse requests without it.
const USER_AGENT: &str = concat!("update-distributor/", env!("CARGO_PKG_VERSION"));

/// A URL that documents may be fetched from: `https`, or `http` to this machine, without user information. `Display`
/// leaves its query out, which may contain a key.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteUrl {
    url: Url,
    /// Whether it may lead to this machine, which is allowed only if it is on this machine itself.
    local: bool,
}

/// The reason why a configured URL is refused, without any part of the URL.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InvalidUrl {
    /// It is not an absolute `https` URL, nor an `http` URL of this machine.
    NotHttps,
    /// It has a user name or a password.
    UserInformation,
    /// A URL parser reads it as another text, so it may not be what was meant.
    NotCanonical,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotHttps => "must be an https URL (http for this machine only)",
            Self::UserInformation => "must not contain user information",
            Self::NotCanonical => "must be written as a URL parser would write it",
        })
    }
}

impl std::error::Error for InvalidUrl {}

impl RemoteUrl {
    /// Reads a URL from the configuration.
    ///
    /// # Errors
    ///
    /// The reason why it is refused.
    pub fn configured(text: &str) -> Result<Self, InvalidUrl> {
        let url = Url::parse(text).map_err(|_| InvalidUrl::NotHttps)?;
        if has_user_information(&url) {
            return Err(InvalidUrl::UserInformation);
        }
        let local = url.host().is_some_and(|host| is_loopback(&host));
        let url = Self::fetchable(url, local).ok_or(InvalidUrl::NotHttps)?;
        if canonical(text).as_deref() == Some(url.url.as_str()) { Ok(url) } else { Err(InvalidUrl::NotCanonical) }
    }

    /// Returns the URL that a redirect or a document of this one leads to, or `None` if it may not be followed.
    #[must_use]
    pub fn follow(&self, location: &str) -> Option<Self> {
        let url = self.url.join(location).ok()?;
        let leads_here = url.host().is_some_and(|host| is_local(&host));
        (!has_user_information(&url) && (self.local || !leads_here)).then_some(())?;
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

impl fmt::Display for RemoteUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.url[..url::Position::AfterPath])
    }
}

fn has_user_information(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// The hosts that `http` is allowed for.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

/// Every host that a connection to would reach this machine, as far as its text tells.
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

/// Returns a URL as its parser would write it, if it differs from that by no more than the case of scheme and host, a
/// default port or a missing final `/`; any other difference is kept.
fn canonical(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let default_port = if scheme == "http" { ":80" } else { ":443" };
    let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Some(format!("{scheme}://{authority}{slash}{rest}"))
}

/// The reason why a document could not be fetched or used, with the URL but not its query.
#[derive(Clone, Debug)]
pub struct FetchError {
    url: String,
    reason: Reason,
}

#[derive(Clone, Debug)]
enum Reason {
    Connection(String),
    Status(u16),
    Redirect,
    TimedOut,
    CutOff,
    NotMetadata,
    OtherIssuer { found: String, expected: String },
    KeysElsewhere,
    KeySet(KeySetError),
}

impl FetchError {
    /// Returns whether the request's own deadline came first. That says nothing about the issuer.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        matches!(self.reason, Reason::CutOff)
    }

    /// Returns the error of the set, where one was fetched.
    #[must_use]
    pub fn key_set(&self) -> Option<&KeySetError> {
        if let Reason::KeySet(error) = &self.reason { Some(error) } else { None }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.url)?;
        match &self.reason {
            Reason::Connection(cause) => formatter.write_str(cause),
            Reason::Status(status) => write!(formatter, "status {status}"),
            Reason::Redirect => formatter.write_str("redirected to where keys may not be fetched from"),
            Reason::TimedOut => formatter.write_str("timed out"),
            Reason::CutOff => formatter.write_str("not fetched in time"),
            Reason::NotMetadata => formatter.write_str("not issuer metadata"),
            Reason::OtherIssuer { found, expected } => {
                write!(formatter, "the metadata is of issuer {found:?} and not of {expected:?}")
            }
            Reason::KeysElsewhere => {
                formatter.write_str("the metadata has a jwks_uri that keys may not be fetched from")
            }
            Reason::KeySet(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for FetchError {}

/// The place from which a JWK set is fetched.
pub enum Location {
    /// At this URL.
    Jwks(RemoteUrl),
    /// At the `jwks_uri` of the issuer's metadata (`OpenID` Connect Discovery 1.0, 4).
    Discovery {
        /// The issuer that the metadata must name.
        issuer: String,
        /// The URL of the metadata.
        metadata: RemoteUrl,
    },
}

impl Location {
    /// Returns whether the set is that of this issuer. A URL in the configuration is for every issuer.
    #[must_use]
    pub fn serves(&self, issuer: &str) -> bool {
        match self {
            Self::Jwks(_) => true,
            Self::Discovery { issuer: own, .. } => own == issuer,
        }
    }

    /// Fetches the set, at most until `deadline`.
    ///
    /// # Errors
    ///
    /// The reason why no usable set was found.
    pub async fn fetch(&self, http: &SharedHttpConnector, deadline: Instant) -> Result<KeySet, FetchError> {
        let (url, text) = match self {
            Self::Jwks(url) => (url.clone(), document(http, url, deadline).await?),
            Self::Discovery { issuer, metadata } => {
                let text = document(http, metadata, deadline).await?;
                let url = jwks_uri(&text, issuer, metadata)
                    .map_err(|reason| FetchError { url: metadata.to_string(), reason })?;
                let text = document(http, &url, deadline).await?;
                (url, text)
            }
        };
        let set = KeySet::fetched(without_byte_order_mark(&text));
        set.map_err(|error| FetchError { url: url.to_string(), reason: Reason::KeySet(error) })
    }
}

fn jwks_uri(text: &[u8], issuer: &str, metadata: &RemoteUrl) -> Result<RemoteUrl, Reason> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }

    let found: Metadata = serde_json::from_slice(without_byte_order_mark(text)).map_err(|_| Reason::NotMetadata)?;
    if found.issuer != issuer {
        // The query of a URL may contain a key.
        let without_query = |text: &str| text.split(['?', '#']).next().unwrap_or_default().to_owned();
        return Err(Reason::OtherIssuer { found: without_query(&found.issuer), expected: issuer.to_owned() });
    }
    metadata.follow(&found.jwks_uri).ok_or(Reason::KeysElsewhere)
}

async fn document(http: &SharedHttpConnector, url: &RemoteUrl, deadline: Instant) -> Result<Vec<u8>, FetchError> {
    let limit = Instant::now() + DOCUMENT_TIMEOUT;
    let late = if deadline < limit { Reason::CutOff } else { Reason::TimedOut };
    let document = timeout_at(limit.min(deadline), get(http, url)).await.unwrap_or(Err(late));
    document.map_err(|reason| FetchError { url: url.to_string(), reason })
}

async fn get(http: &SharedHttpConnector, url: &RemoteUrl) -> Result<Vec<u8>, Reason> {
    let mut response = call(http, url).await?;
    if matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        let location = response.headers().get("location").and_then(|location| url.follow(location));
        response = call(http, &location.ok_or(Reason::Redirect)?).await?;
    }
    match response.status().as_u16() {
        200 => {
            let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
            body.map(|body| body.to_bytes().into()).map_err(|error| Reason::Connection(chain(&*error)))
        }
        status => Err(Reason::Status(status)),
    }
}

async fn call(http: &SharedHttpConnector, url: &RemoteUrl) -> Result<HttpResponse, Reason> {
    let request = || {
        let mut request = HttpRequest::new(SdkBody::empty());
        // A fragment is not part of a request.
        let uri = &url.url[..url::Position::AfterQuery];
        request.set_uri(uri).map_err(|error| Reason::Connection(chain(&error)))?;
        request.headers_mut().insert("accept", "application/json");
        request.headers_mut().insert("user-agent", USER_AGENT);
        Ok(request)
    };
    let mut result = http.call(request()?).await;
    // A pooled connection may have died while the process was frozen.
    if result.as_ref().is_err_and(|error| !error.is_timeout()) {
        result = http.call(request()?).await;
    }
    result.map_err(|error| Reason::Connection(chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_urls_are_https_or_local_and_canonical() {
        use InvalidUrl::{NotCanonical, NotHttps, UserInformation};

        for (url, expected) in [
            ("https://a.example/", None),
            ("https://a.example", None),
            ("HTTPS://A.Example:443/Jwks?a=b", None),
            ("https://a.example?key=x", None),
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
            ("https://", Some(NotHttps)),
            ("https://u:p@a.example/", Some(UserInformation)),
            ("https://u@a.example/", Some(UserInformation)),
            ("https:///jwks", Some(NotCanonical)),
            ("https:a.example", Some(NotCanonical)),
            ("https://a.example/a/../b", Some(NotCanonical)),
            ("https://a.example/a b", Some(NotCanonical)),
            ("https://a.example\\b", Some(NotCanonical)),
            ("https://a.example:0443/", Some(NotCanonical)),
            ("https://0x7f.1/", Some(NotCanonical)),
            ("https://b\u{fc}cher.example/", Some(NotCanonical)),
            ("https://a.example/\n", Some(NotCanonical)),
        ] {
            assert_eq!(RemoteUrl::configured(url).err(), expected, "{url}");
        }
        let url = RemoteUrl::configured("https://a.example/jwks?key=SECRET").unwrap();
        assert_eq!(url.to_string(), "https://a.example/jwks");
    }

    #[test]
    fn only_from_this_machine_may_a_document_lead_to_it() {
        let local = ["http://127.0.0.1:9/", "https://127.0.0.1/", "https://localhost/", "http://[::1]/"];
        let also_local = [
            "https://localhost./",
            "https://a.localhost/",
            "https://0.0.0.0/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:0.0.0.0]/",
        ];
        let (here, elsewhere) = ("http://127.0.0.1:1/x", "https://a.example/x");
        let follows = |from: &str, to: &str| RemoteUrl::configured(from).unwrap().follow(to).is_some();
        for to in local {
            assert!(follows(here, to), "{to}");
        }
        for to in local.iter().chain(&also_local) {
            assert!(!follows(elsewhere, to), "{to}");
        }
        for to in ["/other", "https://b.example/", "//b.example/x"] {
            assert!(follows(elsewhere, to), "{to}");
        }
        for from in [here, elsewhere] {
            for to in ["http://b.example/", "https://u@b.example/", "file:///etc/passwd", "https://"] {
                assert!(!follows(from, to), "{from} to {to}");
            }
        }
        assert!(follows(here, "https://a.example/"));
    }
}
