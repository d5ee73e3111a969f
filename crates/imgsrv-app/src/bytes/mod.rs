//! Bytes: uploads and their ingest, reading stored blobs, and clearing the staging of ended uploads.

pub(crate) mod admission;
pub(crate) mod clearing;
pub(crate) mod hashing;
pub(crate) mod ingest;
pub(crate) mod reader;
pub(crate) mod receipt;
pub(crate) mod space;
pub(crate) mod store;
pub(crate) mod store_binding;
pub(crate) mod sweep;
pub(crate) mod uploads;
