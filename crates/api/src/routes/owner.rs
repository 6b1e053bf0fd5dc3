//! Owners as they travel: a kind and an id, with the name when it is known.

use model::mailbox::{Owner, OwnerKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::problem::Problem;
use crate::schema;

/// A user or a queue.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerReference {
    /// `user` or `queue`.
    #[schema(value_type = schema::OwnerKind)]
    pub(super) kind: OwnerKind,
    /// Which.
    pub(super) id: Uuid,
}

impl From<OwnerReference> for Owner {
    fn from(owner: OwnerReference) -> Self {
        Self::new(owner.kind, owner.id)
    }
}

impl From<Owner> for OwnerReference {
    fn from(owner: Owner) -> Self {
        Self { kind: owner.kind(), id: owner.id() }
    }
}

/// A user or a queue with the name to show.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct NamedOwner {
    /// `user` or `queue`.
    #[schema(value_type = schema::OwnerKind)]
    pub(super) kind: OwnerKind,
    /// Which.
    pub(super) id: Uuid,
    /// The name to show.
    pub(super) name: String,
}

impl NamedOwner {
    pub(super) fn new(owner: Owner, name: Option<String>) -> Self {
        Self { kind: owner.kind(), id: owner.id(), name: name.unwrap_or_default() }
    }
}

/// The path names the external id; a body that names another one means something else.
pub(super) fn same_external_id(path: &str, body: Option<&String>) -> Result<(), Problem> {
    match body {
        Some(other) if other != path => Err(Problem::invalid(
            "external_id",
            "the body names another external_id than the path",
            "leave it out of the body",
        )),
        _ => Ok(()),
    }
}
