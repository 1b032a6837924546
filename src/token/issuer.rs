//! An accepted issuer and its keys.

use std::sync::Arc;

use super::key_set::KeySet;
use super::key_store::CachedKeySet;

/// An issuer whose tokens are accepted.
#[derive(Clone)]
pub struct Issuer {
    /// `iss` of its tokens.
    pub name: String,
    /// The keys that its tokens are verified with.
    pub keys: Keys,
}

/// The keys of an issuer. Several may share them.
#[derive(Clone)]
pub enum Keys {
    /// A set from the configuration.
    Inline(Arc<KeySet>),
    /// A set that is fetched and cached.
    Fetched(Arc<CachedKeySet>),
}
