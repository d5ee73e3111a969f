//! The states of a lifecycle, and what lists select by them.

use crate::names::string_enum;

string_enum! {
    /// The state of a published version in its lifecycle.
    LifecycleState: "one of active, deprecated, revoked, removed, tombstone" {
        /// It is offered.
        Active = "active",
        /// It is offered, but users should move on.
        Deprecated = "deprecated",
        /// It must not be used: its files are no longer served.
        Revoked = "revoked",
        /// It is no longer listed; its files are served until its drain ends.
        Removed = "removed",
        /// It is gone permanently; its name is never used again.
        Tombstone = "tombstone",
    }
}

impl LifecycleState {
    /// The state for people, as in `the version is removed permanently`.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Tombstone => "removed permanently",
            Self::Active | Self::Deprecated | Self::Revoked | Self::Removed => self.as_str(),
        }
    }
}

string_enum! {
    /// The published versions that a list contains.
    LifecycleFilter: "active, deprecated, revoked, removed or all" {
        /// Active versions.
        Active = "active",
        /// Deprecated versions.
        Deprecated = "deprecated",
        /// Revoked versions.
        Revoked = "revoked",
        /// Removed versions, with tombstones.
        Removed = "removed",
        /// All versions.
        All = "all",
    }
}
