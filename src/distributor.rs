//! The distributor as the API returns it.

use serde::Serialize;
use uuid::Uuid;

use crate::entity_tag::EntityTag;

/// The body of a 200 response, with its members in the order that the API documents.
#[derive(Serialize)]
pub struct Distributor {
    /// The key of the item.
    pub id: Uuid,
    /// The node that the distributor belongs to.
    pub node_id: Option<String>,
    /// Its webhook configuration.
    pub meta: Option<StoredMeta>,
    /// When it was created, as stored.
    pub created_at: Option<String>,
    /// When it was last written, as stored. This is also the version that its entity tag names.
    pub updated_at: Option<String>,
}

impl Distributor {
    /// Returns the entity tag of this version, or `None` if `updated_at` is missing or not allowed in a tag.
    #[must_use]
    pub fn entity_tag(&self) -> Option<EntityTag> {
        self.updated_at.as_deref().and_then(EntityTag::new)
    }
}

/// The webhook configuration of a stored distributor. Another program may have written it, so its members are what
/// could be read and not what a request may set.
#[derive(Serialize)]
pub struct StoredMeta {
    /// The host to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The name of the HTTP method, or what is stored where that is not the number of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<IntegerOrText>,
    /// The credentials to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<StoredAuthentication>,
}

/// The credentials in a [`StoredMeta`].
#[derive(Serialize)]
pub struct StoredAuthentication {
    /// The number of the authentication scheme.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub scheme: Option<IntegerOrText>,
    /// The user name of HTTP Basic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password of HTTP Basic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The token of token authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A stored value that this function writes as an integer.
#[derive(Serialize)]
#[serde(untagged)]
pub enum IntegerOrText {
    /// An integer.
    Integer(i64),
    /// A string, or the digits of another number.
    Text(String),
}
