//! JSON text read strictly: a tree that refuses what a lenient parser would hide.
//!
//! `serde_json` does the work, in one pass, with its own limit of depth. What is added here is what it leaves to its
//! caller: duplicate members are refused instead of the last one winning.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

/// A JSON value, with the detail that the rules of the body need.
#[derive(Debug, PartialEq)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`: no member of the body is a boolean.
    Bool,
    /// A number: `1`, `1.0` and `1e0` are the same.
    Number(f64),
    /// A string, unescaped.
    String(Cow<'a, str>),
    /// An array: no member of the body is one, so only its syntax counts.
    Array,
    /// An object with its members in the order of the text, no name twice.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// The first error of a text, and its place.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{kind} at line {line}, column {column}")]
pub struct Malformed {
    /// What is wrong there.
    pub kind: MalformedKind,
    /// Counted from 1.
    pub line: usize,
    /// In bytes, counted from 1.
    pub column: usize,
}

/// What is wrong with a text, for its sender to read. It repeats nothing of the text.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MalformedKind {
    /// Another encoding, as UTF-16 or Latin-1.
    #[error("not UTF-8")]
    NotUtf8,
    /// RFC 8259, 8.1 does not allow one in a text.
    #[error("a second byte order mark")]
    ByteOrderMark,
    /// RFC 8259, 4 leaves open which of them counts.
    #[error("{}", DUPLICATE_MEMBER)]
    DuplicateMember,
    /// Half of a pair of escapes (RFC 8259, 7).
    #[error("a lone surrogate")]
    LoneSurrogate,
    /// The limit of `serde_json`.
    #[error("too deep: more than 127 levels")]
    TooDeep,
    /// An `f64` cannot hold it.
    #[error("a number too large")]
    NumberTooLarge,
    /// The text goes on after its end.
    #[error("something after the object")]
    AfterObject,
    /// Another JSON value, or no value at all.
    #[error("not an object")]
    NotObject,
    /// Anything else, in the words of `serde_json`.
    #[error("{0}")]
    Syntax(String),
}

const DUPLICATE_MEMBER: &str = "a member appears twice";

impl Malformed {
    /// Returns the error of a value that is read to its end and is not an object.
    #[must_use]
    pub fn not_object() -> Self {
        Self { kind: MalformedKind::NotObject, line: 1, column: 1 }
    }

    /// Returns the error of a text that is UTF-8 up to `rest`.
    fn not_utf8(valid: &[u8], rest: &[u8]) -> Self {
        // Half of a pair of escapes in the event, as the bytes that would be its UTF-8.
        let is_surrogate = matches!(rest, [0xed, 0xa0..=0xbf, ..]);
        let kind = if is_surrogate { MalformedKind::LoneSurrogate } else { MalformedKind::NotUtf8 };
        let lines = valid.split(|byte| *byte == b'\n');
        let (line, last) = lines.fold((0, &[][..]), |(count, _), line| (count + 1, line));
        Self { kind, line, column: last.len() + 1 }
    }

    fn of(error: &serde_json::Error, text: &str) -> Self {
        let is_object = text.trim_start().starts_with('{');
        let words = error.to_string();
        // `serde_json` tells its errors apart by nothing but their texts, which end with the place.
        let kind = match words.rsplit_once(" at line ").map_or(&*words, |(words, _)| words) {
            DUPLICATE_MEMBER => MalformedKind::DuplicateMember,
            "lone leading surrogate in hex escape" | "unexpected end of hex escape" => MalformedKind::LoneSurrogate,
            "recursion limit exceeded" => MalformedKind::TooDeep,
            "number out of range" => MalformedKind::NumberTooLarge,
            "trailing characters" if is_object => MalformedKind::AfterObject,
            "trailing characters" | "EOF while parsing a value" if !is_object => MalformedKind::NotObject,
            "expected value" if text.starts_with('\u{feff}') => MalformedKind::ByteOrderMark,
            words => MalformedKind::Syntax(words.to_owned()),
        };
        Self { kind, line: error.line().max(1), column: error.column().max(1) }
    }
}

/// Reads a whole text as one JSON value.
///
/// # Errors
///
/// [`Malformed`] for anything but RFC 8259 text in UTF-8, for a byte order mark, and for lone surrogates, duplicate
/// members, more than 127 levels and numbers beyond those of an `f64`.
pub fn parse(text: &[u8]) -> Result<Json<'_>, Malformed> {
    // RFC 4627, 3: a NUL among the first two bytes is UTF-16 or UTF-32. As UTF-8, no JSON text has one.
    if matches!(text, [0, ..] | [_, 0, ..]) {
        return Err(Malformed::not_utf8(&[], text));
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        let (valid, rest) = text.split_at(error.valid_up_to());
        Malformed::not_utf8(valid, rest)
    })?;
    serde_json::from_str(text).map_err(|error| Malformed::of(&error, text))
}

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    // Never shown: the caller reports the place of the error.
    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool)
    }

    // Integers that an `f64` rounds are too large for any rule.
    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(number as f64))
    }

    #[allow(clippy::cast_precision_loss)]
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Json::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::String(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::String(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<Json<'_>>()?.is_some() {}
        Ok(Json::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        let mut names = HashSet::new();
        while let Some(BorrowedStr(name)) = map.next_key()? {
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(DUPLICATE_MEMBER));
            }
            members.push((name, map.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

/// Returns a text without the one byte order mark that a reader may ignore (RFC 8259, 8.1).
#[must_use]
pub fn without_byte_order_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Returns whether a value is the object without members.
#[must_use]
pub fn is_empty_object(value: &RawValue) -> bool {
    let inside = value.get().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// Returns whether a value is `null`.
#[must_use]
pub fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The members of an object, each name once, their values unread. A member that is `null` counts as absent.
pub struct UniqueMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// The reason why a text is not one object with each member once.
#[derive(Clone, Debug, PartialEq)]
pub enum InvalidObject {
    /// It is not JSON, or another value.
    NotObject,
    /// The member of this name appears twice.
    DuplicateMember(String),
}

/// A member has the wrong JSON type.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[error("a member has the wrong JSON type")]
pub struct InvalidType;

impl<'a> UniqueMembers<'a> {
    /// Reads a whole text as one object.
    ///
    /// # Errors
    ///
    /// [`InvalidObject`] if it is anything else, or has a member twice.
    pub fn parse(text: &'a [u8]) -> Result<Self, InvalidObject> {
        let pairs: Entries<BorrowedStr<'_>, &RawValue> =
            serde_json::from_slice(text).map_err(|_| InvalidObject::NotObject)?;
        let members: Vec<_> = pairs.0.into_iter().map(|(BorrowedStr(name), value)| (name, value)).collect();
        let mut names = HashSet::with_capacity(members.len());
        match members.iter().find(|(name, _)| !names.insert(name.as_ref())) {
            None => Ok(Self(members)),
            Some((name, _)) => Err(InvalidObject::DuplicateMember(name.clone().into_owned())),
        }
    }

    /// Returns whether a member has this name, `null` or not.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Returns the value of a member that is present and not `null`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.find(name).filter(|value| !is_null(value))
    }

    /// Reads the value of a member, or `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`InvalidType`] if it is not a `T`.
    pub fn read<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, InvalidType> {
        self.get(name).map(|value| serde_json::from_str(value.get())).transpose().map_err(|_| InvalidType)
    }

    fn find(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }
}

/// The members of an object in the order of the text, none dropped.
pub(crate) struct Entries<K, V>(pub(crate) Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Entries<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<K, V> {
            type Value = Entries<K, V>;

            // Never shown: the caller reports the place of the error.
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Entries(pairs))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

/// A string that is borrowed where the text has it without escapes; without the attribute, `Cow` never borrows.
#[derive(Deserialize)]
#[serde(transparent)]
struct BorrowedStr<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_texts_are_accepted() {
        for text in [
            "{}",
            r#" {"a":1e308} "#,
            r#"{"a":{"a":1},"b":{"a":1}}"#,
            r#"{"a":-0,"b":123456789012345678901234567890}"#,
            r#"{"a":"\ud83d\ude00"}"#,
            "[]",
            "1",
        ] {
            assert!(parse(text.as_bytes()).is_ok(), "{text}");
        }
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(parse(nested(127).as_bytes()).is_ok());
        let too_deep = Malformed { kind: MalformedKind::TooDeep, line: 1, column: 128 };
        assert_eq!(parse(nested(128).as_bytes()), Err(too_deep));
        assert!(parse(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn texts_on_which_parsers_disagree_are_read_strictly() {
        #[derive(serde::Deserialize)]
        struct Texts {
            accepted: Vec<String>,
            refused: Vec<String>,
            /// In hexadecimal, and what they are.
            refused_bytes: Vec<(String, String)>,
            /// So many of the first, then the second, then as many of the third.
            nested: Vec<(String, usize, String, String, bool)>,
        }

        let texts: Texts = serde_json::from_str(include_str!("../tests/data/json.json")).unwrap();
        for text in &texts.accepted {
            assert!(parse(text.as_bytes()).is_ok(), "{text:?}: {:?}", parse(text.as_bytes()));
        }
        for text in &texts.refused {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        for (hex, name) in &texts.refused_bytes {
            let digits = hex.as_bytes().chunks(2).map(|digits| std::str::from_utf8(digits).unwrap());
            let bytes: Vec<_> = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect();
            assert!(parse(&bytes).is_err(), "{name}");
        }
        for (open, count, inside, close, accepted) in &texts.nested {
            let text = format!("{}{inside}{}", open.repeat(*count), close.repeat(*count));
            assert_eq!(parse(text.as_bytes()).is_ok(), *accepted, "{count} times {open}");
        }
    }

    #[test]
    fn values_keep_their_order() {
        let text = |text: &'static str| Cow::Borrowed(text);
        for (json, expected) in [
            ("null", Json::Null),
            ("true", Json::Bool),
            ("false", Json::Bool),
            ("-1.50e+3", Json::Number(-1_500.0)),
            ("1", Json::Number(1.0)),
            ("10e-1", Json::Number(1.0)),
            ("18446744073709551616", Json::Number(18_446_744_073_709_551_616.0)),
            (r#""\u0061\n""#, Json::String(text("a\n"))),
            ("[1,[2]]", Json::Array),
            (r#"{"b":null,"a":{"b":1}}"#, {
                let inner = Json::Object(vec![(text("b"), Json::Number(1.0))]);
                Json::Object(vec![(text("b"), Json::Null), (text("a"), inner)])
            }),
        ] {
            assert_eq!(parse(json.as_bytes()), Ok(expected), "{json}");
        }
    }

    #[test]
    fn a_malformed_text_has_its_position_and_what_is_wrong_there() {
        use MalformedKind::{
            AfterObject, ByteOrderMark, DuplicateMember, LoneSurrogate, NotObject, NotUtf8, NumberTooLarge, TooDeep,
        };

        #[track_caller]
        fn check(text: impl AsRef<[u8]>, kind: MalformedKind, line: usize, column: usize) {
            let text = text.as_ref();
            assert_eq!(parse(text), Err(Malformed { kind, line, column }), "{}", String::from_utf8_lossy(text));
        }
        let syntax = |words: &str| MalformedKind::Syntax(words.to_owned());
        check("", NotObject, 1, 1);
        check(" \n", NotObject, 2, 1);
        check("[] x", NotObject, 1, 4);
        check("{\n", syntax("EOF while parsing an object"), 2, 1);
        check("{\"a\":1,\n \"b\":2 \"c\"}", syntax("expected `,` or `}`"), 2, 8);
        check("{\"a\":\n{\"b\":1,\n\"b\":22}}", DuplicateMember, 3, 3);
        check("{\"a\":1,\"\\u0061\":2}", DuplicateMember, 1, 15);
        check("{\"a\":1e400}", NumberTooLarge, 1, 10);
        check("{\"a\":-1e400}", NumberTooLarge, 1, 11);
        check("\u{feff}{}", ByteOrderMark, 1, 1);
        check(b"{\"a\":\"\xff\"}", NotUtf8, 1, 7);
        check(b"{\"a\":\"\xed\xa0\x80\"}", LoneSurrogate, 1, 7);
        // Latin-1, and a character that is cut off.
        check(b"{\"a\":\n \"caf\xe9\"}", NotUtf8, 2, 6);
        check(b"{\"a\":\"\xc3", NotUtf8, 1, 7);
        // UTF-16 and UTF-32, with and without a byte order mark.
        for text in
            [&b"\xff\xfe{\0}\0"[..], b"\xfe\xff\0{\0}", b"{\0}\0", b"\0{\0}", b"{\0\0\0}\0\0\0", b"\0\0\0{\0\0\0}"]
        {
            check(text, NotUtf8, 1, 1);
        }
        check("{}x", AfterObject, 1, 3);
        check("{}\n{}", AfterObject, 2, 1);
        check("{\"a\":\n[\"\\ud800\"]}", LoneSurrogate, 2, 9);
        check("{\"a\":\n{\"\\udc00\":1}}", LoneSurrogate, 2, 8);
        check("{\"a\":\"\\ud800\\ud800\"}", LoneSurrogate, 1, 18);
        check("{\"a\":\"\\ud800\\n\"}", LoneSurrogate, 1, 14);
        check("{\"a\":".repeat(128), TooDeep, 1, 636);
        check("{'a':1}", syntax("key must be a string"), 1, 2);
        check("{\"a\":01}", syntax("invalid number"), 1, 7);
        check("{\"a\":NaN}", syntax("expected value"), 1, 6);
        check("{\"a\":1,}", syntax("trailing comma"), 1, 8);
        check("{\"a\":\"\\u12\"}", syntax("invalid escape"), 1, 12);
    }

    #[test]
    fn members_are_those_of_one_level() {
        let members = UniqueMembers::parse(br#"{"a":{"b":1,"b":2},"c":[1],"d":null}"#).unwrap();
        assert_eq!(members.get("a").map(RawValue::get), Some(r#"{"b":1,"b":2}"#));
        assert_eq!(members.read::<Vec<u8>>("c"), Ok(Some(vec![1])));
        assert_eq!(members.read::<String>("c"), Err(InvalidType));
        assert_eq!((members.read::<String>("d"), members.has("d")), (Ok(None), true));
        assert_eq!((members.read::<String>("e"), members.has("e")), (Ok(None), false));
        for text in ["[]", "1", "", "{", r#"{"a":1} {}"#] {
            assert_eq!(UniqueMembers::parse(text.as_bytes()).err(), Some(InvalidObject::NotObject), "{text}");
        }
        let twice = UniqueMembers::parse(br#"{"a":1,"\u0061":2}"#).err();
        assert_eq!(twice, Some(InvalidObject::DuplicateMember("a".to_owned())));
    }
}
