//! DynamoDB for tests, and TLS in front of it.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector, http_client_fn};
use update_distributor::clients::Clients;
use update_distributor::clock::Clock;

pub mod embedded;
pub mod table;
pub mod tls;

/// Clients whose every call goes through a connector, with any credentials.
pub fn clients(connector: impl HttpConnector + 'static, clock: Clock) -> Clients {
    let unpooled = SharedHttpConnector::new(connector);
    let pooled = unpooled.clone();
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(credentials())
        .http_client(http_client_fn(move |_, _| pooled.clone()))
        .build();
    Clients { unpooled, sdk, clock }
}

fn credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("any", "any", None, None, "testing"))
}
