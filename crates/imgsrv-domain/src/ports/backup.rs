//! Backups of the catalog: a consistent snapshot as lines of text, and their import into an empty catalog.
//!
//! A line is one record as JSON. The catalog writes and reads it through the values of the domain, in the same form for
//! every database, so that a backup can be imported into a catalog of another kind.

use super::{BlobName, CatalogError, Source};
use crate::{
    digest::{BlobClaim, Digest},
    time::Timestamp,
    transition::Revision,
};
use async_trait::async_trait;
use std::time::Duration;
use uuid::Uuid;

/// The kind of records that has the blobs. Its lines are not imported with those of other kinds: the record of a blob is
/// written when its bytes are in the store.
pub const BLOB_RECORDS: &str = "blobs";

/// A consistent state of the catalog. It does not change while it is read.
#[async_trait]
pub trait CatalogSnapshot: Send {
    /// The identity of the catalog.
    fn catalog(&self) -> Uuid;

    /// Its revision.
    fn revision(&self) -> Revision;

    /// The time on its clock when the snapshot was taken.
    fn taken_at(&self) -> Timestamp;

    /// The next lines of `kind`, in the order of their keys; none at the end. Each call reads a bounded number of records.
    /// A record that cannot be decoded is an error: a backup without it could not be imported.
    async fn read(&mut self, kind: &'static str) -> Result<Vec<String>, CatalogError>;
}

/// A blob as a backup records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupBlob {
    /// Its digest and size.
    pub claim: BlobClaim,
    /// Where its catalog stored it.
    pub name: BlobName,
    /// When it became trusted.
    pub created_at: Timestamp,
}

/// One pass over the lines of a kind. Some kinds need several, because the catalog accepts a record only in the state in
/// which it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportPass {
    /// The kind.
    pub kind: &'static str,
    /// The number of the pass over this kind, from 1.
    pub number: u8,
}

/// Why a line was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is not a record of its kind.
    #[error("{0}")]
    Invalid(String),
    /// The catalog failed, or refuses the record.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// The import of all records in one transaction; dropping it imports nothing.
#[async_trait]
pub trait RecordImport: Send {
    /// Imports one line.
    async fn import(&mut self, pass: ImportPass, line: &str) -> Result<(), ImportError>;

    /// Completes and commits the import of a snapshot of that revision: the grace periods of blobs start, unfinished
    /// publish jobs are queued, and the import has ended.
    async fn finish(self: Box<Self>, revision: Revision) -> Result<(), CatalogError>;
}

/// How an import starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportStart {
    /// It starts now, or was interrupted before. The catalog is to be bound to this blob store.
    Open {
        /// The identity that the binding of the store gets.
        store: Uuid,
    },
    /// This backup was imported, and nothing has changed since then.
    Done,
    /// The catalog has other content.
    NotEmpty,
    /// The import of another backup was interrupted.
    Other,
}

/// Backups of a catalog.
#[async_trait]
pub trait BackupCatalog: Send + Sync {
    /// The kinds of records, in the order in which a backup has them.
    fn record_kinds(&self) -> &'static [&'static str];

    /// The passes of an import, in their order.
    fn import_passes(&self) -> &'static [ImportPass];

    /// A snapshot of the present state.
    async fn begin_snapshot(&self) -> Result<Box<dyn CatalogSnapshot>, CatalogError>;

    /// Keeps collections from deleting blobs, until the pin is released or `term` has passed. Returns when the batches of
    /// running collections have ended: later snapshots have no blob that one of them deletes.
    async fn acquire_pin(&self, pin: Uuid, term: Duration) -> Result<(), CatalogError>;

    /// Extends a pin to `term` from now; returns whether it has held without interruption. A pin whose term has passed
    /// cannot be extended.
    async fn renew_pin(&self, pin: Uuid, term: Duration) -> Result<bool, CatalogError>;

    /// Releases a pin.
    async fn release_pin(&self, pin: Uuid) -> Result<(), CatalogError>;

    /// The blob of a line of [`BLOB_RECORDS`].
    fn blob_of(&self, line: &str) -> Result<BackupBlob, ImportError>;

    /// Starts or continues the import of the backup with that digest. The catalog then has the identity `catalog`.
    async fn start_import(&self, backup: &Digest, catalog: Uuid, store: Uuid) -> Result<ImportStart, CatalogError>;

    /// Whether an import was started and has not ended: nothing else must use the catalog.
    async fn is_import_unfinished(&self) -> Result<bool, CatalogError>;

    /// Begins the import of the records.
    async fn begin_records(&self) -> Result<Box<dyn RecordImport>, CatalogError>;
}

impl ImportError {
    /// A line that is not a record of its kind.
    pub fn invalid(why: impl Into<Source>) -> Self {
        Self::Invalid(why.into().to_string())
    }
}
