//! The distributor as it is stored and as it is answered.
//!
//! Writing is strict, reading is tolerant: an item that reads oddly is answered as far as it can be read, since the
//! write that it comes from has happened.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde_json::Number;
use uuid::Uuid;

use crate::webhook::{Authentication, Meta, Method};

/// The attributes of an item, or of a map in it.
pub type Attributes = HashMap<String, AttributeValue>;

/// A distributor as the API answers it, members in the order that the API documents.
#[derive(Serialize)]
pub struct Distributor {
    /// The key of the item.
    pub id: Uuid,
    /// The node that it belongs to.
    pub node_id: Option<String>,
    /// Its webhook configuration.
    pub meta: Option<StoredMeta>,
    /// When it was created, as it is stored.
    pub created_at: Option<String>,
    /// When it was last written, as it is stored: also its entity tag.
    pub updated_at: Option<String>,
}

impl Distributor {
    /// Reads an item, ignoring attributes that are unknown or of another type than ours.
    #[must_use]
    pub fn from_item(id: Uuid, item: &Attributes) -> Self {
        Self {
            id,
            node_id: string(item, "node_id"),
            meta: map(item, "meta").map(StoredMeta::from_attributes),
            created_at: string(item, "created_at"),
            updated_at: string(item, "updated_at"),
        }
    }

    /// The tag of this version, where its `updated_at` is something that a tag can hold.
    #[must_use]
    pub fn entity_tag(&self) -> Option<EntityTag> {
        self.updated_at.as_deref().and_then(EntityTag::new)
    }
}

/// The webhook configuration as it is answered.
#[derive(Serialize)]
pub struct StoredMeta {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Scalar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication: Option<StoredAuthentication>,
}

impl StoredMeta {
    /// Reads the attribute `meta`.
    #[must_use]
    pub fn from_attributes(meta: &Attributes) -> Self {
        Self {
            host: string(meta, "host"),
            path: string(meta, "path"),
            method: method(meta),
            authentication: map(meta, "authentication").map(|authentication| StoredAuthentication {
                scheme: scalar(authentication, "type"),
                username: string(authentication, "username"),
                password: string(authentication, "password"),
                token: string(authentication, "token"),
            }),
        }
    }
}

#[derive(Serialize)]
struct StoredAuthentication {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    scheme: Option<Scalar>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// What an item may hold where we would store a number.
#[derive(Serialize)]
#[serde(untagged)]
enum Scalar {
    Number(Number),
    Text(String),
}

/// A stored integer is answered as its name; a stored name, and a number that we do not know, as it is.
fn method(meta: &Attributes) -> Option<Scalar> {
    let number = meta.get("method").and_then(|attribute| attribute.as_n().ok());
    match number.and_then(|number| Method::from_number(number).ok()) {
        Some(method) => Some(Scalar::Text(method.name().to_owned())),
        None => scalar(meta, "method"),
    }
}

fn scalar(attributes: &Attributes, name: &str) -> Option<Scalar> {
    match attributes.get(name)? {
        AttributeValue::N(number) => Some(match serde_json::from_str(number) {
            Ok(number) => Scalar::Number(number),
            // DynamoDB's numbers reach further than an `f64` is exact, but every one has its digits.
            Err(_) => Scalar::Text(number.clone()),
        }),
        AttributeValue::S(text) => Some(Scalar::Text(text.clone())),
        _ => None,
    }
}

fn string(attributes: &Attributes, name: &str) -> Option<String> {
    attributes.get(name)?.as_s().ok().cloned()
}

fn map<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Attributes> {
    attributes.get(name)?.as_m().ok()
}

/// The attribute `meta` for a configuration that was asked for.
#[must_use]
pub fn meta_attributes(meta: Meta) -> Attributes {
    attributes([
        ("host", meta.host.map(|host| AttributeValue::S(host.into_string()))),
        ("path", meta.path.map(|path| AttributeValue::S(path.into_string()))),
        ("method", meta.method.map(|method| AttributeValue::N(method.number().to_owned()))),
        (
            "authentication",
            meta.authentication.map(|authentication| AttributeValue::M(authentication_attributes(authentication))),
        ),
    ])
}

fn authentication_attributes(authentication: Authentication) -> Attributes {
    attributes([
        ("type", authentication.scheme.map(|scheme| AttributeValue::N(scheme.number().to_owned()))),
        ("username", authentication.username.map(AttributeValue::S)),
        ("password", authentication.password.map(|password| AttributeValue::S(password.into_exposed()))),
        ("token", authentication.token.map(|token| AttributeValue::S(token.into_exposed()))),
    ])
}

fn attributes<const N: usize>(members: [(&str, Option<AttributeValue>); N]) -> Attributes {
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    present.collect()
}

/// A strong entity tag (RFC 9110, 8.8.3). `Display` gives it as headers carry it, in double quotes.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag with this text between its quotes; `None` where a tag cannot hold it.
    #[must_use]
    pub fn new(opaque: &str) -> Option<Self> {
        let holds = |byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
        opaque.bytes().all(holds).then(|| Self(opaque.to_owned()))
    }

    /// The text between the quotes.
    #[must_use]
    pub fn into_opaque(self) -> String {
        self.0
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn odd_items_are_read_as_far_as_they_can_be() {
        #[track_caller]
        fn check(meta: AttributeValue, expected: &str) {
            let item = HashMap::from([("meta".to_owned(), meta)]);
            let answer = serde_json::to_value(Distributor::from_item(Uuid::nil(), &item)).unwrap();
            assert_eq!(answer["meta"].to_string(), expected);
        }
        check(m([]), "{}");
        check(AttributeValue::Null(true), "null");
        check(s("text"), "null");
        check(m([("method", n("2"))]), r#"{"method":"POST"}"#);
        check(m([("method", s("GET"))]), r#"{"method":"GET"}"#);
        check(m([("method", s("brew"))]), r#"{"method":"brew"}"#);
        check(m([("method", n("9"))]), r#"{"method":9}"#);
        check(m([("method", AttributeValue::Bool(true))]), "{}");
        check(m([("host", n("1")), ("path", s("/")), ("unknown", s("x"))]), r#"{"path":"/"}"#);
        check(m([("authentication", m([("type", n("1"))]))]), r#"{"authentication":{"type":1}}"#);
        check(m([("authentication", m([("type", s("1"))]))]), r#"{"authentication":{"type":"1"}}"#);
        check(m([("authentication", n("1"))]), "{}");
    }

    #[test]
    fn missing_members_are_null() {
        let answer = serde_json::to_string(&Distributor::from_item(Uuid::nil(), &HashMap::new())).unwrap();
        let expected = r#"{"id":"00000000-0000-0000-0000-000000000000","node_id":null,"meta":null,"created_at":null,"updated_at":null}"#;
        assert_eq!(answer, expected);
    }

    #[test]
    fn entity_tags() {
        #[track_caller]
        fn check(opaque: &str, expected: Option<&str>) {
            assert_eq!(EntityTag::new(opaque).map(|tag| tag.to_string()).as_deref(), expected, "{opaque:?}");
        }
        check("2025-12-23T23:16:10.419732Z", Some("\"2025-12-23T23:16:10.419732Z\""));
        check("", Some("\"\""));
        check("ä", Some("\"ä\""));
        for opaque in ["a b", "a\"b", "a\tb", "a\nb", "\u{7f}"] {
            check(opaque, None);
        }
    }
}
