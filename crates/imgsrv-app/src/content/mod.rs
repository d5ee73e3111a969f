//! Content: images, versions, aliases, and the delivery of published versions.

pub(crate) mod aliases;
pub(crate) mod audited;
pub(crate) mod browse;
pub(crate) mod delivery;
pub(crate) mod drafts;
pub(crate) mod fetches;
pub(crate) mod images;
pub(crate) mod incus;
pub(crate) mod lifecycles;
pub(crate) mod links;
pub(crate) mod public_blobs;
pub(crate) mod published;
pub(crate) mod retainer;
pub(crate) mod retention;
mod taken;
pub(crate) mod tombstones;
pub(crate) mod versions;
