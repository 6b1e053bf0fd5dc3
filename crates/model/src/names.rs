//! Closed sets with one spelling: the same lower-case name in the database, the API, the command line and metrics.

/// A name that is none of a closed set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{given}` is not a {what}; use one of: {known}")]
pub struct UnknownName {
    /// What was given.
    pub given: String,
    /// What it should have been, as a noun.
    pub what: &'static str,
    /// The names that are known, separated by commas.
    pub known: String,
}

/// Declares an enum whose variants have fixed names, with `ALL`, `as_str`, `Display`, `FromStr` and serde by name.
macro_rules! names {
    ($($(#[$doc:meta])* $what:literal $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)*
        }

        impl $type {
            /// Every value, in the order people read them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used in the database, the API, the command line and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    $crate::names::UnknownName {
                        given: text.to_owned(),
                        what: $what,
                        known: Self::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }
    )*};
}
pub(crate) use names;
