//! Items of the table: attributes ↔ distributor.
//!
//! Writing is strict, reading is tolerant: an item in an unexpected form is returned as far as it can be read, since
//! the write that returned it has happened.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::distributor::{Distributor, IntegerOrText, StoredAuthentication, StoredMeta};
use crate::update::Change;
use crate::webhook::{Authentication, Meta, Method};

/// The attributes of an item, or of a map in it.
pub type Attributes = HashMap<String, AttributeValue>;

/// Returns whether `item` already has the `meta` that this change would leave.
pub fn is_applied(change: &Change<Attributes>, item: &Attributes) -> bool {
    match change {
        Change::Keep => false,
        Change::Remove => !item.contains_key("meta"),
        Change::Set(meta) => map(item, "meta") == Some(meta),
    }
}

/// Reads an item. Attributes that are unknown, or of another type than this function writes, are left out.
pub fn distributor(id: Uuid, item: &Attributes) -> Distributor {
    Distributor {
        id,
        node_id: string(item, "node_id").map(str::to_owned),
        meta: map(item, "meta").map(meta),
        created_at: string(item, "created_at").map(str::to_owned),
        updated_at: string(item, "updated_at").map(str::to_owned),
    }
}

/// Reads the attribute `meta`.
pub fn meta(attributes: &Attributes) -> StoredMeta {
    let text = |name: &str| string(attributes, name).map(str::to_owned);
    StoredMeta {
        host: text("host"),
        path: text("path"),
        method: method(attributes),
        authentication: map(attributes, "authentication").map(authentication),
    }
}

fn authentication(attributes: &Attributes) -> StoredAuthentication {
    let text = |name: &str| string(attributes, name).map(str::to_owned);
    StoredAuthentication {
        scheme: scalar(attributes, "type"),
        username: text("username"),
        password: text("password"),
        token: text("token"),
    }
}

/// Returns the attribute of this name if it is a string.
pub fn string<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name)?.as_s().ok().map(String::as_str)
}

fn map<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Attributes> {
    attributes.get(name)?.as_m().ok()
}

/// Returns a stored method by its name. A stored name, and a number that is not a method's, are returned as they are.
fn method(meta: &Attributes) -> Option<IntegerOrText> {
    let number = meta.get("method").and_then(|attribute| attribute.as_n().ok());
    match number.and_then(|number| Method::from_number(number.parse().ok()?).ok()) {
        Some(method) => Some(IntegerOrText::Text(method.name().to_owned())),
        None => scalar(meta, "method"),
    }
}

fn scalar(attributes: &Attributes, name: &str) -> Option<IntegerOrText> {
    match attributes.get(name)? {
        AttributeValue::N(number) => Some(match number.parse() {
            Ok(integer) => IntegerOrText::Integer(integer),
            // Another number is not one that this function writes: a client that expects an integer reads it as a text.
            Err(_) => IntegerOrText::Text(number.clone()),
        }),
        AttributeValue::S(text) => Some(IntegerOrText::Text(text.clone())),
        _ => None,
    }
}

/// Returns `meta` as it is stored.
pub fn meta_attributes(Meta { host, path, method, authentication }: Meta) -> Attributes {
    attributes([
        ("host", host.map(|host| AttributeValue::S(host.into_string()))),
        ("path", path.map(|path| AttributeValue::S(path.into_string()))),
        ("method", method.map(|method| AttributeValue::N(method.number().to_string()))),
        (
            "authentication",
            authentication.map(|authentication| AttributeValue::M(authentication_attributes(authentication))),
        ),
    ])
}

fn authentication_attributes(authentication: Authentication) -> Attributes {
    let Authentication { scheme, username, password, token } = authentication;
    attributes([
        ("type", scheme.map(|scheme| AttributeValue::N(scheme.number().to_string()))),
        ("username", username.map(|username| AttributeValue::S(username.into_string()))),
        ("password", password.map(|password| AttributeValue::S(password.into_exposed()))),
        ("token", token.map(|token| AttributeValue::S(token.into_exposed()))),
    ])
}

fn attributes<const N: usize>(members: [(&str, Option<AttributeValue>); N]) -> Attributes {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::webhook::{Host, HostPolicy, Password, Path, Scheme, Token, Username};

    fn s(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn n(number: &str) -> AttributeValue {
        AttributeValue::N(number.to_owned())
    }

    fn m<const N: usize>(members: [(&str, AttributeValue); N]) -> AttributeValue {
        AttributeValue::M(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    #[test]
    fn unexpected_forms_are_read_as_far_as_possible() {
        #[track_caller]
        fn check(meta: AttributeValue, expected: &str) {
            let item = HashMap::from([("meta".to_owned(), meta)]);
            let response = serde_json::to_value(distributor(Uuid::nil(), &item)).unwrap();
            assert_eq!(response["meta"].to_string(), expected);
        }
        check(m([]), "{}");
        check(AttributeValue::Null(true), "null");
        check(s("text"), "null");
        check(m([("method", n("2"))]), r#"{"method":"POST"}"#);
        check(m([("method", s("GET"))]), r#"{"method":"GET"}"#);
        check(m([("method", s("brew"))]), r#"{"method":"brew"}"#);
        check(m([("method", n("9"))]), r#"{"method":9}"#);
        check(m([("method", n("1.5"))]), r#"{"method":"1.5"}"#);
        check(m([("method", n("9223372036854775808"))]), r#"{"method":"9223372036854775808"}"#);
        check(m([("method", AttributeValue::Bool(true))]), "{}");
        check(m([("host", n("1")), ("path", s("/")), ("unknown", s("x"))]), r#"{"path":"/"}"#);
        check(m([("authentication", m([("type", n("1"))]))]), r#"{"authentication":{"type":1}}"#);
        check(m([("authentication", m([("type", s("1"))]))]), r#"{"authentication":{"type":"1"}}"#);
        check(m([("authentication", n("1"))]), "{}");
    }

    #[test]
    fn missing_members_are_null() {
        let response = serde_json::to_string(&distributor(Uuid::nil(), &HashMap::new())).unwrap();
        let expected = r#"{"id":"00000000-0000-0000-0000-000000000000","node_id":null,"meta":null,"created_at":null,"updated_at":null}"#;
        assert_eq!(response, expected);
    }

    #[test]
    fn every_member_that_is_set_is_returned() {
        // Complete literals: a new member has to be added here, too.
        let authentication = Authentication {
            scheme: Some(Scheme::Basic),
            username: Username::new("u").ok(),
            password: Password::new("p").ok(),
            token: Token::new("t").ok(),
        };
        let meta = Meta {
            host: Host::new("https://a.example", HostPolicy::Public).ok(),
            path: Path::new("/").ok(),
            method: Method::from_number(1.0).ok(),
            authentication: Some(authentication),
        };
        let stored = meta_attributes(meta);
        let item = HashMap::from([("meta".to_owned(), AttributeValue::M(stored.clone()))]);
        let response = serde_json::to_value(distributor(Uuid::nil(), &item)).unwrap();
        for (stored, returned) in [
            (&stored, &response["meta"]),
            (map(&stored, "authentication").unwrap(), &response["meta"]["authentication"]),
        ] {
            let stored: BTreeSet<_> = stored.keys().collect();
            let returned: BTreeSet<_> = returned.as_object().unwrap().keys().collect();
            assert_eq!(stored, returned);
        }
        let authentication = json!({"type": 1, "username": "u", "password": "p", "token": "t"});
        let expected =
            json!({"host": "https://a.example", "path": "/", "method": "GET", "authentication": authentication});
        assert_eq!(response["meta"], expected);
    }
}
