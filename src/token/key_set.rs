//! A JWK set (RFC 7517, 5).

use std::fmt;

use serde_json::value::RawValue;
use thiserror::Error;

use super::jwk::{Jwk, SkipReason};
use super::key::{Algorithm, Key};
use crate::excerpt::excerpt;
use crate::json::UniqueMembers;

/// Keys that are tried for one token at most, so that a set with one name for all of its keys does not make each
/// request pay for all of them. Arbitrary; issuers that rotate have two or three.
const MAX_CANDIDATES: usize = 4;

/// The skipped keys of a set that the log names. Arbitrary; a set in use has fewer keys.
const MAX_NAMED: usize = 10;

/// The usable keys of a set, in its order, and why the others are not.
pub struct KeySet {
    keys: Vec<Key>,
    /// The keys that were skipped.
    pub skipped: SkippedKeys,
}

/// The keys of a set that are not used: the first ten, each with the reason, and the number of the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SkippedKeys {
    /// The first ten.
    pub named: Vec<SkippedKey>,
    /// The number of the others.
    pub others: usize,
}

/// A key that is not used. `Display` has its `kid` and the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct SkippedKey {
    kid: Option<String>,
    reason: SkipReason,
}

impl SkippedKeys {
    fn push(&mut self, kid: Option<&str>, reason: SkipReason) {
        if self.named.len() < MAX_NAMED {
            self.named.push(SkippedKey { kid: kid.map(|kid| excerpt(kid).to_owned()), reason });
        } else {
            self.others += 1;
        }
    }
}

/// The list of the keys, to be appended to a text.
impl fmt::Display for SkippedKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.named.iter().enumerate() {
            write!(formatter, "{}{key}", if index == 0 { ": " } else { "; " })?;
        }
        if self.others > 0 { write!(formatter, "; and {} more", self.others) } else { Ok(()) }
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(formatter, "key {kid:?}: {}", self.reason),
            None => write!(formatter, "a key without kid: {}", self.reason),
        }
    }
}

/// The reason why a whole set cannot be used.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum KeySetError {
    /// It is not a JSON object with an array `keys`.
    #[error("not a JWK set")]
    Malformed,
    /// Each key in it is skipped.
    #[error("no key in it can be used{0}")]
    Empty(SkippedKeys),
}

impl KeySet {
    /// Reads a set that the operator wrote, which may contain symmetric keys.
    ///
    /// # Errors
    ///
    /// The reason why the set cannot be used.
    pub fn inline(text: &[u8]) -> Result<Self, KeySetError> {
        Self::read(text, true)
    }

    /// Reads a set that was fetched. A symmetric key in it would be known to everyone, so such keys are skipped.
    ///
    /// # Errors
    ///
    /// The reason why the set cannot be used.
    pub fn fetched(text: &[u8]) -> Result<Self, KeySetError> {
        Self::read(text, false)
    }

    fn read(text: &[u8], symmetric: bool) -> Result<Self, KeySetError> {
        let members = UniqueMembers::parse(text).ok_or(KeySetError::Malformed)?;
        let jwks = members.read::<Vec<&RawValue>>("keys").ok().flatten().ok_or(KeySetError::Malformed)?;
        let mut set = Self { keys: Vec::new(), skipped: SkippedKeys::default() };
        for jwk in jwks {
            let jwk = Jwk::parse(jwk);
            match jwk.key(symmetric) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.skipped.push(jwk.kid().ok().flatten().as_deref(), reason),
            }
        }
        if set.keys.is_empty() { Err(KeySetError::Empty(set.skipped)) } else { Ok(set) }
    }

    /// Returns the usable keys, in the order of the set.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns whether a key has this name.
    #[must_use]
    pub fn has_kid(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Returns the keys to try for a token with this `kid`, or without one, and this algorithm: at most four, each once.
    pub fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let mut tried = Vec::new();
        let named = self.keys.iter().filter(move |key| kid.is_none() || key.kid.as_deref() == kid);
        let fitting = named.filter(move |key| key.algorithms.contains(&algorithm));
        let distinct = fitting.filter(move |key| {
            // Of one algorithm, keys are of one type, so that their numbers tell them apart.
            let is_new = !tried.contains(&&key.numbers);
            tried.push(&key.numbers);
            is_new
        });
        distinct.take(MAX_CANDIDATES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_skipped_keys_are_named_and_the_others_counted() {
        let good = r#"{"kty":"OKP","kid":"good","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        for (skipped, named, rest) in [(0, 0, ""), (10, 10, ""), (11, 10, "; and 1 more"), (30, 10, "; and 20 more")] {
            let jwks = format!(r#"{{"keys":[{}{good}]}}"#, "7,".repeat(skipped));
            let set = KeySet::fetched(jwks.as_bytes()).unwrap();
            assert_eq!(set.keys().iter().map(|key| key.kid.as_deref()).collect::<Vec<_>>(), [Some("good")]);
            let text = set.skipped.to_string();
            assert_eq!(text.matches("a key without kid: malformed").count(), named, "{text}");
            assert!(text.ends_with(rest) && text.contains(" more") != rest.is_empty(), "{text}");
        }
    }
}
