//! An embedded DynamoDB behind HTTP, whose items can be looked at and replaced without a client.

use std::collections::HashMap;
use std::net::SocketAddr;

use aws_sdk_dynamodb::types::AttributeValue;
use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::put_item::PutItemRequest;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::types::{self, AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};
use dynoxide::{Database, DynoxideError};
use serde_json::{Map, Value, json};
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
    database: Database,
}

impl Embedded {
    /// Serves a new database with the empty table on `listener`.
    pub fn serve(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("the listener is bound");
        let database = Database::memory().expect("a database in memory");
        let id = || "id".to_owned();
        let table = CreateTableRequest {
            table_name: TABLE.to_owned(),
            key_schema: vec![KeySchemaElement { attribute_name: id(), key_type: KeyType::HASH }],
            attribute_definitions: vec![AttributeDefinition {
                attribute_name: id(),
                attribute_type: ScalarAttributeType::S,
            }],
            billing_mode: Some("PAY_PER_REQUEST".to_owned()),
            ..CreateTableRequest::default()
        };
        database.create_table(table).expect("the table is created");
        tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        Self { address, database }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn put(&self, item: Item) {
        let item = item.into_iter().map(|(name, value)| (name, to_stored(value))).collect();
        let put = PutItemRequest { table_name: TABLE.to_owned(), item, ..PutItemRequest::default() };
        self.database.put_item(put).expect("the item is put");
    }

    /// Replaces the distributor [`ID`] by an item in the form of DynamoDB's API, or by none.
    pub fn replace(&self, item: Option<&Map<String, Value>>) {
        if let Some(item) = item {
            let put = json!({"TableName": TABLE, "Item": item});
            self.database.put_item(serde_json::from_value(put).expect("a request")).expect("the item is put");
        } else {
            let delete = json!({"TableName": TABLE, "Key": {"id": {"S": ID}}});
            self.database.delete_item(serde_json::from_value(delete).expect("a request")).expect("the item is deleted");
        }
    }

    /// Carries out an `UpdateItem` without a client. Returns the response, or the error that its condition failed.
    pub fn update(&self, update: &Value) -> Value {
        match self.database.update_item(serde_json::from_value(update.clone()).expect("a request")) {
            Ok(response) => json!(response),
            Err(error @ DynoxideError::ConditionalCheckFailedException(..)) => json!(error.to_response()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns all items, in no certain order.
    pub fn items(&self) -> Vec<Item> {
        let scan = ScanRequest { table_name: TABLE.to_owned(), ..ScanRequest::default() };
        let items = self.database.scan(scan).expect("the table is read").items.unwrap_or_default();
        let item = |item: types::Item| item.into_iter().map(|(name, value)| (name, from_stored(value))).collect();
        items.into_iter().map(item).collect()
    }

    /// Returns an item.
    pub fn item(&self, id: &str) -> Option<Item> {
        let mut items = self.items().into_iter();
        items.find(|item| item.get("id").is_some_and(|found| found.as_s().is_ok_and(|found| found == id)))
    }
}

/// Of the types that items of the tests have.
fn to_stored(value: AttributeValue) -> types::AttributeValue {
    match value {
        AttributeValue::S(text) => types::AttributeValue::S(text),
        AttributeValue::N(number) => types::AttributeValue::N(number),
        AttributeValue::Bool(value) => types::AttributeValue::BOOL(value),
        AttributeValue::Null(value) => types::AttributeValue::NULL(value),
        AttributeValue::M(members) => {
            types::AttributeValue::M(members.into_iter().map(|(name, value)| (name, to_stored(value))).collect())
        }
        other => panic!("no item of the tests has {other:?}"),
    }
}

fn from_stored(value: types::AttributeValue) -> AttributeValue {
    match value {
        types::AttributeValue::S(text) => AttributeValue::S(text),
        types::AttributeValue::N(number) => AttributeValue::N(number),
        types::AttributeValue::BOOL(value) => AttributeValue::Bool(value),
        types::AttributeValue::NULL(value) => AttributeValue::Null(value),
        types::AttributeValue::M(members) => {
            AttributeValue::M(members.into_iter().map(|(name, value)| (name, from_stored(value))).collect())
        }
        other => panic!("no item of the tests has {other:?}"),
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
