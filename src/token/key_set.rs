//! A JWK set (RFC 7517, 5).

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::value::RawValue;
use thiserror::Error;
use tracing::warn;

use super::error::Unverified;
use super::jwk::{Jwk, SkipReason};
use super::jws::Jws;
use super::key::{Algorithm, Key};
use crate::excerpt::excerpt;
use crate::json::{InvalidObject, UniqueMembers};

/// Keys that are tried for one token at most: it bounds the cost of a request when all keys of a set share one `kid`.
/// Arbitrary; issuers that rotate have two or three.
const MAX_CANDIDATES: usize = 4;

/// The deviations of a set that the log names of each kind. Arbitrary; a set in use has fewer keys.
const MAX_NAMED: usize = 10;

/// The usable keys of a set, in its order, and what the operator should know of the others.
pub struct KeySet {
    keys: Vec<Key>,
    /// What the log says of the set.
    pub warnings: Warnings,
}

/// What the log says of a set when it is loaded, and again only when it changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Warnings {
    /// The keys that are not used.
    pub skipped: FirstTen<SkippedKey>,
    /// The names of more keys than are tried for one token.
    pub crowded: FirstTen<CrowdedKid>,
}

/// The first ten of a list, and the number of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstTen<T> {
    /// The first ten.
    pub named: Vec<T>,
    /// The number of the others.
    pub others: usize,
}

/// A key that is not used. `Display` has its `kid` and the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct SkippedKey {
    kid: Option<String>,
    reason: SkipReason,
}

/// A `kid` that more than four usable keys share, or that they lack. `Display` has it and an algorithm.
#[derive(Clone, Debug, PartialEq)]
pub struct CrowdedKid {
    kid: Option<String>,
    algorithm: Algorithm,
}

impl Warnings {
    /// Writes a line for each.
    pub fn log(&self) {
        for key in &self.skipped.named {
            warn!("a key of the JWK set is not used: {key}");
        }
        if self.skipped.others > 0 {
            warn!("further keys of the JWK set that are not used: {}", self.skipped.others);
        }
        for kid in &self.crowded.named {
            warn!("tokens may be refused because only {MAX_CANDIDATES} keys are tried for one: {kid}");
        }
        if self.crowded.others > 0 {
            warn!("further names of more than {MAX_CANDIDATES} keys in the JWK set: {}", self.crowded.others);
        }
    }
}

impl<T> FirstTen<T> {
    fn push(&mut self, item: T) {
        if self.named.len() < MAX_NAMED {
            self.named.push(item);
        } else {
            self.others += 1;
        }
    }
}

impl<T> Default for FirstTen<T> {
    fn default() -> Self {
        Self { named: Vec::new(), others: 0 }
    }
}

/// The list, to be appended to a text.
impl<T: fmt::Display> fmt::Display for FirstTen<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.named.iter().enumerate() {
            write!(formatter, "{}{item}", if index == 0 { ": " } else { "; " })?;
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

impl fmt::Display for CrowdedKid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kid {
            Some(kid) => write!(formatter, "more keys with kid {kid:?} can verify {}", self.algorithm),
            None => write!(formatter, "more keys without kid can verify {}", self.algorithm),
        }
    }
}

/// The reason why a whole set cannot be used.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum KeySetError {
    /// It is not a JSON object.
    #[error("not a JWK set: not a JSON object")]
    NotObject,
    /// A member appears twice.
    #[error("not a JWK set: {0:?} appears twice")]
    DuplicateMember(String),
    /// It has no member `keys`.
    #[error("not a JWK set: keys is missing")]
    NoKeys,
    /// `keys` is not an array.
    #[error("not a JWK set: keys is not an array")]
    KeysNotArray,
    /// Each key in it is skipped.
    #[error("no key in it can be used{0}")]
    Empty(FirstTen<SkippedKey>),
}

impl From<InvalidObject> for KeySetError {
    fn from(error: InvalidObject) -> Self {
        match error {
            InvalidObject::NotObject => Self::NotObject,
            InvalidObject::DuplicateMember(name) => Self::DuplicateMember(excerpt(&name).to_owned()),
        }
    }
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
        let members = UniqueMembers::parse(text)?;
        let jwks = members.read::<Vec<&RawValue>>("keys").map_err(|_| KeySetError::KeysNotArray)?;
        let (mut keys, mut skipped) = (Vec::new(), FirstTen::default());
        for jwk in jwks.ok_or(KeySetError::NoKeys)? {
            let (kid, key) = match Jwk::parse(jwk) {
                Ok(jwk) => (jwk.kid().ok().flatten(), jwk.key(symmetric)),
                Err(reason) => (None, Err(reason)),
            };
            match key {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(SkippedKey { kid: kid.as_deref().map(excerpt).map(str::to_owned), reason }),
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::Empty(skipped));
        }
        let crowded = crowded(&keys);
        Ok(Self { keys, warnings: Warnings { skipped, crowded } })
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

    /// Verifies the signature of a token with the keys of its `kid`, or all if it has none, that can verify its `alg`: the
    /// first four in the order of the set.
    ///
    /// # Errors
    ///
    /// No key of the set verifies it. The issuer may have published another since.
    pub fn verify(&self, jws: &Jws<'_>) -> Result<(), Unverified> {
        let kid = jws.kid.as_deref();
        if kid.is_some_and(|kid| !self.has_kid(kid)) {
            return Err(Unverified::UnknownKid);
        }
        let mut error = Unverified::Algorithm;
        for key in self.candidates(kid, jws.algorithm) {
            if key.verifies(jws.token, jws.algorithm) {
                return Ok(());
            }
            error = Unverified::Signature;
        }
        Err(error)
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

/// Returns each `kid`, or its absence, that more keys share than are tried, with the first algorithm of which that is so.
fn crowded(keys: &[Key]) -> FirstTen<CrowdedKid> {
    let mut groups = HashMap::<_, HashSet<_>>::new();
    let (mut crowded, mut known) = (FirstTen::default(), HashSet::new());
    for key in keys {
        for algorithm in key.algorithms.iter().copied() {
            let kid = key.kid.as_deref();
            let group = groups.entry((kid, algorithm)).or_default();
            group.insert(&key.numbers);
            if group.len() > MAX_CANDIDATES && known.insert(kid) {
                crowded.push(CrowdedKid { kid: kid.map(excerpt).map(str::to_owned), algorithm });
            }
        }
    }
    crowded
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
            let text = set.warnings.skipped.to_string();
            assert_eq!(text.matches("a key without kid: malformed: not an object").count(), named, "{text}");
            assert!(text.ends_with(rest) && text.contains(" more") != rest.is_empty(), "{text}");
        }
    }

    #[test]
    fn keys_that_no_token_reaches_are_named() {
        // Numbers of keys of which only the presence matters.
        let key =
            |members: &str, number: usize| format!(r#"{{"kty":"oct","k":"{}{number:04}"{members}}}"#, "A".repeat(84));
        let keys =
            |members: &'static str, numbers: std::ops::Range<usize>| numbers.map(move |number| key(members, number));
        let (a, b) = (r#","kid":"a","alg":"HS256""#, r#","kid":"a","alg":"HS384""#);
        for (name, keys, expected) in [
            ("four", keys(a, 0..4).collect::<Vec<_>>(), vec![]),
            ("five", keys(a, 0..5).collect(), vec![r#"more keys with kid "a" can verify HS256"#]),
            ("five without kid", keys("", 0..5).collect(), vec!["more keys without kid can verify HS256"]),
            ("four twice", keys(a, 0..4).chain(keys(a, 0..4)).collect(), vec![]),
            ("eight for two algorithms", keys(a, 0..4).chain(keys(b, 4..8)).collect(), vec![]),
            ("eight, half of them without kid", keys(a, 0..4).chain(keys("", 4..8)).collect(), vec![]),
        ] {
            let set = KeySet::inline(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes()).unwrap();
            let crowded: Vec<_> = set.warnings.crowded.named.iter().map(ToString::to_string).collect();
            assert_eq!(crowded, expected, "{name}");
        }
        let many = (0..12).flat_map(|kid| (0..5).map(move |number| key(&format!(r#","kid":"{kid}""#), number)));
        let set = KeySet::inline(format!(r#"{{"keys":[{}]}}"#, many.collect::<Vec<_>>().join(",")).as_bytes()).unwrap();
        assert_eq!((set.warnings.crowded.named.len(), set.warnings.crowded.others), (10, 2));
    }
}
