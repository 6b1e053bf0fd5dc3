//! What each operation asks of its caller. The OpenAPI document is the law: an operation whose document names no right
//! is closed to everybody.

use std::collections::HashMap;
use std::fmt;

use axum::http::Method;
use model::actor::{Principal, Scope};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Nothing: no key is asked for.
    Open,
    /// Any valid key.
    Any,
    /// To read; a user sees the own mail, mailboxes and alerts.
    Read,
    /// To read bodies and attachments; a user those of the own mail.
    ReadBodies,
    /// To write and send emails.
    Send,
    /// To see how the organization is set up and how it runs: administrators, and services that may read.
    Oversee,
    /// To set up the organization.
    Administer,
}

impl Right {
    const ALL: [Self; 6] =
        [Self::Any, Self::Read, Self::ReadBodies, Self::Send, Self::Oversee, Self::Administer];

    /// The name in the document's security requirements.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Any => "any",
            Self::Read => "read",
            Self::ReadBodies => "read_bodies",
            Self::Send => "send",
            Self::Oversee => "oversee",
            Self::Administer => "administer",
        }
    }

    /// Whether this caller has it.
    pub(crate) fn is_held_by(self, principal: &Principal) -> bool {
        match self {
            Self::Open | Self::Any => true,
            Self::Read => principal.may(Scope::Read),
            Self::ReadBodies => principal.may(Scope::ReadBodies),
            Self::Send => principal.may(Scope::Send) || principal.may(Scope::SendAsAny),
            Self::Oversee => {
                principal.administers() || (principal.user.is_none() && principal.may(Scope::Read))
            }
            Self::Administer => principal.administers(),
        }
    }

    /// Who has it, for the remedy of a refusal.
    pub(crate) const fn held_by(self) -> &'static str {
        match self {
            Self::Open | Self::Any => "anybody with a key",
            Self::Read => "a user, or a service key with the scope `read`",
            Self::ReadBodies => "a user, or a service key with the scope `read_bodies`",
            Self::Send => "a user, or a service key with the scope `send` or `send_as_any`",
            Self::Oversee => "an administrator, or a service key with the scope `read`",
            Self::Administer => "an administrator, or a service key with the scope `administer`",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The right of every operation.
#[derive(Debug, Default)]
pub(crate) struct Rights(HashMap<(Method, String), Right>);

impl Rights {
    /// Reads the rights out of the document.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let mut rights = HashMap::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if let Some(right) = named(operation) {
                    rights.insert((method, path.clone()), right);
                }
            }
        }
        Self(rights)
    }

    /// What an operation asks for; `None` closes it.
    pub(crate) fn wanted(&self, method: &Method, path: &str) -> Option<Right> {
        // HEAD is a GET without its body.
        let method = if *method == Method::HEAD { Method::GET } else { method.clone() };
        self.0.get(&(method, path.to_owned())).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Method, &str, Right)> {
        self.0.iter().map(|((method, path), right)| (method, path.as_str(), *right))
    }
}

fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.as_ref().map(|operation| (method, operation)))
}

/// Requirements keep their contents to themselves; their JSON is `{"key": ["read"]}`, or `{}` where no key is asked for.
pub(crate) fn named(operation: &Operation) -> Option<Right> {
    let [requirement] = operation.security.as_ref()?.as_slice() else { return None };
    let value = serde_json::to_value(requirement).ok()?;
    let object = value.as_object()?;
    if object.is_empty() {
        return Some(Right::Open);
    }
    let name = object.get("key")?.as_array()?.first()?.as_str()?;
    Right::ALL.into_iter().find(|right| right.as_str() == name)
}
