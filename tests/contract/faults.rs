//! Faults of the store: what a response says of the write holds, whatever happens between function and store.
//!
//! - 200: the write has happened, once, and the item is as answered.
//! - 412 and 404: no write has happened.
//! - 503: it may have happened or not, and repeating the request brings the item to what was asked for.
//!
//! That each is there in time is tested on paused time.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::TcpSocket;

use crate::BOOTSTRAP;
use testing::fault::{Fault, THROTTLED};
use testing::issuer::{Issuer, claims};
use testing::lambda::function::{Function, embedded};
use testing::lambda::process::{Process, environment};
use testing::lambda::request::{FrontEnd, Request, Response};
use testing::proxy::Proxy;
use testing::store::embedded::{AT, Embedded, ID, Item, NODE, documented_item};

use super::write::{Proxied, READ, REMOVE, SET, assert_stored, path};

const LEFT: Duration = Duration::from_millis(2_600);

const CONFLICT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException"}"#;

const FAULTS: [Fault; 17] = [
    Fault::RESET,
    Fault::RESET_AFTER,
    Fault::CUT,
    Fault::HANG,
    Fault::HANG_AFTER,
    Fault::SLOWLY,
    Fault::status(400, THROTTLED),
    Fault::status_after(400, THROTTLED),
    Fault::status(400, CONFLICT),
    Fault::status(429, ""),
    Fault::status(502, "<html>"),
    Fault::status(500, ""),
    Fault::status_after(500, ""),
    Fault::status(200, "garbage"),
    Fault::status_after(200, "garbage"),
    Fault::body(""),
    Fault::status_after(200, r#"{"Attributes":7}"#),
];

/// Tags that a request may be sent with, and whether the item is at one of them.
const TAGS: [(Option<&str>, bool); 3] = [(None, true), (Some(AT), true), (Some("stale"), false)];

fn with_tag(request: Request, tag: Option<&str>) -> Request {
    match tag {
        Some(tag) => request.with("if-match", &format!("\"{tag}\"")),
        None => request,
    }
}

/// What the request writes, had it gone well.
fn is_written(item: &Item, body: &str) -> bool {
    path(item)
        == match body {
            SET => Some("/new"),
            REMOVE => None,
            _ => Some("/webhook"),
        }
}

#[track_caller]
fn check(row: &str, body: &str, matching: bool, response: &Response, item: &Item) {
    let untouched = *item == documented_item();
    match response.status {
        200 => {
            assert!(matching, "{row}");
            assert!(is_written(item, body), "{row}: {item:?}");
            assert_eq!(untouched, body == READ, "{row}: {item:?}");
            assert_stored(item, response);
        }
        412 => assert!(untouched && !matching, "{row}: {item:?}"),
        503 => assert!(untouched || (matching && is_written(item, body)), "{row}: {item:?}"),
        _ => panic!("{row}: {response:?}"),
    }
}

/// One request with one fault, once or at each of its attempts.
async fn try_fault(fault: Fault, times: usize, body: &str, (tag_sent, matching): (Option<&str>, bool)) {
    let row = format!("{fault:?} {times} times, {body}, {tag_sent:?}");
    let proxied = Proxied::new().await;
    let request = with_tag(proxied.function.put(body), tag_sent);
    let event = request.event(FrontEnd::HttpApi).to_string();
    // Before the connection is used, so that the fault meets one that is kept alive.
    assert_eq!(proxied.function.call(&proxied.function.put(READ)).await.status, 200, "{row}");
    proxied.proxy.script(vec![fault; times]);
    let response = proxied.function.within(event.as_bytes(), LEFT).await.unwrap();
    proxied.proxy.script([]);
    check(&row, body, matching, &response, &proxied.item());
    // A success without an item is a response like any other.
    if times == 1 && fault != Fault::body("") {
        assert_eq!(response.status, if matching { 200 } else { 412 }, "{row}");
        // A store that has written all the same, but says that it has throttled, is written to once more.
        let lied = fault == Fault::status_after(400, THROTTLED) && matching && body != READ;
        assert_eq!(
            proxied.function.last_line()["store_attempts"],
            if lied && tag_sent.is_none() { 3 } else { 2 },
            "{row}"
        );
    }
    if response.status == 503 {
        // The same again brings the item to what was asked for, whether it had been written or not.
        let again = proxied.function.call(&request).await;
        assert_eq!(again.status, if matching { 200 } else { 412 }, "{row}");
        check(&row, body, matching, &again, &proxied.item());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_response_says_of_the_write_is_true() {
    for fault in FAULTS {
        let once = [SET, REMOVE, READ].into_iter().flat_map(|body| TAGS.map(|tag| (1, body, tag)));
        let rows = once.chain([SET, READ].map(|body| (3, body, TAGS[0])));
        join_all(rows.map(|(times, body, tag)| try_fault(fault, times, body, tag))).await;
    }
}

#[tokio::test]
async fn a_store_that_comes_back_is_used_at_once() {
    for body in [SET, REMOVE, READ] {
        for (tag_sent, matching) in TAGS {
            // Bound and not listening yet: connections are refused.
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = socket.local_addr().unwrap();
            let function = Function::at_endpoint(embedded().await, &format!("http://{address}"), &[]).await;
            let request = with_tag(function.put(body), tag_sent);
            assert_eq!(function.call(&request).await.outcome(), "503 store_unavailable");
            assert_eq!(function.last_line()["store_attempts"], 3);
            let store = Embedded::serve(socket.listen(16).unwrap());
            store.put(documented_item());
            let response = function.call(&request).await;
            let item = store.item(ID).unwrap();
            assert_eq!(response.status, if matching { 200 } else { 412 });
            check("refused", body, matching, &response, &item);
        }
    }
}

/// Between two invocations the process is frozen, and the store closes what it holds open.
#[cfg(unix)]
#[tokio::test]
async fn connections_that_closed_while_frozen_cost_no_error() {
    let (store, issuer) = (embedded().await, Issuer::new("first"));
    let proxy = Proxy::start(store.address).await;
    let process = Process::spawn(BOOTSTRAP, environment(&proxy.endpoint(), &issuer.jwks()));
    process.ready().await;
    let token = issuer.sign(&claims(NODE, 600));
    for body in [SET, REMOVE, READ] {
        for (tag_sent, matching) in TAGS {
            store.put(documented_item());
            process.signal("STOP").await;
            proxy.close_idle();
            let event = with_tag(Request::put(&token, body), tag_sent).event(FrontEnd::HttpApi);
            let (response, ()) = tokio::join!(process.send(&event), process.signal("CONT"));
            let row = format!("{body}, {tag_sent:?}");
            assert_eq!(response.status, if matching { 200 } else { 412 }, "{row}");
            check(&row, body, matching, &response, &store.item(ID).unwrap());
        }
    }
}
