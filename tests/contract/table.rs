//! The check of a table: a line for every deviation, and none for what the function writes itself.

use std::time::SystemTime;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use testing::store::table::{Attributes, Seen, deviations, scan};

use testing::lambda::function::{Function, embedded};
use testing::lambda::request::{EVERY_MEMBER, REMOVE, Request};
use testing::store::embedded::{self, TABLE, documented_item};

fn found(item: &Attributes) -> Vec<String> {
    deviations(item, SystemTime::now())
}

#[tokio::test]
async fn what_the_function_writes_does_not_deviate() {
    let function = Function::new().await;
    for body in [EVERY_MEMBER, r#"{"meta":{"authentication":{}}}"#, REMOVE] {
        assert_eq!(function.call(&Request::put(&function.token, body)).await.outcome(), "200");
        assert_eq!(found(&function.item().unwrap()), [""; 0], "{body}");
    }
}

#[test]
fn every_deviation_is_named() {
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let n = |number: &str| AttributeValue::N(number.to_owned());
    let m = |name: &str, value: AttributeValue| AttributeValue::M([(name.to_owned(), value)].into());
    let authentication = |name: &str, value| m("authentication", m(name, value));
    for (name, value, expected) in [
        ("id", Some(s("39E8003C-6342-4FD3-97A1-3F2A7B437D0A")), "id is not a hyphenated UUID in lower case"),
        ("id", Some(s("1")), "id is not"),
        ("node_id", None, "node_id is not"),
        ("node_id", Some(n("1")), "node_id is not"),
        ("node_id", Some(s("E40EFCE4-38A3-46C4-A202-E8DB95D0409C")), "node_id is not"),
        ("created_at", None, "created_at is missing"),
        ("updated_at", None, "updated_at is missing"),
        ("updated_at", Some(n("1766531770")), "updated_at is missing or not a string"),
        ("updated_at", Some(s("2025-12-23T23:16:10Z")), "the next write replaces it"),
        ("updated_at", Some(s("9999-12-31T23:59:59.999999Z")), "the next write replaces it"),
        ("updated_at", Some(s("a b")), "which no entity tag can contain"),
        ("updated_at", Some(s("2999-01-01T00:00:00.000000Z")), "more than a day in the future"),
        ("meta", Some(s("{}")), "meta is not a map"),
        ("meta", Some(AttributeValue::Null(true)), "meta is not a map"),
        ("meta", Some(m("url", s("SECRET"))), "meta.url is not a member"),
        ("meta", Some(m("host", s("example.com/SECRET"))), "meta.host is not a host"),
        ("meta", Some(m("host", n("1"))), "meta.host is of another type"),
        ("meta", Some(m("path", s("SECRET"))), "meta.path is not a path"),
        ("meta", Some(m("method", s("GET"))), "meta.method is a string"),
        ("meta", Some(m("method", n("9"))), "meta.method is not the number"),
        ("meta", Some(m("authentication", s("SECRET"))), "meta.authentication is of another type"),
        ("meta", Some(authentication("type", n("3"))), "meta.authentication.type is not the number"),
        ("meta", Some(authentication("type", s("1"))), "meta.authentication.type is a string"),
        ("meta", Some(authentication("password", n("1"))), "meta.authentication.password is of another type"),
        ("meta", Some(authentication("key", s("SECRET"))), "meta.authentication.key is not a member"),
        ("name", Some(s("SECRET")), "name is not an attribute"),
    ] {
        let mut item = documented_item();
        item.remove(name);
        item.extend(value.map(|value| (name.to_owned(), value)));
        let found = found(&item);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].contains(expected) && !found[0].contains("SECRET"), "{found:?}");
    }
}

/// Of a table that takes several pages, each item is looked at once, with a limit or without one.
#[tokio::test]
async fn a_scan_reads_every_page() {
    let store = embedded().await;
    for number in 0..60 {
        let mut item = documented_item();
        item.insert("id".to_owned(), AttributeValue::S(format!("00000000-0000-4000-8000-{number:012}")));
        if number % 3 == 0 {
            item.insert("name".to_owned(), AttributeValue::S("SECRET".to_owned()));
            item.remove("created_at");
        }
        store.put(item);
    }
    let client = Client::new(&embedded::clients(&store.endpoint()).await.sdk);
    for units_per_second in [None, Some(1), Some(1_000)] {
        let (mut seen, mut lines, mut pages) = (Seen::default(), Vec::new(), 0);
        let note = |_: &Seen, line: Option<String>| match line {
            Some(line) => lines.push(line),
            None => pages += 1,
        };
        // With one unit a second, a page has sixteen items.
        tokio::time::timeout(
            std::time::Duration::from_secs(20),
            scan(&client, TABLE, units_per_second, &mut seen, note),
        )
        .await
        .expect("it ends")
        .expect("the store responds");
        assert_eq!(seen, Seen { items: 61, deviating: 20 });
        assert_eq!(lines.len(), 40);
        assert!(lines[0].starts_with("00000000-") && !lines.concat().contains("SECRET"), "{lines:?}");
        assert_eq!(pages, if units_per_second == Some(1) { 4 } else { 1 });
    }
    let error = scan(&client, "other", None, &mut Seen::default(), |_, _| {}).await;
    assert!(error.is_err_and(|error| error.contains("ResourceNotFound")));
}
