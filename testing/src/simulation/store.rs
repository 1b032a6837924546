//! A model of the part of DynamoDB that the function uses: `UpdateItem` on one table with the partition key `id`.
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

use serde_json::{Map, Value};

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
