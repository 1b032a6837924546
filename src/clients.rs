//! What the function reaches outside of itself: the network and the clock.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};

use crate::clock::Clock;

/// The limit for making a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The clients and the clock that all of the function shares.
pub struct Clients {
    /// Speaks `https` and `http`; who may be asked in the clear is decided where a URL is read.
    pub http: SharedHttpConnector,
    /// Region, credentials and endpoint of the AWS SDK, which uses the same HTTP client.
    pub sdk: SdkConfig,
    /// The clock that writes are stamped and tokens and deadlines are validated with.
    pub clock: Clock,
}

impl Clients {
    /// Clients with what the environment says, as Lambda sets it: no profile files and no instance metadata are asked,
    /// and nothing is waited for. Root certificates are read once.
    pub async fn from_env(region: String) -> Self {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        let http =
            SharedHttpConnector::new(Connector::builder().tls_provider(tls).connector_settings(settings).build());
        let sdk_http = http.clone();
        // An empty file in place of those that would be looked for.
        let no_files = EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, "").build();
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .profile_files(no_files)
            .region(Region::new(region))
            .credentials_provider(EnvironmentVariableCredentialsProvider::new())
            .http_client(http_client_fn(move |_, _| sdk_http.clone()))
            .load()
            .await;
        Self { http, sdk, clock: Clock::system() }
    }
}
