//! The rules that no compiler holds.
