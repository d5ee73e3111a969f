//! What every request and response passes through.

pub(crate) mod client_address;
mod draining;
pub(crate) mod failed_bearers;
pub(crate) mod layers;
pub(crate) mod observation;
mod plaintext_guard;
pub(crate) mod throughput;
