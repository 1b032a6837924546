//! The update that a request asks for. `request`, `token` and `body` produce its parts, `store` carries it out.

use uuid::Uuid;

use crate::entity_tag::EntityTag;
use crate::webhook::Meta;

/// One update of one distributor. `M` is the form of `meta`: as a request has it, or as the store does.
#[derive(Debug)]
pub struct Update<M = Meta> {
    /// The distributor.
    pub id: Uuid,
    /// The distributors that the caller may update.
    pub access: Access,
    /// The versions that the update may replace.
    pub if_match: IfMatch,
    /// The change of `meta`.
    pub change: Change<M>,
}

impl<M> Update<M> {
    /// Returns the same update with another form of `meta`.
    pub fn map<N>(self, form: impl FnOnce(M) -> N) -> Update<N> {
        let Self { id, access, if_match, change } = self;
        let change = match change {
            Change::Keep => Change::Keep,
            Change::Remove => Change::Remove,
            Change::Set(meta) => Change::Set(form(meta)),
        };
        Update { id, access, if_match, change }
    }
}

/// The distributors that a caller may update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Access {
    /// Those of every node.
    AnyNode,
    /// Those of this node.
    Node(Uuid),
}

/// The versions that `If-Match` allows (RFC 9110, 13.1.1).
#[derive(Debug, PartialEq)]
pub enum IfMatch {
    /// Any version of a distributor that exists: the header was not sent, or is `*`.
    Any,
    /// One of these versions. Weak tags never match and are left out, so the list may be empty.
    OneOf(Vec<EntityTag>),
}

impl IfMatch {
    /// Returns whether an item with this `updated_at` is at an allowed version.
    #[must_use]
    pub fn allows(&self, updated_at: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|tag| Some(tag.opaque()) == updated_at),
        }
    }
}

/// The change of the stored `meta`.
#[derive(Debug)]
pub enum Change<M = Meta> {
    /// It is left as it is: the distributor is only read.
    Keep,
    /// It is removed.
    Remove,
    /// It is replaced as a whole.
    Set(M),
}

impl<M> Change<M> {
    /// Returns the operation's name in the log: `read`, `remove` or `set`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keep => "read",
            Self::Remove => "remove",
            Self::Set(_) => "set",
        }
    }
}
