//! Reads without a transaction, a file for each kind of record.

pub(crate) mod audit;
pub(crate) mod blobs;
pub(crate) mod blocks;
pub(crate) mod browse;
pub(crate) mod collection;
pub(crate) mod images;
pub(crate) mod jobs;
pub(crate) mod links;
pub(crate) mod operations;
pub(crate) mod principals;
pub(crate) mod retention;
pub(crate) mod rules;
pub(crate) mod streams;
mod summaries;
pub(crate) mod uploads;
pub(crate) mod verification;
pub(crate) mod versions;
