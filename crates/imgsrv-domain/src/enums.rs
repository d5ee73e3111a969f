//! Enums whose values are written as text.

/// Declares an enum whose values have one textual form each.
macro_rules! string_enum {
    ($(#[$doc:meta])* $name:ident: $expected:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The textual form, for clients and catalogs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::enums::UnknownValue;

            fn from_str(raw: &str) -> Result<Self, $crate::enums::UnknownValue> {
                Self::ALL.iter().copied().find(|value| value.as_str() == raw)
                    .ok_or($crate::enums::UnknownValue { expected: $expected })
            }
        }
    };
}
pub(crate) use string_enum;

/// The text is none of the values of an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {expected}")]
pub struct UnknownValue {
    /// A description of the expected values.
    pub expected: &'static str,
}
