//! The write: its condition, its retries, its deadline, and what the store holds after each response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use chrono::DateTime;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::Barrier;
use update_distributor::clients::Clients;
use update_distributor::clock::Clock;

use testing::fault::{Fault, THROTTLED};
use testing::issuer::{AUDIENCE, ISSUER, claims};
use testing::lambda::function::{Function, embedded};
use testing::lambda::request::{FrontEnd, Request, Response};
use testing::proxy::Proxy;
use testing::store::embedded::{self, AT, ID, Item, NODE, documented_item};

pub const SET: &str = r#"{"meta":{"path":"/new","authentication":{"type":2,"token":"t"}}}"#;
pub const REMOVE: &str = r#"{"meta":null}"#;
pub const READ: &str = "{}";

pub struct Proxied {
    pub function: Function,
    pub proxy: Proxy,
}

impl Proxied {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let store = embedded().await;
        let proxy = Proxy::start(store.address).await;
        let function = Function::at_endpoint(store, &proxy.endpoint(), settings).await;
        Self { function, proxy }
    }

    async fn call(&self, request: &Request, steps: impl IntoIterator<Item = Fault>) -> Response {
        self.proxy.take_requests();
        self.proxy.script(steps);
        self.function.call(request).await
    }

    pub fn item(&self) -> Item {
        self.function.item().unwrap()
    }

    fn reset(&self) {
        self.function.store.put(documented_item());
    }
}

pub fn tag(item: &Item) -> String {
    format!("\"{}\"", item["updated_at"].as_s().unwrap())
}

pub fn path(item: &Item) -> Option<&str> {
    item.get("meta").map(|meta| meta.as_m().unwrap()["path"].as_s().unwrap().as_str())
}

/// Whether the item is as a response of 200 says.
#[track_caller]
pub fn assert_stored(item: &Item, response: &Response) {
    assert_eq!(response.header("etag"), Some(tag(item).as_str()));
    assert_eq!(response.body["meta"]["path"].as_str(), path(item));
}

#[tokio::test]
async fn each_change_is_one_conditional_update_item() {
    let proxied = Proxied::new().await;
    let request_of = async |request: Request| {
        proxied.call(&request, []).await;
        let requests = proxied.proxy.take_requests();
        assert_eq!(requests.len(), 1);
        serde_json::from_str::<Value>(&requests[0]).unwrap()
    };
    let mut set = request_of(proxied.function.put(SET)).await;
    let now = set["ExpressionAttributeValues"][":now"]["S"].take();
    assert!(now.as_str().unwrap() > AT);
    let expected = json!({
        "TableName": "distributors",
        "Key": {"id": {"S": ID}},
        "UpdateExpression": "SET meta = :meta, updated_at = :now",
        "ConditionExpression": "attribute_exists(id) AND node_id = :node AND NOT updated_at >= :now",
        "ExpressionAttributeValues": {
            ":node": {"S": NODE},
            ":now": {"S": null},
            ":meta": {"M": {"path": {"S": "/new"}, "authentication": {"M": {"type": {"N": "2"}, "token": {"S": "t"}}}}},
        },
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    });
    assert_eq!(set, expected);
    let remove = request_of(proxied.function.put(REMOVE).with("if-match", "\"a\", W/\"b\", \"c\"")).await;
    assert_eq!(remove["UpdateExpression"], "SET updated_at = :now REMOVE meta");
    assert_eq!(
        remove["ConditionExpression"],
        "attribute_exists(id) AND node_id = :node AND updated_at IN (:tag0, :tag1) AND NOT updated_at >= :now"
    );
    assert_eq!(remove["ExpressionAttributeValues"][":tag1"]["S"], "c");
    let weak = request_of(proxied.function.put(SET).with("if-match", "W/\"a\"")).await;
    assert_eq!(
        weak["ConditionExpression"],
        "attribute_exists(id) AND node_id = :node AND attribute_not_exists(id) AND NOT updated_at >= :now"
    );
    let read = request_of(proxied.function.put(READ)).await;
    assert_eq!(read.get("UpdateExpression"), None);
    assert_eq!(read["ConditionExpression"], "attribute_exists(id) AND node_id = :node");
    let unbound = Proxied::with(&[("TOKEN_NODE_CLAIM", "")]).await;
    unbound.call(&unbound.function.put(READ), []).await;
    let any = unbound.proxy.take_requests().remove(0);
    assert_eq!(serde_json::from_str::<Value>(&any).unwrap()["ConditionExpression"], "attribute_exists(id)");
}

#[tokio::test]
async fn absent_and_anothers_are_told_apart_in_the_log_only() {
    let function = Function::new().await;
    let other = function.issuer.sign(&claims("00000000-0000-4000-8000-000000000000", 60));
    let others = function.call(&Request::put(&other, SET)).await;
    assert_eq!(function.last_line()["reason"], "other_node");
    let absent = function.call(&function.put(SET).path(&format!("/api/v1/integration/distributors/{NODE}"))).await;
    assert_eq!(function.last_line()["reason"], "absent");
    assert_eq!(others.outcome(), "404 distributor_not_found");
    assert_eq!(others, absent);
    // With a tag that does not match, too.
    let others = function.call(&Request::put(&other, SET).with("if-match", "\"x\"")).await;
    assert_eq!(others, absent);
    assert_eq!(function.item().unwrap(), documented_item());
}

#[tokio::test]
async fn only_the_version_that_was_read_is_overwritten() {
    let function = Function::new().await;
    let read = function.call(&function.put(READ)).await;
    let tag = read.header("etag").unwrap().to_owned();
    let first = function.call(&function.put(SET).with("if-match", &tag)).await;
    assert_eq!(first.outcome(), "200");
    let second = function.call(&function.put(REMOVE).with("if-match", &tag)).await;
    assert_eq!(second.outcome(), "412 precondition_failed");
    assert_eq!(second.header("etag"), first.header("etag"));
    assert_stored(&function.item().unwrap(), &first);
}

#[tokio::test]
async fn items_of_another_form_are_returned_as_far_as_they_can_be_read() {
    let function = Function::new().await;
    let mut item = documented_item();
    item.remove("node_id");
    item.remove("created_at");
    item.insert("updated_at".to_owned(), AttributeValue::S("a \"b\"".to_owned()));
    item.insert("x".to_owned(), AttributeValue::Bool(true));
    function.store.put(item);
    let any = Function::at_endpoint(embedded().await, &function.store.endpoint(), &[("TOKEN_NODE_CLAIM", "")]).await;
    let read = any.call(&any.put(READ)).await;
    assert_eq!((read.outcome().as_str(), read.header("etag")), ("200", None));
    assert_eq!((&read.body["node_id"], &read.body["created_at"]), (&Value::Null, &Value::Null));
    assert_eq!(read.body["updated_at"], "a \"b\"");
    assert_eq!(read.body.get("x"), None);
}

#[tokio::test]
async fn a_lost_response_is_told_from_a_lost_race() {
    let proxied = Proxied::new().await;
    // Our first attempt does not reach the store, and someone else writes: 412.
    let stale = proxied.function.put(SET).with("if-match", "\"stale\"");
    let response = proxied.call(&stale, [Fault::RESET]).await;
    assert_eq!(response.outcome(), "412 precondition_failed");
    assert_eq!(proxied.item(), documented_item());
    // The response that says so is lost: the same.
    let response = proxied.call(&stale, [Fault::RESET_AFTER]).await;
    assert_eq!(response.outcome(), "412 precondition_failed");
    assert_eq!(proxied.item(), documented_item());
    // A read has written nothing that it could recognise.
    let response = proxied.call(&proxied.function.put(READ).with("if-match", "\"stale\""), [Fault::RESET_AFTER]).await;
    assert_eq!(response.outcome(), "412 precondition_failed");
}

/// A message that is still on its way after the response to its request must not bring back what was there before.
#[tokio::test]
async fn a_late_attempt_cannot_undo_a_later_write() {
    let rows = [SET, REMOVE].into_iter().flat_map(|body| [(body, false), (body, true)]);
    join_all(rows.map(async |(body, with_tag)| {
        let proxied = Proxied::new().await;
        let request = proxied.function.put(body);
        let request = if with_tag { request.with("if-match", &format!("\"{AT}\"")) } else { request };
        let first = proxied.call(&request, [Fault::LATE]).await;
        assert_eq!(first.outcome(), "200");
        let request = proxied.function.put(r#"{"meta":{"path":"/later"}}"#);
        let second = proxied.call(&request.with("if-match", first.header("etag").unwrap()), []).await;
        assert_eq!(second.outcome(), "200");
        proxied.proxy.arrive().await;
        assert_stored(&proxied.item(), &second);
        let old = proxied.function.put(SET).with("if-match", first.header("etag").unwrap());
        assert_eq!(proxied.call(&old, []).await.outcome(), "412 precondition_failed");
    }))
    .await;
}

/// Whether the first attempt was carried out is not known, whatever a later one is told.
#[tokio::test]
async fn an_error_after_an_attempt_that_may_have_arrived_is_503() {
    let refused = r#"{"__type":"x#AccessDeniedException"}"#;
    let throttled = Fault::status(400, THROTTLED);
    for (name, steps, expected) in [
        ("reset after the write", vec![Fault::RESET_AFTER], "503"),
        ("reset before the write", vec![Fault::RESET], "503"),
        ("truncated", vec![Fault::CUT], "503"),
        ("500 after the write", vec![Fault::status_after(500, "")], "503"),
        ("500", vec![Fault::status(500, "")], "503"),
        ("garbage after the write", vec![Fault::status_after(200, "garbage")], "503"),
        ("two attempts before", vec![Fault::RESET_AFTER, throttled], "503"),
        ("nothing before", vec![], "500"),
        ("throttled before", vec![throttled, throttled], "500"),
    ] {
        let errors = [
            (400, refused),
            (400, r#"{"__type":"x#ExpiredTokenException"}"#),
            (400, r#"{"__type":"x#ValidationException"}"#),
            (400, r#"{"__type":"x#ResourceNotFoundException"}"#),
            (413, ""),
        ];
        let rows = errors.into_iter().flat_map(|error| [SET, REMOVE, READ].map(|body| (error, body)));
        join_all(rows.map(async |((status, error), body)| {
            let proxied = Proxied::new().await;
            let steps = steps.iter().copied().chain([Fault::status(status, error)]);
            let response = proxied.call(&proxied.function.put(body), steps).await;
            assert_eq!(response.status.to_string(), expected, "{name}, then {status} {error}: {body}");
            let line = proxied.function.last_line();
            assert_eq!(line["error_status"], status, "{name}: {line}");
        }))
        .await;
    }
}

/// Clients whose calls of the store go through a connector.
fn through<C: HttpConnector + 'static>(clients: Clients, connector: impl FnOnce(SharedHttpConnector) -> C) -> Clients {
    let unpooled = SharedHttpConnector::new(connector(clients.unpooled));
    let pooled = unpooled.clone();
    let sdk = clients.sdk.into_builder().http_client(http_client_fn(move |_, _| pooled.clone())).build();
    Clients { sdk, unpooled, ..clients }
}

/// A connector whose first call goes where nothing listens.
#[derive(Debug)]
struct RefusedOnce {
    refused: AtomicBool,
    nowhere: SocketAddr,
    http: SharedHttpConnector,
}

impl HttpConnector for RefusedOnce {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        if !self.refused.swap(true, Ordering::Relaxed) {
            request.set_uri(format!("http://{}/", self.nowhere)).unwrap();
        }
        self.http.call(request)
    }
}

/// An attempt for which no connection could be made has not arrived.
#[tokio::test]
async fn an_error_after_a_refused_connection_is_500() {
    // Bound and not listening, so that connections are refused and no one else takes the port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let store = embedded().await;
    let proxy = Proxy::start(store.address).await;
    let nowhere = socket.local_addr().unwrap();
    let refusing = |http| RefusedOnce { refused: AtomicBool::default(), nowhere, http };
    let clients = through(embedded::clients(&proxy.endpoint()).await, refusing);
    let function = Function::with_clients(store, clients, &[]).await;
    proxy.script([Fault::status(400, r#"{"__type":"x#AccessDeniedException"}"#)]);
    assert_eq!(function.call(&function.put(SET)).await.outcome(), "500 internal_error");
    assert_eq!(function.last_line()["store_attempts"], 2);
}

#[tokio::test]
async fn a_put_with_if_match_that_was_answered_503_can_be_repeated_as_it_is() {
    for body in [SET, REMOVE] {
        let proxied = Proxied::new().await;
        let request = proxied.function.put(body).with("if-match", &format!("\"{AT}\""));
        let first = proxied.call(&request, vec![Fault::status_after(500, ""); 3]).await;
        assert_eq!(first.outcome(), "503 store_unavailable");
        let written = proxied.item();
        assert_ne!(written, documented_item());
        for _ in 0..2 {
            let again = proxied.call(&request, []).await;
            assert_eq!(again.outcome(), "200", "{body}");
            assert_stored(&written, &again);
            assert_eq!(proxied.item(), written, "nothing is written again");
            assert_eq!(proxied.proxy.take_requests().len(), 1);
        }
    }
}

#[tokio::test]
async fn what_is_applied_already_is_a_success_at_the_stored_version() {
    let proxied = Proxied::new().await;
    for (stored, body, expected) in [
        (SET, SET, "200"),
        (REMOVE, REMOVE, "200"),
        (SET, REMOVE, "412 precondition_failed"),
        (REMOVE, SET, "412 precondition_failed"),
        (SET, r#"{"meta":{}}"#, "412 precondition_failed"),
        (REMOVE, r#"{"meta":{}}"#, "412 precondition_failed"),
        (r#"{"meta":{}}"#, REMOVE, "412 precondition_failed"),
        (r#"{"meta":{}}"#, r#"{"meta":{}}"#, "200"),
        (r#"{"meta":{"method":"PUT"}}"#, r#"{"meta":{"method":3}}"#, "200"),
        (r#"{"meta":{"path":"/a","method":3}}"#, r#"{"meta":{"path":"/a"}}"#, "412 precondition_failed"),
        (SET, READ, "412 precondition_failed"),
    ] {
        for tags in ["\"stale\"", "W/\"weak\"", "\"a\", \"b\""] {
            assert_eq!(proxied.call(&proxied.function.put(stored), []).await.outcome(), "200");
            let item = proxied.item();
            let response = proxied.call(&proxied.function.put(body).with("if-match", tags), []).await;
            assert_eq!(response.outcome(), expected, "{stored}, then {body} with {tags}");
            assert_eq!(response.header("etag"), Some(tag(&item).as_str()));
            assert_eq!(proxied.item(), item);
        }
    }
    // Another node's distributor is not compared.
    let other = proxied.function.issuer.sign(&claims("00000000-0000-4000-8000-000000000000", 60));
    assert_eq!(proxied.call(&proxied.function.put(SET), []).await.outcome(), "200");
    let response = proxied.call(&Request::put(&other, SET).with("if-match", "\"stale\""), []).await;
    assert_eq!(response.outcome(), "404 distributor_not_found");
}

#[tokio::test]
async fn a_read_that_saw_nothing_is_503() {
    let proxied = Proxied::new().await;
    for body in ["", "{}", r#"{"Attributes":null}"#, r#"{"Attributes":{}}"#, r#"{"x":1}"#] {
        let response = proxied.call(&proxied.function.put(READ), [Fault::status_after(200, body)]).await;
        assert_eq!((response.outcome().as_str(), response.header("etag")), ("503 store_unavailable", None), "{body:?}");
    }
    assert_eq!(proxied.item(), documented_item());
}

/// The condition failed, and the item that comes back satisfies it: asking again would go on until the deadline.
#[tokio::test]
async fn a_store_that_contradicts_itself_is_asked_once() {
    let proxied = Proxied::new().await;
    for version in ["", r#","updated_at":{"S":"2025-12-23T23:16:10.419732Z"}"#, r#","updated_at":{"N":"7"}"#] {
        let item = format!(r#"{{"id":{{"S":"{ID}"}},"node_id":{{"S":"{NODE}"}}{version}}}"#);
        let failed = format!(
            r#"{{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"x","Item":{item}}}"#
        );
        // A reply of the proxy lives as long as the process.
        let failed: &'static str = failed.leak();
        for body in [SET, REMOVE, READ] {
            for tagged in [false, true] {
                let request = proxied.function.put(body);
                let request = if tagged { request.with("if-match", &format!("\"{AT}\"")) } else { request };
                let response = proxied.call(&request, vec![Fault::status(400, failed); 9]).await;
                let has_tag = !tagged || version.contains(AT);
                let expected = match (has_tag, body) {
                    (true, _) => "503 store_unavailable",
                    // What is asked for is what is stored.
                    (false, REMOVE) => "200",
                    (false, _) => "412 precondition_failed",
                };
                assert_eq!(response.outcome(), expected, "{body}, {version}, tagged: {tagged}");
                assert_eq!(proxied.proxy.take_requests().len(), 1, "{body}, {version}, tagged: {tagged}");
            }
        }
    }
}

/// Every item has a key, so one without attributes does not exist.
#[tokio::test]
async fn an_item_without_attributes_is_absent() {
    let failed = r#"{"__type":"x#ConditionalCheckFailedException","Item":{}}"#;
    for settings in [&[][..], &[("TOKEN_NODE_CLAIM", "")]] {
        let proxied = Proxied::with(settings).await;
        for body in [SET, REMOVE, READ] {
            let response = proxied.call(&proxied.function.put(body), [Fault::status(400, failed)]).await;
            assert_eq!(response.outcome(), "404 distributor_not_found", "{body}");
            assert_eq!(proxied.function.last_line()["reason"], "absent", "{body}");
        }
    }
}

/// A timeout, by its status or by its code, says nothing about what came before it.
#[tokio::test]
async fn a_response_that_is_a_timeout_is_like_none() {
    const BY_CODE: &str = r#"{"__type":"x#RequestTimeoutException"}"#;
    const DENIED: Fault = Fault::status(400, r#"{"__type":"x#AccessDeniedException"}"#);

    for timeout in [Fault::status(408, ""), Fault::status(408, "{}"), Fault::status(400, BY_CODE)] {
        for (steps, expected, attempts) in [
            (vec![timeout], "200", 2),
            (vec![timeout, timeout], "200", 3),
            (vec![timeout; 3], "503 store_unavailable", 3),
            (vec![timeout, DENIED], "503 store_unavailable", 2),
            (vec![DENIED, timeout], "500 internal_error", 1),
        ] {
            let proxied = Proxied::new().await;
            let response = proxied.call(&proxied.function.put(SET), steps.iter().copied()).await;
            assert_eq!(response.outcome(), expected, "{steps:?}");
            assert_eq!(proxied.function.last_line()["store_attempts"], attempts, "{steps:?}");
        }
    }
}

/// A function whose clock is where the test sets it.
async fn at(now: &str) -> Function {
    let now = SystemTime::from(DateTime::parse_from_rfc3339(now).unwrap());
    let store = embedded().await;
    let clients = Clients { clock: Clock::new(move || now), ..embedded::clients(&store.endpoint()).await };
    let mut function = Function::with_clients(store, clients, &[]).await;
    function.token = function.issuer.sign(&json!({"iss": ISSUER, "aud": AUDIENCE, "exp": 4e9, "node_id": NODE}));
    function
}

#[tokio::test]
async fn a_version_is_always_after_the_stored_one() {
    let s = |text: &str| Some(AttributeValue::S(text.to_owned()));
    let now = "2026-01-01T00:00:00.000000Z";
    let function = at(now).await;
    for (stored, expected, attempts) in [
        (s(AT), now, 1),
        (s("2025-12-31T23:59:59.999999Z"), now, 1),
        // The clock is behind, or another write has had the same microsecond.
        (s("2026-01-01T00:00:00.000000Z"), "2026-01-01T00:00:00.000001Z", 2),
        (s("2026-01-01T00:00:09.999999Z"), "2026-01-01T00:00:10.000000Z", 2),
        (s("2031-01-01T00:00:00.000000Z"), "2031-01-01T00:00:00.000001Z", 2),
        // Not in our form: replaced by the clock's time, whatever it is.
        (s("2025-12-23T23:16:10Z"), now, 1),
        (s("2026-01-01T00:00:00Z"), now, 2),
        (s("2027-01-01T00:00:00+01:00"), now, 2),
        (s("9999-12-31T23:59:59.999999Z"), now, 2),
        (s("2030-02-30T00:00:00.000000Z"), now, 2),
        (s("latest"), now, 2),
        (s("1766531770"), now, 1),
        (s("a \"b\""), now, 2),
        (Some(AttributeValue::N("1766531770".to_owned())), now, 1),
        (Some(AttributeValue::N("9".repeat(30))), now, 1),
        (Some(AttributeValue::Null(true)), now, 1),
        (Some(AttributeValue::Bool(true)), now, 1),
        (None, now, 1),
    ] {
        for body in [SET, REMOVE] {
            for with_tag in [false, true] {
                let mut item = documented_item();
                item.remove("updated_at");
                item.extend(stored.clone().map(|stored| ("updated_at".to_owned(), stored)));
                function.store.put(item.clone());
                let read = function.call(&function.put(READ)).await;
                let request = function.put(body);
                let request = match read.header("etag") {
                    Some(tag) if with_tag => request.with("if-match", &format!("\"other\", {tag}")),
                    _ => request,
                };
                let response = function.call(&request).await;
                assert_eq!(response.outcome(), "200", "{stored:?}");
                assert_eq!(response.body["updated_at"], expected, "{stored:?}");
                assert_stored(&function.item().unwrap(), &response);
                let line = function.last_line();
                assert_eq!(line["store_attempts"], attempts, "{stored:?}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_behind_does_not_excuse_a_wrong_tag() {
    let function = at("2020-01-01T00:00:00.000000Z").await;
    for tags in ["\"2020-01-01T00:00:00.000000Z\"", "\"x\"", "W/\"x\""] {
        let response = function.call(&function.put(SET).with("if-match", tags)).await;
        assert_eq!(response.outcome(), "412 precondition_failed", "{tags}");
        assert_eq!(function.last_line()["store_attempts"], 1);
    }
    // Nor another node, nor an item that is not there.
    let other = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": 4e9, "node_id": ID});
    let other = Request::put(&function.issuer.sign(&other), SET);
    assert_eq!(function.call(&other).await.outcome(), "404 distributor_not_found");
    assert_eq!(function.item().unwrap(), documented_item());
}

#[tokio::test]
async fn outages_are_503_and_repeating_converges() {
    let proxied = Proxied::new().await;
    let throttled = r#"{"__type":"x#ProvisionedThroughputExceededException"}"#;
    for (name, step, error_code) in [
        ("reset", Fault::RESET, "DispatchFailure"),
        ("reset after", Fault::RESET_AFTER, "DispatchFailure"),
        ("truncated", Fault::CUT, "ResponseError"),
        ("throttled", Fault::status(400, throttled), "ProvisionedThroughputExceededException"),
        ("500", Fault::status(500, ""), "Unknown"),
        ("503", Fault::status_after(503, ""), "Unknown"),
        ("garbage", Fault::status_after(200, "{"), "Unknown"),
    ] {
        proxied.reset();
        let response = proxied.call(&proxied.function.put(SET), vec![step; 3]).await;
        assert_eq!(
            (response.outcome().as_str(), response.header("retry-after")),
            ("503 store_unavailable", Some("1")),
            "{name}"
        );
        assert_eq!(proxied.proxy.take_requests().len(), 3, "{name}");
        let line = proxied.function.last_line();
        let logged = (&line["level"], &line["store_attempts"], &line["error_code"]);
        assert_eq!(logged, (&json!("WARN"), &json!(3), &json!(error_code)), "{name}");
        let again = proxied.call(&proxied.function.put(SET), []).await;
        assert_eq!(again.outcome(), "200", "{name}");
        assert_stored(&proxied.item(), &again);
    }
}

#[tokio::test]
async fn an_outage_uses_up_no_quota() {
    let proxied = Proxied::new().await;
    let request = proxied.function.put(READ);
    proxied.proxy.script(vec![Fault::status(500, ""); 300]);
    let responses = join_all((0..100).map(|_| proxied.function.call(&request))).await;
    assert!(responses.iter().all(|response| response.status == 503));
    assert_eq!(proxied.proxy.take_requests().len(), 300);
    assert_eq!(proxied.call(&request, vec![Fault::status(500, ""); 2]).await.outcome(), "200");
}

#[tokio::test]
async fn other_errors_are_500_without_the_stores_words() {
    let proxied = Proxied::new().await;
    for (status, body, code) in [
        (
            400,
            r#"{"__type":"x#AccessDeniedException","Message":"User secret is not authorized"}"#,
            "AccessDeniedException",
        ),
        (400, r#"{"__type":"x#ResourceNotFoundException","message":"secret"}"#, "ResourceNotFoundException"),
        (400, r#"{"__type":"x#ValidationException","message":"secret"}"#, "ValidationException"),
        (400, r#"{"__type":"x#ExpiredTokenException","message":"secret"}"#, "ExpiredTokenException"),
        (413, "secret", "Unknown"),
    ] {
        let response = proxied.call(&proxied.function.put(SET), [Fault::status(status, body)]).await;
        assert_eq!(response.outcome(), "500 internal_error");
        assert!(!response.body.to_string().contains("secret"), "{}", response.body);
        assert_eq!(proxied.proxy.take_requests().len(), 1, "{body}");
        let line = proxied.function.last_line();
        let logged = (&line["error_code"], &line["error_status"], &line["aws_request_id"], &line["store_attempts"]);
        assert_eq!(logged, (&json!(code), &json!(status), &json!("AWSREQUESTID"), &json!(1)));
        assert!(!line.to_string().contains("secret"), "{line}");
    }
    assert_eq!(proxied.item(), documented_item());
}

#[tokio::test]
async fn a_write_whose_item_is_not_returned_is_a_success() {
    let proxied = Proxied::new().await;
    for body in ["", "{}", r#"{"Attributes":null}"#, r#"{"Attributes":{}}"#, r#"{"x":1}"#] {
        proxied.reset();
        let response = proxied.call(&proxied.function.put(SET), [Fault::status_after(200, body)]).await;
        assert_eq!(response.outcome(), "200", "{body:?}");
        assert_eq!(response.body["id"], ID);
        assert_eq!(response.body["node_id"], NODE);
        assert_eq!(response.body["meta"], json!({"path": "/new", "authentication": {"type": 2, "token": "t"}}));
        assert_eq!(response.header("etag"), Some(tag(&proxied.item()).as_str()));
    }
}

/// The rules about time are tested on paused time; this is what the real client does with a real connection.
#[tokio::test]
async fn attempts_that_hang_are_given_up() {
    let one = join_all([Fault::HANG, Fault::HANG_AFTER, Fault::SLOWLY].map(async |step| {
        let proxied = Proxied::new().await;
        let request = proxied.function.put(SET).with("if-match", &format!("\"{AT}\""));
        let response = proxied.call(&request, [step]).await;
        assert_eq!(response.outcome(), "200", "{step:?}");
        assert_stored(&proxied.item(), &response);
        assert_eq!(proxied.function.last_line()["store_attempts"], 2, "{step:?}");
    }));
    let all = async {
        let proxied = Proxied::new().await;
        let response = proxied.call(&proxied.function.put(SET), vec![Fault::HANG; 3]).await;
        assert_eq!(response.outcome(), "503 store_unavailable");
        let line = proxied.function.last_line();
        assert_eq!((&line["error_code"], &line["store_attempts"]), (&json!("TimeoutError"), &json!(3)));
    };
    tokio::join!(one, all);
}

#[tokio::test]
async fn without_time_the_store_is_not_asked() {
    let proxied = Proxied::new().await;
    let request = proxied.function.put(SET);
    let event = request.event(FrontEnd::HttpApi).to_string();
    let response = proxied.function.within(event.as_bytes(), Duration::from_millis(300)).await.unwrap();
    assert_eq!(response.outcome(), "503 store_unavailable");
    let line = proxied.function.last_line();
    assert_eq!((&line["error_code"], &line["store_attempts"]), (&json!("DeadlineExceeded"), &json!(0)));
    // What needs no store gets its usual response.
    let event = request.clone().without("x-target-server").event(FrontEnd::HttpApi).to_string();
    let response = proxied.function.within(event.as_bytes(), Duration::ZERO).await.unwrap();
    assert_eq!(response.outcome(), "400 wrong_target_server");
    assert_eq!(proxied.proxy.take_requests(), [""; 0]);
    assert_eq!(proxied.item(), documented_item());
}

/// After so many invocations at once, each has left a connection, and all of them die while the process is frozen. Then
/// one request comes, or as many at once as before.
#[tokio::test]
async fn pooled_connections_that_died_cost_a_retry_however_many_there_are() {
    let together = async |proxied: &Proxied, count: usize| -> Vec<String> {
        let read = proxied.function.put(READ);
        let calls = (0..count).map(|_| proxied.function.call(&read));
        join_all(calls).await.into_iter().map(|response| response.outcome()).collect()
    };
    let counts = [(1, 1), (8, 8), (16, 4), (16, 16)];
    let rows = [Fault::HANG, Fault::RESET].into_iter().flat_map(|step| counts.map(|(left, count)| (step, left, count)));
    join_all(rows.map(async |(step, left, count)| {
        let proxied = Proxied::new().await;
        let barrier = Arc::new(Barrier::new(left));
        proxied.proxy.gather(left, barrier);
        assert_eq!(together(&proxied, left).await, vec!["200"; left]);
        assert_eq!(proxied.proxy.connections(), left);
        proxied.proxy.break_connections(step);
        let outcomes = together(&proxied, count).await;
        let lines = proxied.function.lines();
        let attempts: Vec<_> = lines[left..].iter().map(|line| line["store_attempts"].as_u64().unwrap()).collect();
        let row = format!("{left} dead connections ({step:?}), {count} requests: {outcomes:?}, attempts {attempts:?}");
        println!("{row}");
        assert_eq!(outcomes, vec!["200"; count], "{row}");
        assert!(attempts.iter().all(|attempts| *attempts <= 2), "{row}");
        // The first attempt is made on a connection that is left, so that the usual request has to make none.
        assert!(attempts.contains(&2), "{row}");
    }))
    .await;
}

#[tokio::test]
async fn of_concurrent_writers_with_one_tag_one_wins() {
    let store = embedded().await;
    let (endpoint, address) = (store.endpoint(), store.address);
    let first = Function::at_endpoint(store, &endpoint, &[]).await;
    let proxy = Proxy::start(address).await;
    let second =
        Function::at_endpoint(embedded().await, &proxy.endpoint(), &[("TOKEN_JWKS", &first.issuer.jwks())]).await;
    for round in 0..5 {
        let tag = tag(&first.item().unwrap());
        let request = |path: &str| first.put(&format!(r#"{{"meta":{{"path":"{path}"}}}}"#)).with("if-match", &tag);
        let [a, b, c, d] = ["/a", "/b", "/c", "/d"].map(|path| request(&format!("{path}{round}")));
        let responses = tokio::join!(first.call(&a), second.call(&b), first.call(&c), second.call(&d));
        let mut outcomes = [responses.0.outcome(), responses.1.outcome(), responses.2.outcome(), responses.3.outcome()];
        outcomes.sort();
        assert_eq!(outcomes, ["200", "412 precondition_failed", "412 precondition_failed", "412 precondition_failed"]);
    }
}

#[tokio::test]
async fn priming_is_one_call_that_changes_nothing() {
    let proxied = Proxied::with(&[("PRIME", "true")]).await;
    let requests = proxied.proxy.take_requests();
    assert_eq!(requests.len(), 1);
    let expected = json!({
        "TableName": "distributors",
        "Key": {"id": {"S": "00000000-0000-0000-0000-000000000000"}},
        "ConditionExpression": "attribute_exists(id) AND attribute_not_exists(id)",
        "ReturnValues": "NONE",
    });
    assert_eq!(serde_json::from_str::<Value>(&requests[0]).unwrap(), expected);
    assert_eq!(proxied.function.store.items().len(), 1);
    let proxied = Proxied::new().await;
    assert_eq!(proxied.proxy.take_requests(), [""; 0]);
}
