//! The catalog and its units of work.

use super::{
    AliasRepo, AuditLog, AuditQueries, BlobLedger, BlobQueries, BlockQueries, BlockRepo, BrowseQueries, CatalogError,
    CollectionQueries, CollectionRepo, ImageQueries, ImageRepo, InspectionRepo, IntakeRepo, JobQueries, JobRepo,
    LifecycleRepo, LinkQueries, LinkRepo, ManifestRepo, NodeRepo, OperationsQueries, PrincipalQueries, PrincipalRepo,
    RetentionQueries, RetentionRepo, RuleQueries, RuleRepo, StreamIndexRepo, StreamQueries, TokenRepo, UploadQueries,
    UploadRepo, VerificationQueries, VerificationRepo, VersionQueries, VersionRepo, WorkQueue, WorkRepo,
};
use crate::{time::Timestamp, work::WorkKind};
use async_trait::async_trait;
use futures::stream::BoxStream;
use uuid::Uuid;

/// One atomic unit of work. Dropping it rolls back; any `Err` dooms it, and [`CatalogTx::commit`] then fails.
///
/// Of its methods, `lock_*` locks the rows that it returns until the end of the transaction; `get_*` and `list_*` do
/// not.
#[async_trait]
pub trait CatalogTx:
    ImageRepo
    + VersionRepo
    + ManifestRepo
    + AliasRepo
    + LifecycleRepo
    + RetentionRepo
    + UploadRepo
    + IntakeRepo
    + BlobLedger
    + JobRepo
    + WorkRepo
    + InspectionRepo
    + StreamIndexRepo
    + PrincipalRepo
    + TokenRepo
    + LinkRepo
    + RuleRepo
    + AuditLog
    + NodeRepo
    + CollectionRepo
    + BlockRepo
    + VerificationRepo
{
    /// Binds the catalog to a blob store, unless it is bound already; returns the one that it is bound to.
    async fn bind_store(&mut self, store: Uuid) -> Result<Uuid, CatalogError>;

    /// The time on the catalog's clock, the same throughout the transaction.
    fn now(&self) -> Timestamp;

    /// Makes everything durable, or nothing.
    async fn commit(self: Box<Self>) -> Result<(), CatalogError>;
}

/// Identifies a state of a catalog while it is open. No two states have the same mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeMark([u8; 48]);

impl ChangeMark {
    /// A mark that consists of these bytes.
    pub const fn new(bytes: [u8; 48]) -> Self {
        Self(bytes)
    }
}

/// The catalog. Each of its queries sees one consistent state, and lists are in a stable order; changes go through a
/// transaction.
#[async_trait]
pub trait Catalog:
    ImageQueries
    + VersionQueries
    + BrowseQueries
    + BlobQueries
    + BlockQueries
    + UploadQueries
    + JobQueries
    + WorkQueue
    + PrincipalQueries
    + LinkQueries
    + RuleQueries
    + StreamQueries
    + RetentionQueries
    + AuditQueries
    + OperationsQueries
    + CollectionQueries
    + VerificationQueries
{
    /// Begins a transaction. Do not begin a second one inside it, and do no other I/O while it is open.
    async fn begin(&self) -> Result<Box<dyn CatalogTx>, CatalogError>;

    /// The mark of the present state, if that can be read without waiting. While it is the same, no process has committed a
    /// change: what a query has returned that began after the mark was first read is still what it would return.
    fn change_mark(&self) -> Option<ChangeMark>;

    /// The kinds of the items that any process enqueues in this catalog from now on; absent when items of any kind may
    /// have been enqueued, because notifications were interrupted for a while. Workers also poll. Ends when the catalog
    /// is closed, and is empty for a catalog that only one process can use.
    fn enqueued(&self) -> BoxStream<'static, Option<WorkKind>>;
}
