//! Private images: for callers without a role on them they do not exist, and stored bytes do not reveal them.

mod audit;
mod deduplication;
mod histories;
mod limited;
mod routes;
mod streams;
mod support;
mod visibility;
