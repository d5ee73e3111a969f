//! The writing side, a file for each kind of record.

pub(crate) mod aliases;
pub(crate) mod audit;
pub(crate) mod blobs;
pub(crate) mod blocks;
pub(crate) mod collection;
pub(crate) mod images;
pub(crate) mod inspections;
pub(crate) mod intakes;
pub(crate) mod jobs;
pub(crate) mod lifecycles;
pub(crate) mod links;
pub(crate) mod manifests;
pub(crate) mod nodes;
pub(crate) mod principals;
pub(crate) mod retention;
pub(crate) mod rules;
pub(crate) mod streams;
pub(crate) mod tokens;
pub(crate) mod uploads;
pub(crate) mod verification;
pub(crate) mod versions;
pub(crate) mod work;
