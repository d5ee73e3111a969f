//! Private images: for callers without a role on them they do not exist, and stored bytes tell nothing about them.

mod audit;
mod deduplication;
mod routes;
mod streams;
mod support;
mod visibility;
