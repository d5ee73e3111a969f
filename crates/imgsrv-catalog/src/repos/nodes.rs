//! Nodes.

use crate::core::{Connection, Corrupt, Record, Row, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    node::{Node, SeenNode},
    ports::{CatalogError, NodeRepo},
    work::WorkerId,
};

const TOUCH: &str =
    "INSERT INTO nodes (id, name, version, workers, started_at, seen_at) VALUES ($1, $2, $3, $4, $5, $5)
    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at";
const FORGET: &str = "DELETE FROM nodes WHERE seen_at < $1 OR (name = $2 AND seen_at < $3 AND id <> $4)";
const DELETE: &str = "DELETE FROM nodes WHERE id = $1";
pub(crate) const LIST: &str =
    "SELECT id, name, version, workers, started_at, seen_at FROM nodes ORDER BY name, started_at, id";
pub(crate) const STATEMENTS: &[&str] = &[TOUCH, FORGET, DELETE, LIST];

#[async_trait]
impl<C: Connection> NodeRepo for SqlTx<C> {
    async fn touch_node(&mut self, node: &Node) -> Result<(), CatalogError> {
        let Node { worker, name, version, workers } = node;
        let now = self.time();
        let (forgotten, gone) = (now.minus(SeenNode::FORGOTTEN_AFTER), now.minus(SeenNode::GONE_AFTER));
        self.execute(FORGET, values![forgotten, name, gone, worker]).await?;
        self.execute(TOUCH, values![worker, name, version, workers.join(" "), now]).await?;
        Ok(())
    }

    async fn delete_node(&mut self, worker: &WorkerId) -> Result<(), CatalogError> {
        self.execute(DELETE, values![worker]).await?;
        Ok(())
    }
}

impl Record for SeenNode {
    const WHAT: &'static str = "node";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let workers: String = row.get("workers")?;
        let node = Node {
            worker: row.get("id")?,
            name: row.get("name")?,
            version: row.get("version")?,
            workers: workers.split_whitespace().map(str::to_owned).collect(),
        };
        Ok(Self { node, started_at: row.get("started_at")?, seen_at: row.get("seen_at")? })
    }
}
