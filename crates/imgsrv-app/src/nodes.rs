//! Nodes: the server processes that share the catalog.

use crate::{
    auth::caller::SystemReader,
    context::Context,
    error::Result,
    work::{retry::retrying, revision::CURRENT_FOR},
};
use imgsrv_domain::{
    error_chain,
    node::{Node, NodeState, SeenNode},
    ports::CatalogError,
    time::Timestamp,
};
use std::sync::Arc;

/// Waits until no node answers from what it knew before the changes that are committed now. Without other nodes this is at
/// once.
pub(crate) async fn seen_by_all_nodes(context: &Context) -> Result<(), CatalogError> {
    let (nodes, now) = context.catalog.list_nodes().await?;
    let is_other = |seen: &SeenNode| seen.node.worker != context.settings.worker && seen.state(now) == NodeState::Live;
    if nodes.iter().any(is_other) {
        tokio::time::sleep(CURRENT_FOR).await;
    }
    Ok(())
}

/// The use cases of nodes.
#[derive(Clone)]
pub struct Nodes(pub(crate) Arc<Context>);

impl Nodes {
    /// All nodes, and the time on the catalog's clock.
    #[tracing::instrument(name = "nodes.list", level = "debug", skip_all, err(level = "debug"))]
    pub async fn list(&self, _who: &SystemReader) -> Result<(Vec<SeenNode>, Timestamp)> {
        Ok(self.0.catalog.list_nodes().await?)
    }

    /// Records every [`SeenNode::INTERVAL`] that `node` runs, until the use cases stop; then removes the record.
    pub async fn announce(&self, node: &Node) {
        let mut fails = false;
        loop {
            let touched = self.touch(node).await;
            if let Err(error) = &touched
                && !fails
            {
                tracing::warn!(error = error_chain::text(error), "node could not record that it runs");
            }
            fails = touched.is_err();
            if self.0.stop.run_until_cancelled(tokio::time::sleep(SeenNode::INTERVAL)).await.is_none() {
                break;
            }
        }
        if let Err(error) = self.remove(node).await {
            tracing::warn!(error = error_chain::text(&error), "node could not remove its record; it will show as gone");
        }
    }

    /// Records that `node` runs.
    #[tracing::instrument(name = "nodes.touch", level = "debug", skip_all, err(level = "debug"))]
    pub async fn touch(&self, node: &Node) -> Result<(), CatalogError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            tx.touch_node(node).await?;
            tx.commit().await
        })
        .await
    }

    async fn remove(&self, node: &Node) -> Result<(), CatalogError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            tx.delete_node(&node.worker).await?;
            tx.commit().await
        })
        .await
    }
}
