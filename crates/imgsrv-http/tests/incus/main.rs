//! Published versions as seen by Incus and by other tools that download by URL.

mod files;
mod fingerprint;
mod histories;
mod inspection;
mod lifecycle;
mod metadata;
mod near_miss;
mod plaintext_guard;
mod refusals;
mod remotes;
mod streams;
mod support;
mod undecodable;
