//! What every request and response passes through.

pub(crate) mod budgeted;
pub(crate) mod canonical_path;
mod challenge;
mod channel;
pub(crate) mod client_address;
pub(crate) mod credential_guard;
mod draining;
pub(crate) mod entity_tag;
pub(crate) mod failed_bearers;
mod frames;
pub(crate) mod host;
pub(crate) mod layers;
pub(crate) mod observation;
mod request_id;
mod slashes;
pub(crate) mod throughput;
