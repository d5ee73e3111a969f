//! The audit log, nodes, and the operation of the catalog: health, identity, statistics and time.

use super::CatalogError;
use crate::{
    audit::{AuditEntry, AuditFilter, AuditRecord},
    node::{Node, NodeState, SeenNode},
    page::{Page, PageRequest},
    time::Timestamp,
    work::WorkerId,
};
use async_trait::async_trait;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The audit log.
#[async_trait]
pub trait AuditLog: Send {
    /// Appends a row; rows never change. When the transaction has committed, the row is also logged.
    async fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), CatalogError>;
    /// Whether there is a row of the same actor and event, apart from its detail, since `since`.
    async fn has_audited(&mut self, entry: &AuditEntry, since: Timestamp) -> Result<bool, CatalogError>;
}

/// Reads of the audit log.
#[async_trait]
pub trait AuditQueries: Send + Sync {
    /// Rows of the audit log, newest first.
    async fn list_audit(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditRecord>, CatalogError>;
}

/// Nodes.
#[async_trait]
pub trait NodeRepo: Send {
    /// Records that a node runs at the time of the transaction, and forgets others: those that were not seen for
    /// [`SeenNode::FORGOTTEN_AFTER`], and earlier runs under the same name that are gone.
    async fn touch_node(&mut self, node: &Node) -> Result<(), CatalogError>;
    /// Forgets a node that ends.
    async fn delete_node(&mut self, worker: &WorkerId) -> Result<(), CatalogError>;
}

/// The identity of a catalog, and the blob store that it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogIdentity {
    /// Generated with the catalog; it never changes.
    pub catalog: Uuid,
    /// The blob store that it is bound to, if it is bound.
    pub store: Option<Uuid>,
}

/// The ages of the oldest waiting and running work of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oldest {
    /// Since when the longest waiting piece is wanted; absent when none waits.
    pub queued: Option<Timestamp>,
    /// Since when the longest running piece is leased; absent when none is.
    pub running: Option<Timestamp>,
}

/// Numbers about the content of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// Upload sessions by state.
    pub uploads: BTreeMap<String, u64>,
    /// Publish jobs by state.
    pub jobs: BTreeMap<String, u64>,
    /// Publish steps by name and state.
    pub steps: BTreeMap<(String, String), u64>,
    /// Versions by state.
    pub versions: BTreeMap<String, u64>,
    /// Published versions by the state of their lifecycle.
    pub lifecycles: BTreeMap<String, u64>,
    /// Trusted blobs.
    pub blobs: u64,
    /// The bytes in them.
    pub blob_bytes: u64,
    /// The bytes in blobs that nothing refers to, including those in their grace period.
    pub unreferenced_bytes: u64,
    /// Artifacts that streams list.
    pub incus_rows: u64,
    /// Ingests.
    pub ingest: Oldest,
    /// Publish steps of live jobs, by name.
    pub oldest_steps: BTreeMap<String, Oldest>,
    /// Nodes by state.
    pub nodes: BTreeMap<NodeState, u64>,
    /// Parked items of the work queue, by kind.
    pub parked: BTreeMap<String, u64>,
    /// The time on the catalog's clock.
    pub now: Timestamp,
}

/// Reads for the operation of the catalog.
#[async_trait]
pub trait OperationsQueries: Send + Sync {
    /// Checks that the catalog responds and has the schema that this program needs.
    async fn check(&self) -> Result<(), CatalogError>;
    /// The identity of the catalog, and the blob store that it is bound to.
    async fn identity(&self) -> Result<CatalogIdentity, CatalogError>;
    /// All nodes, by name and start, and the time on the catalog's clock.
    async fn list_nodes(&self) -> Result<(Vec<SeenNode>, Timestamp), CatalogError>;
    /// Numbers about the content of the catalog, at a cost that does not grow with it.
    async fn statistics(&self) -> Result<Statistics, CatalogError>;
    /// How many rows this process has read that cannot be decoded, by the kind of their records.
    fn undecodable_rows(&self) -> BTreeMap<String, u64>;
    /// The free space on the catalog's disk; `None` where it is not known.
    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError>;
    /// The time on the catalog's clock.
    async fn catalog_time(&self) -> Result<Timestamp, CatalogError>;
}
