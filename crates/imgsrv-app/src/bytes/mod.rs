//! Bytes: uploads and their ingest, reading stored blobs, clearing the staging of ended uploads, and collecting garbage.

pub(crate) mod admission;
pub(crate) mod blocks;
pub(crate) mod checksums;
pub(crate) mod clearing;
pub(crate) mod collect;
pub(crate) mod fsck;
pub(crate) mod garbage;
pub(crate) mod hashing;
pub(crate) mod history;
pub(crate) mod ingest;
pub(crate) mod orphans;
pub(crate) mod quarantine;
pub(crate) mod reader;
pub(crate) mod receipt;
pub(crate) mod scrub;
pub(crate) mod space;
pub(crate) mod storage;
pub(crate) mod store;
pub(crate) mod store_binding;
pub(crate) mod sweep;
pub(crate) mod totals;
pub(crate) mod uploads;
pub(crate) mod verify;
