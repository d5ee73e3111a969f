//! Operation of the server: garbage collection, blocked digests and nodes.

use super::pages::{Rows, with_query};
use crate::{client::Client, error::Error};
use imgsrv_api::{
    BlockedDigest, BlockedDigestList, CollectGarbage, GarbageCollection, Node, NodeList, QuarantinedBlob,
    QuarantinedBlobList, StorageStatus, StoredBlob,
};
use reqwest::Method;

/// Operation of the server. Needs `system.operate`, or `system.read` for reads, and for blocked digests `content.retire`.
impl Client {
    /// Starts a garbage collection, or with `dry_run` only counts what it would delete.
    pub async fn collect_garbage(&self, dry_run: bool) -> Result<GarbageCollection, Error> {
        self.change(Method::POST, self.endpoint(["v1", "system", "gc"]), &CollectGarbage { dry_run }).await
    }

    /// Digests whose content was purged, by digest.
    pub fn blocked_digests(&self) -> Rows<BlockedDigest> {
        let url = self.endpoint(["v1", "system", "blocked-digests"]);
        self.rows(url, |page: BlockedDigestList| (page.blocked_digests, page.next_cursor))
    }

    /// Unblocks a digest, so that its content can be uploaded and published again.
    pub async fn unblock_digest(&self, digest: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "system", "blocked-digests", digest])).await
    }

    /// The server processes that share the catalog, by name.
    pub fn nodes(&self) -> Rows<Node> {
        self.rows(self.endpoint(["v1", "system", "nodes"]), |page: NodeList| (page.nodes, page.next_cursor))
    }

    /// The state of the storage.
    pub async fn storage_status(&self) -> Result<StorageStatus, Error> {
        self.get(self.endpoint(["v1", "system", "storage"])).await
    }

    /// Quarantined blobs: their stored content is missing or damaged.
    pub fn quarantined_blobs(&self) -> Rows<QuarantinedBlob> {
        let url = with_query(self.endpoint(["v1", "system", "blobs"]), [("state", Some("quarantined"))]);
        self.rows(url, |page: QuarantinedBlobList| (page.blobs, page.next_cursor))
    }

    /// Verifies a stored blob; a large one is still being verified when this returns.
    pub async fn verify_blob(&self, digest: &str) -> Result<StoredBlob, Error> {
        self.post(self.endpoint(["v1", "system", "blobs", digest, "verify"])).await
    }

    /// A stored blob, and what refers to it.
    pub async fn stored_blob(&self, digest: &str) -> Result<StoredBlob, Error> {
        self.get(self.endpoint(["v1", "system", "blobs", digest])).await
    }
}
