//! The environment → [`Config`], once.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;

use lambda_http::http::Uri;

use crate::log::Level;
use crate::token::Rules;
use crate::token::fetch::{KeySource, RemoteUrl};
use crate::token::keys::KeySet;
use crate::webhook::Reach;

/// Everything that a deployment can set.
pub struct Config {
    /// `DynamoDB` table with the partition key `id` (S) and no sort key.
    pub table_name: String,
    /// What tokens must say.
    pub token_rules: Rules,
    /// Where the keys are that tokens are verified with.
    pub key_source: KeySource,
    /// Expected `X-Target-Server`.
    pub target_server: String,
    /// Which hosts a webhook may name.
    pub reach: Reach,
    /// Whether a priming call is sent at the start.
    pub prime: bool,
    /// Namespace of the embedded metrics; `None`: none are written.
    pub metrics_namespace: Option<String>,
}

/// A setting that is missing or wrong: the variable, and what is wrong with it.
#[derive(Debug, PartialEq)]
pub struct ConfigError {
    variable: &'static str,
    fault: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.variable, self.fault)
    }
}

impl Config {
    /// Reads the variables in the order of the README's table, and stops at the first that is missing or wrong.
    ///
    /// # Errors
    ///
    /// That variable, without its value where it may be secret.
    pub fn from_env(env: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let env = Env(env);
        let table_name = env.required("TABLE_NAME")?;
        if !is_table_name(&table_name) {
            return Err(wrong("TABLE_NAME", &table_name, "the name or ARN of a DynamoDB table"));
        }
        let issuer = env.required("TOKEN_ISSUER")?;
        // Both are read here, since without them the issuer has to be a URL; whether they are right is asked below.
        let found_by_issuer = !env.is_set("TOKEN_JWKS_URI") && !env.is_set("TOKEN_JWKS");
        let discovery = found_by_issuer.then(|| discovery_url(&issuer)).transpose()?;
        let audience = audience(&env.required("TOKEN_AUDIENCE")?)?;
        let key_source = match discovery {
            Some(url) => KeySource::Discovery { issuer: issuer.clone(), metadata: url },
            None => inline_or_uri(env.optional("TOKEN_JWKS_URI")?, env.optional("TOKEN_JWKS")?)?,
        };
        let scope = env.optional("TOKEN_SCOPE")?;
        if let Some(scope) = scope.as_ref().filter(|scope| !is_scope(scope)) {
            return Err(wrong("TOKEN_SCOPE", scope, "one scope (RFC 6749, 3.3)"));
        }
        let node_claim = env.emptiable("TOKEN_NODE_CLAIM", "node_id")?;
        let target_server = env.optional("TARGET_SERVER")?.unwrap_or_else(|| "integration".to_owned());
        if target_server.trim() != target_server || target_server.chars().any(char::is_control) {
            return Err(wrong(
                "TARGET_SERVER",
                &target_server,
                "a value that a header can hold, without blanks around it",
            ));
        }
        let private_hosts = env.switch("WEBHOOK_ALLOW_PRIVATE_HOSTS", false)?;
        let prime = env.switch("PRIME", true)?;
        let metrics_namespace = env.emptiable("METRICS_NAMESPACE", "UpdateDistributor")?;
        if let Some(namespace) = metrics_namespace.as_ref().filter(|namespace| !is_namespace(namespace)) {
            return Err(wrong(
                "METRICS_NAMESPACE",
                namespace,
                "a CloudWatch namespace: at most 255 of A-Z a-z 0-9 . - _ / # : and blank",
            ));
        }
        if !env.is_set("AWS_REGION") && !env.is_set("AWS_DEFAULT_REGION") {
            return Err(ConfigError { variable: "AWS_REGION", fault: "is not set".to_owned() });
        }
        Ok(Self {
            table_name,
            token_rules: Rules { issuer, audience, scope, node_claim },
            key_source,
            target_server,
            reach: if private_hosts { Reach::Any } else { Reach::Public },
            prime,
            metrics_namespace,
        })
    }
}

/// How the log is written, and how many invocations run at once: the platform's own variables, with its defaults for
/// what it does not know.
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
            log_level: text("AWS_LAMBDA_LOG_LEVEL").and_then(|level| Level::from_name(&level)).unwrap_or(Level::Info),
            log_json: !text("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("text")),
            concurrency: text("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok()).unwrap_or(1).max(1),
        }
    }

    /// Reads `AWS_LAMBDA_RUNTIME_API`, the host and port of the Runtime API.
    ///
    /// # Errors
    ///
    /// That it is missing or wrong.
    pub fn runtime_api(env: impl Fn(&'static str) -> Option<OsString>) -> Result<Uri, ConfigError> {
        const VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";

        let value = Env(env).required(VARIABLE)?;
        let uri = value.parse::<Uri>().ok().filter(|uri| uri.authority().is_some());
        uri.ok_or_else(|| wrong(VARIABLE, &value, "a host and port"))
    }
}

struct Env<F>(F);

impl<F: Fn(&'static str) -> Option<OsString>> Env<F> {
    fn is_set(&self, variable: &'static str) -> bool {
        (self.0)(variable).is_some_and(|value| !value.is_empty())
    }

    /// The value as it is set, empty or not.
    fn raw(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        let fault = |fault: &str| ConfigError { variable, fault: fault.to_owned() };
        let Some(value) = (self.0)(variable) else {
            return Ok(None);
        };
        let value = value.into_string().map_err(|_| fault("is not UTF-8"))?;
        if !value.is_empty() && value.trim().is_empty() {
            return Err(fault("is blank"));
        }
        Ok(Some(value))
    }

    fn optional(&self, variable: &'static str) -> Result<Option<String>, ConfigError> {
        Ok(self.raw(variable)?.filter(|value| !value.is_empty()))
    }

    fn required(&self, variable: &'static str) -> Result<String, ConfigError> {
        let value = self.optional(variable)?;
        value.ok_or_else(|| ConfigError { variable, fault: "is not set".to_owned() })
    }

    /// A setting that is turned off by an empty value.
    fn emptiable(&self, variable: &'static str, default: &str) -> Result<Option<String>, ConfigError> {
        let value = self.raw(variable)?.unwrap_or_else(|| default.to_owned());
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    fn switch(&self, variable: &'static str, default: bool) -> Result<bool, ConfigError> {
        match self.optional(variable)? {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(wrong(variable, &value, "true or false")),
        }
    }
}

fn wrong(variable: &'static str, value: &str, expected: &str) -> ConfigError {
    ConfigError { variable, fault: format!("is {value:?} and should be {expected}") }
}

fn is_table_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/".contains(&byte);
    (1..=1_024).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_scope(scope: &str) -> bool {
    scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fn is_namespace(namespace: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    namespace.len() <= 255 && namespace.bytes().all(allowed)
}

fn audience(list: &str) -> Result<HashSet<String>, ConfigError> {
    let audience: HashSet<_> = list.split(',').map(|entry| entry.trim().to_owned()).collect();
    if audience.contains("") {
        return Err(wrong("TOKEN_AUDIENCE", list, "one or more names, separated by commas"));
    }
    Ok(audience)
}

fn inline_or_uri(jwks_uri: Option<String>, jwks: Option<String>) -> Result<KeySource, ConfigError> {
    let fault = |variable, fault: String| ConfigError { variable, fault };
    match (jwks_uri, jwks) {
        (Some(_), Some(_)) => Err(fault("TOKEN_JWKS_URI", "and TOKEN_JWKS are both set; set one of them".to_owned())),
        (Some(uri), None) => match RemoteUrl::new(&uri) {
            Some(url) => Ok(KeySource::Jwks(url)),
            None => Err(wrong("TOKEN_JWKS_URI", &uri, RemoteUrl::EXPECTED)),
        },
        (None, jwks) => match KeySet::inline(jwks.unwrap_or_default().as_bytes()) {
            Ok(keys) => Ok(KeySource::Inline(keys)),
            Err(error) => Err(fault("TOKEN_JWKS", format!("is not usable: {error}"))),
        },
    }
}

/// `OpenID` Connect Discovery 1.0, 4.
fn discovery_url(issuer: &str) -> Result<RemoteUrl, ConfigError> {
    let expected = "an https URL without query or fragment, where neither TOKEN_JWKS_URI nor TOKEN_JWKS is set";
    let plain = !issuer.contains(['?', '#']) && RemoteUrl::new(issuer).is_some();
    let metadata = format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer));
    let url = plain.then(|| RemoteUrl::new(&metadata)).flatten();
    url.ok_or_else(|| wrong("TOKEN_ISSUER", issuer, expected))
}

#[cfg(test)]
mod tests {
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
    fn defaults() {
        let config = config(&[]).unwrap();
        assert_eq!(config.table_name, "distributors");
        assert_eq!(config.token_rules.audience, HashSet::from(["api".to_owned()]));
        assert_eq!(config.token_rules.node_claim.as_deref(), Some("node_id"));
        assert_eq!(config.token_rules.scope, None);
        assert_eq!(config.target_server, "integration");
        assert_eq!(config.reach, Reach::Public);
        assert!(config.prime);
        assert_eq!(config.metrics_namespace.as_deref(), Some("UpdateDistributor"));
        let KeySource::Discovery { metadata, .. } = config.key_source else { panic!("keys are found by discovery") };
        assert_eq!(metadata.to_string(), "https://issuer.example/.well-known/openid-configuration");
    }

    #[test]
    fn settings() {
        let config = config(&[
            ("TOKEN_AUDIENCE", " a , b"),
            ("TOKEN_JWKS", JWKS),
            ("TOKEN_ISSUER", "any text"),
            ("TOKEN_SCOPE", "distributors:write"),
            ("TOKEN_NODE_CLAIM", ""),
            ("METRICS_NAMESPACE", ""),
            ("WEBHOOK_ALLOW_PRIVATE_HOSTS", "TRUE"),
            ("PRIME", "False"),
            ("TARGET_SERVER", ""),
        ])
        .unwrap();
        assert_eq!(config.token_rules.audience, HashSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(matches!(config.key_source, KeySource::Inline(_)));
        assert_eq!(config.token_rules.node_claim, None);
        assert_eq!(config.metrics_namespace, None);
        assert_eq!(config.reach, Reach::Any);
        assert!(!config.prime);
        assert_eq!(config.target_server, "integration");
    }

    #[test]
    fn missing_or_wrong() {
        #[track_caller]
        fn check(settings: &[(&str, &str)], expected: &str) {
            assert_eq!(
                config(settings).err().map(|error| error.to_string()).as_deref(),
                Some(expected),
                "{settings:?}"
            );
        }
        check(&[("TABLE_NAME", "")], "TABLE_NAME is not set");
        check(&[("TABLE_NAME", "  ")], "TABLE_NAME is blank");
        check(&[("TABLE_NAME", "a b c")], "TABLE_NAME is \"a b c\" and should be the name or ARN of a DynamoDB table");
        check(&[("TOKEN_ISSUER", ""), ("TOKEN_AUDIENCE", "")], "TOKEN_ISSUER is not set");
        let https = "an https URL without query or fragment, where neither TOKEN_JWKS_URI nor TOKEN_JWKS is set";
        for issuer in [
            "issuer",
            "http://issuer.example",
            "https://issuer.example/?a",
            "https://issuer.example/#",
            "https://a@b.example",
        ] {
            check(&[("TOKEN_ISSUER", issuer)], &format!("TOKEN_ISSUER is {issuer:?} and should be {https}"));
        }
        check(&[("TOKEN_AUDIENCE", " ")], "TOKEN_AUDIENCE is blank");
        check(
            &[("TOKEN_AUDIENCE", "a,,b")],
            "TOKEN_AUDIENCE is \"a,,b\" and should be one or more names, separated by commas",
        );
        check(
            &[("TOKEN_JWKS_URI", "https://a.example/"), ("TOKEN_JWKS", JWKS)],
            "TOKEN_JWKS_URI and TOKEN_JWKS are both set; set one of them",
        );
        check(
            &[("TOKEN_JWKS_URI", "http://a.example/")],
            "TOKEN_JWKS_URI is \"http://a.example/\" and should be an https URL (http for this machine only) without user information",
        );
        check(&[("TOKEN_JWKS", "{}")], "TOKEN_JWKS is not usable: it is no JWK set");
        check(&[("TOKEN_JWKS", "{\"keys\":[]}")], "TOKEN_JWKS is not usable: no key in it can be used");
        check(&[("TOKEN_SCOPE", "a b")], "TOKEN_SCOPE is \"a b\" and should be one scope (RFC 6749, 3.3)");
        check(&[("TOKEN_NODE_CLAIM", " ")], "TOKEN_NODE_CLAIM is blank");
        check(&[("PRIME", "1")], "PRIME is \"1\" and should be true or false");
        check(
            &[("WEBHOOK_ALLOW_PRIVATE_HOSTS", "yes\n")],
            "WEBHOOK_ALLOW_PRIVATE_HOSTS is \"yes\\n\" and should be true or false",
        );
        check(&[("AWS_REGION", "")], "AWS_REGION is not set");
    }

    #[cfg(unix)]
    #[test]
    fn not_utf8() {
        use std::os::unix::ffi::OsStringExt;

        let error = Config::from_env(|_| Some(OsString::from_vec(vec![0xff]))).err().unwrap();
        assert_eq!(error.to_string(), "TABLE_NAME is not UTF-8");
    }
}
