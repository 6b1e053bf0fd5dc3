//! Rounds, as the ring's own requests use them; they cross organizations, so all of a kind go together.

pub(super) use crate::round::{Request, Rounds, together};
