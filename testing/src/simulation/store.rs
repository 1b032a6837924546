//! A model of the part of DynamoDB that the function uses, `UpdateItem` on one table with the partition key `id`, and the
//! messages in which its replies come back.
//!
//! What it assumes of DynamoDB, and what a test holds it to with the embedded store:
//!
//! - The calls on one item are carried out one after the other, each as a whole: the condition is judged by the item as
//!   it is when it is written.
//! - A comparison holds only between values of one type; strings are compared by their bytes. With an attribute that the
//!   item does not have, no comparison holds. `NOT` holds where its operand does not.
//! - `ReturnValues=ALL_NEW` returns the item after the call, and `ReturnValuesOnConditionCheckFailure=ALL_OLD` the item
//!   for which the condition did not hold, if there is one.
//! - Without an `UpdateExpression`, an item that exists is returned as it is.

use std::collections::BTreeMap;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Map, Value, json};

use crate::fault::Received;
use crate::store::embedded::{ID, NODE};

/// The attributes of an item, each as an object of its type and its value.
pub type Item = Map<String, Value>;

/// The items, by `id`.
#[derive(Clone, Debug, Default)]
pub struct Store(pub BTreeMap<String, Item>);

/// The result of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It was carried out; the item after it.
    Done(Item),
    /// The condition did not hold; the item for which it did not.
    ConditionFailed(Option<Item>),
}

impl Store {
    /// Carries out a call, given its request body.
    pub fn update_item(&mut self, request: &Value) -> Reply {
        let id = request["Key"]["id"]["S"].as_str().expect("a key");
        let item = self.0.get(id);
        let values = &request["ExpressionAttributeValues"];
        let condition = request["ConditionExpression"].as_str().expect("a condition");
        if !condition.split(" AND ").all(|term| holds(term, item, values)) {
            return Reply::ConditionFailed(item.cloned());
        }
        let mut item = item.expect("each condition requires that the item exists").clone();
        match request["UpdateExpression"].as_str() {
            None => {}
            Some("SET meta = :meta, updated_at = :now") => {
                item.insert("meta".to_owned(), values[":meta"].clone());
                item.insert("updated_at".to_owned(), values[":now"].clone());
            }
            Some("SET updated_at = :now REMOVE meta") => {
                item.insert("updated_at".to_owned(), values[":now"].clone());
                item.remove("meta");
            }
            Some(other) => panic!("an update expression that the model does not have: {other}"),
        }
        self.0.insert(id.to_owned(), item.clone());
        Reply::Done(item)
    }
}

fn holds(term: &str, item: Option<&Item>, values: &Value) -> bool {
    let attribute = |name: &str| item.and_then(|item| item.get(name));
    let function = |name: &str| term.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(term) = term.strip_prefix("NOT ") {
        !holds(term, item, values)
    } else if let Some(name) = function("attribute_exists") {
        attribute(name).is_some()
    } else if let Some(name) = function("attribute_not_exists") {
        attribute(name).is_none()
    } else if let Some((name, list)) = term.strip_suffix(')').and_then(|term| term.split_once(" IN (")) {
        list.split(", ").any(|value| attribute(name) == values.get(value))
    } else if let Some((name, value)) = term.split_once(" = ") {
        attribute(name).is_some_and(|attribute| Some(attribute) == values.get(value))
    } else if let Some((name, value)) = term.split_once(" >= ") {
        match (attribute(name).map(|attribute| &attribute["S"]), &values[value]["S"]) {
            (Some(Value::String(attribute)), Value::String(value)) => attribute.as_bytes() >= value.as_bytes(),
            _ => false,
        }
    } else {
        panic!("a condition that the model does not have: {term}")
    }
}

/// What comes back to the function for an attempt.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Message {
    /// Status and body of a response.
    Response(u16, String),
    /// The end of the connection.
    Reset,
    /// Nothing, until the function gives up.
    Nothing,
}

impl Message {
    /// Puts together what is received; `reply` is the store's, if the attempt has reached it.
    pub fn new(received: Received, reply: Option<&Reply>) -> Self {
        match (received, reply) {
            // What is left out here is half of a response: for the function, that is the end of the connection.
            (Received::Reset | Received::Cut, _) => Self::Reset,
            (Received::Nothing | Received::Slowly, _) | (Received::Response | Received::Body(_), None) => Self::Nothing,
            (Received::Status(status, body), _) => Self::Response(status, body.to_owned()),
            (Received::Body(body), Some(Reply::Done(_))) => Self::Response(200, body.to_owned()),
            (Received::Response, Some(Reply::Done(item))) => {
                Self::Response(200, json!({ "Attributes": item }).to_string())
            }
            (Received::Response | Received::Body(_), Some(Reply::ConditionFailed(item))) => {
                let mut body = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"});
                if let Some(item) = item {
                    body["Item"] = item.clone().into();
                }
                Self::Response(400, body.to_string())
            }
        }
    }

    /// The condition did not hold for the caller's item, which is at `version`.
    pub fn overtaken(version: &str) -> Self {
        let item = json!({"id": {"S": ID}, "node_id": {"S": NODE}, "updated_at": {"S": version}});
        let Value::Object(item) = item else { unreachable!("an object") };
        Self::new(Received::Response, Some(&Reply::ConditionFailed(Some(item))))
    }

    /// Is what a connector's call comes to.
    pub async fn deliver(self) -> Result<HttpResponse, ConnectorError> {
        match self {
            Self::Response(status, body) => Ok(HttpResponse::new(status.try_into().expect("a status"), body.into())),
            Self::Reset => Err(ConnectorError::io("the connection broke".into())),
            Self::Nothing => std::future::pending().await,
        }
    }
}
