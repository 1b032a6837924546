//! The clients of the network, and the clock.

use std::sync::OnceLock;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use lambda_http::http::HeaderValue;
use thiserror::Error;

use crate::clock::Clock;

/// The limit for making a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The settings of the AWS SDK that must be right for it to work at all.
pub struct Aws {
    /// AWS region of the table.
    pub region: String,
    /// Another endpoint of `DynamoDB` than that of the region.
    pub endpoint_url: Option<String>,
}

/// The clients and the clock that all of the function shares.
pub struct Clients {
    /// Makes a connection for each request, so that none is dead: one that was kept while the process was frozen may be.
    /// Speaks `https` and `http`; which hosts may be reached without TLS is decided where a URL is read.
    pub unpooled: SharedHttpConnector,
    /// Region, credentials and endpoint of the AWS SDK, with an HTTP client that keeps connections.
    pub sdk: SdkConfig,
    /// The clock for the versions of writes, the claims of tokens, the ages of keys, and deadlines.
    pub clock: Clock,
}

impl Clients {
    /// Creates clients with the credentials of the environment, as Lambda sets them: no profile files and no instance
    /// metadata are read. The SDK's settings for retries are not read from there either: its parser panics.
    pub async fn from_env(aws: &Aws) -> Self {
        let pooled = connector(usize::MAX);
        // An empty file, so that no other is looked for.
        let no_files = EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, "").build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .profile_files(no_files)
            .retry_config(RetryConfig::disabled())
            .region(Region::new(aws.region.clone()))
            .credentials_provider(EnvironmentCredentials(EnvironmentVariableCredentialsProvider::new()))
            .http_client(http_client_fn(move |_, _| pooled.clone()));
        if let Some(endpoint_url) = &aws.endpoint_url {
            loader = loader.endpoint_url(endpoint_url);
        }
        let unpooled = SharedHttpConnector::new(Unpooled(OnceLock::new()));
        Self { unpooled, sdk: loader.load().await, clock: Clock::system() }
    }
}

/// The credentials of the environment, unless a header cannot contain them: the SDK's signer panics then.
#[derive(Debug)]
struct EnvironmentCredentials(EnvironmentVariableCredentialsProvider);

impl ProvideCredentials for EnvironmentCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let credentials = self.0.provide_credentials().await?;
            let parts = [credentials.access_key_id(), credentials.session_token().unwrap_or_default()];
            if parts.into_iter().all(|part| HeaderValue::from_str(part).is_ok()) {
                Ok(credentials)
            } else {
                Err(CredentialsError::invalid_configuration(UnusableCredentials))
            }
        })
    }
}

/// The reason why credentials are not used.
#[derive(Debug, Error)]
#[error("AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN has a character that a header cannot contain")]
struct UnusableCredentials;

/// A connector without a pool, made when it is first used: where keys are inline, that is after a failure only.
#[derive(Debug)]
struct Unpooled(OnceLock<SharedHttpConnector>);

impl HttpConnector for Unpooled {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.0.get_or_init(|| connector(0)).call(request)
    }
}

fn connector(pool_size: usize) -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let builder = Connector::builder().connector_settings(settings).pool_max_idle_per_host(pool_size);
    SharedHttpConnector::new(builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build())
}
