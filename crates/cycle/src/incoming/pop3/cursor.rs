//! What a cycle leaves for the next one about a folder, beside its items.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The cursor of a POP3 folder. What is not there is as if nobody knew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Cursor {
    /// Whether a whole listing was decided about: what is new since then is younger than the floor.
    pub(super) caught_up: bool,
    /// Whether the server announces PIPELINING and loses what is sent ahead.
    pub(super) loses_what_is_sent_ahead: bool,
}

impl Cursor {
    pub(super) fn read(value: Option<&Value>) -> Self {
        value.and_then(|value| Self::deserialize(value).ok()).unwrap_or_default()
    }

    pub(super) fn value(self) -> Value {
        serde_json::json!(self)
    }
}
