//! Bytes: uploads, their ingest, reading stored blobs, and clearing what ended uploads left behind.

mod admission;
pub(crate) mod ingest;
pub(crate) mod reader;
pub(crate) mod store_binding;
pub(crate) mod sweep;
pub(crate) mod uploads;
