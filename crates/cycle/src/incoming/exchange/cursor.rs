//! What a cycle leaves for the next one about a folder of an Exchange mailbox, beside its items.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The cursor of a folder. What is not there is as if nobody knew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cursor {
    /// The server's own word for how far its changes were read (`SyncState`); none: from the beginning.
    pub(super) sync_state: Option<String>,
    /// Of the web service, as an earlier session found it: the next one begins with it.
    pub(super) version: Option<String>,
}

impl Cursor {
    pub(super) fn read(value: Option<&Value>) -> Self {
        value.and_then(|value| Self::deserialize(value).ok()).unwrap_or_default()
    }

    pub(super) fn value(&self) -> Value {
        serde_json::json!(self)
    }
}
