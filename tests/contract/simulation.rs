//! The simulation, and its model of the store held to the embedded one.

use std::collections::BTreeSet;

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use testing::simulation::exhaustive::{CLOCKS, Clocks, STORED, Size, walk_all};
use testing::simulation::store::{Item, Reply, Store};
use testing::simulation::{Report, history, keys, run, run_all};

use testing::lambda::function::embedded;
use testing::store::embedded::{self, Embedded, ID, TABLE};

const RUNS: u64 = 520;

#[test]
fn every_response_of_the_simulation_is_true() {
    let mut sum = Report::default();
    let reports = run_all(0..RUNS, run).unwrap_or_else(|failure| panic!("{failure}"));
    reports.into_iter().for_each(|report| sum.add(report));
    let Report { requests, faults, calls, statuses, expressions } = sum;
    println!("{requests} requests, {faults} faults, {calls} attempts that reached the store");
    assert!(requests >= 20_000, "{requests}");
    // Runs in which these never happened would prove nothing.
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [200, 404, 412, 500, 503]);
    let known: BTreeSet<_> =
        EXPRESSIONS.iter().map(|(update, condition)| (update.map(str::to_owned), (*condition).to_owned())).collect();
    assert_eq!(expressions, known, "the expressions for which the model is held to the embedded store");
}

/// A part of what the example `simulate` walks through.
#[test]
fn every_order_of_few_events_is_allowed() {
    let size = |requests, faults| Size { requests, faults };
    for (size, clocks, stored) in [
        (size(1, 1), &CLOCKS[..], &STORED[..]),
        (size(2, 0), &CLOCKS, &STORED),
        (size(2, 1), &[Clocks::Stopped], &STORED[..2]),
    ] {
        let counts = walk_all(size, clocks, stored).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{size}: {counts}");
    }
}

#[test]
fn keys_are_as_fresh_as_the_rules_say_whatever_happens_to_issuers() {
    let mut sum = keys::Report::default();
    let reports = run_all(0..40, keys::run).unwrap_or_else(|failure| panic!("{failure}"));
    reports.into_iter().for_each(|report| sum.add(report));
    // Runs in which these never happened would prove nothing.
    assert!(sum.fetches > 500 && sum.failures > 100 && sum.freezes > 100, "{sum:?}");
    for status in [200, 401, 503] {
        assert!(sum.statuses.keys().any(|(found, _)| *found == status), "{sum:?}");
    }
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..3 {
        assert_eq!(history(seed), history(seed));
    }
}

const SET: Option<&str> = Some("SET meta = :meta, updated_at = :now");
const REMOVE: Option<&str> = Some("SET updated_at = :now REMOVE meta");

/// Every update and condition that the function sends, with one tag for any number of them.
const EXPRESSIONS: [(Option<&str>, &str); 8] = [
    (None, "attribute_exists(id) AND node_id = :node"),
    (None, "attribute_exists(id) AND node_id = :node AND updated_at IN (:tag0)"),
    (SET, "attribute_exists(id) AND node_id = :node AND NOT updated_at >= :now"),
    (SET, "attribute_exists(id) AND node_id = :node AND updated_at = :stored"),
    (SET, "attribute_exists(id) AND node_id = :node AND updated_at IN (:tag0) AND NOT updated_at >= :now"),
    (REMOVE, "attribute_exists(id) AND node_id = :node AND NOT updated_at >= :now"),
    (REMOVE, "attribute_exists(id) AND node_id = :node AND updated_at = :stored"),
    (REMOVE, "attribute_exists(id) AND node_id = :node AND updated_at IN (:tag0) AND NOT updated_at >= :now"),
];

/// Those that the simulation does not send.
const OTHERS: [(Option<&str>, &str); 3] = [
    (None, "attribute_exists(id) AND attribute_not_exists(id)"),
    (SET, "attribute_exists(id) AND node_id = :node AND attribute_not_exists(id) AND NOT updated_at >= :now"),
    (SET, "attribute_exists(id) AND NOT updated_at >= :now"),
];

/// The values of `updated_at` and `node_id` that an item may have, and whether it has a `meta`.
fn items() -> Vec<Option<Item>> {
    let versions = [
        json!(null),
        json!({"S": "2026-01-01T00:00:00.000000Z"}),
        json!({"S": "2026-01-01T00:00:00.000001Z"}),
        json!({"S": "2026-01-01T00:00:00Z"}),
        json!({"S": "2025"}),
        json!({"S": "latest"}),
        json!({"S": "\u{e4}"}),
        json!({"N": "2026"}),
        json!({"NULL": true}),
        json!({"BOOL": true}),
        json!({"SS": ["2026-01-01T00:00:00.000000Z"]}),
    ];
    let nodes = [json!(null), json!({"S": "ours"}), json!({"S": "other"}), json!({"N": "1"})];
    let metas = [json!(null), json!({"M": {"path": {"S": "/a"}}}), json!({"S": "text"})];
    let mut items = vec![None];
    for version in &versions {
        for node in &nodes {
            for meta in &metas {
                let attributes =
                    [("id", &json!({"S": ID})), ("updated_at", version), ("node_id", node), ("meta", meta)];
                let present = attributes.into_iter().filter(|(_, value)| !value.is_null());
                items.push(Some(present.map(|(name, value)| (name.to_owned(), value.clone())).collect()));
            }
        }
    }
    items
}

#[tokio::test]
async fn the_model_of_the_store_is_as_the_embedded_store() {
    let store = embedded().await;
    let clients = embedded::clients(&store.endpoint()).await;
    let call = async |operation: &str, body: &Value| raw(&clients, &store, operation, body).await;
    for item in items() {
        for (update, condition) in EXPRESSIONS.iter().chain(&OTHERS) {
            match &item {
                Some(item) => call("PutItem", &json!({"TableName": TABLE, "Item": item})).await,
                None => call("DeleteItem", &json!({"TableName": TABLE, "Key": {"id": {"S": ID}}})).await,
            };
            let mut request = json!({
                "TableName": TABLE,
                "Key": {"id": {"S": ID}},
                "ConditionExpression": condition,
                "ReturnValues": "ALL_NEW",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            });
            for (name, value) in [
                (":node", json!({"S": "ours"})),
                (":now", json!({"S": "2026-01-01T00:00:00.000000Z"})),
                (":stored", json!({"S": "latest"})),
                (":tag0", json!({"S": "2026-01-01T00:00:00Z"})),
                (":meta", json!({"M": {"path": {"S": "/b"}}})),
            ] {
                if format!("{update:?} {condition}").contains(name) {
                    request["ExpressionAttributeValues"][name] = value;
                }
            }
            if let Some(update) = update {
                request["UpdateExpression"] = json!(update);
            }
            let mut model = Store::default();
            model.0.extend(item.clone().map(|item| (ID.to_owned(), item)));
            let expected = match model.update_item(&request) {
                Reply::Done(item) => json!({"Attributes": item}),
                Reply::ConditionFailed(item) => item.map_or(json!({}), |item| json!({"Item": item})),
            };
            let mut found = call("UpdateItem", &request).await;
            found.as_object_mut().unwrap().retain(|name, _| ["Attributes", "Item"].contains(&&**name));
            assert_eq!(found, expected, "{item:?}: {update:?} if {condition}");
        }
    }
}

/// The embedded store verifies none, but wants one.
const SIGNATURE: &str =
    "AWS4-HMAC-SHA256 Credential=any/20260101/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";

/// Calls the embedded store without the SDK.
async fn raw(clients: &update_distributor::clients::Clients, store: &Embedded, operation: &str, body: &Value) -> Value {
    let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
    request.set_method("POST").unwrap();
    request.set_uri(store.endpoint()).unwrap();
    for (name, value) in [
        ("x-amz-target", format!("DynamoDB_20120810.{operation}")),
        ("content-type", "application/x-amz-json-1.0".to_owned()),
        ("authorization", SIGNATURE.to_owned()),
        ("x-amz-date", "20260101T000000Z".to_owned()),
    ] {
        request.headers_mut().insert(name, value);
    }
    let response = clients.unpooled.call(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let error = body["__type"].as_str().unwrap_or("ConditionalCheckFailedException");
    assert!(error.ends_with("ConditionalCheckFailedException"), "{body}");
    body
}
