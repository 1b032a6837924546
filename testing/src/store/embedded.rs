//! An embedded DynamoDB behind HTTP, with a client of its own for looking at what is stored.

use std::collections::HashMap;
use std::net::SocketAddr;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use tokio::net::TcpListener;
use update_distributor::clients::{Aws, Clients};

pub const TABLE: &str = "distributors";
pub const ID: &str = "39e8003c-6342-4fd3-97a1-3f2a7b437d0a";
pub const NODE: &str = "e40efce4-38a3-46c4-a202-e8db95d0409c";
pub const AT: &str = "2025-12-23T23:16:10.419732Z";

pub type Item = HashMap<String, AttributeValue>;

/// The store, until the process ends.
pub struct Embedded {
    pub address: SocketAddr,
    pub client: Client,
}

impl Embedded {
    /// Serves a new database with the empty table on `listener`.
    pub async fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("the listener is bound");
        let database = dynoxide::Database::memory().expect("a database in memory");
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        let client = Client::new(&clients(&endpoint(address)).await.sdk);
        let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build();
        let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build();
        let table = client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
        let table = table.key_schema(key.expect("complete")).attribute_definitions(id.expect("complete"));
        table.send().await.expect("the table is created");
        Self { address, client }
    }

    pub fn endpoint(&self) -> String {
        endpoint(self.address)
    }

    pub async fn put(&self, item: Item) {
        self.client.put_item().table_name(TABLE).set_item(Some(item)).send().await.expect("the item is put");
    }
}

/// The distributor that the API's documentation shows.
pub fn documented_item() -> Item {
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let m = |members: Vec<(&str, AttributeValue)>| {
        AttributeValue::M(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let authentication =
        m(vec![("type", AttributeValue::N("1".to_owned())), ("username", s("user")), ("password", s("pass"))]);
    let meta = m(vec![
        ("host", s("https://example.com222")),
        ("path", s("/webhook")),
        ("method", AttributeValue::N("1".to_owned())),
        ("authentication", authentication),
    ]);
    let item = [("id", s(ID)), ("node_id", s(NODE)), ("created_at", s(AT)), ("updated_at", s(AT)), ("meta", meta)];
    item.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Clients as the function has them, for a store that takes any credentials.
pub async fn clients(endpoint: &str) -> Clients {
    let aws = Aws { region: "eu-central-1".to_owned(), endpoint_url: Some(endpoint.to_owned()) };
    let clients = Clients::from_env(&aws).await;
    let sdk = clients.sdk.into_builder().credentials_provider(super::credentials()).build();
    Clients { sdk, ..clients }
}

fn endpoint(address: SocketAddr) -> String {
    format!("http://{address}")
}
