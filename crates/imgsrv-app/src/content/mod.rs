//! Images, versions, aliases, and the delivery of what was published.

pub(crate) mod aliases;
pub(crate) mod delivery;
pub(crate) mod drafts;
pub(crate) mod images;
pub(crate) mod incus;
