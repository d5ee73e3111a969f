//! Operation of the server: garbage collection and nodes.

use super::pages::Rows;
use crate::{client::Client, error::Error};
use imgsrv_api::{CollectGarbage, GarbageCollection, Node, NodeList, StoredBlob};
use reqwest::Method;

/// Operation of the server. Needs `system.operate`, or `system.read` for reads.
impl Client {
    /// Starts a garbage collection, or with `dry_run` only counts what it would delete.
    pub async fn collect_garbage(&self, dry_run: bool) -> Result<GarbageCollection, Error> {
        self.change(Method::POST, self.endpoint(["v1", "system", "gc"]), &CollectGarbage { dry_run }).await
    }

    /// The server processes that share the catalog, by name.
    pub fn nodes(&self) -> Rows<Node> {
        self.rows(self.endpoint(["v1", "system", "nodes"]), |page: NodeList| (page.nodes, page.next_cursor))
    }

    /// A stored blob, and what refers to it.
    pub async fn stored_blob(&self, digest: &str) -> Result<StoredBlob, Error> {
        self.get(self.endpoint(["v1", "system", "blobs", digest])).await
    }
}
