//! Published versions as seen by Incus and by other tools that download by URL.

mod files;
mod fingerprint;
mod inspection;
mod lifecycle;
mod metadata;
mod plaintext_guard;
mod streams;
mod support;
mod undecodable;
