//! Published versions as Incus and other tools that fetch by URL see them.

mod astray;
mod files;
mod inspection;
mod metadata;
mod streams;
mod support;
