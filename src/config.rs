//! The environment → [`Config`], once.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use lambda_http::http::Uri;
use rustls_native_certs::load_certs_from_paths;
use thiserror::Error;
use webpki::anchor_from_trusted_cert;

use crate::canonical_url;
use crate::clients::Aws;
use crate::excerpt::excerpt;
use crate::log::Level;
use crate::token::claims::{ClaimName, ClaimRules};
use crate::token::fetch::{Endpoint, FetchUrl};
use crate::token::issuer::{Issuer, Keys};
use crate::token::key_set::KeySet;
use crate::token::key_store::CachedKeySet;
use crate::webhook::HostPolicy;

/// Everything that a deployment can set.
pub struct Config {
    /// `DynamoDB` table with the partition key `id` (S) and no sort key.
    pub table_name: String,
    /// The accepted issuers with their keys, and the rules for the claims of tokens.
    pub token_rules: ClaimRules,
    /// Expected `X-Target-Server`.
    pub target_server: String,
    /// The hosts that a webhook may name.
    pub host_policy: HostPolicy,
    /// Whether a priming call is sent at the start.
    pub prime: bool,
    /// Namespace of the embedded metrics; `None`: none are written.
    pub metrics_namespace: Option<String>,
    /// Whether the instance was made for its first request, and not ahead of it.
    pub is_on_demand: bool,
    /// Where the table is.
    pub aws: Aws,
}

/// A setting that is missing or wrong: the variable, and what is wrong with it.
#[derive(Debug, Error, PartialEq)]
#[error("{variable} {reason}")]
pub struct ConfigError {
    variable: &'static str,
    reason: String,
}

impl ConfigError {
    fn new(variable: &'static str, reason: impl Into<String>) -> Self {
        Self { variable, reason: reason.into() }
    }
}

impl Config {
    /// Reads the variables in the order of the README's table, and stops at the first that is missing or wrong.
    ///
    /// # Errors
    ///
    /// That variable, without its value where it may be secret.
    pub fn from_env(env: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let env = Env(&env);
        let table_name = env.required("TABLE_NAME")?;
        let table_name = checked("TABLE_NAME", table_name, is_table_name, "the name or ARN of a DynamoDB table")?;
        let mut names = env.list("TOKEN_ISSUER")?;
        let mut known = HashSet::new();
        names.retain(|name| known.insert(name.clone()));
        // Only their presence matters here; the values are validated below.
        let is_discovery = !env.is_set("TOKEN_JWKS_URI") && !env.is_set("TOKEN_JWKS");
        let discovered: Option<Vec<_>> =
            is_discovery.then(|| names.iter().map(|name| discovered(name)).collect()).transpose()?;
        let audience = env.list("TOKEN_AUDIENCE")?.into_iter().collect();
        let issuers = if let Some(issuers) = discovered {
            issuers
        } else {
            let keys = inline_or_uri(&env)?;
            names.into_iter().map(|name| Issuer { name, keys: keys.clone() }).collect()
        };
        let scope = env.optional("TOKEN_SCOPE")?;
        let scope =
            scope.map(|scope| checked("TOKEN_SCOPE", scope, is_scope, "one scope (RFC 6749, 3.3)")).transpose()?;
        let node_claim = match env.or_default("TOKEN_NODE_CLAIM", "node_id")? {
            Some(claim) => Some(ClaimName::parse(&claim).ok_or_else(|| {
                invalid("TOKEN_NODE_CLAIM", &claim, "the name of a claim or a JSON pointer (RFC 6901)")
            })?),
            None => None,
        };
        let target_server = env.optional("TARGET_SERVER")?.unwrap_or_else(|| "integration".to_owned());
        let target_server =
            checked("TARGET_SERVER", target_server, is_field_value, "a value that a header can contain")?;
        let private_hosts = env.boolean("WEBHOOK_ALLOW_PRIVATE_HOSTS", false)?;
        let prime = env.boolean("PRIME", true)?;
        let namespace = env.or_default("METRICS_NAMESPACE", "UpdateDistributor")?;
        let expected = "a CloudWatch namespace: at most 255 of A-Z a-z 0-9 . - _ / # : and space, not AWS/...";
        let metrics_namespace =
            namespace.map(|namespace| checked("METRICS_NAMESPACE", namespace, is_namespace, expected)).transpose()?;
        let is_on_demand = Platform::is_on_demand(env.0);
        let aws = env.aws()?;
        Ok(Self {
            table_name,
            token_rules: ClaimRules { issuers, audience, scope, node_claim },
            target_server,
            host_policy: if private_hosts { HostPolicy::Any } else { HostPolicy::Public },
            prime,
            metrics_namespace,
            is_on_demand,
            aws,
        })
    }
}

/// Reads `AWS_ENDPOINT_URL_DYNAMODB`, else `AWS_ENDPOINT_URL`, and then `AWS_REGION`, else `AWS_DEFAULT_REGION`. An
/// endpoint is not read where `AWS_IGNORE_CONFIGURED_ENDPOINT_URLS` is `true`, which has the SDK's own meaning.
///
/// # Errors
///
/// The variable that is wrong, without an endpoint's value; `AWS_REGION` where there is no region.
pub fn aws(env: impl Fn(&'static str) -> Option<OsString>) -> Result<Aws, ConfigError> {
    Env(&env).aws()
}

/// The platform's own variables: the form of the log, and the number of concurrent invocations. Unknown values count as
/// the platform's defaults.
pub struct Platform {
    /// `AWS_LAMBDA_LOG_LEVEL`
    pub log_level: Level,
    /// `AWS_LAMBDA_LOG_FORMAT` is not `Text`.
    pub log_json: bool,
    /// `AWS_LAMBDA_MAX_CONCURRENCY`, at least 1.
    pub concurrency: usize,
}

impl Platform {
    /// Reads the platform's variables.
    pub fn from_env(env: impl Fn(&'static str) -> Option<OsString>) -> Self {
        let text = |name| env(name).and_then(|value| value.into_string().ok());
        Self {
            log_level: text("AWS_LAMBDA_LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(Level::Info),
            log_json: !text("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("text")),
            concurrency: text("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok()).unwrap_or(1).max(1),
        }
    }

    /// Returns whether `AWS_LAMBDA_INITIALIZATION_TYPE` is `on-demand` or not set. Instances of provisioned concurrency, for
    /// one, are made ahead of their first request.
    fn is_on_demand(env: impl Fn(&'static str) -> Option<OsString>) -> bool {
        env("AWS_LAMBDA_INITIALIZATION_TYPE").is_none_or(|kind| kind.is_empty() || kind == "on-demand")
    }

    /// Reads `AWS_LAMBDA_RUNTIME_API`, the host and port of the Runtime API.
    ///
    /// # Errors
    ///
    /// It is missing or wrong.
    pub fn runtime_api(env: impl Fn(&'static str) -> Option<OsString>) -> Result<Uri, ConfigError> {
        const VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";

        let value = Env(&env).required(VARIABLE)?;
        let uri = value.parse::<Uri>().ok().filter(|uri| uri.authority().is_some());
        uri.ok_or_else(|| invalid(VARIABLE, &value, "a host and port"))
    }
}

struct Env<'a>(&'a dyn Fn(&'static str) -> Option<OsString>);

impl Env<'_> {
    fn is_set(&self, variable: &'static str) -> bool {
        (self.0)(variable).is_some_and(|value| !value.is_empty())
    }

    /// Returns the value as it is set: empty or not, with white space around it or not.
    fn untrimmed(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(value) = (self.0)(variable) else {
            return Ok(None);
        };
        let value = value.into_string().map_err(|_| ConfigError::new(variable, "is not UTF-8"))?;
        if !value.is_empty() && value.trim().is_empty() {
            return Err(ConfigError::new(variable, "consists of white space"));
        }
        Ok(Some(value))
    }

    /// Returns the value as it is set: empty or not.
    fn raw(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        match self.untrimmed(variable)? {
            Some(value) if value.trim() != value => Err(ConfigError::new(variable, "has white space around its value")),
            value => Ok(value),
        }
    }

    fn optional(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.raw(variable)?.filter(|value| !value.is_empty()))
    }

    /// Returns the entries of a list, without the white space around them.
    fn list(&self, variable: &'static str) -> Result<Vec<String>, ConfigError> {
        let value = self.untrimmed(variable)?.unwrap_or_default();
        if value.is_empty() {
            return Err(ConfigError::new(variable, "is not set"));
        }
        let entries: Vec<_> = value.split(',').map(|entry| entry.trim().to_owned()).collect();
        if entries.iter().any(String::is_empty) {
            return Err(ConfigError::new(variable, "has an empty entry"));
        }
        Ok(entries)
    }

    fn required(&self, variable: &'static str) -> Result<String, ConfigError> {
        let value = self.optional(variable)?;
        value.ok_or_else(|| ConfigError::new(variable, "is not set"))
    }

    /// Returns a setting that an empty value turns off.
    fn or_default(&self, variable: &'static str, default: &str) -> Result<Option<String>, ConfigError> {
        let value = self.raw(variable)?.unwrap_or_else(|| default.to_owned());
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    fn aws(&self) -> Result<Aws, ConfigError> {
        let ignores_endpoints =
            (self.0)("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoint_url =
            match ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"].into_iter().find(|name| self.is_set(name)) {
                Some(variable) if !ignores_endpoints => Some(self.endpoint_url(variable)?),
                _ => None,
            };
        let region = match self.optional("AWS_REGION")? {
            Some(region) => Some(region),
            None => {
                self.optional("AWS_DEFAULT_REGION").map_err(|error| ConfigError { variable: "AWS_REGION", ..error })?
            }
        };
        let region = region.ok_or_else(|| ConfigError::new("AWS_REGION", "is not set"))?;
        let region = checked("AWS_REGION", region, is_region, "a region: letters, digits and -")?;
        self.require_authorities()?;
        Ok(Aws { region, endpoint_url })
    }

    /// Requires that a certificate can be read from `SSL_CERT_FILE` or `SSL_CERT_DIR` if one of them is set: they take the
    /// place of the system's authorities, so that without one every peer would be refused.
    fn require_authorities(&self) -> Result<(), ConfigError> {
        let set = |variable| (self.0)(variable).filter(|value| !value.is_empty());
        let (file, directories) = (set("SSL_CERT_FILE"), set("SSL_CERT_DIR"));
        let variable = match (&file, &directories) {
            (None, None) => return Ok(()),
            (Some(_), _) => "SSL_CERT_FILE",
            (None, Some(_)) => "SSL_CERT_DIR",
        };
        // By the library that the HTTP client reads them with.
        let mut found = load_certs_from_paths(file.as_deref().map(Path::new), None);
        for directory in directories.iter().flat_map(env::split_paths) {
            let more = load_certs_from_paths(None, Some(&directory));
            found.certs.extend(more.certs);
            found.errors.extend(more.errors);
        }
        if found.certs.iter().any(|certificate| anchor_from_trusted_cert(certificate).is_ok()) {
            return Ok(());
        }
        let cause = found.errors.first().map_or("nothing in PEM form".to_owned(), ToString::to_string);
        Err(ConfigError::new(variable, format!("has no certificate that can be read: {}", excerpt(&cause))))
    }

    fn endpoint_url(&self, variable: &'static str) -> Result<String, ConfigError> {
        let text = self.required(variable)?;
        let url = canonical_url::parse(&text).map_err(|error| ConfigError::new(variable, error.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ConfigError::new(variable, "must be a URL without query and fragment"));
        }
        Ok(url.into())
    }

    fn boolean(&self, variable: &'static str, default: bool) -> Result<bool, ConfigError> {
        match self.optional(variable)? {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(invalid(variable, &value, "true or false")),
        }
    }
}

fn invalid(variable: &'static str, value: &str, expected: &str) -> ConfigError {
    ConfigError::new(variable, format!("is {value:?} and should be {expected}"))
}

/// Returns a value that keeps to the rule of its variable.
fn checked(
    variable: &'static str,
    value: String,
    is_valid: fn(&str) -> bool,
    expected: &str,
) -> Result<String, ConfigError> {
    if is_valid(&value) { Ok(value) } else { Err(invalid(variable, &value, expected)) }
}

fn is_field_value(value: &str) -> bool {
    !value.chars().any(char::is_control)
}

fn is_table_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
    (1..=1_024).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_scope(scope: &str) -> bool {
    scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// A region becomes a label of the endpoint's host name.
fn is_region(region: &str) -> bool {
    region.len() <= 63 && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_namespace(namespace: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    // CloudWatch reserves `AWS/` for its own, and drops what others send there.
    namespace.len() <= 255 && namespace.bytes().all(allowed) && !namespace.starts_with("AWS/")
}

/// Returns the keys of all issuers, where they are not discovered.
fn inline_or_uri(env: &Env<'_>) -> Result<Keys, ConfigError> {
    match (env.optional("TOKEN_JWKS_URI")?, env.untrimmed("TOKEN_JWKS")?.filter(|set| !set.is_empty())) {
        (Some(_), Some(_)) => Err(ConfigError::new("TOKEN_JWKS_URI", "and TOKEN_JWKS are both set; set one of them")),
        (Some(uri), None) => match FetchUrl::configured(&uri) {
            Ok(url) => Ok(Keys::Fetched(Arc::new(CachedKeySet::new(Endpoint::Jwks(url))))),
            Err(error) => Err(ConfigError::new("TOKEN_JWKS_URI", error.to_string())),
        },
        (None, jwks) => match KeySet::inline(jwks.unwrap_or_default().as_bytes()) {
            Ok(keys) => Ok(Keys::Inline(Arc::new(keys))),
            Err(error) => Err(ConfigError::new("TOKEN_JWKS", format!("is not usable: {error}"))),
        },
    }
}

/// Returns an issuer whose keys are found by `OpenID` Connect Discovery 1.0, 4.
fn discovered(name: &str) -> Result<Issuer, ConfigError> {
    let invalid = |reason: &str| {
        let when = "where neither TOKEN_JWKS_URI nor TOKEN_JWKS is set";
        ConfigError::new("TOKEN_ISSUER", format!("{reason}, {when}"))
    };
    FetchUrl::configured(name).map_err(|error| invalid(&error.to_string()))?;
    if name.contains(['?', '#']) {
        return Err(invalid("must be a URL without query and fragment"));
    }
    let text = format!("{}/.well-known/openid-configuration", name.strip_suffix('/').unwrap_or(name));
    let metadata = FetchUrl::configured(&text).map_err(|error| invalid(&error.to_string()))?;
    let endpoint = Endpoint::Discovery { issuer: name.to_owned(), metadata };
    Ok(Issuer { name: name.to_owned(), keys: Keys::Fetched(Arc::new(CachedKeySet::new(endpoint))) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const JWKS: &str =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn config(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let base = [
            ("TABLE_NAME", "distributors"),
            ("TOKEN_ISSUER", "https://issuer.example"),
            ("TOKEN_AUDIENCE", "api"),
            ("AWS_REGION", "eu-central-1"),
        ];
        Config::from_env(|name| {
            let set = settings.iter().chain(&base).find(|(variable, _)| *variable == name);
            set.map(|(_, value)| OsString::from(*value))
        })
    }

    #[test]
    fn variables_that_are_not_set_have_their_defaults() {
        let config = config(&[]).unwrap();
        assert_eq!(config.table_name, "distributors");
        assert_eq!(config.token_rules.audience, HashSet::from(["api".to_owned()]));
        assert_eq!(config.token_rules.node_claim, ClaimName::parse("node_id"));
        assert_eq!((config.aws.region.as_str(), config.aws.endpoint_url), ("eu-central-1", None));
        assert_eq!(config.token_rules.scope, None);
        assert_eq!(config.target_server, "integration");
        assert_eq!(config.host_policy, HostPolicy::Public);
        assert!(config.prime);
        assert_eq!(config.metrics_namespace.as_deref(), Some("UpdateDistributor"));
        let [Issuer { name, keys: Keys::Fetched(set) }] = &config.token_rules.issuers[..] else {
            panic!("of one issuer")
        };
        let Endpoint::Discovery { issuer, metadata } = &set.endpoint else { panic!("keys are found by discovery") };
        assert_eq!(name, issuer);
        assert_eq!(issuer, "https://issuer.example");
        assert_eq!(metadata.to_string(), "https://issuer.example/.well-known/openid-configuration");
    }

    #[test]
    fn variables_that_are_set_are_read() {
        let config = config(&[
            ("TOKEN_AUDIENCE", " a , b"),
            ("TOKEN_JWKS", JWKS),
            ("TOKEN_ISSUER", "any text, another\n"),
            ("TOKEN_SCOPE", "distributors:write"),
            ("TOKEN_NODE_CLAIM", ""),
            ("METRICS_NAMESPACE", ""),
            ("WEBHOOK_ALLOW_PRIVATE_HOSTS", "TRUE"),
            ("PRIME", "False"),
            ("TARGET_SERVER", ""),
        ])
        .unwrap();
        assert_eq!(config.token_rules.audience, HashSet::from(["a".to_owned(), "b".to_owned()]));
        let names: Vec<_> = config.token_rules.issuers.iter().map(|issuer| &*issuer.name).collect();
        assert_eq!(names, ["any text", "another"]);
        assert!(config.token_rules.issuers.iter().all(|issuer| matches!(issuer.keys, Keys::Inline(_))));
        assert_eq!(config.token_rules.node_claim, None);
        assert_eq!(config.metrics_namespace, None);
        assert_eq!(config.host_policy, HostPolicy::Any);
        assert!(!config.prime);
        assert_eq!(config.target_server, "integration");
    }

    #[test]
    fn the_first_invalid_variable_is_named_with_what_it_should_be() {
        #[track_caller]
        fn check(settings: &[(&str, &str)], expected: &str) {
            assert_eq!(
                config(settings).err().map(|error| error.to_string()).as_deref(),
                Some(expected),
                "{settings:?}"
            );
        }
        check(&[("TABLE_NAME", "")], "TABLE_NAME is not set");
        check(&[("TABLE_NAME", "  ")], "TABLE_NAME consists of white space");
        check(&[("TABLE_NAME", "a b c")], "TABLE_NAME is \"a b c\" and should be the name or ARN of a DynamoDB table");
        check(&[("TOKEN_ISSUER", ""), ("TOKEN_AUDIENCE", "")], "TOKEN_ISSUER is not set");
        let discovery = "where neither TOKEN_JWKS_URI nor TOKEN_JWKS is set";
        for (issuer, fault) in [
            ("issuer", "must be an https URL (http for this machine only)"),
            ("http://issuer.example", "must be an https URL (http for this machine only)"),
            ("https://issuer.example/?a", "must be a URL without query and fragment"),
            ("https://issuer.example/#", "must be a URL without query and fragment"),
            ("https://SECRET@b.example", "must not contain user information"),
            ("https:///issuer.example", "must be in canonical form"),
            ("https://issuer.example, https://x.example/a/../b", "must be in canonical form"),
        ] {
            check(&[("TOKEN_ISSUER", issuer)], &format!("TOKEN_ISSUER {fault}, {discovery}"));
        }
        for list in ["TOKEN_ISSUER", "TOKEN_AUDIENCE"] {
            check(&[(list, " ")], &format!("{list} consists of white space"));
            for value in ["a,,b", ",", "a,", " ,a"] {
                check(&[(list, value)], &format!("{list} has an empty entry"));
            }
        }
        check(
            &[("TOKEN_JWKS_URI", "https://a.example/"), ("TOKEN_JWKS", JWKS)],
            "TOKEN_JWKS_URI and TOKEN_JWKS are both set; set one of them",
        );
        for (uri, fault) in [
            ("http://a.example/?key=SECRET", "must be an https URL (http for this machine only)"),
            ("https://a:SECRET@a.example/", "must not contain user information"),
            ("https:///jwks", "must be in canonical form"),
        ] {
            check(&[("TOKEN_JWKS_URI", uri)], &format!("TOKEN_JWKS_URI {fault}"));
        }
        check(&[("TOKEN_JWKS", "{}")], "TOKEN_JWKS is not usable: not a JWK set: keys is missing");
        check(&[("TOKEN_JWKS", "{\"keys\":[]}")], "TOKEN_JWKS is not usable: no key in it can be used");
        check(
            &[("TOKEN_JWKS", &format!("\u{feff}{JWKS}"))],
            "TOKEN_JWKS is not usable: not a JWK set: not a JSON object",
        );
        check(&[("TOKEN_SCOPE", "a b")], "TOKEN_SCOPE is \"a b\" and should be one scope (RFC 6749, 3.3)");
        check(
            &[("TOKEN_NODE_CLAIM", "/a~2")],
            "TOKEN_NODE_CLAIM is \"/a~2\" and should be the name of a claim or a JSON pointer (RFC 6901)",
        );
        for namespace in ["AWS/x", "AWS/", "a\\b"] {
            let expected = "a CloudWatch namespace: at most 255 of A-Z a-z 0-9 . - _ / # : and space, not AWS/...";
            let error = format!("METRICS_NAMESPACE is {namespace:?} and should be {expected}");
            check(&[("METRICS_NAMESPACE", namespace)], &error);
        }
        check(&[("PRIME", "1")], "PRIME is \"1\" and should be true or false");
        check(
            &[("WEBHOOK_ALLOW_PRIVATE_HOSTS", "yes")],
            "WEBHOOK_ALLOW_PRIVATE_HOSTS is \"yes\" and should be true or false",
        );
        for (variable, others) in [
            ("AWS_ENDPOINT_URL_DYNAMODB", [("AWS_ENDPOINT_URL", "https://a.example"), ("AWS_REGION", "")]),
            ("AWS_ENDPOINT_URL", [("AWS_ENDPOINT_URL_DYNAMODB", ""), ("AWS_REGION", "")]),
        ] {
            for (endpoint, fault) in [
                (" ", "consists of white space"),
                ("http://a.example ", "has white space around its value"),
                ("localhost:8000", "must be an absolute http or https URL"),
                ("a.example", "must be an absolute http or https URL"),
                ("ftp://a.example", "must be an absolute http or https URL"),
                ("http://", "must be an absolute http or https URL"),
                ("http:///a.example", "must be in canonical form"),
                ("http://u:SECRET@a.example", "must not contain user information"),
                ("http://a.example?SECRET", "must be a URL without query and fragment"),
                ("http://a.example/#", "must be a URL without query and fragment"),
            ] {
                check(&[&[(variable, endpoint)], &others[..]].concat(), &format!("{variable} {fault}"));
            }
        }
        check(&[("AWS_REGION", "")], "AWS_REGION is not set");
        check(&[("AWS_REGION", "a.b")], "AWS_REGION is \"a.b\" and should be a region: letters, digits and -");
        check(&[("AWS_REGION", " ")], "AWS_REGION consists of white space");
        check(&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", " x")], "AWS_REGION has white space around its value");
        for variable in [
            "TABLE_NAME",
            "TOKEN_JWKS_URI",
            "TOKEN_SCOPE",
            "TOKEN_NODE_CLAIM",
            "TARGET_SERVER",
            "WEBHOOK_ALLOW_PRIVATE_HOSTS",
            "PRIME",
            "METRICS_NAMESPACE",
            "AWS_REGION",
        ] {
            for value in [" true", "true\n", "true\u{a0}"] {
                check(&[(variable, value)], &format!("{variable} has white space around its value"));
            }
        }
    }

    #[test]
    fn white_space_is_allowed_around_a_key_set_and_the_entries_of_lists() {
        let jwks = format!("\n {JWKS} \n");
        let settings = [("TOKEN_ISSUER", "\ta ,\n b "), ("TOKEN_AUDIENCE", " a"), ("TOKEN_JWKS", &*jwks)];
        let config = config(&settings).unwrap();
        let names: Vec<_> = config.token_rules.issuers.iter().map(|issuer| &*issuer.name).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(config.token_rules.audience, HashSet::from(["a".to_owned()]));
    }

    #[test]
    fn an_endpoint_is_that_of_the_service_or_of_all() {
        let (service, all) = ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL");
        let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "True");
        for (settings, expected) in [
            (&[][..], None),
            (&[(service, ""), (all, "")], None),
            (&[(service, "http://127.0.0.1:8000"), (all, "x")], Some("http://127.0.0.1:8000/")),
            (&[(service, ""), (all, "HTTPS://A.example:443/b")], Some("https://a.example/b")),
            (&[(service, "x"), (all, "x"), ignored], None),
        ] {
            assert_eq!(config(settings).unwrap().aws.endpoint_url.as_deref(), expected, "{settings:?}");
        }
    }

    #[test]
    fn a_default_region_serves_where_there_is_no_other() {
        let config = config(&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-north-1")]).unwrap();
        assert_eq!(config.aws.region, "eu-north-1");
    }

    #[cfg(unix)]
    #[test]
    fn the_runtime_api_is_an_authority() {
        for (value, expected) in [
            (Some("127.0.0.1:9001"), Ok("127.0.0.1:9001")),
            (None, Err("AWS_LAMBDA_RUNTIME_API is not set")),
            (Some(""), Err("AWS_LAMBDA_RUNTIME_API is not set")),
            (Some("/next"), Err("AWS_LAMBDA_RUNTIME_API is ")),
        ] {
            match (Platform::runtime_api(|_| value.map(OsString::from)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(error), Err(expected)) => assert!(error.to_string().starts_with(expected), "{error}"),
                (found, _) => panic!("{value:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_value_must_be_utf8() {
        use std::os::unix::ffi::OsStringExt;

        let error = Config::from_env(|_| Some(OsString::from_vec(vec![0xff]))).err().unwrap();
        assert_eq!(error.to_string(), "TABLE_NAME is not UTF-8");
    }
}
