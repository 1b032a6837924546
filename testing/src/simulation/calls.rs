//! Every shape of call that the function can send, and items for it to meet: what the model of the store assumes is held
//! to other implementations with these.

use serde_json::{Value, json};

use super::store::{Item, Reply, Store};
use crate::store::embedded::{ID, TABLE};

/// The update expressions.
const UPDATES: [Option<&str>; 3] =
    [None, Some("SET meta = :meta, updated_at = :now"), Some("SET updated_at = :now REMOVE meta")];

/// The versions that a call may replace, by `If-Match` or by compare-and-swap.
#[derive(Clone, Copy)]
enum Expected {
    Any,
    Tags(usize),
    Stored,
}

/// The update and the condition of a call.
pub type Expressions = (Option<String>, String);

/// Returns the expressions of a request.
pub fn expressions(request: &Value) -> Expressions {
    let text = |name: &str| request[name].as_str().map(str::to_owned);
    (text("UpdateExpression"), text("ConditionExpression").unwrap_or_default())
}

/// Returns a request of each shape: every update, with every condition.
pub fn requests() -> Vec<Value> {
    use Expected::{Any, Stored, Tags};

    let mut requests = vec![request(None, "attribute_exists(id) AND attribute_not_exists(id)", 0)];
    requests[0]["ReturnValues"] = "NONE".into();
    requests[0].as_object_mut().expect("an object").remove("ReturnValuesOnConditionCheckFailure");
    for node in [true, false] {
        for expected in [Any, Tags(0), Tags(1), Tags(2), Tags(100), Stored] {
            for update in UPDATES {
                let mut condition = "attribute_exists(id)".to_owned();
                if node {
                    condition.push_str(" AND node_id = :node");
                }
                let tags = match expected {
                    Any | Stored => 0,
                    Tags(0) => {
                        condition.push_str(" AND attribute_not_exists(id)");
                        0
                    }
                    Tags(tags) => {
                        let names: Vec<_> = (0..tags).map(|tag| format!(":tag{tag}")).collect();
                        condition = format!("{condition} AND updated_at IN ({})", names.join(", "));
                        tags
                    }
                };
                match (expected, update) {
                    // A read has nothing to swap.
                    (Stored, None) => continue,
                    (Stored, Some(_)) => condition.push_str(" AND updated_at = :stored"),
                    (Any | Tags(_), Some(_)) => condition.push_str(" AND NOT updated_at >= :now"),
                    (Any | Tags(_), None) => {}
                }
                requests.push(request(update, &condition, tags));
            }
        }
    }
    requests
}

fn request(update: Option<&str>, condition: &str, tags: usize) -> Value {
    let mut request = json!({
        "TableName": TABLE,
        "Key": {"id": {"S": ID}},
        "ConditionExpression": condition,
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    if let Some(update) = update {
        request["UpdateExpression"] = update.into();
    }
    let expressions = format!("{condition} {}", update.unwrap_or_default());
    for (name, value) in [
        (":node", json!({"S": "ours"})),
        (":now", json!({"S": "2026-01-01T00:00:00.000000Z"})),
        (":stored", json!({"S": "latest"})),
        (":meta", json!({"M": {"path": {"S": "/b"}}})),
    ] {
        if expressions.contains(name) {
            request["ExpressionAttributeValues"][name] = value;
        }
    }
    for tag in 0..tags {
        // The last is one that an item has.
        let version = if tag + 1 == tags { "2025".to_owned() } else { format!("tag-{tag}") };
        request["ExpressionAttributeValues"][format!(":tag{tag}")] = json!({ "S": version });
    }
    request
}

/// What the model of the store says of a request: `Attributes` where it is carried out, `Item` where its condition does not
/// hold for an item.
pub fn expected(item: Option<&Item>, request: &Value) -> Value {
    let mut model = Store::default();
    model.0.extend(item.map(|item| (ID.to_owned(), item.clone())));
    let is_quiet = request["ReturnValues"] == "NONE";
    match model.update_item(request) {
        Reply::Done(item) => json!({ "Attributes": item }),
        Reply::ConditionFailed(Some(item)) if !is_quiet => json!({ "Item": item }),
        Reply::ConditionFailed(_) => json!({}),
    }
}

/// Returns the items that a call may meet, the absent one among them: with `updated_at` and `node_id` of every type and
/// order, and with and without `meta`.
pub fn items() -> Vec<Option<Item>> {
    let versions = [
        json!(null),
        json!({"S": "2025"}),
        json!({"S": "2026-01-01T00:00:00.000000Z"}),
        json!({"S": "2026-01-01T00:00:00.000001Z"}),
        json!({"S": "2026-01-01T00:00:00Z"}),
        json!({"S": "latest"}),
        json!({"S": "\u{e4}"}),
        json!({"S": "\u{1f600}"}),
        json!({"S": ""}),
        json!({"N": "2026"}),
        json!({"B": "MjAyNQ=="}),
        json!({"NULL": true}),
        json!({"BOOL": true}),
        json!({"SS": ["2025"]}),
        json!({"L": [{"S": "2025"}]}),
        json!({"M": {"S": {"S": "2025"}}}),
    ];
    let nodes = [json!({"S": "ours"}), json!(null), json!({"S": "other"}), json!({"N": "1"})];
    let metas = [json!({"M": {"path": {"S": "/a"}}}), json!(null), json!({"S": "text"})];
    let item = |version: &Value, node: &Value, meta: &Value| {
        let attributes = [("id", &json!({"S": ID})), ("updated_at", version), ("node_id", node), ("meta", meta)];
        let present = attributes.into_iter().filter(|(_, value)| !value.is_null());
        Some(present.map(|(name, value)| (name.to_owned(), value.clone())).collect())
    };
    let mut items = vec![None];
    for version in &versions {
        items.extend(nodes.iter().map(|node| item(version, node, &metas[0])));
        items.extend(metas.iter().skip(1).map(|meta| item(version, &nodes[0], meta)));
    }
    items
}
